-- Times are milliseconds since the Unix epoch (UTC). Ids are 17 characters.

CREATE TABLE users (
    id            TEXT    NOT NULL PRIMARY KEY,
    username      TEXT    NOT NULL,
    username_key  TEXT    NOT NULL UNIQUE, -- the username folded for comparison
    email         TEXT,
    email_key     TEXT    UNIQUE,          -- the address folded for comparison
    name          TEXT    NOT NULL,
    admin         INTEGER NOT NULL DEFAULT 0 CHECK (admin IN (0, 1)),
    password_hash TEXT    NOT NULL,        -- PHC string
    auth_epoch    INTEGER NOT NULL DEFAULT 0, -- raised by whatever supersedes a login that is being checked
    disabled_at   INTEGER,
    created_at    INTEGER NOT NULL,
    updated_at    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE sessions (
    number          INTEGER NOT NULL PRIMARY KEY,
    id              TEXT    NOT NULL UNIQUE,
    token_hash      BLOB    NOT NULL UNIQUE CHECK (length(token_hash) = 32), -- SHA-256 of the token's text
    user_id         TEXT    NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    created_at      INTEGER NOT NULL,
    last_seen_at    INTEGER NOT NULL,
    idle_expires_at INTEGER NOT NULL, -- moved by a touch, never past expires_at
    expires_at      INTEGER NOT NULL, -- absolute
    remembered      INTEGER NOT NULL CHECK (remembered IN (0, 1)),
    ip              TEXT    NOT NULL,
    user_agent      TEXT    NOT NULL,
    host            TEXT    NOT NULL,
    revoked_at      INTEGER, -- set: a tombstone, kept until the absolute expiry
    revoked_by      TEXT,
    revoked_why     TEXT,
    revoked_seq     INTEGER, -- the number in the revocation log
    archived          INTEGER NOT NULL DEFAULT 0 CHECK (archived IN (0, 1)) -- dead, and out of sessions_live
) STRICT;
-- A logout does not write this index, whose pages lie all over the file: the user's next login archives what is dead.
CREATE INDEX sessions_live ON sessions (user_id, created_at) WHERE archived = 0;
CREATE INDEX sessions_expiry ON sessions (expires_at);

-- Append-only audit. Never a token, never a password.
CREATE TABLE events (
    number     INTEGER NOT NULL PRIMARY KEY,
    at         INTEGER NOT NULL,
    kind       TEXT    NOT NULL,
    user_id    TEXT,
    session_id TEXT,
    actor      TEXT    NOT NULL, -- user id, or 'cli', 'system', 'anonymous'
    ip         TEXT,
    detail     TEXT,
    name       TEXT, -- the user's name, or where there is no such user, a keyed hash of what was typed
    user_agent TEXT,
    count      INTEGER NOT NULL DEFAULT 1 -- many refusals alike are one event
) STRICT;

-- The numbered log of what cached entries must forget: one number a transaction. SQLite has one
-- writer at a time, so the next number is the newest row's and one; purge keeps the newest row.
CREATE TABLE revocations (
    seq  INTEGER NOT NULL PRIMARY KEY,
    at   INTEGER NOT NULL,
    what TEXT    NOT NULL -- JSON: {"sessions": [hex token hash], "users": [id]}
) STRICT;

CREATE TABLE replicas (
    id      TEXT    NOT NULL PRIMARY KEY,
    beat    INTEGER NOT NULL,
    applied INTEGER NOT NULL,
    caching INTEGER NOT NULL DEFAULT 1 CHECK (caching IN (0, 1)) -- whether checks are answered from memory
) STRICT, WITHOUT ROWID;

-- The key that tells an issued token from a made-up one without a read.
CREATE TABLE secrets (
    name  TEXT NOT NULL PRIMARY KEY, -- 'token_key'
    value BLOB NOT NULL CHECK (length(value) = 32)
) STRICT, WITHOUT ROWID;

-- Which releases can serve beside each migration: every migration adds its row.
CREATE TABLE schema_compatibility (
    migration INTEGER NOT NULL PRIMARY KEY,
    oldest    INTEGER NOT NULL -- the newest migration known to the oldest release that can serve from this schema
) STRICT;
INSERT INTO schema_compatibility (migration, oldest) VALUES (1, 1);
