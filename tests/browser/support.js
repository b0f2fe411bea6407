// What the browser tests share: one browser, the people who use it, and what they do on the pages.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import net from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { startSessiond, startStub } from '../../clients/js/test/servers.js';
import { authenticator } from './authenticator.js';

export const requireModule = createRequire(`${process.env.MODULES}/`);
const { chromium } = requireModule('playwright-core');

const COOKIE = '_me_sess';

/** What other browsers than ours call themselves. */
export const FIREFOX = 'Firefox';
export const SAFARI = 'Safari';
export const USER_AGENTS = {
  [FIREFOX]: 'Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0',
  [SAFARI]:
    'Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 Mobile/15E148 Safari/604.1',
};

/** What is stopped when the tests of a file have ended, whether they passed or not. */
const stops = [];
export const atTheEnd = (stop) => stops.push(stop);
after(async () => {
  for (const stop of stops) await stop();
});

const launched = new Map();

/**
 * Starts Chromium once a file: without its windows, which takes less than half of the processor time, or the whole of it, which
 * alone keeps pages for going back to.
 */
function launch(wholeBrowser) {
  const executablePath = wholeBrowser ? process.env.CHROMIUM : process.env.CHROMIUM_SHELL;
  if (!launched.has(executablePath)) {
    const browser = chromium.launch({
      executablePath,
      chromiumSandbox: process.getuid() !== 0,
      // Playwright turns the back/forward cache off. People have it.
      ignoreDefaultArgs: ['--disable-back-forward-cache'],
    });
    launched.set(executablePath, browser);
    atTheEnd(async () => (await browser).close());
  }
  return launched.get(executablePath);
}

/**
 * Tests the same steps in browsers with scripts and in ones without. Whatever a browser complains of fails the test, unless
 * the steps say that they expect it.
 *
 * @param {string} name
 * @param {[{scripts?: boolean[]}, (open: (options?: object) => Promise<object>) => Promise<void>]} rest
 *   Options, which may be left out, and the steps. `open` opens the browser of one more person, with the options of Playwright
 *   for a context, and `wholeBrowser` for one that keeps pages for going back to.
 */
export function scenario(name, ...rest) {
  const [{ scripts = [true, false] }, steps] = rest.length > 1 ? rest : [{}, ...rest];
  for (const javaScriptEnabled of scripts) {
    test(`${name}, ${javaScriptEnabled ? 'with' : 'without'} scripts`, { timeout: 120_000 }, async () => {
      const people = [];
      const open = async (options) => {
        const person = await openBrowser({ javaScriptEnabled, ...options });
        people.push(person);
        return person;
      };
      try {
        await steps(open);
        for (const person of people) person.hasOnlyExpectedComplaints();
      } finally {
        await Promise.all(people.map(({ context }) => context.close()));
      }
    });
  }
}

/** Whether every place in the stack of an error lies in a page that the browser shows in place of one that it refuses. */
function isOfTheBrowserItself(stack) {
  const places = stack.match(/[a-z-]+:\/\/[^\s)]+/g) ?? [];
  return places.length > 0 && places.every((place) => place.startsWith('chrome-error://'));
}

/** A browser with a page and without cookies, which keeps what it complains of. */
async function openBrowser({ wholeBrowser = false, ...options }) {
  const browser = await launch(wholeBrowser);
  const context = await browser.newContext({ locale: 'en-US', ...options });
  context.setDefaultTimeout(15_000);
  const complaints = [];
  const expected = new Map();
  const tolerated = [];
  context.on('console', (message) => {
    const complains = ['error', 'warning'].includes(message.type());
    if (complains) complaints.push(`${message.text()} at ${message.location().url}`);
  });
  context.on('weberror', (error) => {
    const { stack } = error.error();
    // Chromium shows a page of its own in place of one that it refuses, and that page's script fails if it is closed meanwhile.
    if (!isOfTheBrowserItself(stack)) complaints.push(stack);
  });
  context.on('requestfailed', (request) => {
    const { errorText } = request.failure();
    // A person who goes on does not wait for the icon.
    const isCutShort = errorText === 'net::ERR_ABORTED' && !request.isNavigationRequest();
    if (!isCutShort) complaints.push(`${errorText} at ${request.url()}`);
  });
  await context.addInitScript(() => {
    addEventListener('securitypolicyviolation', ({ violatedDirective, blockedURI }) => {
      console.error(`securitypolicyviolation: ${violatedDirective} ${blockedURI}`);
    });
  });
  return {
    context,
    page: await context.newPage(),
    keepsPages: wholeBrowser,
    /** Says what the browser is to complain of at least once. */
    expect(...patterns) {
      for (const pattern of patterns) expected.set(pattern, false);
    },
    /** Says what the browser may complain of. */
    tolerate(...patterns) {
      tolerated.push(...patterns);
    },
    hasOnlyExpectedComplaints() {
      const surprises = complaints.filter((complaint) => {
        if (tolerated.some((pattern) => pattern.test(complaint))) return false;
        const patterns = [...expected.keys()].filter((pattern) => pattern.test(complaint));
        for (const pattern of patterns) expected.set(pattern, true);
        return patterns.length === 0;
      });
      assert.deepEqual(surprises, [], 'complaints of the browser');
      const missing = [...expected].filter(([, seen]) => !seen).map(([pattern]) => pattern);
      assert.deepEqual(missing, [], 'complaints that were expected');
    },
    /** The session's cookie, as the browser would send it to a URL. */
    async cookie(url) {
      return (await context.cookies(url)).find(({ name }) => name === COOKIE);
    },
  };
}

/** Runs a sessiond that browsers know as `localhost`, or as a `host` below it. */
export async function startService({ host = 'localhost', port, ...settings } = {}) {
  const folder = mkdtempSync(path.join(tmpdir(), 'sessiond-browser-'));
  const listening = port ?? (await freePort());
  const start = () =>
    startSessiond({
      SESSIOND_DATABASE_URL: `sqlite://${folder}/sessiond.db`,
      SESSIOND_LISTEN: `127.0.0.1:${listening}`,
      SESSIOND_PUBLIC_URL: `http://${host}:${listening}`,
      ...settings,
    });
  let server = await start();
  const pause = async () => {
    await server?.stop();
    server = undefined;
  };
  atTheEnd(async () => {
    await pause();
    rmSync(folder, { recursive: true });
  });
  const call = async (route, { token, userAgent = 'curl/8.0', body }) => {
    const headers = { 'User-Agent': userAgent, 'Content-Type': 'application/json' };
    if (token) headers.Authorization = `Bearer ${token}`;
    return fetch(`${server.url}${route}`, { method: body ? 'POST' : 'GET', headers, body: body && JSON.stringify(body) });
  };
  const change = async (route, options) => {
    const response = await call(route, options);
    assert.equal(response.status, 200);
    return response.json();
  };
  /** Signs a user in without a browser. */
  const logIn = async (user, userAgent) =>
    (await change('/api/v1/auth/login', { userAgent, body: { ...user, transport: 'token' } })).token;
  /** Ends a session without a browser. */
  const logOut = (token) => change('/api/v1/auth/logout', { token, body: {} });
  return {
    url: `http://${host}:${listening}`,
    port: listening,
    addUser: () => server.addUser(),
    resetPassword: (user) => server.resetPassword(user),
    logIn,
    logOut,
    /** Sets up a user's second factor without a browser. Nobody is signed in afterwards. */
    async setUpSecondFactor(user) {
      const route = '/api/v1/auth/second-factor';
      const token = await logIn(user);
      const { enrolment, secret } = await change(route, { token, body: { current_password: user.password } });
      const app = authenticator(secret);
      const confirmed = await change(`${route}/confirm`, { token, body: { enrolment, code: await app.code() } });
      await logOut(confirmed.token);
      return { app, recoveryCodes: confirmed.recovery_codes };
    },
    async isLive(token) {
      const { status } = await call('/verify', { token });
      assert.ok(status === 200 || status === 401, `the check was answered with ${status}`);
      return status === 200;
    },
    async sessions(token) {
      return (await (await call('/api/v1/auth/sessions?limit=100', { token })).json()).sessions;
    },
    pause,
    async restart() {
      await pause();
      server = await start();
    },
  };
}

/** Runs another server, whose `origin` can be that of any host of this machine. */
export async function startSite(handle) {
  const site = await startStub(handle);
  atTheEnd(site.stop);
  site.origin = (host = 'localhost') => site.url.replace('127.0.0.1', host);
  return site;
}

export function answerWith(response, html) {
  const page = `<!doctype html><title>a page</title><link rel="icon" href="data:,">${html}`;
  response.writeHead(200, { 'Content-Type': 'text/html' }).end(page);
}

export async function freePort() {
  const server = net.createServer();
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** Waits until `probe` answers with something that counts as true, and returns that. */
export async function until(what, probe) {
  for (const end = Date.now() + 15_000; Date.now() < end; await setTimeout(20)) {
    const answer = await probe();
    if (answer) return answer;
  }
  return assert.fail(`${what}: not within 15 seconds`);
}

/** Does something that loads a page, and waits for that page. */
export async function loads(page, act) {
  await Promise.all([page.waitForEvent('load'), act]);
}

export const button = (page, name) => page.getByRole('button', { name, exact: true });
export const link = (page, name) => page.getByRole('link', { name, exact: true });
export const field = (page, name) => page.locator(`[name="${name}"]`);

export const pressButton = (page, name) => loads(page, button(page, name).click());
export const followLink = (page, name) => loads(page, link(page, name).click());

/** Fills in the form of a login page, and sends it. */
export async function sendLogin(page, { username, password, remember = false }) {
  await field(page, 'username').fill(username);
  await field(page, 'password').fill(password);
  await field(page, 'remember').setChecked(remember);
  await pressButton(page, 'Sign in');
}

/** Signs in on the page of sessions. */
export async function signIn(person, service, user) {
  await person.page.goto(`${service.url}/login`);
  await sendLogin(person.page, user);
  isAt(person.page, `${service.url}/sessions`);
}

export function isAt(page, url) {
  assert.equal(page.url(), url);
}

/** Asserts that the next page which a person asks for is the login page. */
export async function hasLostAccess({ page }, service) {
  await page.goto(`${service.url}/sessions`);
  assert.equal(new URL(page.url()).pathname, '/login');
  assert.ok(await button(page, 'Sign in').isVisible());
}

/** Goes back as far as a whole browser can, and looks at each page that it shows. */
export async function hasNothingBehind({ context, page, keepsPages }, secrets) {
  assert.ok(keepsPages, 'this is asked of a browser that keeps pages');
  const devtools = await context.newCDPSession(page);
  const index = async () => (await devtools.send('Page.getNavigationHistory').catch(() => ({}))).currentIndex;
  const last = await index();
  assert.ok(last >= 3, 'there is something to go back to');
  // The first entry is the empty page of a new tab.
  for (let entry = last - 1; entry > 0; entry -= 1) {
    // The browser may show what it kept without loading it, so there is no `load` to wait for. It asks before it sends a form
    // again, and shows a page of its own meanwhile.
    await page.goBack({ waitUntil: 'commit' }).catch(({ message }) => assert.match(message, /net::ERR_CACHE_MISS/));
    await until('the browser goes back', async () => (await index()) === entry);
    const html = await until('the page stands still', () => page.content().catch(() => ''));
    for (const secret of secrets) assert.ok(!html.includes(secret), `${page.url()} shows ${secret}`);
  }
}

/** The card of one session in the list. */
export const card = (page, text) => page.getByRole('listitem').filter({ hasText: text });

/** The button that ends the session of one device. */
export const endButton = (page, device) => page.getByRole('button', { name: new RegExp(`^Sign out\\b.*${device}`) });
