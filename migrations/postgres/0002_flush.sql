-- A login that has to end one of a user's sessions asks every replica for the last-seen times it has not flushed yet. Those
-- that answer no check from memory are asked too, and no revocation waits for them.
ALTER TABLE revocations ADD COLUMN flush bytea[] NOT NULL DEFAULT '{}'; -- token hashes; these have not ended
ALTER TABLE replicas ADD COLUMN caching boolean NOT NULL DEFAULT true;  -- whether checks are answered from memory
