// The canonical API of sessiond for browsers and Node.js 18 or newer, without dependencies.

const TIMEOUT = 10_000;
const TOKEN = /^[A-Za-z0-9_-]+$/;
const SESSION_ID = /^[A-Za-z0-9]+$/;

/**
 * Why a call failed. The methods of {@link Sessiond} reject with nothing else.
 *
 * No member holds a password, a token or a body that did not come from the service, so an error can be logged.
 */
export class SessiondError extends Error {
  /**
   * @param {string} type
   * @param {string} detail
   * @param {{status?: number, errors?: object[], retryAfter?: number | null, requestId?: string | null}} [rest]
   */
  constructor(type, detail, { status = 0, errors = [], retryAfter = null, requestId = null } = {}) {
    const facts = [type, status && `status ${status}`, requestId && `request ${requestId}`].filter(Boolean);
    super(`${detail} (${facts.join(', ')})`);
    this.name = 'SessiondError';
    /** The HTTP status, or 0 where there was no answer. */
    this.status = status;
    /**
     * What happened, for programs: a `type` of the service (`authentication_error`, `validation_error`, …), or
     * `network_error`, `timeout_error`, `aborted_error`, `unexpected_answer_error` (something between here and the
     * service answered), `invalid_argument_error` (nothing was sent).
     */
    this.type = type;
    /** What happened, for people. */
    this.detail = detail;
    /** With status 422, which field is wrong and how: `{loc, msg, type}`. Otherwise empty. */
    this.errors = errors;
    /** After how many seconds to try again, or null where the answer does not say. */
    this.retryAfter = retryAfter;
    /** The request's id in the service's log, or null. */
    this.requestId = requestId;
  }
}

/** A client of one sessiond server, for one person's session. */
export class Sessiond {
  #base;
  #fetch;
  #credentials;
  #inHeader;
  #token;
  #timeout;
  #onNewBuild;
  #builds = new Set();
  #build = null;

  /**
   * @param {string | URL} baseUrl Where the service is, such as `https://login.example.com`. A path is kept. In a page it
   *   may be relative.
   * @param {object} [options]
   * @param {'cookie' | 'token'} [options.transport] `cookie` (the default): the browser keeps the session. `token`: this
   *   object keeps it and sends it in a header; for Node.js, where fetch has no cookies.
   * @param {string} [options.token] The token of an earlier login, with `transport: 'token'`.
   * @param {RequestCredentials} [options.credentials] As for fetch. `include` unless the transport is `token`.
   * @param {number} [options.timeout] How long a call may take in all, in milliseconds. 10 seconds by default.
   * @param {(build: string, previous: string) => void} [options.onNewBuild] Called once for each build of the service that
   *   answers after another one did, such as {@link reloadOnNewBuild}.
   * @param {typeof fetch} [options.fetch] Used instead of the global one.
   * @throws {SessiondError} `invalid_argument_error`
   */
  constructor(baseUrl, options) {
    const { transport = 'cookie', token = null, credentials, timeout = TIMEOUT, onNewBuild, fetch } = options ?? {};
    this.#base = base(baseUrl);
    check(transport === 'cookie' || transport === 'token', 'transport is "cookie" or "token"');
    this.#inHeader = transport === 'token';
    check(token === null || this.#inHeader, 'A token needs transport: "token"');
    check(token === null || (typeof token === 'string' && TOKEN.test(token)), 'The token is not one of a login');
    this.#token = token;
    this.#credentials = credentials ?? (this.#inHeader ? 'omit' : 'include');
    check(['include', 'same-origin', 'omit'].includes(this.#credentials), 'credentials are as for fetch');
    check(Number.isFinite(timeout) && timeout > 0 && timeout < 2 ** 31, 'timeout is a number of milliseconds');
    this.#timeout = timeout;
    for (const given of [onNewBuild, fetch]) {
      check(given === undefined || typeof given === 'function', 'onNewBuild and fetch are functions');
    }
    this.#onNewBuild = onNewBuild;
    this.#fetch = fetch ?? ((...request) => globalThis.fetch(...request));
  }

  /** The session's token with `transport: 'token'`, to keep where only its owner can read it. Otherwise null. */
  get token() {
    return this.#token;
  }

  /** The build of the service that answered last, or null. */
  get build() {
    return this.#build;
  }

  /**
   * Logs in. A session that the cookie stood for ends; with `transport: 'token'` an earlier one goes on, so log out first.
   *
   * @param {import('./sessiond').Credentials} credentials `username` may be an email address.
   *   `remember` keeps the person logged in when the browser is closed, and for longer. `code` is the one of a second factor,
   *   wanted where the error's type is `second_factor_required_error`; `newPassword` takes the place of a one-time password,
   *   wanted where it is `password_change_required_error`.
   * @param {{signal?: AbortSignal}} [options]
   * @returns {Promise<{user: object, session: object}>}
   */
  async logIn(credentials, options) {
    const transport = this.#inHeader ? 'token' : 'cookie';
    const body = () => {
      const { username, password, remember, code, newPassword } = credentials;
      return { username, password, remember, code, new_password: newPassword, transport };
    };
    const answer = await this.#call('POST', 'login', { body, anonymous: true }, options, isIdentity);
    const { user, session, token } = answer;
    if (this.#inHeader) this.#renew(token);
    return { user, session };
  }

  /**
   * Who is logged in.
   *
   * @param {{signal?: AbortSignal}} [options]
   * @returns {Promise<{user: object, session: object} | null>} null where nobody is, or not any more.
   */
  async whoAmI(options) {
    const sent = this.#token;
    const answer = await this.#unlessLoggedOut(this.#call('GET', 'session', {}, options, isIdentity));
    if (answer === null) this.#forget(sent);
    return answer && { user: answer.user, session: answer.session };
  }

  /**
   * One page of one's own live sessions, newest login first.
   *
   * @param {{limit?: number, cursor?: string | null, signal?: AbortSignal}} [options] `limit`: 1 to 100, 50 by default.
   *   `cursor`: the `next_cursor` of the page before.
   * @returns {Promise<{sessions: object[], next_cursor: string | null}>}
   */
  async sessionsPage(options) {
    const query = () => ({ limit: options?.limit, cursor: options?.cursor });
    const { sessions, next_cursor } = await this.#call('GET', 'sessions', { query }, options, isPage);
    return { sessions, next_cursor };
  }

  /**
   * Every one of one's own live sessions, newest login first, a page at a time as they are read.
   *
   * @param {{limit?: number, signal?: AbortSignal}} [options] `limit`: how many to ask for at a time.
   * @returns {AsyncGenerator<object, void, void>}
   */
  async *sessions(options) {
    let cursor = null;
    do {
      const page = await this.sessionsPage({ limit: options?.limit, signal: options?.signal, cursor });
      yield* page.sessions;
      if (cursor !== null && page.next_cursor === cursor) throw unexpected(200);
      cursor = page.next_cursor;
    } while (cursor !== null);
  }

  /**
   * Ends one of one's own sessions. One that is not there is a {@link SessiondError} with status 404.
   *
   * @param {string} id
   * @param {{signal?: AbortSignal}} [options]
   * @returns {Promise<void>}
   */
  async endSession(id, options) {
    check(typeof id === 'string' && SESSION_ID.test(id), 'The id of a session has letters and digits alone');
    await this.#call('DELETE', `sessions/${id}`, {}, options, isRevoked);
  }

  /**
   * Ends all of one's own sessions but this one.
   *
   * @param {{signal?: AbortSignal}} [options]
   * @returns {Promise<number>} How many ended.
   */
  async endOtherSessions(options) {
    const query = () => ({ scope: 'others' });
    return (await this.#call('DELETE', 'sessions', { query }, options, isRevoked)).revoked;
  }

  /**
   * Ends all of one's own sessions, this one included.
   *
   * @param {{signal?: AbortSignal}} [options]
   * @returns {Promise<number>} How many ended.
   */
  async endAllSessions(options) {
    const sent = this.#token;
    const query = () => ({ scope: 'all' });
    const { revoked } = await this.#call('DELETE', 'sessions', { query }, options, isRevoked);
    this.#forget(sent);
    return revoked;
  }

  /**
   * Changes one's own password, and ends every other session. This one goes on under a new token. A wrong current
   * password is a {@link SessiondError} with status 401, and so is a session that is over. Where the answer is lost, the
   * password may be changed and the old token dead: log in again.
   *
   * @param {{currentPassword: string, newPassword: string}} passwords
   * @param {{signal?: AbortSignal}} [options]
   * @returns {Promise<number>} How many other sessions ended.
   */
  async changePassword(passwords, options) {
    const body = () => {
      const { currentPassword, newPassword } = passwords;
      return { current_password: currentPassword, new_password: newPassword };
    };
    const answer = await this.#call('POST', 'password', { body }, options, isRevoked);
    if (this.#inHeader) this.#renew(answer.token);
    return answer.revoked;
  }

  /**
   * Logs out: the session is over on the service, and not only here, once this is answered. If it fails, the session may
   * still be there: say so, and try again.
   *
   * @param {{signal?: AbortSignal}} [options]
   * @returns {Promise<boolean>} Whether there was a session to end. Either way there is none now.
   */
  async logOut(options) {
    const sent = this.#token;
    const answer = await this.#unlessLoggedOut(this.#call('POST', 'logout', {}, options, isLoggedOut));
    this.#forget(sent);
    return answer !== null;
  }

  /** Sends one request, and answers with its JSON if that has the shape which is expected. */
  async #call(method, path, { query, body, anonymous = false }, options, isExpected) {
    const url = new URL(path, this.#base);
    const request = {
      method,
      headers: { Accept: 'application/json' },
      credentials: this.#credentials,
      cache: 'no-store',
      redirect: 'manual',
    };
    try {
      for (const [name, value] of Object.entries(query?.() ?? {})) {
        if (value !== undefined && value !== null) url.searchParams.set(name, String(value));
      }
      if (body) {
        request.headers['Content-Type'] = 'application/json';
        request.body = JSON.stringify(body());
      }
    } catch {
      throw invalid('The arguments cannot be sent as JSON');
    }
    if (this.#token !== null && !anonymous) request.headers.Authorization = `Bearer ${this.#token}`;
    const response = await this.#exchange(String(url), request, options?.signal);
    this.#noteBuild(response.build);
    const answer = parse(response.text);
    if (response.status === 200 && isExpected(answer)) return answer;
    throw failure(response, answer);
  }

  /** Sends the request and reads all of the answer, within the time and until the caller's signal. */
  async #exchange(url, request, signal) {
    const isSignal = (signal ?? null) === null || typeof signal.addEventListener === 'function';
    check(isSignal, 'signal is an AbortSignal');
    const controller = new AbortController();
    let stop;
    let timer;
    // A fetch of the caller's that does not heed its signal must not make anyone wait.
    const stopped = new Promise((_, reject) => {
      const end = (type, detail) => {
        reject(new SessiondError(type, detail));
        controller.abort();
      };
      stop = () => end('aborted_error', 'The call was aborted');
      timer = setTimeout(() => end('timeout_error', `The service did not answer within ${this.#timeout} ms`), this.#timeout);
      if (signal?.aborted) stop();
      else signal?.addEventListener('abort', stop);
    });
    const exchanged = async () => {
      const response = await this.#fetch(url, { ...request, signal: controller.signal });
      return {
        status: response.status,
        build: response.headers.get('X-Api-Commit'),
        requestId: response.headers.get('X-Request-Id'),
        retryAfter: seconds(response.headers.get('Retry-After')),
        text: await response.text(),
      };
    };
    try {
      return await (signal?.aborted ? stopped : Promise.race([stopped, exchanged()]));
    } catch (error) {
      if (error instanceof SessiondError) throw error;
      // The words of other errors can quote what was sent, but their codes cannot.
      const code = error?.cause?.code ?? error?.code;
      const known = typeof code === 'string' && /^[A-Z][A-Z0-9_]*$/.test(code);
      throw new SessiondError('network_error', `The service cannot be reached${known ? `: ${code}` : ''}`);
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener('abort', stop);
    }
  }

  /** What a call answers, or null where the service says that there is no live session. */
  async #unlessLoggedOut(call) {
    try {
      return await call;
    } catch (error) {
      if (error.status === 401 && error.type === 'authentication_error') return null;
      throw error;
    }
  }

  #renew(token) {
    if (typeof token !== 'string' || !TOKEN.test(token)) throw unexpected(200);
    this.#token = token;
  }

  /** Forgets a token that is over, unless another call has put a new one in its place. */
  #forget(token) {
    if (this.#token === token) this.#token = null;
  }

  /** While servers are upgraded one by one, old and new ones answer in turn: each counts as new once. */
  #noteBuild(build) {
    if (!build) return;
    const previous = this.#build;
    this.#build = build;
    if (this.#builds.has(build)) return;
    this.#builds.add(build);
    // What the caller's function throws is its own, and must not look like a failure of this call.
    if (previous !== null && this.#onNewBuild) queueMicrotask(() => this.#onNewBuild(build, previous));
  }
}

/**
 * For `onNewBuild`: loads the page again, at most once for each build in a tab, so that a page does not reload over and
 * over while old and new servers answer in turn. Does nothing outside a page, or where the tab may not store anything.
 *
 * @param {string} build
 * @param {string} previous
 */
export function reloadOnNewBuild(build, previous) {
  const KEY = 'sessiond.builds';
  try {
    const seen = new Set(JSON.parse(sessionStorage.getItem(KEY) ?? '[]'));
    if (seen.has(build)) return;
    sessionStorage.setItem(KEY, JSON.stringify([...seen.add(previous).add(build)]));
    location.reload();
  } catch {
    // No page, or no storage.
  }
}

function base(given) {
  let url;
  try {
    url = new URL(given, globalThis.location?.href);
  } catch {
    throw invalid('The base URL is not a URL');
  }
  check(url.protocol === 'https:' || url.protocol === 'http:', 'The base URL is neither https nor http');
  check(url.username === '' && url.password === '', 'The base URL must not hold a password');
  if (!url.pathname.endsWith('/')) url.pathname += '/';
  return new URL('api/v1/auth/', url);
}

function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** The service's own words where it refused, and ours where something else answered. */
function failure({ status, requestId, retryAfter }, answer) {
  if (!isEnvelope(answer, status)) return unexpected(status, { requestId, retryAfter });
  const errors = (Array.isArray(answer.errors) ? answer.errors : [])
    .filter(isObject)
    .map(({ loc, msg, type }) => ({ loc, msg, type }));
  return new SessiondError(answer.type, answer.detail, { status, errors, retryAfter, requestId });
}

function unexpected(status, rest = {}) {
  const detail = status >= 500 ? 'A proxy could not get an answer of the service' : 'The answer is not one of the service';
  return new SessiondError('unexpected_answer_error', detail, { ...rest, status });
}

function invalid(detail) {
  return new SessiondError('invalid_argument_error', detail);
}

function check(holds, detail) {
  if (!holds) throw invalid(detail);
}

/** `Retry-After` is a number of seconds or a date. */
function seconds(text) {
  if (text === null) return null;
  if (/^\d+$/.test(text)) return Number(text);
  const date = Date.parse(text);
  return Number.isNaN(date) ? null : Math.max(0, Math.ceil((date - Date.now()) / 1000));
}

const isObject = (value) => typeof value === 'object' && value !== null && !Array.isArray(value);
const hasId = (value) => isObject(value) && typeof value.id === 'string';
const isIdentity = (answer) => isObject(answer) && hasId(answer.user) && hasId(answer.session);
const isLoggedOut = (answer) => isObject(answer) && typeof answer.detail === 'string';
const isRevoked = (answer) => isObject(answer) && Number.isInteger(answer.revoked);
const isPage = (answer) =>
  isObject(answer) &&
  Array.isArray(answer.sessions) &&
  answer.sessions.every(hasId) &&
  (answer.next_cursor === null || typeof answer.next_cursor === 'string');
const isEnvelope = (answer, status) =>
  isObject(answer) && answer.code === status && typeof answer.type === 'string' && typeof answer.detail === 'string';
