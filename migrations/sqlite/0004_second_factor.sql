-- Second factors: what a login needs beside the password. No secret is readable without the key that it was encrypted under.

-- In force. A row goes with its user.
CREATE TABLE second_factors (
    user_id      TEXT    NOT NULL PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
    secret       BLOB    NOT NULL, -- the name of the key, a nonce, and the secret encrypted
    last_step    INTEGER NOT NULL, -- the newest step of 30 seconds of which a code was used
    confirmed_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Begun and not confirmed: a user has one at most, and it has no effect on logins.
CREATE TABLE second_factor_enrolments (
    user_id    TEXT    NOT NULL PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
    id         TEXT    NOT NULL,
    secret     BLOB    NOT NULL,
    started_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX second_factor_enrolments_started ON second_factor_enrolments (started_at);

-- Each is good once, in place of a code of the authenticator.
CREATE TABLE recovery_codes (
    hash    TEXT    NOT NULL PRIMARY KEY, -- HMAC-SHA-256 of the user's id and the code, in hexadecimal digits
    user_id TEXT    NOT NULL REFERENCES users (id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
CREATE INDEX recovery_codes_user ON recovery_codes (user_id);

-- Logins on the pages whose password was right, and that wait for a code.
CREATE TABLE pending_logins (
    token_hash BLOB    NOT NULL PRIMARY KEY CHECK (length(token_hash) = 32), -- SHA-256 of what the cookie holds
    user_id    TEXT    NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    auth_epoch INTEGER NOT NULL, -- under which the password was checked
    remembered INTEGER NOT NULL CHECK (remembered IN (0, 1)),
    expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX pending_logins_user ON pending_logins (user_id, expires_at);
CREATE INDEX pending_logins_expiry ON pending_logins (expires_at);

INSERT INTO schema_compatibility (migration, oldest) VALUES (4, 1);
