// Everything by keyboard, with the focus always in sight.
import assert from 'node:assert/strict';
import { authenticator } from './authenticator.js';
import { FIREFOX, SAFARI, USER_AGENTS, isAt, loads, scenario, signIn, startService, until } from './support.js';

const service = await startService();

/** What has the focus, as a screen reader would call it, and whether eyes can see that it has. */
const focused = (page) =>
  page.evaluate(() => {
    const element = document.activeElement;
    if (element === document.body) return null;
    const { outlineStyle, outlineWidth, outlineColor } = getComputedStyle(element);
    const { top, bottom, height } = element.getBoundingClientRect();
    return {
      name: element.matches('input') ? element.name : element.ariaLabel || element.innerText.trim(),
      isMarked: outlineStyle !== 'none' && parseFloat(outlineWidth) >= 2 && !/, 0\)$|transparent/.test(outlineColor),
      // Browsers scroll by whole pixels.
      isInSight: height > 0 && top > -1 && bottom < innerHeight + 1,
    };
  });

/** Presses Tab until the focus is on what `name` matches. */
async function tabTo(page, name) {
  const passed = [];
  for (let presses = 0; presses < 30; presses += 1) {
    await page.keyboard.press('Tab');
    const now = await focused(page);
    if (now === null) continue;
    assert.ok(now.isMarked, `the focus on ${now.name} is not seen`);
    await until(`${now.name} comes into sight`, async () => (await focused(page)).isInSight);
    if (name.test(now.name)) return;
    passed.push(now.name);
  }
  assert.fail(`${name} is none of ${passed.join(', ')}`);
}

async function type(page, name, text) {
  await tabTo(page, name);
  await page.keyboard.type(text);
}

const press = (page, key) => loads(page, page.keyboard.press(key));

for (const [width, height] of [
  [1280, 800],
  [320, 480],
]) {
  scenario(`a person with a keyboard gets through everything in a window of ${width} px`, async (open) => {
    const user = service.addUser();
    const [firefox, safari] = [
      await service.logIn(user, USER_AGENTS[FIREFOX]),
      await service.logIn(user, USER_AGENTS[SAFARI]),
    ];
    const person = await open({ viewport: { width, height } });
    const { page } = person;
    person.expect(/status of 401/);

    await page.goto(`${service.url}/login`);
    await type(page, /^username$/, user.username);
    await type(page, /^password$/, 'not the password');
    await press(page, 'Enter');
    const alert = page.getByRole('alert');
    assert.ok(await alert.evaluate((element) => element === document.activeElement));
    await type(page, /^password$/, user.password);
    await tabTo(page, /^remember$/);
    await page.keyboard.press('Space');
    await tabTo(page, /^Sign in$/);
    await press(page, 'Enter');
    isAt(page, `${service.url}/sessions`);
    assert.ok((await person.cookie(service.url)).expires > 0, 'the box was ticked');

    await tabTo(page, new RegExp(`^Sign out[^]*${FIREFOX}`));
    await press(page, 'Space');
    assert.deepEqual([await service.isLive(firefox), await service.isLive(safari)], [false, true]);

    await tabTo(page, /^Sign out everywhere else$/);
    await press(page, 'Enter');
    // The first stop is the safe way.
    await tabTo(page, /./);
    await press(page, 'Enter');
    isAt(page, `${service.url}/sessions`);
    assert.equal(await service.isLive(safari), true);
    await tabTo(page, /^Sign out everywhere else$/);
    await press(page, 'Space');
    await tabTo(page, /^Sign out everywhere else$/);
    await press(page, 'Space');
    assert.equal(await service.isLive(safari), false);

    await tabTo(page, /^Change password$/);
    await press(page, 'Enter');
    const next = 'a wholly new passphrase';
    await type(page, /^current_password$/, user.password);
    await type(page, /^new_password$/, next);
    await tabTo(page, /^Change password$/);
    await press(page, 'Space');
    assert.equal(new URL(page.url()).pathname, '/sessions');

    const { value: token } = await person.cookie(service.url);
    await tabTo(page, /^Sign out$/);
    await press(page, 'Enter');
    await tabTo(page, /^Sign out$/);
    await press(page, 'Space');
    assert.equal(new URL(page.url()).pathname, '/login');
    assert.equal(await service.isLive(token), false);

    await page.goto(`${service.url}/login`);
    await type(page, /^username$/, user.username);
    await type(page, /^password$/, next);
    await press(page, 'Enter');
    isAt(page, `${service.url}/sessions`);
  });

  scenario(`a person with a keyboard sets up a second factor in a window of ${width} px, and uses it`, async (open) => {
    const user = service.addUser();
    const person = await open({ viewport: { width, height } });
    const { page } = person;
    person.expect(/status of 401/);
    const isAnnounced = () => page.getByRole('alert').evaluate((element) => element === document.activeElement);

    await signIn(person, service, user);
    await tabTo(page, /^Second factor$/);
    await press(page, 'Enter');
    await type(page, /^current_password$/, user.password);
    await press(page, 'Enter');
    const app = authenticator(await page.locator('.secret').innerText());
    await type(page, /^code$/, app.wrongCode());
    await press(page, 'Enter');
    assert.ok(await isAnnounced());
    await type(page, /^code$/, await app.code());
    await tabTo(page, /^Switch on$/);
    await press(page, 'Space');
    const [paper] = await page.locator('.codes li').allInnerTexts();
    await tabTo(page, /^I have kept them$/);
    await press(page, 'Enter');
    isAt(page, `${service.url}/sessions`);

    await page.goto(`${service.url}/second-factor`);
    await type(page, /^current_password$/, user.password);
    await type(page, /^code$/, await app.code());
    await press(page, 'Enter');
    assert.equal(await page.locator('.secret').count(), 1, 'the Enter key does what changes nothing yet');
    await tabTo(page, /^Cancel$/);
    await press(page, 'Enter');
    isAt(page, `${service.url}/second-factor`);

    await person.context.clearCookies();
    await page.goto(`${service.url}/login`);
    await type(page, /^username$/, user.username);
    await type(page, /^password$/, user.password);
    await press(page, 'Enter');
    await type(page, /^code$/, app.wrongCode());
    await tabTo(page, /^Sign in$/);
    await press(page, 'Space');
    assert.ok(await isAnnounced());
    await type(page, /^code$/, paper.toLowerCase());
    await press(page, 'Enter');
    isAt(page, `${service.url}/sessions?recovery_code_used=1`);

    await page.goto(`${service.url}/second-factor`);
    await type(page, /^current_password$/, user.password);
    await type(page, /^code$/, await app.code());
    await tabTo(page, /^Switch off$/);
    await press(page, 'Space');
    assert.match(await page.getByRole('status').innerText(), /second factor is off/);
  });
}
