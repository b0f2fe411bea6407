// Signing out of one's own browser.
import assert from 'node:assert/strict';
import {
  FIREFOX,
  USER_AGENTS,
  button,
  followLink,
  hasLostAccess,
  hasNothingBehind,
  isAt,
  link,
  loads,
  pressButton,
  scenario,
  signIn,
  startService,
} from './support.js';

const service = await startService();

scenario('signing out asks, ends the session and says so', async (open) => {
  const person = await open();
  const { page } = person;
  await signIn(person, service, service.addUser());
  const { value: token } = await person.cookie(service.url);
  await followLink(page, 'Sign out');
  isAt(page, `${service.url}/logout`);
  assert.equal(await service.isLive(token), true, 'it only asks');
  const safe = page.locator('main').locator('a, button').first();
  assert.equal(await safe.getAttribute('href'), '/sessions');
  await pressButton(page, 'Sign out');
  assert.equal(new URL(page.url()).pathname, '/login');
  assert.match(await page.getByRole('status').innerText(), /signed out/i);
  assert.equal(await service.isLive(token), false);
  assert.equal(await person.cookie(service.url), undefined);
});

scenario('a page that still asks ends up at the login page, too', async (open) => {
  const person = await open();
  await signIn(person, service, service.addUser());
  const late = await person.context.newPage();
  for (const page of [person.page, late]) await page.goto(`${service.url}/logout`);
  for (const page of [person.page, late]) {
    await pressButton(page, 'Sign out');
    assert.equal(new URL(page.url()).pathname, '/login');
    assert.match(await page.getByRole('status').innerText(), /signed out/i);
  }
  await late.goto(`${service.url}/logout`);
  isAt(late, `${service.url}/login`);
});

scenario('the Back button shows nothing of a person whose session was ended elsewhere', async (open) => {
  const user = service.addUser();
  await service.logIn(user, USER_AGENTS[FIREFOX]);
  const person = await open({ wholeBrowser: true });
  await signIn(person, service, user);
  await followLink(person.page, 'Change password');
  // The page that is on the screen when the browser learns of it can come back, so this is one without names.
  await person.page.goto(`${service.url}/logout`);
  await service.logOut((await person.cookie(service.url)).value);
  await hasLostAccess(person, service);
  await hasNothingBehind(person, [FIREFOX, user.username]);
});

for (const [way, buttons] of [
  ['out', [link, button]],
  ['out everywhere', [button, button]],
]) {
  scenario(`the Back button shows nothing of a person who has signed ${way}`, async (open) => {
    const user = service.addUser();
    await service.logIn(user, USER_AGENTS[FIREFOX]);
    const person = await open({ wholeBrowser: true });
    await signIn(person, service, user);
    assert.ok((await person.page.content()).includes(FIREFOX));
    for (const find of buttons) await loads(person.page, find(person.page, `Sign ${way}`).click());
    await hasNothingBehind(person, [FIREFOX, user.username]);
  });
}
