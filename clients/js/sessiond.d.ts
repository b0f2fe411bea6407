/** A person, as the service shows them. */
export interface User {
  id: string;
  username: string;
  email: string | null;
  name: string;
  admin: boolean;
  /** RFC 3339, UTC. */
  created_at: string;
}

/** A session. Its `id` is no secret: it never logs anybody in. Times are RFC 3339, UTC. */
export interface Session {
  id: string;
  created_at: string;
  last_seen_at: string;
  /** When it ends at the latest. */
  expires_at: string;
  /** When it ends if it is not used. */
  idle_expires_at: string;
  /** Whether it is the one that asks. */
  current: boolean;
  ip: string;
  user_agent: string;
  device: { type: string; name: string; os: string };
}

/** Who is logged in, and by which session. */
export interface Identity {
  user: User;
  session: Session;
}

/** What a person logs in with. */
export interface Credentials {
  /** A username or an e-mail address. */
  username: string;
  password: string;
  /** Keeps the person logged in when the browser is closed, and for longer. */
  remember?: boolean;
  /** Of the second factor, wanted where an error's type is `second_factor_required_error`. */
  code?: string;
  /** Takes the place of a one-time password, wanted where an error's type is `password_change_required_error`. */
  newPassword?: string;
}

/** One page of sessions. `next_cursor` is null on the last one. */
export interface SessionsPage {
  sessions: Session[];
  next_cursor: string | null;
}

/** What every call takes. */
export interface CallOptions {
  /** Ends the wait; the call then fails with `aborted_error`. */
  signal?: AbortSignal | null;
}

export interface SessiondOptions {
  /** `cookie` (the default): the browser keeps the session. `token`: this object keeps it and sends it in a header. */
  transport?: 'cookie' | 'token';
  /** The token of an earlier login, with `transport: 'token'`. */
  token?: string | null;
  /** As for fetch. `include` unless the transport is `token`. */
  credentials?: 'include' | 'same-origin' | 'omit';
  /** How long a call may take in all, in milliseconds. 10 seconds by default. */
  timeout?: number;
  /** Called once for each build of the service that answers after another one did. */
  onNewBuild?: (build: string, previous: string) => void;
  /** Used instead of the global one. */
  fetch?: typeof fetch;
}

/** A client of one sessiond server, for one person's session. Its methods reject with {@link SessiondError} alone. */
export class Sessiond {
  /** @throws {SessiondError} `invalid_argument_error` */
  constructor(baseUrl: string | URL, options?: SessiondOptions);
  /** The session's token with `transport: 'token'`, to keep where only its owner can read it. Otherwise null. */
  get token(): string | null;
  /** The build of the service that answered last, or null. */
  get build(): string | null;
  /** Logs in. */
  logIn(credentials: Credentials, options?: CallOptions): Promise<Identity>;
  /** Who is logged in, or null. */
  whoAmI(options?: CallOptions): Promise<Identity | null>;
  /** One page of one's own live sessions, newest login first. `limit` is 1 to 100, 50 by default. */
  sessionsPage(options?: CallOptions & { limit?: number; cursor?: string | null }): Promise<SessionsPage>;
  /** Every one of one's own live sessions, newest login first, `limit` of them a request. */
  sessions(options?: CallOptions & { limit?: number }): AsyncGenerator<Session, void, void>;
  /** Ends one of one's own sessions; 404 where it is not there. */
  endSession(id: string, options?: CallOptions): Promise<void>;
  /** Ends all of one's own sessions but this one. Returns how many. */
  endOtherSessions(options?: CallOptions): Promise<number>;
  /** Ends all of one's own sessions, this one included. Returns how many. */
  endAllSessions(options?: CallOptions): Promise<number>;
  /** Changes one's own password, and ends every other session. Returns how many. */
  changePassword(
    passwords: { currentPassword: string; newPassword: string },
    options?: CallOptions,
  ): Promise<number>;
  /** Logs out. Returns whether there was a session to end; either way there is none now. */
  logOut(options?: CallOptions): Promise<boolean>;
}

/** One field that is wrong. */
export interface FieldError {
  /** Where it stood, such as `["body", "username"]`. */
  loc: string[];
  msg: string;
  type: string;
}

/** What the client itself calls a failure; every other `type` is one of the service. */
export type ClientErrorType =
  | 'network_error'
  | 'timeout_error'
  | 'aborted_error'
  | 'unexpected_answer_error'
  | 'invalid_argument_error';

/** Why a call failed. No member holds a password or a token. */
export class SessiondError extends Error {
  constructor(
    type: string,
    detail: string,
    rest?: { status?: number; errors?: FieldError[]; retryAfter?: number | null; requestId?: string | null },
  );
  readonly name: 'SessiondError';
  /** The HTTP status, or 0 where there was no answer. */
  readonly status: number;
  /** What happened, for programs. */
  readonly type: ClientErrorType | (string & {});
  /** What happened, for people. */
  readonly detail: string;
  /** With status 422, which field is wrong and how. Otherwise empty. */
  readonly errors: FieldError[];
  /** After how many seconds to try again, or null where the answer does not say. */
  readonly retryAfter: number | null;
  /** The request's id in the service's log, or null. */
  readonly requestId: string | null;
}

/** For `onNewBuild`: loads the page again, at most once for each build in a tab. */
export function reloadOnNewBuild(build: string, previous: string): void;
