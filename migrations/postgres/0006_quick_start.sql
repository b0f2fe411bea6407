-- What each start looks for, by look-ups, however many users there are: the names of the keys that second factors are encrypted
-- under. Of an import, which is one transaction here, nothing can be left.
CREATE INDEX second_factors_key ON second_factors (substr(secret, 1, 8));

INSERT INTO schema_compatibility (migration, oldest) VALUES (6, 1);
