// The pages of the second factor for everybody.
import { authenticator } from './authenticator.js';
import { canBeUsedByEverybody, send } from './everybody.js';
import { FIREFOX, USER_AGENTS, field, loads, startService } from './support.js';

const ADMIN = { username: 'admin', password: 'an administrator of these tests' };
const service = await startService({ SESSIOND_ADMIN_PASSWORD: ADMIN.password });

async function logIn(page, { username, password }) {
  await page.goto(`${service.url}/login`);
  await field(page, 'username').fill(username);
  await field(page, 'password').fill(password);
  await send(page, 'password');
}

async function enter(page, code) {
  await field(page, 'code').fill(code);
  await send(page, 'code');
}

/** Fills in the form about the second factor, and sends it by the button with this value. */
async function ask(page, act, password, code) {
  await page.goto(`${service.url}/second-factor`);
  await field(page, 'current_password').fill(password);
  if (code) await field(page, 'code').fill(code);
  await loads(page, page.locator(`[name="act"][value="${act}"]`).click());
}

/** Begins to set one up. Returns the authenticator that its secret was typed into. */
async function begin(page, user) {
  await logIn(page, user);
  await ask(page, 'start', user.password);
  return authenticator(await page.locator('.secret').innerText());
}

/** Signs in with a second factor. Returns the recovery codes that are left. */
async function logInWithFactor(page, user) {
  const { recoveryCodes } = await service.setUpSecondFactor(user);
  await logIn(page, user);
  await enter(page, recoveryCodes[0]);
  return recoveryCodes.slice(1);
}

/** The page of a user with a second factor, or of an act about them. */
async function goToUser(page, user, act = '') {
  const { recoveryCodes } = await service.setUpSecondFactor(user);
  await service.logIn({ ...user, code: recoveryCodes[0] }, USER_AGENTS[FIREFOX]);
  await logIn(page, ADMIN);
  await page.goto(`${service.url}/admin/users?q=${user.username}`);
  await page.goto((await page.locator('td a').first().evaluate(({ href }) => href)) + act);
}

const PAGES = {
  'the offer of a second factor': {
    go: async ({ page }, user) => {
      await logIn(page, user);
      await page.goto(`${service.url}/second-factor`);
    },
    has: 'main:not(:has([name="code"])) .primary[value="start"]',
  },
  'the offer of a second factor after a wrong password': {
    go: async (person, user) => {
      person.expect(/status of 401/);
      await logIn(person.page, user);
      await ask(person.page, 'start', 'not the password');
    },
    has: 'main:not(:has([name="code"])) [role="alert"]',
  },
  'the secret of a second factor': {
    go: ({ page }, user) => begin(page, user),
    has: 'svg.qr[role="img"]',
  },
  'the question for the first code after a wrong one': {
    go: async (person, user) => {
      person.expect(/status of 401/);
      const app = await begin(person.page, user);
      await enter(person.page, app.wrongCode());
    },
    has: 'main:not(:has(.secret)):has([name="enrolment"]) [role="alert"]',
  },
  'the first recovery codes': {
    go: async ({ page }, user) => {
      const app = await begin(page, user);
      await enter(page, await app.code());
    },
    has: 'main:has([role="status"]) .codes li:nth-child(10)',
  },
  'new recovery codes': {
    go: async ({ page }, user) => {
      const [code] = await logInWithFactor(page, user);
      await ask(page, 'codes', user.password, code);
    },
    has: 'main:not(:has([role="status"])) .codes li:nth-child(10)',
  },
  'a second factor in force': {
    go: async ({ page }, user) => {
      await logInWithFactor(page, user);
      await page.goto(`${service.url}/second-factor`);
    },
    has: '[name="code"] ~ .stack .danger',
  },
  'a second factor in force after a wrong code': {
    go: async (person, user) => {
      person.expect(/status of 401/);
      await logInWithFactor(person.page, user);
      await ask(person.page, 'remove', user.password, 'no code');
    },
    has: 'main:has(.stack) [role="alert"]',
  },
  'the list of sessions after a second factor was switched off': {
    go: async ({ page }, user) => {
      const [code] = await logInWithFactor(page, user);
      await ask(page, 'remove', user.password, code);
    },
    has: 'main:has([role="listitem"], li) [role="status"]',
  },
  'the question for a code': {
    go: async ({ page }, user) => {
      await service.setUpSecondFactor(user);
      await logIn(page, user);
    },
    has: 'main:not(:has([role="alert"], [name="password"])) [name="code"]',
  },
  'the question for a code after a wrong one': {
    go: async (person, user) => {
      person.expect(/status of 401/);
      const { app } = await service.setUpSecondFactor(user);
      await logIn(person.page, user);
      await enter(person.page, app.wrongCode());
    },
    has: 'main:not(:has([name="password"])) [role="alert"]',
  },
  'the sessions after a sign-in by a recovery code': {
    go: ({ page }, user) => logInWithFactor(page, user),
    has: '[role="status"] a[href="/second-factor"]',
  },
  'the login page that asks for a code and a new password': {
    go: async (person, user) => {
      person.expect(/status of 401/);
      await service.setUpSecondFactor(user);
      await logIn(person.page, { ...user, password: service.resetPassword(user) });
    },
    has: '[name="new_password"] ~ [name="code"]',
  },
  'a user with a second factor': {
    go: ({ page }, user) => goToUser(page, user),
    has: '.acts a[href$="/second-factor"]',
  },
  'the question before a second factor is removed': {
    go: ({ page }, user) => goToUser(page, user, '/second-factor'),
    has: 'main a ~ button',
  },
};

canBeUsedByEverybody(PAGES, () => service.addUser());
