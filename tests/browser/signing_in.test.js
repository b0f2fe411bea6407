// Signing in, and what browsers, password managers and screen readers are told meanwhile.
import assert from 'node:assert/strict';
import { button, field, followLink, isAt, pressButton, scenario, sendLogin, signIn, startService } from './support.js';

const service = await startService();

scenario('a person signs in with a cookie that no script can read', async (open) => {
  const user = service.addUser();
  const person = await open();
  await person.page.goto(service.url);
  isAt(person.page, `${service.url}/login`);
  await sendLogin(person.page, user);
  isAt(person.page, `${service.url}/sessions`);
  const { value, ...attributes } = await person.cookie(service.url);
  const expected = {
    name: '_me_sess',
    domain: 'localhost',
    path: '/',
    expires: -1,
    httpOnly: true,
    secure: true,
    sameSite: 'Lax',
  };
  assert.deepEqual(attributes, expected);
  assert.match(value, /^[\w-]{43}$/);
  assert.equal(await person.page.evaluate(() => document.cookie), '');
  assert.ok(!(await person.page.content()).includes(value), 'no page holds the token');
});

scenario('a person who is to be remembered keeps the cookie for thirty days', async (open) => {
  const user = service.addUser();
  const person = await open();
  await signIn(person, service, { ...user, remember: true });
  const { expires, ...attributes } = await person.cookie(service.url);
  const days = (expires - Date.now() / 1000) / (24 * 60 * 60);
  assert.ok(days > 29.9 && days <= 30, `${days} days`);
  assert.deepEqual([attributes.httpOnly, attributes.secure, attributes.sameSite], [true, true, 'Lax']);
});

scenario('a wrong password is announced, and the name does not have to be typed again', async (open) => {
  const user = service.addUser();
  const person = await open();
  const { page } = person;
  person.expect(/status of 401/);
  await page.goto(`${service.url}/login`);
  await sendLogin(page, { ...user, password: 'not the password', remember: true });
  const alert = page.getByRole('alert');
  assert.ok((await alert.textContent()).trim().length > 0);
  assert.ok(await alert.evaluate((element) => element === document.activeElement), 'focus is on the error');
  assert.deepEqual(
    [await field(page, 'username').inputValue(), await field(page, 'password').inputValue()],
    [user.username, ''],
  );
  assert.ok(await field(page, 'remember').isChecked());
  assert.equal(await person.cookie(service.url), undefined);
  await field(page, 'password').fill(user.password);
  await pressButton(page, 'Sign in');
  isAt(page, `${service.url}/sessions`);
});

scenario('an unknown name and a wrong password are refused in the same words', async (open) => {
  const { username } = service.addUser();
  const person = await open();
  person.expect(/status of 401/);
  const said = [];
  for (const name of [username, 'nobody']) {
    await person.page.goto(`${service.url}/login`);
    await sendLogin(person.page, { username: name, password: 'not the password' });
    said.push((await person.page.locator('main').innerText()).replace(name, 'name'));
  }
  assert.equal(said[0], said[1]);
});

scenario('a login page that was opened earlier signs in, too, and one session remains', async (open) => {
  const user = service.addUser();
  const person = await open();
  const tabs = [person.page, await person.context.newPage()];
  for (const tab of tabs) await tab.goto(`${service.url}/login`);
  const tokens = [];
  for (const tab of tabs) {
    await sendLogin(tab, user);
    isAt(tab, `${service.url}/sessions`);
    tokens.push((await person.cookie(service.url)).value);
  }
  await tabs[0].reload();
  isAt(tabs[0], `${service.url}/sessions`);
  assert.equal(await tabs[0].getByRole('listitem').count(), 1);
  assert.deepEqual(await Promise.all(tokens.map(service.isLive)), [false, true]);
});

scenario('a person who presses twice is signed in', async (open) => {
  const user = service.addUser();
  const person = await open();
  const { page } = person;
  // The browser gives up the first of the two.
  person.tolerate(/ERR_ABORTED/);
  await page.goto(`${service.url}/login`);
  await field(page, 'username').fill(user.username);
  await field(page, 'password').fill(user.password);
  await button(page, 'Sign in').dblclick();
  const signedIn = () => page.waitForURL(`${service.url}/sessions`);
  // A wait that began with the one that is given up ends with it.
  await signedIn().catch(signedIn);
  await page.reload();
  isAt(page, `${service.url}/sessions`);
  assert.ok(await service.isLive((await person.cookie(service.url)).value));
});

scenario('a login page that was opened before a restart signs in', async (open) => {
  const restarted = await startService();
  const user = restarted.addUser();
  const [signedIn, late] = [await open(), await open()];
  await signIn(signedIn, restarted, user);
  await late.page.goto(`${restarted.url}/login`);
  // A browser fetches the icon when it has nothing better to do, which may be while nothing listens.
  for (const person of [signedIn, late]) person.tolerate(/ERR_CONNECTION_REFUSED at .*\/assets\/icon-/);
  await restarted.restart();
  await sendLogin(late.page, user);
  isAt(late.page, `${restarted.url}/sessions`);
  await signedIn.page.reload();
  isAt(signedIn.page, `${restarted.url}/sessions`);
  assert.equal(await signedIn.page.getByRole('listitem').count(), 2);
});

scenario('who is signed in goes straight through', async (open) => {
  const user = service.addUser();
  const person = await open();
  await signIn(person, service, user);
  for (const path of ['/', '/login', '/login/', '/login?return_to=%2Fsessions']) {
    await person.page.goto(service.url + path);
    isAt(person.page, `${service.url}/sessions`);
  }
});

scenario('password managers and phones know the fields', async (open) => {
  const user = service.addUser();
  const person = await open();
  const { page } = person;
  const attributes = (name, ...names) =>
    field(page, name).evaluate((input, of) => of.map((attribute) => input.getAttribute(attribute)), names);
  const isReadable = async (name) => {
    const input = field(page, name);
    assert.ok(parseFloat(await input.evaluate((element) => getComputedStyle(element).fontSize)) >= 16, 'no zoom on iOS');
    const labels = await input.evaluate((element) => [...element.labels].map((label) => label.textContent.trim()));
    assert.ok(labels.length === 1 && labels[0].length > 0 && (await input.getAttribute('id')), `${name} has one label`);
  };

  await page.goto(`${service.url}/login`);
  assert.equal(await page.locator('form').count(), 1);
  const username = ['type', 'autocomplete', 'autocapitalize', 'autocorrect', 'spellcheck'];
  assert.deepEqual(await attributes('username', ...username), ['text', 'username', 'none', 'off', 'false']);
  assert.deepEqual(await attributes('password', 'type', 'autocomplete'), ['password', 'current-password']);
  for (const name of ['username', 'password']) await isReadable(name);

  await sendLogin(page, user);
  await followLink(page, 'Change password');
  assert.equal(await page.locator('form').count(), 1);
  assert.deepEqual(await attributes('username', 'autocomplete', 'readonly'), ['username', '']);
  assert.equal(await field(page, 'username').inputValue(), user.username);
  assert.deepEqual(await attributes('current_password', 'type', 'autocomplete'), ['password', 'current-password']);
  assert.deepEqual(await attributes('new_password', 'type', 'autocomplete'), ['password', 'new-password']);
  for (const name of ['username', 'current_password', 'new_password']) await isReadable(name);
});

for (const [accepted, language] of [
  ['de-AT,de;q=0.9,en;q=0.8', 'de'],
  ['de;q=0, en', 'en'],
  ['fr', 'en'],
  [';;;q=,,', 'en'],
]) {
  scenario(
    `a browser that prefers "${accepted}" is told that the page is in "${language}"`,
    { scripts: [false] },
    async (open) => {
      const person = await open({ locale: undefined, extraHTTPHeaders: { 'Accept-Language': accepted } });
      person.expect(/status of 404/);
      for (const path of ['/login', '/nothing']) {
        await person.page.goto(service.url + path);
        assert.equal(await person.page.locator('html').getAttribute('lang'), language);
        assert.equal((await person.page.getByText(language === 'de' ? 'Anmeld' : 'ign in').count()) > 0, true);
      }
      await person.page.goto(`${service.url}/login`);
      assert.equal(await button(person.page, language === 'de' ? 'Anmelden' : 'Sign in').count(), 1);
    },
  );
}
