// An application behind nginx, set up as `examples/nginx` says, which only people who are signed in can reach.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import {
  answerWith,
  atTheEnd,
  freePort,
  isAt,
  pressButton,
  scenario,
  sendLogin,
  startService,
  startSite,
  until,
} from './support.js';

const TARGET = '/app/x?a=1&b=%26&c=+&d=%C3%A9&e=a%2Fb&return_to=z';

/** Runs nginx on a copy of the example, with other ports. */
async function startNginx({ front, application, sessiond }) {
  const folder = mkdtempSync(path.join(tmpdir(), 'sessiond-nginx-'));
  const ports = { 8000: front, 9000: application, 8080: sessiond };
  const example = readFileSync(new URL('../../examples/nginx/nginx.conf', import.meta.url), 'utf8');
  writeFileSync(
    path.join(folder, 'nginx.conf'),
    example.replace(/\b(8000|9000|8080)\b/g, (port) => ports[port]),
  );
  const options = ['-p', folder, '-c', 'nginx.conf', '-e', 'stderr', '-g', 'daemon off; master_process off;'];
  const child = spawn('nginx', options, { stdio: ['ignore', 'ignore', 'inherit'] });
  const exited = once(child, 'exit');
  atTheEnd(async () => {
    child.kill();
    await exited;
    rmSync(folder, { recursive: true });
  });
  await until('nginx listens', async () => {
    assert.equal(child.exitCode, null, 'nginx has ended');
    const socket = net.connect(front, '127.0.0.1');
    return once(socket, 'connect').then(
      () => socket.destroy() && true,
      () => false,
    );
  });
}

/** What the application was sent. */
let sent;
/** Its open streams. */
let streams;
const application = await startSite((request, response) => {
  const { method, url, headers } = request;
  sent.push({ method, url, user: headers['remote-user'] });
  if (url !== '/app/events')
    return answerWith(response, '<form method="post" action="/app/send"><button>Send</button></form>');
  response.writeHead(200, { 'Content-Type': 'text/event-stream' }).write('retry: 10\ndata: hello\n\n');
  return streams.push(response);
});
const front = await freePort();
const origin = `http://localhost:${front}`;
const service = await startService({ SESSIOND_PUBLIC_URL: origin, SESSIOND_TRUSTED_PROXIES: '127.0.0.1' });
await startNginx({ front, application: new URL(application.url).port, sessiond: service.port });

const loginPage = (target) => `${origin}/login?return_to=${encodeURIComponent(origin + target)}`;

/** Opens a page of the application, and signs in on the way. */
async function openApplication(open, target) {
  [sent, streams] = [[], []];
  const user = service.addUser();
  const person = await open();
  await person.page.goto(origin + target);
  isAt(person.page, loginPage(target));
  assert.deepEqual(sent, [], 'the application was not asked');
  await sendLogin(person.page, user);
  isAt(person.page, origin + target);
  assert.deepEqual(sent, [{ method: 'GET', url: target, user: user.username }]);
  return { ...person, user };
}

scenario('a person who is not signed in comes to the page that they asked for, byte for byte', async (open) => {
  const { page } = await openApplication(open, TARGET);
  await page.reload();
  isAt(page, origin + TARGET);
});

scenario('after signing out the tab of the application leads to the login page and back', async (open) => {
  const { context, page, user } = await openApplication(open, TARGET);
  const tab = await context.newPage();
  await tab.goto(`${origin}/logout`);
  await pressButton(tab, 'Sign out');
  assert.equal(new URL(tab.url()).pathname, '/login');
  await page.reload();
  isAt(page, loginPage(TARGET));
  await sendLogin(page, user);
  isAt(page, origin + TARGET);
});

scenario('a form that is sent after the session has ended leads to the login page and back to the form', async (open) => {
  const form = '/app/form?step=2&x=%26';
  const person = await openApplication(open, form);
  const { page, user } = person;
  await service.logOut((await person.cookie(origin)).value);
  const redirected = page.waitForResponse((response) => response.request().method() === 'POST');
  await pressButton(page, 'Send');
  assert.equal((await redirected).status(), 303);
  isAt(page, loginPage(form));
  await sendLogin(page, user);
  isAt(page, origin + form);
  assert.deepEqual(
    sent.map(({ method }) => method),
    ['GET', 'GET'],
    'the form did not get through',
  );
  await pressButton(page, 'Send');
  assert.deepEqual(sent.at(-1), { method: 'POST', url: '/app/send', user: user.username });
});

scenario(
  'a stream that is opened again after the session has ended is closed for good',
  { scripts: [true] },
  async (open) => {
    const person = await openApplication(open, '/app/');
    const { page } = person;
    person.expect(/status of 401/);
    await page.evaluate(() => {
      window.events = new EventSource('/app/events');
      return new Promise((resolve) => events.addEventListener('message', resolve, { once: true }));
    });
    // As long as the session lives, the browser connects again by itself.
    streams[0].end();
    await until('the stream is there again', () => streams.length === 2);
    await service.logOut((await person.cookie(origin)).value);
    streams[1].end();
    await until('the browser gives up', () => page.evaluate(() => events.readyState === EventSource.CLOSED));
    assert.equal(streams.length, 2);
    const answer = await page.evaluate(async () => {
      const response = await fetch('/app/data');
      return { status: response.status, redirected: response.redirected, type: (await response.json()).type };
    });
    assert.deepEqual(answer, { status: 401, redirected: false, type: 'authentication_error' });
  },
);
