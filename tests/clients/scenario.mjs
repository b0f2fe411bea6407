// What every JavaScript client must be able to do: two sessions of one user, one ended by the other.
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';

export const { SESSIOND_TEST_URL: url, SESSIOND_TEST_USERNAME: username } = process.env;
const password = process.env.SESSIOND_TEST_PASSWORD;

export const LOGGED_OUT = { status: 'success', data: { message: "You've been logged out!" } };
const NOT_LOGGED_IN = { status: 'error', message: 'You must be logged in to do this.' };
const WRONG_PASSWORD = { success: false, error: 'Unauthorized', status: 'error', message: 'Unauthorized' };
const NOT_FOUND = { success: false, error: 'Session not found' };
const ID = /^[2-9A-HJ-NP-TW-Za-km-z]{17}$/;
const TOKEN = /^[A-Za-z0-9_-]{43}$/;

// `client` puts a library behind five functions:
//   login(password)  a session, as the library models it, and the `data` of the answer
//   list(session), logoutMe(session, sessionId), logout(session)  what the library hands on of the body
//   refusal(error)   { status, body }, or { status, error } where the library keeps the body to itself
export async function play(name, client) {
  const { version } = createRequire(import.meta.url)(`${name}/package.json`);
  const step = async (title, body) => {
    try {
      const result = await body();
      console.log(`ok ${name} ${version}: ${title}`);
      return result;
    } catch (error) {
      console.log(`not ok ${name} ${version}: ${title}`);
      console.error(error);
      process.exit(1);
    }
  };
  const refused = async (call, status, body) => {
    const outcome = await call.then((answer) => ({ answer }), (error) => ({ error }));
    assert.ok('error' in outcome, `expected ${status}, was answered ${JSON.stringify(outcome.answer)}`);
    const { status: seen, body: text, error } = await client.refusal(outcome.error);
    assert.equal(seen, status, String(outcome.error));
    if (text) assert.deepEqual(text, body);
    if (error) assert.equal(error, body.error);
  };

  await step('a wrong password is refused', () =>
    refused((client.refusedLogin ?? client.login)(`${password}x`), 401, WRONG_PASSWORD));

  const [a, b] = await step('logs in twice', async () => {
    const pair = [await client.login(password), await client.login(password)];
    for (const { data } of pair) {
      assert.match(data.userId, ID);
      assert.match(data.authToken, TOKEN);
      assert.equal(data.me._id, data.userId);
      assert.equal(data.me.username, username);
    }
    assert.equal(pair[0].data.userId, pair[1].data.userId);
    assert.notEqual(pair[0].data.authToken, pair[1].data.authToken);
    return pair;
  });

  const list = async ({ session, data }) => {
    const page = await client.list(session);
    assert.equal(page.success, true);
    assert.equal(page.offset, 0);
    assert.equal(page.total, page.sessions.length);
    for (const row of page.sessions) {
      assert.match(row.sessionId, ID);
      assert.equal(row._id, row.sessionId);
      assert.equal(row.userId, data.userId);
      assert.equal(row.ip, '127.0.0.1');
      assert.equal(new Date(row.loginAt).toISOString().slice(0, 19), row.loginAt.slice(0, 19));
      assert.equal(typeof row.device.name, 'string');
      assert.equal(typeof row.device.os.name, 'string');
    }
    const text = JSON.stringify(page);
    for (const token of [a.data.authToken, b.data.authToken]) assert.ok(!text.includes(token));
    const current = page.sessions.filter((row) => row.current);
    assert.equal(current.length, 1);
    return { current: current[0].sessionId, ids: page.sessions.map((row) => row.sessionId) };
  };

  const [idA, idB] = await step('lists both sessions and knows its own', async () => {
    const [fromA, fromB] = [await list(a), await list(b)];
    assert.notEqual(fromA.current, fromB.current);
    assert.deepEqual(fromA.ids, fromB.ids);
    assert.deepEqual(fromA.ids.slice(0, 2), [fromB.current, fromA.current], 'newest login first');
    return [fromA.current, fromB.current];
  });

  await step('cannot log out a session that does not exist', () =>
    refused(client.logoutMe(a.session, '23456789ABCDEFGHJ'), 400, NOT_FOUND));

  await step('logs out the other session', async () =>
    assert.deepEqual(await client.logoutMe(a.session, idB), { sessionId: idB, success: true }));

  await step('the other session is refused', async () => {
    await refused(client.list(b.session), 401, NOT_LOGGED_IN);
    await refused(client.logoutMe(b.session, idA), 401, NOT_LOGGED_IN);
    await refused(client.logout(b.session), 401, NOT_LOGGED_IN);
  });

  await step('the other session is no longer listed', async () => {
    const after = await list(a);
    assert.equal(after.current, idA);
    assert.ok(!after.ids.includes(idB));
  });

  await step('logs itself out', async () =>
    assert.deepEqual(await client.logout(a.session), client.loggedOut ?? LOGGED_OUT));

  await step('is refused afterwards', async () => {
    await client.pickUpAgain?.(a);
    await refused(client.list(a.session), 401, NOT_LOGGED_IN);
    await refused(client.logoutMe(a.session, idA), 401, NOT_LOGGED_IN);
  });
}
