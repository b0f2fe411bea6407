-- A login that has to end one of a user's sessions asks replicas for what they have not flushed yet.
ALTER TABLE revocations ADD COLUMN flush bytea[] NOT NULL DEFAULT '{}'; -- token hashes; these have not ended
