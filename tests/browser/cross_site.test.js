// What pages of other origins can do to somebody who visits them: nothing.
import assert from 'node:assert/strict';
import { answerWith, link, loads, scenario, signIn, startService, startSite, until } from './support.js';

const service = await startService();
// It answers with whatever HTML its address says.
const hostile = await startSite((request, response) => {
  answerWith(response, new URL(request.url, hostile.url).searchParams.get('html') ?? '');
});

/** Two ports of one host are one site, whose pages send the cookie along; `evil.localhost` is another site. */
const HOSTS = { 'another site': 'evil.localhost', 'another origin of the same site': 'localhost' };
const from = (host, html = '') => `${hostile.origin(host)}/?${new URLSearchParams({ html })}`;

/** Every route that begins a session by a cookie, or whose name is that of one, with what it wants. */
const logins = ({ username, password }) => [
  ['POST', '/login', { username, password }],
  ['POST', '/auth/login', { username, password }],
  ['POST', '/api/auth/login', { username, password }],
  ['POST', '/api/v1/auth/login', { username, password }],
  ['POST', '/api/v1/login', { user: username, password }],
];
/** Every route that ends sessions or changes the password, with what it wants. */
const changes = ({ password }, session) => [
  ['POST', '/logout', {}],
  ['POST', '/sessions', { revoke: session, confirmed: 'true' }],
  ['POST', '/sessions', { revoke: 'others', confirmed: 'true' }],
  ['POST', '/sessions', { revoke: 'all', confirmed: 'true' }],
  ['POST', '/password', { current_password: password, new_password: 'chosen by a stranger' }],
  ['POST', '/auth/logout', {}],
  ['POST', '/api/auth/logout', {}],
  ['POST', '/api/v1/auth/logout', {}],
  ['POST', '/api/v1/auth/password', { current_password: password, new_password: 'chosen by a stranger' }],
  ['DELETE', '/api/v1/auth/sessions?scope=all', {}],
  ['DELETE', `/api/v1/auth/sessions/${session}`, {}],
  ['POST', '/api/v1/logout', {}],
  ['POST', '/api/v1/sessions/logout.me', { sessionId: session }],
  ['POST', '/api/v1/users.logout', {}],
  ['POST', '/api/v1/users.removeOtherTokens', {}],
  ['POST', '/api/v1/users.logoutOtherClients', {}],
];

/** Somebody who is signed in here and elsewhere, or not at all, and how to see that this has not changed. */
async function victim(open, isSignedIn) {
  const person = await open();
  const user = service.addUser();
  const elsewhere = await service.logIn(user);
  if (isSignedIn) await signIn(person, service, user);
  const cookie = await person.cookie(service.url);
  const tokens = [elsewhere, ...(cookie ? [cookie.value] : [])];
  const [{ id: session }] = (await service.sessions(elsewhere)).filter(({ current }) => current);
  return {
    ...person,
    requests: [...(isSignedIn ? changes(user, session) : []), ...logins(service.addUser())],
    async isUnharmed(by) {
      assert.deepEqual(await person.cookie(service.url), cookie, `the cookie after ${by}`);
      for (const token of tokens) assert.ok(await service.isLive(token), `a session after ${by}`);
      const sessions = await service.sessions(elsewhere);
      assert.equal(sessions.length, tokens.length, `the sessions after ${by}`);
    },
  };
}

const escape = (text) => text.replaceAll('&', '&amp;').replaceAll('"', '&quot;');
const hidden = (name, value) => `<input type="hidden" name="${escape(name)}" value="${escape(value)}">`;
/** A form, and one of plain text that reads as JSON. */
const FORMS = {
  'application/x-www-form-urlencoded': (fields) =>
    Object.entries(fields)
      .map(([name, value]) => hidden(name, value))
      .join(''),
  'text/plain': (fields) => hidden(`${JSON.stringify({ ...fields, x: '' }).slice(0, -2)}`, '"}'),
};

for (const [where, host] of Object.entries(HOSTS)) {
  for (const isSignedIn of [true, false]) {
    const who = isSignedIn ? 'somebody who is signed in' : 'somebody who is not signed in';

    // What a form sends does not depend on scripts, so one of the two ways will do.
    scenario(`no form of ${where} does anything to ${who}`, { scripts: [true] }, async (open) => {
      const { requests, isUnharmed, page, ...person } = await victim(open, isSignedIn);
      person.expect(/status of 403/);
      // It looks for the icon of what is not HTML, if it does not remember that there is none.
      person.tolerate(/favicon\.ico/);
      for (const [method, path, fields] of requests.filter(([method]) => method === 'POST')) {
        for (const [type, inputs] of Object.entries(FORMS)) {
          const form = `<form method="post" action="${service.url}${path}" enctype="${type}">
            ${inputs(fields)}<button>Win a prize</button></form>`;
          await page.goto(from(host, form));
          const [response] = await Promise.all([
            page.waitForResponse((response) => response.request().method() === method),
            loads(page, page.getByRole('button').click()),
          ]);
          const { cookie, ...headers } = await response.request().allHeaders();
          const by = `${type} to ${path}`;
          assert.deepEqual([response.status(), response.url()], [403, service.url + path], by);
          assert.equal(headers['content-type'], type);
          assert.equal(cookie !== undefined, isSignedIn && host === 'localhost', 'the site decides on the cookie');
          assert.equal((await response.allHeaders())['set-cookie'], undefined, by);
          await isUnharmed(by);
        }
      }
    });

    scenario(`no script of ${where} does anything to ${who}`, { scripts: [true] }, async (open) => {
      const { requests, isUnharmed, page, ...person } = await victim(open, isSignedIn);
      person.expect(/blocked by CORS policy/, /ERR_FAILED/, /status of 403/);
      await page.goto(from(host));
      for (const [method, path, fields] of requests) {
        for (const credentials of ['include', 'omit']) {
          for (const [mode, type] of [
            ['cors', 'application/json'],
            ['cors', 'application/x-www-form-urlencoded'],
            ['no-cors', 'application/x-www-form-urlencoded'],
            ['no-cors', 'text/plain'],
          ]) {
            if (mode === 'no-cors' && method !== 'POST') continue;
            const body =
              type === 'application/x-www-form-urlencoded' ? String(new URLSearchParams(fields)) : JSON.stringify(fields);
            const answer = await page.evaluate(
              ([url, init]) =>
                fetch(url, init).then(
                  ({ type }) => type,
                  () => 'none',
                ),
              [service.url + path, { method, credentials, mode, body, headers: { 'Content-Type': type } }],
            );
            const by = `${method} ${path}, ${mode}, ${credentials}, ${type}`;
            assert.equal(answer, mode === 'cors' ? 'none' : 'opaque', by);
            await isUnharmed(by);
          }
        }
      }
    });
  }

  scenario(`no link or image of ${where} signs anybody out`, async (open) => {
    const { isUnharmed, page, ...person } = await victim(open, true);
    person.expect(/status of 40[15]/, /ERR_BLOCKED_BY_ORB/);
    person.tolerate(/favicon\.ico/);
    const paths = [
      '/logout',
      '/api/v1/logout',
      '/auth/logout',
      '/api/auth/logout',
      '/api/v1/auth/logout',
      '/sessions?revoke=all&confirmed=true',
    ];
    for (const path of paths) {
      await page.goto(
        from(
          host,
          `<a href="${escape(service.url + path)}">Win a prize</a><img alt="" src="${escape(service.url + path)}">`,
        ),
      );
      await isUnharmed(`an image of ${path}`);
      const [request] = await Promise.all([
        page.waitForRequest((request) => request.isNavigationRequest()),
        loads(page, link(page, 'Win a prize').click()),
      ]);
      assert.ok((await request.allHeaders()).cookie, 'a link takes the cookie along');
      await isUnharmed(`a link to ${path}`);
    }
  });

  scenario(`no page of ${where} can frame ours`, async (open) => {
    const { page, ...person } = await victim(open, true);
    person.expect(/frame-ancestors 'none'/, /ERR_BLOCKED_BY_RESPONSE/, /status of 404/);
    for (const path of ['/login', '/sessions', '/logout', '/password', '/nothing']) {
      await page.goto(from(host, `<iframe src="${service.url}${path}"></iframe>`));
      const [, frame] = page.frames();
      await until('the frame is refused', () => frame.url().startsWith('chrome-error:'));
    }
  });
}
