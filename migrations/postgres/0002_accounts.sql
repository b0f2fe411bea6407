-- What administrators do with accounts, and what the audit tells of it.

-- A password that an administrator has set is changed at its first use, and may expire before.
ALTER TABLE users ADD COLUMN must_change_password boolean NOT NULL DEFAULT false;
ALTER TABLE users ADD COLUMN password_expires_at bigint;
ALTER TABLE users ADD COLUMN last_login_at bigint;
-- A deleted user's row stays for as long as tombstones of their sessions refer to it, without anything personal in it.
ALTER TABLE users ADD COLUMN deleted_at bigint;
CREATE INDEX users_created ON users (created_at, id);
CREATE INDEX users_admins ON users (id) WHERE admin;

ALTER TABLE events ADD COLUMN request_id text;
ALTER TABLE events ADD COLUMN actor_name text; -- the actor's name at that time: a username, or the operating system's user of a command

INSERT INTO schema_compatibility (migration, oldest) VALUES (2, 1);
