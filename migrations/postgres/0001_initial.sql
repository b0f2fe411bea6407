-- Times are milliseconds since the Unix epoch (UTC), told by sessiond: the database's clock decides nothing. Ids are 17
-- characters. Texts that are compared are so byte by byte, as SQLite does.

CREATE TABLE users (
    id            text    COLLATE "C" NOT NULL PRIMARY KEY,
    username      text    NOT NULL,
    username_key  text    COLLATE "C" NOT NULL UNIQUE, -- the username folded for comparison
    email         text,
    email_key     text    COLLATE "C" UNIQUE,          -- the address folded for comparison
    name          text    NOT NULL,
    admin         boolean NOT NULL DEFAULT false,
    password_hash text    NOT NULL,                    -- PHC string
    auth_epoch    bigint  NOT NULL DEFAULT 0,          -- raised by whatever supersedes a login that is being checked
    disabled_at   bigint,
    created_at    bigint  NOT NULL,
    updated_at    bigint  NOT NULL
) WITH (fillfactor = 80);

-- A logout and a touch write no index: what they change is in none, and each page keeps room for the new version of a row.
CREATE TABLE sessions (
    number          bigint  GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id              text    COLLATE "C" NOT NULL UNIQUE,
    token_hash      bytea   NOT NULL UNIQUE CHECK (length(token_hash) = 32), -- SHA-256 of the token's text
    user_id         text    COLLATE "C" NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    created_at      bigint  NOT NULL,
    last_seen_at    bigint  NOT NULL,
    idle_expires_at bigint  NOT NULL, -- moved by a touch, never past expires_at
    expires_at      bigint  NOT NULL, -- absolute
    remembered      boolean NOT NULL,
    ip              text    NOT NULL,
    user_agent      text    NOT NULL,
    host            text    NOT NULL,
    revoked_at      bigint, -- set: a tombstone, kept until the absolute expiry
    revoked_by      text,
    revoked_why     text,
    revoked_seq     bigint, -- the number in the revocation log
    archived          boolean NOT NULL DEFAULT false -- dead, and out of sessions_live
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02);
CREATE INDEX sessions_live ON sessions (user_id, created_at) WHERE NOT archived;
CREATE INDEX sessions_expiry ON sessions (expires_at);

-- Append-only audit. Never a token, never a password.
CREATE TABLE events (
    number     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at         bigint NOT NULL,
    kind       text   NOT NULL,
    user_id    text,
    session_id text,
    actor      text   NOT NULL, -- user id, or 'cli', 'system', 'anonymous'
    ip         text,
    detail     text,
    name       text, -- the user's name, or where there is no such user, a keyed hash of what was typed
    user_agent text,
    count      bigint NOT NULL DEFAULT 1 -- many refusals alike are one event
);

-- The newest number of the revocation log. The transaction that takes the next one holds this row until its commit, so
-- that numbers are committed in their order and without a gap.
CREATE TABLE coherence (
    one boolean NOT NULL PRIMARY KEY DEFAULT true CHECK (one),
    seq bigint  NOT NULL
) WITH (fillfactor = 10);
INSERT INTO coherence (seq) VALUES (0);

-- The numbered log of what cached entries must forget: one number a transaction.
CREATE TABLE revocations (
    seq      bigint  NOT NULL PRIMARY KEY,
    at       bigint  NOT NULL,
    sessions bytea[] NOT NULL, -- token hashes
    users    text[]  NOT NULL, -- of whom any session may have ended
    flush    bytea[] NOT NULL DEFAULT '{}' -- token hashes whose last-seen times a login needs; these have not ended
);

CREATE TABLE replicas (
    id      text   COLLATE "C" NOT NULL PRIMARY KEY,
    beat    bigint NOT NULL,
    applied bigint NOT NULL,
    caching boolean NOT NULL DEFAULT true -- whether checks are answered from memory, so that revocations wait for it
) WITH (fillfactor = 10);

-- The key that tells an issued token from a made-up one without a read.
CREATE TABLE secrets (
    name  text  NOT NULL PRIMARY KEY, -- 'token_key'
    value bytea NOT NULL CHECK (length(value) = 32)
);

-- Which releases can serve beside each migration: every migration adds its row.
CREATE TABLE schema_compatibility (
    migration bigint NOT NULL PRIMARY KEY,
    oldest    bigint NOT NULL -- the newest migration known to the oldest release that can serve from this schema
);
INSERT INTO schema_compatibility (migration, oldest) VALUES (1, 1);
