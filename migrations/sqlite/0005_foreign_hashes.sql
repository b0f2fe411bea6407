-- Which kinds of hashes there are that were made elsewhere: they begin with the name of their scheme, where those made here
-- begin with a sign. This finds each kind by one look-up, and is empty where there are none.
CREATE INDEX users_foreign_hash ON users (password_hash) WHERE password_hash >= 'a';

INSERT INTO schema_compatibility (migration, oldest) VALUES (5, 1);
