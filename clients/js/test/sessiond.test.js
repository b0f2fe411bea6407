// The client against a real server, whose path SESSIOND has. Run it with `node --test`.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Sessiond, SessiondError } from '../sessiond.js';
import { browser, setSecondFactor, startSessiond } from './servers.js';

const ORIGIN = 'http://localhost:5173';
let server;

before(async () => {
  server = await startSessiond({ SESSIOND_CORS_ORIGINS: ORIGIN });
});
after(() => server.stop());

const TRANSPORTS = {
  token: () => new Sessiond(server.url, { transport: 'token' }),
  cookie: () => {
    const { fetch, jar } = browser(ORIGIN);
    return Object.assign(new Sessiond(server.url, { fetch }), { jar });
  },
};
const holdsSession = (client) => (client.jar ? client.jar.has('_me_sess') : client.token !== null);

async function everySession(client, options) {
  const sessions = [];
  for await (const session of client.sessions(options)) sessions.push(session);
  return sessions;
}

async function refusal(call, expected) {
  const error = await call.then(
    (answer) => assert.fail(`expected ${JSON.stringify(expected)}, was answered ${JSON.stringify(answer)}`),
    (reason) => reason,
  );
  assert.ok(error instanceof SessiondError, String(error.stack));
  const { status, type } = error;
  assert.deepEqual({ status, type }, expected);
  return error;
}
const UNAUTHENTICATED = { status: 401, type: 'authentication_error' };

for (const [transport, open] of Object.entries(TRANSPORTS)) {
  test(`${transport}: logs in, knows who it is, and logs out for real`, async () => {
    const { username, password } = server.addUser();
    const client = open();
    assert.equal(await client.whoAmI(), null);

    const { user, session, ...rest } = await client.logIn({ username, password });
    assert.deepEqual(rest, {}, 'the token is not part of what is handed out');
    assert.equal(user.username, username);
    assert.equal(session.current, true);
    assert.ok(holdsSession(client));
    const me = await client.whoAmI();
    assert.deepEqual(me.user, user);
    assert.equal(me.session.id, session.id);

    const other = open();
    await other.logIn({ username, password });
    assert.equal(await client.logOut(), true);
    assert.ok(!holdsSession(client));
    assert.equal(await client.whoAmI(), null);
    assert.deepEqual((await everySession(other)).filter(({ id }) => id === session.id), [], 'over on the server, too');
    assert.equal(await client.logOut(), false, 'twice is harmless');
  });

  test(`${transport}: a remembered session lives longer`, async () => {
    const credentials = server.addUser();
    const client = open();
    const { session } = await client.logIn({ ...credentials, remember: true });
    assert.ok(Date.parse(session.expires_at) - Date.parse(session.created_at) > 20 * 24 * 3600 * 1000);
  });

  test(`${transport}: a one-time password gives way to a new one`, async () => {
    const { username } = server.addUser();
    const password = server.resetPassword({ username });
    const client = open();
    await refusal(client.logIn({ username, password }), { status: 403, type: 'password_change_required_error' });
    const newPassword = 'chosen by the person';
    assert.equal((await client.logIn({ username, password, newPassword })).user.username, username);
    assert.equal((await open().logIn({ username, password: newPassword })).user.username, username);
  });

  test(`${transport}: a second factor is asked for and given`, async () => {
    const { username, password } = server.addUser();
    const client = open();
    const [code] = await setSecondFactor(server.url, { username, password });
    const wanted = { status: 401, type: 'second_factor_required_error' };
    await refusal(client.logIn({ username, password }), wanted);
    await refusal(client.logIn({ username, password, code: 'AAAAA-AAAAA' }), wanted);
    assert.equal((await client.logIn({ username, password, code })).user.username, username);
  });

  test(`${transport}: lists sessions in pages and one by one`, async () => {
    const credentials = server.addUser();
    const clients = [];
    const ids = [];
    for (let i = 0; i < 5; i += 1) {
      clients.push(open());
      ids.unshift((await clients[i].logIn(credentials)).session.id);
    }
    const [client] = clients;
    const first = await client.sessionsPage({ limit: 2 });
    const second = await client.sessionsPage({ limit: 2, cursor: first.next_cursor });
    const third = await client.sessionsPage({ limit: 2, cursor: second.next_cursor });
    assert.deepEqual([first, second, third].map(({ sessions }) => sessions.map(({ id }) => id)), [
      ids.slice(0, 2),
      ids.slice(2, 4),
      ids.slice(4),
    ]);
    assert.equal(third.next_cursor, null);
    for (const options of [undefined, { limit: 2 }, { limit: 5 }]) {
      const sessions = await everySession(client, options);
      assert.deepEqual(sessions.map(({ id }) => id), ids);
      assert.deepEqual(sessions.filter(({ current }) => current).map(({ id }) => id), ids.slice(4));
    }
    assert.equal((await client.sessionsPage()).sessions.length, 5);
  });

  test(`${transport}: ends one session, all others, and all`, async () => {
    const credentials = server.addUser();
    const clients = Array.from({ length: 4 }, open);
    const logIns = [];
    for (const client of clients) logIns.push(await client.logIn(credentials));
    const [a, b, c, d] = clients;
    const alive = async () => (await Promise.all(clients.map((client) => client.whoAmI()))).map((me) => me !== null);

    assert.equal(await a.endSession(logIns[1].session.id), undefined);
    assert.deepEqual(await alive(), [true, false, true, true]);
    assert.ok(holdsSession(a) && holdsSession(c) && holdsSession(d));
    await refusal(a.endSession(logIns[1].session.id), { status: 404, type: 'not_found_error' });

    assert.equal(await a.endOtherSessions(), 2);
    assert.deepEqual(await alive(), [true, false, false, false]);
    assert.equal(await a.endOtherSessions(), 0);

    await b.logIn(credentials);
    assert.equal(await a.endAllSessions(), 2);
    assert.ok(!holdsSession(a));
    assert.deepEqual(await alive(), [false, false, false, false]);
  });

  test(`${transport}: changes the password, and goes on under a new token`, async () => {
    const { username, password } = server.addUser();
    const [client, other] = [open(), open()];
    await client.logIn({ username, password });
    await other.logIn({ username, password });
    const held = client.jar?.get('_me_sess') ?? client.token;
    const newPassword = `${password}-new`;

    await refusal(client.changePassword({ currentPassword: 'not it at all', newPassword }), UNAUTHENTICATED);
    assert.ok(await client.whoAmI(), 'a wrong password ends nothing');
    assert.equal(await client.changePassword({ currentPassword: password, newPassword }), 1);
    assert.notEqual(client.jar?.get('_me_sess') ?? client.token, held);
    assert.equal((await client.whoAmI()).user.username, username);
    assert.equal(await other.whoAmI(), null);
    assert.equal(await new Sessiond(server.url, { transport: 'token', token: held }).whoAmI(), null);
    await refusal(open().logIn({ username, password }), UNAUTHENTICATED);
    await open().logIn({ username, password: newPassword });
  });

  test(`${transport}: without a session every call but whoAmI and logOut is 401`, async () => {
    const client = open();
    for (const call of [
      () => client.sessionsPage(),
      () => everySession(client),
      () => client.endSession('23456789ABCDEFGHJ'),
      () => client.endOtherSessions(),
      () => client.endAllSessions(),
      () => client.changePassword({ currentPassword: 'a', newPassword: 'b' }),
    ]) {
      const error = await refusal(call(), UNAUTHENTICATED);
      assert.match(error.requestId, /^[\x21-\x7e]{1,128}$/);
      assert.match(error.message, /authentication_error, status 401, request /);
    }
  });
}

test('a token can be kept and used by another client', async () => {
  const client = TRANSPORTS.token();
  const { user } = await client.logIn(server.addUser());
  const again = new Sessiond(server.url, { transport: 'token', token: client.token });
  assert.equal((await again.whoAmI()).user.id, user.id);
  assert.equal(TRANSPORTS.cookie().token, null);
});

test('a wrong password and an unknown user are refused alike', async () => {
  const { username } = server.addUser();
  const client = TRANSPORTS.token();
  for (const name of [username, `${username}-unknown`]) {
    const error = await refusal(client.logIn({ username: name, password: 'not it at all' }), UNAUTHENTICATED);
    assert.ok(!error.stack.includes('not it at all'));
  }
  assert.equal(client.token, null);
});

test('422 says which field is wrong', async () => {
  const { username, password } = server.addUser();
  const client = TRANSPORTS.token();
  const WRONG = { status: 422, type: 'validation_error' };
  const missing = await refusal(client.logIn({ username }), WRONG);
  assert.deepEqual(missing.errors, [{ loc: ['body', 'password'], msg: 'Field required', type: 'missing' }]);
  await client.logIn({ username, password });
  const short = await refusal(client.changePassword({ currentPassword: password, newPassword: 'short' }), WRONG);
  assert.deepEqual(short.errors.map(({ loc }) => loc), [['body', 'new_password']]);
});

test('400 for a page that cannot be', async () => {
  const client = TRANSPORTS.token();
  await client.logIn(server.addUser());
  const BAD = { status: 400, type: 'invalid_request_error' };
  await refusal(client.sessionsPage({ limit: 0 }), BAD);
  await refusal(client.sessionsPage({ cursor: 'made up' }), BAD);
});

test('403 for a page of an origin that is not listed, and no cookie', async () => {
  const { fetch, jar } = browser('http://elsewhere.example');
  const client = new Sessiond(server.url, { fetch });
  const FORBIDDEN = { status: 403, type: 'forbidden_error' };
  await refusal(client.logIn(server.addUser()), FORBIDDEN);
  await refusal(client.logOut(), FORBIDDEN);
  assert.equal(jar.size, 0);
});

test('404 where the base URL is not the service', async () => {
  await refusal(new Sessiond(`${server.url}/api/v1/auth/`).logIn({ username: 'a', password: 'b' }), {
    status: 404,
    type: 'not_found_error',
  });
});

test('503 says when to try again', async () => {
  const busy = await startSessiond({ SESSIOND_PASSWORD_WORKERS: '1', SESSIOND_PASSWORD_QUEUE: '1' });
  try {
    const client = new Sessiond(busy.url, { transport: 'token', timeout: 60_000 });
    const logIns = Array.from({ length: 30 }, () => client.logIn({ username: 'a', password: 'not it at all' }));
    const errors = (await Promise.allSettled(logIns)).map(({ reason }) => reason).filter(({ status }) => status === 503);
    assert.notEqual(errors.length, 0);
    for (const { type, retryAfter } of errors) {
      assert.equal(type, 'overloaded_error');
      assert.ok(retryAfter >= 1, String(retryAfter));
    }
  } finally {
    await busy.stop();
  }
});
