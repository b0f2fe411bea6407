-- Fills a database that `sessiond migrate` has made with what 31 days of logins leave there: four sessions a user, each
-- session's token hash that of a number, three of ten logged out, and of the last two days half not to be remembered.
--
--   psql -v sessions=1000000 -f sessions.sql postgres://…/database

SET synchronous_commit = off;
SET session_replication_role = replica; -- no look-up of the user for each row

CREATE FUNCTION pg_temp.id(text) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT translate(left(md5($1), 17), '01', 'xy') $$;

INSERT INTO users (id, username, username_key, email, email_key, name, password_hash, created_at, updated_at)
SELECT pg_temp.id('user' || n), 'user' || n, 'user' || n, 'user' || n || '@example.org', 'user' || n || '@example.org', 'Number ' || n,
    '$argon2id$v=19$m=19456,t=2,p=1$' || left(md5('salt' || n), 22) || '$' || left(md5('one' || n) || md5('two' || n), 43), 1, 1
FROM generate_series(1, :sessions / 4) AS n;

-- As of 2026-11-21 16:00 UTC.
INSERT INTO sessions (id, token_hash, user_id, created_at, last_seen_at, idle_expires_at, expires_at, remembered, ip,
    user_agent, host, revoked_at, revoked_by, revoked_why, revoked_seq, archived)
SELECT pg_temp.id('session' || n), sha256(n::text::bytea), owner, at, at, least(at + 20 * 86400000::bigint, over), over,
    remembered, '203.0.113.' || n % 250, 'Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0',
    'sessions.example.org', CASE WHEN ended THEN at + 1000 END, CASE WHEN ended THEN owner END,
    CASE WHEN ended THEN 'logout' END, CASE WHEN ended THEN n END, n % 10 < 2
FROM (SELECT *, at + CASE WHEN remembered THEN 30 ELSE 1 END * 86400000::bigint AS over,
          pg_temp.id('user' || 1 + abs(hashint8(n)) % (:sessions / 4)) AS owner, n % 10 < 3 AS ended
      FROM (SELECT n, 1795276800000 - (31 * 86400000::bigint * (1 - n / :sessions::float8))::bigint AS at,
                n % 2 = 1 OR n < :sessions * 29 / 31::float8 AS remembered
            FROM generate_series(1::bigint, :sessions) AS n) AS login) AS session;

VACUUM ANALYZE;
