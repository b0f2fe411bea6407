// The list of sessions, ending them, and changing one's password.
import assert from 'node:assert/strict';
import {
  FIREFOX,
  SAFARI,
  USER_AGENTS,
  card,
  endButton,
  field,
  followLink,
  hasLostAccess,
  isAt,
  link,
  loads,
  pressButton,
  scenario,
  sendLogin,
  signIn,
  startService,
} from './support.js';

const service = await startService();

/** A person at their own browser, and on other devices by the same name and password. */
async function signInEverywhere(open, user, ...devices) {
  const people = [];
  for (const device of [undefined, ...devices]) {
    const person = await open(device && { userAgent: USER_AGENTS[device] });
    await signIn(person, service, user);
    people.push(person);
  }
  await people[0].page.reload();
  return people;
}

/** Goes through the question that stands before ending many sessions. */
async function confirm(page, name, { by }) {
  await pressButton(page, name);
  await page.reload();
  const ways = page.locator('main').locator('a, button');
  assert.equal(await ways.first().getAttribute('href'), '/sessions', 'the safe way comes first');
  await (by === 'going on' ? pressButton(page, name) : loads(page, ways.first().click()));
}

const says = (page) => page.getByRole('status').innerText();

scenario('the only session is listed, with its way out', async (open) => {
  const user = service.addUser();
  const [{ page }] = await signInEverywhere(open, user);
  assert.ok((await page.locator('main').innerText()).includes(user.username));
  assert.equal(await page.getByRole('listitem').count(), 1);
  assert.equal(await card(page, 'This device').count(), 1);
  assert.equal(await link(card(page, 'This device'), 'Sign out').getAttribute('href'), '/logout');
});

scenario('a hundred sessions are listed, and each can be ended by its own button', async (open) => {
  const user = service.addUser();
  // One name may hold only so many places in the queue for passwords.
  for (let round = 0; round < 14; round += 1) {
    await Promise.all(Array.from({ length: 7 }, () => service.logIn(user, USER_AGENTS[FIREFOX])));
  }
  const token = await service.logIn(user, USER_AGENTS[SAFARI]);
  const [{ page }] = await signInEverywhere(open, user);
  assert.equal(await page.getByRole('listitem').count(), 100);
  assert.equal(await endButton(page, FIREFOX).count(), 98);
  const times = page.locator('time');
  assert.ok((await times.count()) >= 200);
  for (const at of await times.evaluateAll((all) => all.map(({ dateTime }) => dateTime))) assert.ok(Date.parse(at) > 0, at);
  await loads(page, endButton(page, SAFARI).click());
  assert.ok((await says(page)).length > 0);
  assert.equal(await page.getByRole('listitem').count(), 99);
  assert.equal(await service.isLive(token), false);
});

scenario('a session that is ended from another device loses access at once', async (open) => {
  const [mine, firefox, safari] = await signInEverywhere(open, service.addUser(), FIREFOX, SAFARI);
  assert.equal(await endButton(mine.page, FIREFOX).innerText(), 'Sign out');
  await loads(mine.page, endButton(mine.page, FIREFOX).click());
  assert.ok((await says(mine.page)).length > 0);
  assert.deepEqual([await card(mine.page, FIREFOX).count(), await card(mine.page, SAFARI).count()], [0, 1]);
  await hasLostAccess(firefox, service);
  await safari.page.reload();
  isAt(safari.page, `${service.url}/sessions`);
});

scenario('signing out everywhere else asks, and then leaves one session', async (open) => {
  const [mine, ...others] = await signInEverywhere(open, service.addUser(), FIREFOX, SAFARI);
  await confirm(mine.page, 'Sign out everywhere else', { by: 'going back' });
  isAt(mine.page, `${service.url}/sessions`);
  assert.equal(await mine.page.getByRole('listitem').count(), 3);
  await confirm(mine.page, 'Sign out everywhere else', { by: 'going on' });
  assert.match(await says(mine.page), /\b2\b/);
  assert.equal(await mine.page.getByRole('listitem').count(), 1);
  assert.equal(await card(mine.page, 'This device').count(), 1);
  for (const other of others) await hasLostAccess(other, service);
});

scenario('signing out everywhere asks, and then leaves no session', async (open) => {
  const people = await signInEverywhere(open, service.addUser(), FIREFOX);
  const [mine] = people;
  const { value: token } = await mine.cookie(service.url);
  await confirm(mine.page, 'Sign out everywhere', { by: 'going back' });
  isAt(mine.page, `${service.url}/sessions`);
  await confirm(mine.page, 'Sign out everywhere', { by: 'going on' });
  assert.equal(new URL(mine.page.url()).pathname, '/login');
  assert.ok((await says(mine.page)).length > 0);
  assert.equal(await mine.cookie(service.url), undefined);
  assert.equal(await service.isLive(token), false);
  for (const person of people) await hasLostAccess(person, service);
});

scenario('what was already ended elsewhere is no error', async (open) => {
  const [mine, firefox] = await signInEverywhere(open, service.addUser(), FIREFOX);
  await followLink(firefox.page, 'Sign out');
  await pressButton(firefox.page, 'Sign out');
  await loads(mine.page, endButton(mine.page, FIREFOX).click());
  assert.equal(new URL(mine.page.url()).pathname, '/sessions');
  assert.equal(await mine.page.getByRole('listitem').count(), 1);
});

scenario('a button of a list that is signed out meanwhile leads to the login page and back', async (open) => {
  const user = service.addUser();
  const [mine, firefox] = await signInEverywhere(open, user, FIREFOX);
  await confirm(firefox.page, 'Sign out everywhere else', { by: 'going on' });
  await loads(mine.page, endButton(mine.page, FIREFOX).click());
  assert.equal(new URL(mine.page.url()).pathname, '/login');
  await sendLogin(mine.page, user);
  isAt(mine.page, `${service.url}/sessions`);
  assert.equal(await mine.page.getByRole('listitem').count(), 2);
});

scenario('a changed password ends every other session, and this one goes on', async (open) => {
  const user = service.addUser();
  const [mine, other] = await signInEverywhere(open, user, FIREFOX);
  const { page } = mine;
  mine.expect(/status of 401/);
  const before = (await mine.cookie(service.url)).value;
  const change = async (current, next) => {
    await field(page, 'current_password').fill(current);
    await field(page, 'new_password').fill(next);
    await pressButton(page, 'Change password');
  };
  await page.goto(`${service.url}/.well-known/change-password`);
  isAt(page, `${service.url}/password`);

  const next = 'a wholly new passphrase';
  await change('not the password', next);
  const alert = page.getByRole('alert');
  assert.ok(await alert.evaluate((element) => element === document.activeElement), 'focus is on the error');
  assert.equal(await field(page, 'username').inputValue(), user.username);
  for (const name of ['current_password', 'new_password']) assert.equal(await field(page, name).inputValue(), '');
  await other.page.reload();
  isAt(other.page, `${service.url}/sessions`);

  await change(user.password, next);
  assert.equal(new URL(page.url()).pathname, '/sessions');
  assert.match(await says(page), /password was changed.*(\b1\b|one)/i);
  assert.equal(await page.getByRole('listitem').count(), 1);
  const { value, httpOnly } = await mine.cookie(service.url);
  assert.ok(value !== before && httpOnly, 'the token is a new one');
  assert.deepEqual([await service.isLive(before), await service.isLive(value)], [false, true]);

  await hasLostAccess(other, service);
  other.expect(/status of 401/);
  await sendLogin(other.page, user);
  assert.equal(await other.page.getByRole('alert').count(), 1);
  await sendLogin(other.page, { ...user, password: next });
  isAt(other.page, `${service.url}/sessions`);
});

scenario('a password that may not be used is refused by name, and nothing ends', async (open) => {
  const user = service.addUser();
  const [mine, other] = await signInEverywhere(open, user, FIREFOX);
  mine.expect(/status of 422/);
  await followLink(mine.page, 'Change password');
  await field(mine.page, 'current_password').fill(user.password);
  await field(mine.page, 'new_password').fill('short');
  await pressButton(mine.page, 'Change password');
  assert.match(await mine.page.getByRole('alert').innerText(), /8 characters/);
  await other.page.reload();
  isAt(other.page, `${service.url}/sessions`);
});

scenario('how easily a new password is guessed is said while it is typed', { scripts: [true] }, async (open) => {
  const user = service.addUser();
  const { page } = await open();
  await page.goto(`${service.url}/login?return_to=/password`);
  await sendLogin(page, user);
  isAt(page, `${service.url}/password`);
  const hint = page.getByRole('status');
  for (const [typed, words] of [
    ['aaaaaaaaaaaaaaaaaaaaaaaa', /easy to guess/i],
    ['abcdefghijklmnopqrstuvwxyz', /easy to guess/i],
    [`${user.username}-${user.username}`, /easy to guess/i],
    ['k7vq0zr2mx', /not easy to guess/i],
    ['four walnuts sing quietly', /^hard to guess/i],
    ['', /^$/],
  ]) {
    await field(page, 'new_password').fill(typed);
    assert.match((await hint.textContent()).trim(), words, typed);
  }
});

scenario('a one-time password is changed at the sign-in', async (open) => {
  const user = service.addUser();
  const oneTime = service.resetPassword(user);
  const person = await open();
  const { page } = person;
  person.expect(/status of 403/);
  await page.goto(`${service.url}/login`);
  await sendLogin(page, { ...user, password: oneTime });
  assert.match(await page.getByRole('alert').innerText(), /works once/i);
  assert.equal(await person.cookie(service.url), undefined, 'no session begins');
  assert.equal(await field(page, 'username').inputValue(), user.username);
  await field(page, 'password').fill(oneTime);
  await field(page, 'new_password').fill('four walnuts sing quietly');
  await pressButton(page, 'Sign in');
  isAt(page, `${service.url}/sessions`);
  assert.ok(await person.cookie(service.url));
});
