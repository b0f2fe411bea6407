// The example front end, which stands on another origin than the service and uses our JavaScript client.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { forwardTo } from '../../clients/js/test/servers.js';
import {
  FIREFOX,
  SAFARI,
  USER_AGENTS,
  button,
  endButton,
  field,
  scenario,
  startService,
  startSite,
  until,
} from './support.js';

const TYPES = { html: 'text/html', js: 'text/javascript', css: 'text/css' };

// The files as they are, but that the page is told where the service is by its address.
const site = await startSite((request, response) => {
  const { pathname, searchParams } = new URL(request.url, site.url);
  const path = pathname.endsWith('/') ? `${pathname}index.html` : pathname;
  const text = readFileSync(new URL(`../..${path}`, import.meta.url), 'utf8');
  response.writeHead(200, { 'Content-Type': TYPES[path.split('.').pop()] });
  response.end(text.replaceAll('http://localhost:8080', searchParams.get('service')));
});
const CORS = { SESSIOND_CORS_ORIGINS: site.origin() };
const service = await startService(CORS);

const example = ({ url = service.url, host } = {}) =>
  `${site.origin(host)}/examples/web/?${new URLSearchParams({ service: url })}`;
const heading = (page) => page.getByRole('heading', { level: 2 });
const says = (page, role, words) => page.getByRole(role).filter({ hasText: words }).waitFor();

/** Presses a button, and waits until the page has said what came of it and takes the next one. */
async function press(page, what, words) {
  await what.first().click();
  await says(page, 'status', words);
  await until('the focus is back', () => page.evaluate(() => document.activeElement.matches('h1')));
}

async function fillIn(page, { username, password }) {
  await field(page, 'username').fill(username);
  await field(page, 'password').fill(password);
}

async function openExample(open, { user, url } = {}) {
  const person = await open();
  person.expect(/status of 401/); // it asks who is signed in
  await person.page.goto(example({ url }));
  if (user) {
    await fillIn(person.page, user);
    await press(person.page, button(person.page, 'Sign in'), 'You are signed in.');
  }
  return person;
}

scenario('a person signs in on another origin, with a cookie that no script can read', { scripts: [true] }, async (open) => {
  const user = service.addUser();
  const person = await openExample(open);
  const { page } = person;
  await fillIn(page, { ...user, password: 'not the password' });
  await button(page, 'Sign in').click();
  await says(page, 'alert', 'That username and password do not match.');
  assert.equal(await field(page, 'username').inputValue(), user.username);
  await field(page, 'password').fill(user.password);
  await press(page, button(page, 'Sign in'), 'You are signed in.');
  assert.equal(await page.getByRole('listitem').count(), 1);
  assert.equal(await page.evaluate(() => document.cookie), '');
  const { httpOnly, secure, sameSite } = await person.cookie(service.url);
  assert.deepEqual({ httpOnly, secure, sameSite }, { httpOnly: true, secure: true, sameSite: 'Lax' });
  await page.reload();
  await heading(page).filter({ hasText: user.username }).waitFor();
  await press(page, button(page, 'Sign out'), 'You were signed out.');
  assert.equal(await person.cookie(service.url), undefined);
  assert.ok(await button(page, 'Sign in').isVisible());
});

scenario('one session is ended from another origin, then all others, then all', { scripts: [true] }, async (open) => {
  const user = service.addUser();
  const elsewhere = [await service.logIn(user, USER_AGENTS[FIREFOX]), await service.logIn(user, USER_AGENTS[SAFARI])];
  const live = () => Promise.all(elsewhere.map(service.isLive));
  const person = await openExample(open, { user });
  const { page } = person;
  assert.equal(await page.getByRole('listitem').count(), 3);
  await press(page, endButton(page, FIREFOX), FIREFOX);
  assert.deepEqual(await live(), [false, true]);
  await press(page, button(page, 'Sign out everywhere else'), '1 session was signed out.');
  assert.deepEqual(await live(), [false, false]);

  const tab = await person.context.newPage();
  await tab.goto(example());
  await heading(tab).filter({ hasText: user.username }).waitFor();
  page.on('dialog', (dialog) => dialog.accept());
  await button(page, 'Sign out everywhere').click();
  await button(page, 'Sign in').waitFor();
  await button(tab, 'Sign out everywhere else').click();
  await says(tab, 'alert', 'You were signed out. Sign in again.');
  assert.ok(await button(tab, 'Sign in').isVisible());
});

scenario('an origin that is not listed reads nothing and says why', { scripts: [true] }, async (open) => {
  const person = await open();
  person.expect(/blocked by CORS policy/, /ERR_FAILED/);
  await person.page.goto(example({ host: 'front.localhost' }));
  await says(person.page, 'alert', 'The service cannot be reached.');
});

scenario('a service that is away is not taken for a session that has ended', { scripts: [true] }, async (open) => {
  const apart = await startService(CORS);
  const person = await openExample(open, { user: apart.addUser(), url: apart.url });
  const others = button(person.page, 'Sign out everywhere else');
  person.expect(/ERR_CONNECTION_REFUSED/);
  await apart.pause();
  await others.click();
  await says(person.page, 'alert', 'The service cannot be reached.');
  assert.ok(await heading(person.page).isVisible(), 'the person is still signed in');
  await apart.restart();
  await press(person.page, others, '0 sessions were signed out.');
});

scenario('the page loads itself again once for a new build of the service', { scripts: [true] }, async (open) => {
  let build = '1111111';
  const forward = forwardTo(`http://127.0.0.1:${service.port}`, (headers) => ({ ...headers, 'x-api-commit': build }));
  const upgraded = await startSite(forward);
  const user = service.addUser();
  const { page } = await openExample(open, { user, url: upgraded.origin() });
  const others = button(page, 'Sign out everywhere else');
  let loaded = 0;
  page.on('load', () => (loaded += 1));
  build = '2222222';
  await others.click();
  await until('it loads itself again', () => loaded === 1);
  await heading(page).filter({ hasText: user.username }).waitFor();
  for (build of ['1111111', '2222222', '1111111']) await press(page, others, '0 sessions were signed out.');
  assert.equal(loaded, 1, 'old and new servers that answer in turn do not make it load over and over');
});
