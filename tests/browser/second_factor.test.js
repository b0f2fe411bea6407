// The second factor: setting it up, getting new recovery codes, switching it off, and what administrators see and do.
import assert from 'node:assert/strict';
import { authenticator } from './authenticator.js';
import {
  FIREFOX,
  USER_AGENTS,
  button,
  field,
  followLink,
  hasLostAccess,
  hasNothingBehind,
  isAt,
  link,
  pressButton,
  scenario,
  sendLogin,
  signIn,
  startService,
} from './support.js';

const ADMIN = { username: 'admin', password: 'an administrator of these tests' };
const service = await startService({ SESSIOND_ADMIN_PASSWORD: ADMIN.password });

const SET_UP = 'Set up a second factor';
const REPLACE = 'Use another authenticator';
const RENEW = 'Get new recovery codes';

const says = (page) => page.getByRole('status').innerText();
const main = (page) => page.locator('main').innerText();
const secret = (page) => page.locator('.secret').innerText();
const recoveryCodes = (page) => page.locator('.codes li').allInnerTexts();

/** Fills in the form about the second factor, and sends it by one of its buttons. */
async function ask(page, name, { password, code }) {
  await page.goto(`${service.url}/second-factor`);
  await field(page, 'current_password').fill(password);
  if (code) await field(page, 'code').fill(code);
  await pressButton(page, name);
}

async function enter(page, code, name) {
  await field(page, 'code').fill(code);
  await pressButton(page, name);
}

/** Signs in with a password and a code. */
async function signInWith(person, user, code) {
  await person.page.goto(`${service.url}/login`);
  await sendLogin(person.page, user);
  await enter(person.page, code, 'Sign in');
}

/** Asserts that an error is announced, and that the field of the code refers to it. */
async function isRefused(page, words) {
  const alert = page.getByRole('alert');
  assert.match(await alert.innerText(), words);
  assert.ok(await alert.evaluate((element) => element === document.activeElement), 'focus is on the error');
  assert.equal(await field(page, 'code').inputValue(), '');
  const described = (await field(page, 'code').getAttribute('aria-describedby')).split(' ');
  assert.ok(described.includes(await alert.getAttribute('id')), 'the field says what is wrong with it');
}

scenario('a second factor is set up by its first code, and ends the other sessions', async (open) => {
  const user = service.addUser();
  const elsewhere = await service.logIn(user, USER_AGENTS[FIREFOX]);
  const person = await open();
  const { page } = person;
  person.expect(/status of 401/);
  await signIn(person, service, user);
  const { value: before } = await person.cookie(service.url);

  await followLink(page, 'Second factor');
  isAt(page, `${service.url}/second-factor`);
  await ask(page, SET_UP, { password: 'not the password' });
  assert.match(await page.getByRole('alert').innerText(), /current password is not right/);
  await ask(page, SET_UP, user);
  const shown = await secret(page);
  const app = authenticator(shown);

  await enter(page, app.wrongCode(), 'Switch on');
  await isRefused(page, /code is not right/);
  assert.ok(!(await page.content()).includes(shown), 'the secret is shown once');
  assert.ok(await service.isLive(elsewhere), 'nothing has changed yet');

  await enter(page, await app.code(), 'Switch on');
  assert.equal(await says(page), 'The second factor is on. One session was signed out.');
  const codes = await recoveryCodes(page);
  assert.equal(new Set(codes).size, 10);
  for (const code of codes) assert.match(code, /^([2-9A-HJKMNP-Z]{4}-){2}[2-9A-HJKMNP-Z]{4}$/);
  const { value: after } = await person.cookie(service.url);
  const live = [await service.isLive(elsewhere), await service.isLive(before), await service.isLive(after)];
  assert.deepEqual(live, [false, false, true], 'one goes on, under a new token');

  await followLink(page, 'I have kept them');
  isAt(page, `${service.url}/sessions`);
  await followLink(page, 'Second factor');
  assert.match(await main(page), /10 recovery codes are left/);
  const html = await page.content();
  for (const once of [shown, ...codes]) assert.ok(!html.includes(once), `${once} is shown once`);

  const other = await open();
  other.expect(/status of 401/);
  await signInWith(other, user, app.usedCode());
  await isRefused(other.page, /used before/);
  await enter(other.page, await app.code(), 'Sign in');
  isAt(other.page, `${service.url}/sessions`);
});

scenario('the secret can be scanned and typed, and password managers know the fields', async (open) => {
  const user = service.addUser();
  const person = await open({ colorScheme: 'dark' });
  const { page } = person;
  const attributes = (name, ...names) =>
    field(page, name).evaluate((input, of) => of.map((attribute) => input.getAttribute(attribute)), names);
  await signIn(person, service, user);
  await page.goto(`${service.url}/second-factor`);
  assert.deepEqual(await attributes('username', 'autocomplete', 'value'), ['username', user.username]);
  assert.deepEqual(await attributes('current_password', 'type', 'autocomplete'), ['password', 'current-password']);

  await ask(page, SET_UP, user);
  assert.deepEqual(await attributes('code', 'inputmode', 'autocomplete'), ['numeric', 'one-time-code']);
  const picture = await page.getByRole('img').evaluate((svg) => {
    const [ground, modules] = svg.children;
    const { x, y, width, height } = modules.getBBox();
    const colours = [ground, modules].map((element) => getComputedStyle(element).fill);
    const shown = svg.getBoundingClientRect();
    return {
      colours,
      ground: [ground.getBBox().width, ground.getBBox().height],
      size: svg.viewBox.baseVal.width,
      quiet: [x, y, svg.viewBox.baseVal.width - x - width, svg.viewBox.baseVal.height - y - height],
      dots: shown.width / svg.viewBox.baseVal.width,
      isSquare: Math.abs(shown.width - shown.height) < 0.5,
    };
  });
  assert.deepEqual(picture.colours, ['rgb(255, 255, 255)', 'rgb(0, 0, 0)'], 'it is dark on light on a dark page, too');
  assert.deepEqual(picture.ground, [picture.size, picture.size]);
  assert.deepEqual(picture.quiet, [4, 4, 4, 4]);
  assert.ok(picture.dots >= 3 && picture.isSquare, `${picture.dots} dots for each module`);

  const app = authenticator(await secret(page));
  await enter(page, await app.code(), 'Switch on');
  await page.goto(`${service.url}/second-factor`);
  assert.deepEqual(await attributes('code', 'inputmode', 'autocomplete', 'autocapitalize'), [null, 'one-time-code', 'none']);
});

/** Gets as far as the recovery codes. */
async function getCodes(person) {
  const user = service.addUser();
  await signIn(person, service, user);
  await ask(person.page, SET_UP, user);
  await enter(person.page, await authenticator(await secret(person.page)).code(), 'Switch on');
}

scenario('there is no button without the script that it needs', { scripts: [false] }, async (open) => {
  const person = await open();
  await getCodes(person);
  assert.equal(await button(person.page, 'Copy').count(), 0);
});

scenario('recovery codes are copied by a button, which says whether that worked', { scripts: [true] }, async (open) => {
  const person = await open({ permissions: ['clipboard-read', 'clipboard-write'] });
  const { page } = person;
  await getCodes(person);
  await button(page, 'Copy').click();
  await page.getByText('Copied.', { exact: true }).waitFor();
  const copied = await page.evaluate(() => navigator.clipboard.readText());
  assert.deepEqual(copied.trimEnd().split('\n'), await recoveryCodes(page));
  await page.evaluate(() => {
    navigator.clipboard.writeText = () => Promise.reject(new Error('not allowed'));
  });
  await button(page, 'Copy').click();
  await page.getByText('This browser does not copy them.').waitFor();
});

scenario('recovery codes are printed dark on light, and a secret is not printed', { scripts: [true] }, async (open) => {
  const user = service.addUser();
  const person = await open({ colorScheme: 'dark' });
  const { page } = person;
  /** What can be seen on paper of some elements, and in which colours. */
  const printed = async (selector) => {
    await page.emulateMedia({ media: 'print' });
    const seen = [];
    for (const element of await page.locator(selector).all()) {
      if (!(await element.isVisible())) continue;
      seen.push(await element.evaluate((shown) => [getComputedStyle(shown).color, getComputedStyle(shown).backgroundColor]));
    }
    await page.emulateMedia({ media: 'screen' });
    return seen;
  };
  await signIn(person, service, user);
  await ask(page, SET_UP, user);
  assert.deepEqual(await printed('.secret, .qr'), []);
  await enter(page, await authenticator(await secret(page)).code(), 'Switch on');
  const onPaper = ['rgb(0, 0, 0)', 'rgba(0, 0, 0, 0)'];
  assert.deepEqual(await printed('.card, .codes code'), Array(11).fill(onPaper));
  assert.deepEqual(await printed('.button, .notice'), []);
});

scenario('the Back button shows neither the secret nor the codes after signing out', async (open) => {
  const user = service.addUser();
  const person = await open({ wholeBrowser: true });
  const { page } = person;
  // The browser does not send a form again by itself.
  person.tolerate(/ERR_CACHE_MISS/);
  await signIn(person, service, user);
  await ask(page, SET_UP, user);
  const secrets = [await secret(page)];
  await enter(page, await authenticator(secrets[0]).code(), 'Switch on');
  secrets.push(...(await recoveryCodes(page)));
  await followLink(page, 'I have kept them');
  await followLink(page, 'Sign out');
  await pressButton(page, 'Sign out');
  await hasNothingBehind(person, [...secrets, user.username]);
});

scenario('the last start is the one that counts, and the second factor in force stays so until it is confirmed', async (open) => {
  const user = service.addUser();
  const { app, recoveryCodes: paper } = await service.setUpSecondFactor(user);
  const person = await open();
  person.expect(/status of 409/);
  await signInWith(person, user, await app.code());
  const tabs = [person.page, await person.context.newPage()];
  const apps = [];
  for (const tab of tabs) {
    await ask(tab, REPLACE, { ...user, code: paper.pop() });
    apps.push(authenticator(await secret(tab)));
  }
  await enter(tabs[0], await apps[0].code(), 'Switch on');
  assert.match(await tabs[0].getByRole('alert').innerText(), /begun again elsewhere/);

  const other = await open();
  await signInWith(other, user, await app.code());
  isAt(other.page, `${service.url}/sessions`);
  await enter(tabs[1], await apps[1].code(), 'Switch on');
  assert.equal(await says(tabs[1]), 'The second factor is on. One session was signed out.');
  const [fresh] = await recoveryCodes(tabs[1]);
  await hasLostAccess(other, service);

  const third = await open();
  third.expect(/status of 401/);
  await signInWith(third, user, app.usedCode());
  await isRefused(third.page, /code is not right/);
  await enter(third.page, paper[0], 'Sign in');
  await isRefused(third.page, /code is not right/);
  await enter(third.page, fresh, 'Sign in');
  isAt(third.page, `${service.url}/sessions?recovery_code_used=1`);
});

scenario('new recovery codes take the place of the old ones, and no session ends', async (open) => {
  const user = service.addUser();
  const { app, recoveryCodes: paper } = await service.setUpSecondFactor(user);
  const person = await open();
  const { page } = person;
  person.expect(/status of 401/);
  await signInWith(person, user, paper[0]);
  const { value: token } = await person.cookie(service.url);
  await page.goto(`${service.url}/second-factor`);
  assert.match(await main(page), /9 recovery codes are left/);
  await ask(page, RENEW, { ...user, code: app.wrongCode() });
  await isRefused(page, /code is not right/);
  await ask(page, RENEW, { ...user, code: await app.code() });
  const codes = await recoveryCodes(page);
  assert.equal(new Set([...codes, ...paper]).size, 20);
  assert.equal((await person.cookie(service.url)).value, token);

  const other = await open();
  other.expect(/status of 401/);
  await signInWith(other, user, paper[1]);
  await isRefused(other.page, /code is not right/);
  await enter(other.page, codes[1], 'Sign in');
  isAt(other.page, `${service.url}/sessions?recovery_code_used=1`);
  assert.ok(await service.isLive(token));
});

scenario('a second factor is switched off with a code from paper', async (open) => {
  const user = service.addUser();
  const { app, recoveryCodes: paper } = await service.setUpSecondFactor(user);
  const person = await open();
  const { page } = person;
  await signInWith(person, user, await app.code());
  const elsewhere = await service.logIn({ ...user, code: paper[0] }, USER_AGENTS[FIREFOX]);
  await ask(page, 'Switch off', { ...user, code: paper[1].toLowerCase() });
  assert.equal(new URL(page.url()).pathname, '/sessions');
  assert.equal(await says(page), 'The second factor is off. One session was signed out.');
  assert.equal(await service.isLive(elsewhere), false);
  await page.reload();
  assert.equal(await page.getByRole('listitem').count(), 1);
  await followLink(page, 'Second factor');
  assert.equal(await button(page, SET_UP).count(), 1);
  assert.equal(await field(page, 'code').count(), 0);

  const other = await open();
  await signIn(other, service, user);
});

scenario('administrators see who has a second factor, and remove it', async (open) => {
  const user = service.addUser();
  const { app } = await service.setUpSecondFactor(user);
  const person = await open();
  await signInWith(person, user, await app.code());
  const administrator = await open();
  await signIn(administrator, service, ADMIN);
  const { page } = administrator;
  const row = page.getByRole('row').filter({ has: link(page, user.username) });
  await page.goto(`${service.url}/admin/users?q=${user.username}`);
  assert.equal(await row.getByText('Second factor').count(), 1);
  await followLink(page, user.username);
  assert.equal(await page.getByText('Second factor', { exact: true }).count(), 1);
  await followLink(page, 'Remove second factor');
  assert.match(await main(page), new RegExp(`${user.username} will sign in with the password alone`));
  const ways = page.locator('main').locator('a, button');
  assert.equal(await ways.first().innerText(), 'Cancel', 'the safe way comes first');
  await pressButton(page, 'Remove second factor');
  assert.equal(await says(page), 'The second factor was removed. One session was signed out.');
  assert.equal(await page.getByText('Second factor', { exact: true }).count(), 0);
  assert.equal(await link(page, 'Remove second factor').count(), 0);
  await followLink(page, 'Events of this user');
  assert.equal(await page.getByRole('row').filter({ hasText: 'Second factor removed' }).count(), 1);

  await hasLostAccess(person, service);
  await sendLogin(person.page, user);
  isAt(person.page, `${service.url}/sessions`);
});
