// Servers that the tests start and stop: sessiond itself, and small ones that stand between it and the client.
import { spawn, spawnSync } from 'node:child_process';
import { createHmac, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import http from 'node:http';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';

const BINARY = process.env.SESSIOND;

/** Starts a sessiond of its own, on an empty file and free ports, with further `settings` from the environment. */
export async function startSessiond(settings = {}) {
  if (!BINARY) throw new Error('SESSIOND must name a sessiond binary');
  const folder = mkdtempSync(path.join(tmpdir(), 'sessiond-js-'));
  const env = {
    PATH: process.env.PATH,
    NO_COLOR: '1',
    SESSIOND_DATABASE_URL: `sqlite://${folder}/sessiond.db`,
    SESSIOND_LISTEN: '127.0.0.1:0',
    SESSIOND_OPS_LISTEN: '127.0.0.1:0',
    SESSIOND_SHUTDOWN_DELAY: '0s',
    SESSIOND_ADMIN_PASSWORD: randomBytes(18).toString('hex'),
    ...settings,
  };
  const child = spawn(BINARY, { env, cwd: folder, stdio: ['ignore', 'ignore', 'pipe'] });
  const exited = once(child, 'exit');
  const log = [];
  const url = await new Promise((resolve, reject) => {
    child.on('error', reject);
    createInterface({ input: child.stderr })
      .on('line', (line) => {
        log.push(line);
        const address = /(?:^|[^_\w])listen=(127\.0\.0\.1:\d+)/.exec(line)?.[1];
        if (address) resolve(`http://${address}`);
      })
      .on('close', () => reject(new Error(`sessiond did not say where it listens:\n${log.join('\n')}`)));
  });
  let users = 0;
  return {
    url,
    /** Adds a user, whom no other test knows. */
    addUser() {
      const user = { username: `user${(users += 1)}`, password: randomBytes(18).toString('hex') };
      const added = spawnSync(BINARY, ['user', 'add', user.username, '--password-stdin'], { env, input: user.password });
      if (added.status !== 0) throw new Error(`no user was added: ${added.stderr}`);
      return user;
    },
    /** Gives a user a one-time password, which is returned. */
    resetPassword({ username }) {
      const reset = spawnSync(BINARY, ['user', 'passwd', username, '--one-time'], { env, encoding: 'utf8' });
      if (reset.status !== 0) throw new Error(`no password was made up: ${reset.stderr}`);
      return reset.stdout.trim().split(' ').at(-1);
    },
    async stop() {
      child.kill();
      await exited;
      rmSync(folder, { recursive: true });
    },
  };
}

/** Sets up a second factor for a person, as an authenticator would. Resolves to their recovery codes. */
export async function setSecondFactor(url, { username, password }) {
  const call = async (path, body, token) => {
    const headers = { 'Content-Type': 'application/json', ...(token && { Authorization: `Bearer ${token}` }) };
    const answer = await fetch(`${url}/api/v1/auth/${path}`, { method: 'POST', headers, body: JSON.stringify(body) });
    if (answer.status !== 200) throw new Error(`${path}: ${answer.status} ${await answer.text()}`);
    return answer.json();
  };
  const { token } = await call('login', { username, password, transport: 'token' });
  const { enrolment, secret } = await call('second-factor', { current_password: password }, token);
  const { recovery_codes: codes } = await call('second-factor/confirm', { enrolment, code: totp(secret) }, token);
  return codes;
}

/** How long a code is the present one, in milliseconds. */
export const PERIOD = 30_000;

/** The number of the step at a time. */
export const stepAt = (time) => Math.floor(time / PERIOD);

/** The code of a secret in base32 (RFC 6238, with SHA-1, six digits and steps of 30 seconds): the present one, or of another step. */
export function totp(secret, step = stepAt(Date.now())) {
  const bits = [...secret].map((letter) => 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567'.indexOf(letter).toString(2).padStart(5, '0'));
  const key = Buffer.from(bits.join('').match(/.{8}/g).map((byte) => Number.parseInt(byte, 2)));
  const counter = Buffer.alloc(8);
  counter.writeBigUInt64BE(BigInt(step));
  const mac = createHmac('sha1', key).update(counter).digest();
  const offset = mac.at(-1) & 15;
  return String((mac.readUInt32BE(offset) & 0x7fffffff) % 1_000_000).padStart(6, '0');
}

/** Starts an HTTP server that answers every request with `handle`, which can be changed. */
export async function startStub(handle) {
  const stub = { handle, requests: 0 };
  const server = http.createServer((request, response) => {
    stub.requests += 1;
    stub.handle(request, response);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  stub.url = `http://127.0.0.1:${server.address().port}`;
  stub.stop = async () => {
    server.closeAllConnections();
    server.close();
    await once(server, 'close');
  };
  return stub;
}

/** A handler that passes each request on to `url`, and changes the headers of the answer with `change`. */
export const forwardTo = (url, change) => (request, response) => {
  const { method, headers } = request;
  const onward = http.request(new URL(request.url, url), { method, headers }, (answer) => {
    response.writeHead(answer.statusCode, change({ ...answer.headers }));
    answer.pipe(response);
  });
  onward.on('error', () => response.destroy());
  request.pipe(onward);
};

/** A fetch that treats cookies and origins as a browser does for a page of `origin`. */
export function browser(origin) {
  const jar = new Map();
  const fetchLikeBrowser = async (url, init) => {
    const headers = new Headers(init.headers);
    const crossSite = new URL(url).hostname !== new URL(origin).hostname;
    headers.set('Origin', origin);
    headers.set('Sec-Fetch-Site', crossSite ? 'cross-site' : 'same-site');
    const cookies = [...jar].map(([name, value]) => `${name}=${value}`).join('; ');
    if (init.credentials === 'include' && cookies) headers.set('Cookie', cookies);
    const response = await fetch(url, { ...init, headers });
    for (const line of response.headers.getSetCookie?.() ?? []) {
      const [, name, value] = /^([^=]+)=([^;]*)/.exec(line);
      if (/; *Max-Age=0(;|$)/i.test(line)) jar.delete(name);
      else jar.set(name, value);
    }
    return response;
  };
  return { fetch: fetchLikeBrowser, jar };
}
