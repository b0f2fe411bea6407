// Where a person goes on to after signing in.
import assert from 'node:assert/strict';
import {
  answerWith,
  button,
  field,
  freePort,
  isAt,
  loads,
  scenario,
  sendLogin,
  startService,
  startSite,
  until,
} from './support.js';

const third = await startSite((request, response) => answerWith(response, 'the third'));
const hostile = await startSite((request, response) => answerWith(response, 'hostile'));
const listed = await startSite((request, response) => {
  if (request.url !== '/moved') return answerWith(response, 'the application');
  return response.writeHead(302, { Location: `${third.origin('third.localhost')}/` }).end();
});
const service = await startService({ SESSIOND_ALLOWED_RETURN_ORIGINS: listed.origin() });

const loginPage = (returnTo) => `${service.url}/login?${new URLSearchParams({ return_to: returnTo })}`;

scenario('a person returns to the page that they asked for', async (open) => {
  const user = service.addUser();
  const person = await open();
  const target = `${service.url}/sessions?a=1&b=%26&c=+&d=%C3%A9&e=a%2Fb&return_to=z`;
  for (const returnTo of [target, target.slice(service.url.length)]) {
    await person.page.goto(loginPage(returnTo));
    await sendLogin(person.page, user);
    isAt(person.page, target);
    await person.page.goto(loginPage(returnTo));
    isAt(person.page, target);
    await person.context.clearCookies();
  }
  await person.page.goto(`${service.url}/password`);
  await sendLogin(person.page, user);
  isAt(person.page, `${service.url}/password`);
});

scenario('a person returns to a listed origin, and to wherever that sends them', async (open) => {
  const user = service.addUser();
  const person = await open();
  person.expect(/status of 401/);
  const application = listed.origin();
  const target = `${application}/x?a=1&b=%26&c=+&d=%C3%A9&e=a%2Fb&return_to=z`;
  for (const [returnTo, end] of [
    [target, target],
    [`${application}/moved`, `${third.origin('third.localhost')}/`],
  ]) {
    await person.page.goto(loginPage(returnTo));
    await sendLogin(person.page, { ...user, password: 'not the password' });
    const onward = person.page.waitForResponse((response) => response.request().method() === 'POST');
    await sendLogin(person.page, user);
    await person.page.waitForURL(end);
    assert.equal((await onward).status(), 200, 'browsers hold form-action against every redirect that follows a form');
    await person.page.goto(loginPage(returnTo));
    isAt(person.page, end);
    await person.context.clearCookies();
  }
});

scenario('a person whose browser does not go on by itself finds the link', async (open) => {
  let answers = 0;
  // Browsers stay where they are when they are answered with 204.
  const application = await startSite((request, response) => {
    answers += 1;
    if (answers === 1) return response.writeHead(204).end();
    return answerWith(response, 'the application');
  });
  const apart = await startService({ SESSIOND_ALLOWED_RETURN_ORIGINS: application.origin() });
  const target = `${application.origin()}/x?a=1&b=%22%3C%27`;
  const person = await open();
  person.expect(/ERR_ABORTED/);
  await person.page.goto(`${apart.url}/login?${new URLSearchParams({ return_to: target })}`);
  await sendLogin(person.page, apart.addUser());
  await until('the browser tries to go on', () => answers === 1);
  await loads(person.page, person.page.locator('main').getByRole('link').click());
  isAt(person.page, target);
});

scenario('no return address leads to a place that is not listed', { scripts: [true] }, async (open) => {
  const user = service.addUser();
  const person = await open();
  person.expect(/status of 401/);
  const evil = hostile.origin('evil.localhost');
  const { host } = new URL(evil);
  const { host: own } = new URL(service.url);
  for (const returnTo of [
    `${evil}/`,
    `//${host}/`,
    `///${host}/`,
    `/\\${host}/`,
    `\\\\${host}/`,
    `http:/\\${host}/`,
    `http:\\\\${host}/`,
    `https:/\\${host}/`,
    `/\t/${host}/`,
    `\n//${host}/`,
    `ht\ntp://${host}/`,
    ` ${evil}/`,
    `http://${own}@${host}/`,
    `http://${own}%40${host}/`,
    `http://user@${own}/password`,
    `http://:password@${own}/password`,
    `http://${own}.evil.localhost/`,
    `http://127.0.0.1:${service.port}/password`,
    `${listed.origin()}0/`,
    `https://localhost:${new URL(listed.url).port}/`,
    `/.//${host}/`,
    'javascript:document.title="evil"',
    'java\nscript:document.title="evil"',
    'data:text/html,evil',
    '//',
  ]) {
    await person.page.goto(loginPage(returnTo));
    await sendLogin(person.page, { ...user, password: 'not the password' });
    await sendLogin(person.page, user);
    assert.equal(person.page.url(), `${service.url}/sessions`, JSON.stringify(returnTo));
    await person.page.goto(loginPage(returnTo));
    assert.equal(person.page.url(), `${service.url}/sessions`, JSON.stringify(returnTo));
    await person.context.clearCookies();
  }
  assert.equal(hostile.requests, 0);
});

scenario('the login and logout pages are no place to return to, and the address does not grow', async (open) => {
  const user = service.addUser();
  const person = await open();
  const { page } = person;
  person.expect(/status of 401/);
  for (const returnTo of [
    '/',
    '/login',
    '/logout',
    `/login?return_to=${encodeURIComponent('/login?return_to=%2Flogout')}`,
  ]) {
    await page.goto(loginPage(returnTo));
    for (let times = 0; times < 2; times += 1) {
      await sendLogin(page, { ...user, password: 'not the password' });
      isAt(page, loginPage(returnTo));
      assert.equal(await field(page, 'return_to').inputValue(), returnTo);
    }
    await sendLogin(page, user);
    isAt(page, `${service.url}/sessions`);
    await person.context.clearCookies();
  }
});

scenario('an application that the cookie does not reach gets words and no endless redirect', async (open) => {
  const port = await freePort();
  const login = `http://auth.localhost:${port}`;
  const application = await startSite((request, response) => {
    const back = encodeURIComponent(`${application.origin('app.localhost')}${request.url}`);
    response.writeHead(302, { Location: `${login}/login?return_to=${back}` }).end();
  });
  const apart = await startService({
    host: 'auth.localhost',
    port,
    SESSIOND_ALLOWED_RETURN_ORIGINS: application.origin('app.localhost'),
  });
  const person = await open();
  const { page } = person;
  await page.goto(`${application.origin('app.localhost')}/`);
  isAt(page, `${login}/login?return_to=${encodeURIComponent(`${application.origin('app.localhost')}/`)}`);
  await sendLogin(page, apart.addUser());
  const way = page.locator('main').getByRole('link');
  await page.locator('main a[href="/sessions"]').waitFor();
  assert.equal(new URL(page.url()).pathname, '/login');
  assert.ok(application.requests <= 2, `${application.requests} requests`);
  assert.equal(await button(page, 'Sign in').count(), 0);
  await loads(page, way.click());
  isAt(page, `${login}/sessions`);
});
