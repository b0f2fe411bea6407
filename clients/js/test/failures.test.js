// What the client makes of networks, proxies, time and wrong arguments, with a server that misbehaves where one must.
import assert from 'node:assert/strict';
import { getEventListeners } from 'node:events';
import { readFileSync } from 'node:fs';
import { after, before, beforeEach, test } from 'node:test';
import { inspect } from 'node:util';
import * as exported from '../sessiond.js';
import { forwardTo, startSessiond, startStub } from './servers.js';

const { Sessiond, SessiondError, reloadOnNewBuild } = exported;
const PASSWORD = 'a secret that no error may hold';
const TOKEN = 'T'.repeat(43);

let server;
let stub;
before(async () => {
  server = await startSessiond();
  stub = await startStub();
});
after(async () => {
  await stub.stop();
  await server.stop();
});
beforeEach(() => {
  stub.requests = 0;
});

/** Every call, with arguments that are right. */
const CALLS = {
  logIn: (client, options) => client.logIn({ username: 'alice', password: PASSWORD }, options),
  whoAmI: (client, options) => client.whoAmI(options),
  sessionsPage: (client, options) => client.sessionsPage(options),
  sessions: (client, options) => client.sessions(options).next(),
  endSession: (client, options) => client.endSession('23456789ABCDEFGHJ', options),
  endOtherSessions: (client, options) => client.endOtherSessions(options),
  endAllSessions: (client, options) => client.endAllSessions(options),
  changePassword: (client, options) =>
    client.changePassword({ currentPassword: PASSWORD, newPassword: `${PASSWORD}-new` }, options),
  logOut: (client, options) => client.logOut(options),
};

const open = (url, options) => new Sessiond(url, { transport: 'token', token: TOKEN, ...options });

async function fails(call, expected) {
  const error = await call.then(
    (answer) => assert.fail(`expected ${JSON.stringify(expected)}, was answered ${JSON.stringify(answer)}`),
    (reason) => reason,
  );
  assert.ok(error instanceof SessiondError, String(error.stack));
  assert.deepEqual({ status: error.status, type: error.type }, expected);
  const shown = inspect(error, { depth: null, showHidden: true }) + JSON.stringify(error);
  for (const secret of [PASSWORD, TOKEN]) assert.ok(!shown.includes(secret), shown);
  return error;
}

/** Every call fails like this, and a token is kept: nobody said that the session is over. */
async function everyCallFails(client, expected, options) {
  for (const call of Object.values(CALLS)) await fails(call(client, options), expected);
  assert.equal(client.token, TOKEN);
}

test('every method is called here', () => {
  const members = Object.getOwnPropertyNames(Sessiond.prototype);
  assert.deepEqual(members.sort(), ['constructor', 'token', 'build', ...Object.keys(CALLS)].sort());
});

test('nothing listens', async () => {
  const gone = await startStub();
  await gone.stop();
  const NETWORK = { status: 0, type: 'network_error' };
  await everyCallFails(open(gone.url), NETWORK);
  assert.match((await fails(CALLS.whoAmI(open(gone.url)), NETWORK)).message, /ECONNREFUSED/);
});

test('the connection ends in the middle of an answer', async () => {
  stub.handle = (_, response) => {
    response.writeHead(200, { 'Content-Length': 100 });
    response.write('{"user":');
    setImmediate(() => response.destroy());
  };
  await everyCallFails(open(stub.url), { status: 0, type: 'network_error' });
});

const SESSION = '{"user":{"id":"u"},"session":{"id":"s"},"token":';
for (const [what, status, body, headers] of [
  ['a page of a proxy', 200, '<!doctype html><title>Sign in</title>', { 'Content-Type': 'text/html' }],
  ['an error page of a proxy', 502, '<h1>502 Bad Gateway</h1>', { 'Content-Type': 'text/html' }],
  ['a 401 of a proxy', 401, '<h1>401 Authorization Required</h1>', { 'WWW-Authenticate': 'Basic' }],
  ['a redirect of a proxy', 302, '', { Location: '/login' }],
  ['nothing', 200, '', {}],
  ['no content', 204, undefined, {}],
  ['JSON of something else', 200, '{"status":"ok"}', {}],
  ['null', 200, 'null', {}],
  ['a list', 200, '[]', {}],
  ['part of an answer', 200, SESSION, {}],
  ['an error of another shape', 500, '{"message":"no"}', {}],
  ['an error with another code', 500, '{"code":401,"type":"authentication_error","detail":"no"}', {}],
]) {
  test(`something else answers with ${what}`, async () => {
    stub.handle = (_, response) => response.writeHead(status, headers).end(body);
    const client = open(stub.url);
    for (const call of Object.values(CALLS)) {
      const error = await fails(call(client), { status, type: 'unexpected_answer_error' });
      assert.ok(!body || !error.message.includes(body), 'what others say is not quoted');
    }
    assert.equal(client.token, TOKEN);
  });
}

test('a token that is missing or malformed is not taken on', async () => {
  for (const token of ['null', '""', '"a\\r\\nb"', '1']) {
    stub.handle = (_, response) => response.end(`${SESSION}${token}}`);
    const client = open(stub.url);
    await fails(CALLS.logIn(client), { status: 200, type: 'unexpected_answer_error' });
    assert.equal(client.token, TOKEN);
  }
});

test('a cursor that stands still does not go on for ever', async () => {
  stub.handle = (_, response) => response.end('{"sessions":[{"id":"s"}],"next_cursor":"same"}');
  const read = async () => {
    for await (const { id } of open(stub.url).sessions()) assert.equal(id, 's');
  };
  await fails(read(), { status: 200, type: 'unexpected_answer_error' });
  assert.equal(stub.requests, 2);
});

test('an error of the service is handed on whole', async () => {
  const envelope = { code: 429, type: 'rate_limit_error', detail: 'Too many attempts' };
  for (const [header, expected] of [['30', 30], ['soon', null], [undefined, null], ['Wed, 01 Jan 2020 00:00:00 GMT', 0]]) {
    stub.handle = (_, response) => {
      if (header) response.setHeader('Retry-After', header);
      response.writeHead(429, { 'X-Request-Id': 'abc' }).end(JSON.stringify(envelope));
    };
    const { detail, retryAfter, requestId, errors, message } = await fails(CALLS.logIn(open(stub.url)), {
      status: 429,
      type: 'rate_limit_error',
    });
    assert.deepEqual([detail, retryAfter, requestId, errors], [envelope.detail, expected, 'abc', []]);
    assert.equal(message, 'Too many attempts (rate_limit_error, status 429, request abc)');
  }
});

test('members of `errors` that are none are left out', async () => {
  const wrong = { loc: ['body', 'username'], msg: 'Field required', type: 'missing' };
  for (const [errors, expected] of [[[wrong, null, 1], [wrong]], [[{ ...wrong, input: PASSWORD }], [wrong]], ['none', []]]) {
    stub.handle = (_, response) =>
      response.writeHead(422).end(JSON.stringify({ code: 422, type: 'validation_error', detail: 'no', errors }));
    const error = await fails(CALLS.logIn(open(stub.url)), { status: 422, type: 'validation_error' });
    assert.deepEqual(error.errors, expected);
  }
});

test('no call waits for longer than its timeout', async () => {
  const TIMEOUT = { status: 0, type: 'timeout_error' };
  stub.handle = () => {};
  await everyCallFails(open(stub.url, { timeout: 30 }), TIMEOUT);
  stub.handle = (_, response) => response.writeHead(200).write('{'); // a head, and never the body
  await everyCallFails(open(stub.url, { timeout: 30 }), TIMEOUT);
  await everyCallFails(open(stub.url, { timeout: 30, fetch: () => new Promise(() => {}) }), TIMEOUT);
});

test('a signal ends the wait, before and during a call', async () => {
  const ABORTED = { status: 0, type: 'aborted_error' };
  await everyCallFails(open(stub.url), ABORTED, { signal: AbortSignal.abort(new Error(PASSWORD)) });
  assert.equal(stub.requests, 0, 'nothing was sent');
  for (const call of Object.values(CALLS)) {
    const controller = new AbortController();
    stub.handle = () => controller.abort();
    await fails(call(open(stub.url), { signal: controller.signal }), ABORTED);
  }
});

test('a signal that outlives a call keeps nothing of it', async () => {
  const { signal } = new AbortController();
  stub.handle = (_, response) => response.writeHead(500).end();
  await everyCallFails(open(stub.url), { status: 500, type: 'unexpected_answer_error' }, { signal });
  assert.equal(getEventListeners(signal, 'abort').length, 0);
});

test('the token is sent with every call but a login', async () => {
  stub.handle = (request, response) => {
    assert.equal(request.headers.authorization, request.url.endsWith('/login') ? undefined : `Bearer ${TOKEN}`);
    response.writeHead(500).end();
  };
  await everyCallFails(open(stub.url), { status: 500, type: 'unexpected_answer_error' });
  assert.equal(stub.requests, Object.keys(CALLS).length);
});

test('a logout that failed can be tried again', async () => {
  const client = new Sessiond(stub.url, { transport: 'token' });
  stub.handle = forwardTo(server.url, (headers) => headers);
  await client.logIn(server.addUser());
  stub.handle = (_, response) => response.destroy();
  await fails(client.logOut(), { status: 0, type: 'network_error' });
  stub.handle = forwardTo(server.url, (headers) => headers);
  assert.ok(await client.whoAmI());
  assert.equal(await client.logOut(), true);
});

test('an old token that is refused late does not take away a new one', async () => {
  const client = new Sessiond(stub.url, { transport: 'token', token: TOKEN });
  const forward = forwardTo(server.url, (headers) => headers);
  let release;
  const held = new Promise((resolve) => {
    stub.handle = (...exchange) => {
      release = () => forward(...exchange);
      resolve();
    };
  });
  const late = client.whoAmI();
  await held;
  stub.handle = forward;
  await client.logIn(server.addUser());
  release();
  assert.equal(await late, null);
  assert.ok(await client.whoAmI());
});

test('a new build is announced once, also while old and new servers answer in turn', async () => {
  let build;
  stub.handle = forwardTo(server.url, (headers) => {
    assert.ok(headers['x-api-commit']);
    const { 'x-api-commit': _, ...rest } = headers;
    return build ? { ...rest, 'X-Api-Commit': build } : rest;
  });
  const announced = [];
  const client = open(stub.url, { onNewBuild: (...builds) => announced.push(builds) });
  assert.equal(client.build, null);
  for (build of ['aaa', 'aaa', undefined, 'bbb', 'aaa', 'bbb', 'ccc']) {
    await client.whoAmI();
    if (build) assert.equal(client.build, build);
  }
  assert.deepEqual(announced, [['bbb', 'aaa'], ['ccc', 'bbb']]);
  build = 'ddd';
  await fails(client.sessionsPage(), { status: 401, type: 'authentication_error' });
  assert.deepEqual(announced.at(-1), ['ddd', 'ccc'], 'a refusal announces it, too');
});

test('a page is loaded again once for each build', () => {
  const stored = new Map();
  let loads = 0;
  globalThis.sessionStorage = { getItem: (key) => stored.get(key) ?? null, setItem: (key, value) => stored.set(key, value) };
  globalThis.location = { reload: () => (loads += 1) };
  try {
    for (const [build, previous, expected] of [['b', 'a', 1], ['b', 'a', 1], ['a', 'b', 1], ['c', 'b', 2], ['a', 'c', 2]]) {
      reloadOnNewBuild(build, previous);
      assert.equal(loads, expected);
    }
    for (const [build, previous] of [['v 2', 'v 1'], ['v 1', 'v 2'], ['v 2', 'v 1']]) reloadOnNewBuild(build, previous);
    assert.equal(loads, 3, 'a build may be named in any way');
    globalThis.sessionStorage = undefined;
    reloadOnNewBuild('d', 'c');
    assert.equal(loads, 3, 'without storage it could go on for ever');
  } finally {
    delete globalThis.sessionStorage;
    delete globalThis.location;
  }
});

test('wrong arguments are refused before anything is sent', async () => {
  const INVALID = { status: 0, type: 'invalid_argument_error' };
  for (const [url, options] of [
    ['no URL'],
    [undefined],
    ['ftp://localhost'],
    [`http://user:${encodeURIComponent(PASSWORD)}@localhost`],
    [stub.url, { transport: 'carrier pigeon' }],
    [stub.url, { token: TOKEN }],
    [stub.url, { transport: 'token', token: `${PASSWORD}\n` }],
    [stub.url, { credentials: 'some' }],
    [stub.url, { timeout: 0 }],
    [stub.url, { timeout: Infinity }],
    [stub.url, { timeout: '1' }],
    [stub.url, { onNewBuild: 'reload' }],
    [stub.url, { fetch: null }],
  ]) {
    await fails((async () => new Sessiond(url, options))(), INVALID);
  }
  const client = open(stub.url);
  for (const call of [
    () => client.logIn(),
    () => client.logIn({ username: 1n, password: PASSWORD }),
    () => client.changePassword(null),
    () => client.sessionsPage({ limit: Object.create(null) }),
    () => client.endSession(),
    () => client.endSession(''),
    () => client.endSession('..'),
    () => client.endSession('a?scope=all'),
    () => client.whoAmI({ signal: 'signal' }),
  ]) {
    await fails(call(), INVALID);
  }
  assert.equal(stub.requests, 0);
});

test('a client shows no token', () => {
  const client = open(stub.url);
  assert.ok(!(inspect(client, { depth: null, showHidden: true }) + JSON.stringify(client)).includes(TOKEN));
});

test('the base URL keeps its path', async () => {
  const paths = [];
  stub.handle = (request, response) => {
    paths.push(request.url);
    response.writeHead(500).end();
  };
  for (const suffix of ['', '/', '/login', '/login/', '/?a#b']) await open(stub.url + suffix).whoAmI().catch(() => {});
  const [bare, below] = ['/api/v1/auth/session', '/login/api/v1/auth/session'];
  assert.deepEqual(paths, [bare, bare, below, below, bare]);
});

test('a fetch that throws whatever it likes', async () => {
  for (const thrown of [new Error(PASSWORD), PASSWORD, undefined, { code: PASSWORD }]) {
    const fetch = () => {
      throw thrown;
    };
    await everyCallFails(open(stub.url, { fetch }), { status: 0, type: 'network_error' });
  }
});

test('the types name what there is', () => {
  const types = readFileSync(new URL('../sessiond.d.ts', import.meta.url), 'utf8');
  const client = /^export class Sessiond \{\n(.*?)^\}/ms.exec(types)[1];
  const declares = (text, pattern) => assert.match(text, new RegExp(pattern, 'm'));
  for (const name of Object.keys(exported)) declares(types, `^export (class|function) ${name}\\b`);
  for (const name of Object.getOwnPropertyNames(Sessiond.prototype)) declares(client, `^  (get )?${name}\\(`);
  for (const name of Object.keys(new SessiondError('type', 'detail'))) declares(types, `^  readonly ${name}: `);
});
