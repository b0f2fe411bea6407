// Every page for everybody, what an operator can change of the pages, and how small the first of them is.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { AXE, canBeUsedByEverybody, send, violations } from './everybody.js';
import {
  FIREFOX,
  SAFARI,
  USER_AGENTS,
  atTheEnd,
  field,
  loads,
  scenario,
  startService,
  startSite,
  until,
} from './support.js';

const ADMIN = { username: 'admin', password: 'an administrator of these tests' };

// Browsers stay where they are when they are answered with 204.
const application = await startSite((request, response) => response.writeHead(204).end());
const service = await startService({
  SESSIOND_ALLOWED_RETURN_ORIGINS: [application.origin(), application.origin('app.localhost')].join(','),
  SESSIOND_ADMIN_PASSWORD: ADMIN.password,
});

async function logIn(page, { username, password }, returnTo = '') {
  await page.goto(`${service.url}/login?${new URLSearchParams({ return_to: returnTo })}`);
  await field(page, 'username').fill(username);
  await field(page, 'password').fill(password);
  await send(page, 'password');
}

async function changePassword(page, current, next) {
  await page.goto(`${service.url}/password`);
  await field(page, 'current_password').fill(current);
  await field(page, 'new_password').fill(next);
  await send(page, 'new_password');
}

async function askAbout(page, user, scope) {
  await service.logIn(user, USER_AGENTS[FIREFOX]);
  await logIn(page, user);
  await loads(page, page.locator(`[name="revoke"][value="${scope}"]`).click());
}

/** A page of administrators; `user` is to be found there, signed in elsewhere. */
async function administrate(page, user, path) {
  await service.logIn(user, USER_AGENTS[FIREFOX]);
  await logIn(page, ADMIN);
  await page.goto(`${service.url}${path}`);
}

/** The page of a user, or of an act about them. */
async function goToUser(page, user, act = '') {
  await administrate(page, user, `/admin/users?q=${user.username}`);
  await page.goto((await page.locator('td a').first().evaluate(({ href }) => href)) + act);
}

/** How to come to each page, and what only that page has. */
const PAGES = {
  'the login page': {
    go: ({ page }) => page.goto(`${service.url}/login`),
    has: 'form [name="password"]',
  },
  'the login page after a wrong password': {
    go: (person, user) => {
      person.expect(/status of 401/);
      return logIn(person.page, { ...user, password: 'not the password' });
    },
    has: '[role="alert"]',
  },
  'the login page after signing out': {
    go: async ({ page }, user) => {
      await logIn(page, user);
      await page.goto(`${service.url}/logout`);
      await loads(page, page.getByRole('button').click());
    },
    has: '[role="status"]',
  },
  'the list of one session': {
    go: ({ page }, user) => logIn(page, user),
    has: 'li:only-child a[href="/logout"]',
  },
  'the list of many sessions with a notice': {
    go: async ({ page }, user) => {
      for (const userAgent of [USER_AGENTS[FIREFOX], USER_AGENTS[SAFARI], 'curl/8.0', '', 'w'.repeat(200)]) {
        await service.logIn(user, userAgent);
      }
      await logIn(page, user);
      await loads(page, page.getByRole('listitem').getByRole('button').first().click());
    },
    has: ':has([role="status"]) li:nth-child(5)',
  },
  'the question before signing out everywhere else': {
    go: ({ page }, user) => askAbout(page, user, 'others'),
    has: 'a[href="/sessions"] ~ button',
  },
  'the question before signing out everywhere': {
    go: ({ page }, user) => askAbout(page, user, 'all'),
    has: 'a[href="/sessions"] ~ button',
  },
  'the question before signing out': {
    go: async ({ page }, user) => {
      await logIn(page, user);
      await page.goto(`${service.url}/logout`);
    },
    has: 'a[href="/sessions"] ~ button',
  },
  'the change of a password': {
    go: async ({ page }, user) => {
      await logIn(page, user);
      await page.goto(`${service.url}/password`);
    },
    has: '[name="new_password"]',
  },
  'the change of a password after a wrong one': {
    go: async (person, user) => {
      person.expect(/status of 401/);
      await logIn(person.page, user);
      await changePassword(person.page, 'not the password', 'a wholly new passphrase');
    },
    has: '[role="alert"]',
  },
  'the change of a password after a bad one': {
    go: async (person, user) => {
      person.expect(/status of 422/);
      await logIn(person.page, user);
      await changePassword(person.page, user.password, 'short');
    },
    has: '[role="alert"]',
  },
  'the list after a change of the password': {
    go: async ({ page }, user) => {
      await logIn(page, user);
      await changePassword(page, user.password, 'a wholly new passphrase');
    },
    has: '[role="status"]',
  },
  'the page of an error': {
    go: (person) => {
      person.expect(/status of 404/);
      return person.page.goto(`${service.url}/nothing`);
    },
    has: 'a[href="/login"]',
  },
  'the page on the way to an application': {
    go: async (person, user) => {
      person.expect(/ERR_ABORTED/);
      const before = application.requests;
      await logIn(person.page, user, application.origin());
      await until('the browser tries to go on', () => application.requests > before);
    },
    has: 'head > meta[http-equiv="refresh"]',
  },
  'the page about an application out of reach': {
    go: async ({ page }, user) => {
      await logIn(page, user);
      const returnTo = application.origin('app.localhost');
      await page.goto(`${service.url}/login?${new URLSearchParams({ return_to: returnTo })}`);
    },
    has: 'a[href="/sessions"]:only-child',
  },
  'the users': {
    go: ({ page }, user) => administrate(page, user, '/admin/users'),
    has: 'table:has(.badge)',
  },
  'a search that finds no user': {
    go: ({ page }, user) => administrate(page, user, '/admin/users?q=nobody'),
    has: 'form[role="search"]:not(:has(~ table))',
  },
  'a user': {
    go: ({ page }, user) => goToUser(page, user),
    has: '.acts',
  },
  'the form for a new user after a name that is taken': {
    go: async (person, user) => {
      person.expect(/status of 409/);
      await administrate(person.page, user, '/admin/users/new');
      await field(person.page, 'username').fill(user.username);
      await send(person.page, 'username');
    },
    has: '[role="alert"]',
  },
  'the question before a user is deleted': {
    go: ({ page }, user) => goToUser(page, user, '/delete'),
    has: 'main a ~ button',
  },
  'a one-time password': {
    go: async ({ page }, user) => {
      await goToUser(page, user, '/password');
      await loads(page, page.locator('main button').click());
    },
    has: '.secret',
  },
  'the sessions of all users': {
    go: ({ page }, user) => administrate(page, user, '/admin/sessions?user_agent=firefox&limit=1'),
    has: 'td.act',
  },
  'a filter of sessions that makes no sense': {
    go: (person, user) => {
      person.expect(/status of 422/);
      return administrate(person.page, user, '/admin/sessions?ip=somewhere');
    },
    has: '[role="alert"]',
  },
  'the question before everybody is signed out': {
    go: ({ page }, user) => administrate(page, user, '/admin/sessions/revoke?all=true'),
    has: 'main a ~ button',
  },
  'the audit': {
    go: ({ page }, user) => administrate(page, user, '/admin/events?limit=5'),
    has: 'main select',
  },
  'the login page that asks for the password once more': {
    go: ({ page }, user) => administrate(page, user, '/login?again=1&return_to=/admin/users'),
    has: '[name="username"][value="admin"]',
  },
};

canBeUsedByEverybody(PAGES, () => service.addUser());

scenario("an operator's name, colour and logo stand on the pages", { scripts: [true] }, async (open) => {
  const logo = path.join(mkdtempSync(path.join(tmpdir(), 'sessiond-logo-')), 'logo.svg');
  atTheEnd(() => rmSync(path.dirname(logo), { recursive: true }));
  writeFileSync(
    logo,
    '<svg xmlns="http://www.w3.org/2000/svg" width="120" height="32"><rect width="120" height="32"/></svg>',
  );
  const branded = await startService({
    SESSIOND_BRAND_NAME: 'Käse & <Brot>',
    SESSIOND_ACCENT_COLOR: '#8a1c5a',
    SESSIOND_LOGO_FILE: logo,
  });
  const { context, page } = await open();
  await context.addInitScript({ path: AXE });
  await page.goto(`${branded.url}/login`);
  assert.match(await page.title(), /Käse & <Brot>/);
  const image = page.getByRole('img', { name: 'Käse & <Brot>' });
  assert.deepEqual(
    await image.evaluate(({ naturalWidth, naturalHeight }) => [naturalWidth, naturalHeight], null),
    [120, 32],
  );
  const colour = (scheme) =>
    page
      .emulateMedia({ colorScheme: scheme })
      .then(() => page.getByRole('button').evaluate((element) => getComputedStyle(element).backgroundColor));
  assert.equal(await colour('light'), 'rgb(138, 28, 90)');
  assert.deepEqual(await violations(page), []);
  assert.notEqual(await colour('dark'), 'rgb(138, 28, 90)', 'it is lighter on dark pages');
  assert.deepEqual(await violations(page), []);
});

scenario('the first page is small, and everything on it is ours', async (open) => {
  const { page } = await open();
  const responses = [];
  page.on('response', (response) => responses.push(response));
  await page.goto(`${service.url}/login`);
  const sizes = await Promise.all(responses.map(async (response) => (await response.body()).length));
  assert.ok(responses.length >= 2, 'the page and its stylesheet');
  assert.ok(sizes.reduce((sum, size) => sum + size) < 15_000, `${sizes} bytes`);
  for (const response of responses) {
    assert.equal(new URL(response.url()).origin, service.url);
    assert.notEqual(response.request().resourceType(), 'script');
  }
  assert.ok((await page.locator('link[rel="icon"]').getAttribute('href')).startsWith('/assets/'));
});
