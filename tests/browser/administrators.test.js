// The pages of administrators: users, the sessions of all users, and the audit.
import assert from 'node:assert/strict';
import {
  FIREFOX,
  USER_AGENTS,
  button,
  field,
  followLink,
  isAt,
  link,
  loads,
  pressButton,
  scenario,
  signIn,
  startService,
} from './support.js';

const PASSWORD = 'an administrator of these tests';
const ADMIN = { username: 'admin', password: PASSWORD };
const service = await startService({ SESSIOND_ADMIN_PASSWORD: PASSWORD });

const says = (page) => page.getByRole('status').innerText();
const row = (page, text) => page.getByRole('row').filter({ hasText: text });
const goTo = (page, path) => page.goto(`${service.url}${path}`);

/** An administrator at the list of users. */
async function administrator(open) {
  const person = await open();
  await signIn(person, service, ADMIN);
  await followLink(person.page, 'Administration');
  isAt(person.page, `${service.url}/admin/users`);
  return person;
}

/** Finds a user by searching, and opens their page. */
async function find(page, username) {
  await goTo(page, '/admin/users');
  await field(page, 'q').fill(username);
  await loads(page, field(page, 'q').press('Enter'));
  assert.equal(new URL(page.url()).searchParams.get('q'), username, 'the search is in the address');
  await followLink(page, username);
}

/** Goes through the question before an act, and first back from it. */
async function confirm(page, name) {
  const before = page.url();
  await followLink(page, name);
  const ways = page.locator('main').locator('a, button');
  await loads(page, ways.first().click());
  assert.equal(new URL(page.url()).pathname, new URL(before).pathname, 'the safe way comes first');
  await followLink(page, name);
  await pressButton(page, name);
}

scenario('a user is made, changed, disabled, enabled and deleted', async (open) => {
  const { page } = await administrator(open);
  const username = `new${Date.now()}`;
  await followLink(page, 'New user');
  await field(page, 'username').fill(username);
  await pressButton(page, 'Create user');
  const password = await page.locator('.secret').innerText();
  assert.match(password, /^[a-z0-9-]{23}$/);
  assert.match(await page.locator('main').innerText(), /within 24 hours/);
  await followLink(page, 'Done');
  assert.ok(!(await page.content()).includes(password), 'it is shown once');

  await field(page, 'name').fill('Grace <Hopper>');
  await field(page, 'admin').check();
  await pressButton(page, 'Save changes');
  assert.match(await says(page), /saved/);
  assert.equal(await page.getByRole('heading', { level: 1 }).innerText(), 'Grace <Hopper>');
  assert.ok(await field(page, 'admin').isChecked());

  await confirm(page, 'Disable');
  assert.match(await says(page), /disabled/);
  assert.equal(await link(page, 'Disable').count(), 0);
  await confirm(page, 'Enable');
  assert.match(await says(page), /sign in again/);
  await confirm(page, 'Delete user');
  isAt(page, `${service.url}/admin/users?done=deleted&ended=0`);
  assert.equal(await row(page, username).count(), 0);
});

scenario('a one-time password is changed at the first sign-in', async (open) => {
  const user = service.addUser();
  const { page } = await administrator(open);
  const token = await service.logIn(user, USER_AGENTS[FIREFOX]);
  await find(page, user.username);
  await confirm(page, 'Reset password');
  const oneTime = await page.locator('.secret').innerText();
  assert.equal(await service.isLive(token), false);

  const person = await open();
  person.expect(/status of 403/);
  await person.page.goto(`${service.url}/login`);
  await field(person.page, 'username').fill(user.username);
  await field(person.page, 'password').fill(oneTime);
  await pressButton(person.page, 'Sign in');
  await field(person.page, 'password').fill(oneTime);
  await field(person.page, 'new_password').fill('a wholly new passphrase');
  await pressButton(person.page, 'Sign in');
  isAt(person.page, `${service.url}/sessions`);
  assert.equal(await link(person.page, 'Administration').count(), 0);
});

scenario('what cannot be done is said above the form, which stays filled in', async (open) => {
  const user = service.addUser();
  const administrating = await administrator(open);
  const { page } = administrating;
  administrating.expect(/status of 409/);
  await goTo(page, '/admin/users/new');
  await field(page, 'username').fill(user.username);
  await field(page, 'name').fill('Somebody else');
  await pressButton(page, 'Create user');
  const alert = page.getByRole('alert');
  assert.match(await alert.innerText(), /Another user has this username/);
  assert.ok(await alert.evaluate((element) => element === document.activeElement), 'focus is on the error');
  assert.equal(await field(page, 'name').inputValue(), 'Somebody else');
});

scenario('sessions are ended one by one and by a filter', async (open) => {
  const user = service.addUser();
  const tokens = [];
  for (const userAgent of ['acme-sync/1.0', 'acme-sync/1.0', 'acme-sync/1.0', USER_AGENTS[FIREFOX]]) {
    tokens.push(await service.logIn(user, userAgent));
  }
  const { page } = await administrator(open);
  await followLink(page, 'Sessions');
  await field(page, 'user').fill(user.username);
  await field(page, 'user_agent').fill('ACME');
  await pressButton(page, 'Filter');
  assert.equal(await row(page, user.username).count(), 3);
  await loads(page, row(page, user.username).first().getByRole('button').click());
  assert.match(await says(page), /One session/);
  assert.equal(await row(page, user.username).count(), 2, 'the filter stays');
  await followLink(page, 'Sign out all that match');
  assert.match(await page.locator('main').innerText(), /2 sessions will be signed out/);
  await pressButton(page, 'Sign out all that match');
  assert.match(await says(page), /2 sessions/);
  const live = [];
  for (const token of tokens) live.push(await service.isLive(token));
  assert.deepEqual(live, [false, false, false, true]);
});

scenario('the audit is filtered, and leads to a user and back', async (open) => {
  const user = service.addUser();
  await service.logIn(user, USER_AGENTS[FIREFOX]);
  const { page } = await administrator(open);
  await find(page, user.username);
  await followLink(page, 'Events of this user');
  assert.equal(await row(page, 'Signed in').count(), 1);
  assert.equal(await row(page, 'User created').count(), 1);
  await field(page, 'kind').selectOption({ label: 'Signed in' });
  await field(page, 'since').fill('2020-01-02T03:04');
  await pressButton(page, 'Filter');
  assert.equal(await row(page, 'User created').count(), 0);
  assert.equal(await row(page, 'Signed in').count(), 1);
  assert.equal(await field(page, 'since').inputValue(), '2020-01-02T03:04');
  await followLink(page, 'To this user');
  assert.equal(await page.getByRole('heading', { level: 1 }).innerText(), user.username);
});

scenario('others find nothing there, and are led back after signing in', async (open) => {
  const user = service.addUser();
  const person = await open();
  person.expect(/status of 404/);
  await goTo(person.page, '/admin/events?kind=logout');
  assert.equal(new URL(person.page.url()).pathname, '/login');
  await field(person.page, 'username').fill(user.username);
  await field(person.page, 'password').fill(user.password);
  await pressButton(person.page, 'Sign in');
  isAt(person.page, `${service.url}/admin/events?kind=logout`);
  assert.match(await person.page.locator('main').innerText(), /There is nothing here/);
});

scenario('all of it can be done with a keyboard', async (open) => {
  const user = service.addUser();
  const { page } = await administrator(open);
  /** Goes on with the Tab key to what has this text. */
  const tabTo = async (text) => {
    for (let presses = 0; presses < 60; presses += 1) {
      await page.keyboard.press('Tab');
      const focused = await page.evaluate(() => {
        const { id, innerText } = document.activeElement;
        const style = getComputedStyle(document.activeElement);
        return { name: innerText || id, outlined: style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2 };
      });
      if (focused.name === text) {
        assert.ok(focused.outlined, `one sees that ${text} has the focus`);
        return;
      }
    }
    assert.fail(`${text} cannot be reached`);
  };
  await tabTo('q');
  await page.keyboard.type(user.username);
  await loads(page, page.keyboard.press('Enter'));
  await tabTo(user.username);
  await loads(page, page.keyboard.press('Enter'));
  await tabTo('Disable');
  await loads(page, page.keyboard.press('Enter'));
  await tabTo('Cancel');
  await tabTo('Disable');
  await loads(page, page.keyboard.press('Enter'));
  assert.match(await says(page), /disabled/);
  assert.equal(await button(page, 'Save changes').count(), 1);
});
