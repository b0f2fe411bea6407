-- What each start looks for, by look-ups, however many users there are.

-- The users of an import that was killed, of which nothing is to be left.
CREATE INDEX users_unfinished ON users (id) WHERE deleted_at = -1;
-- The names of the keys that second factors are encrypted under.
CREATE INDEX second_factors_key ON second_factors (substr(secret, 1, 8));

INSERT INTO schema_compatibility (migration, oldest) VALUES (6, 1);
