-- What was refused, to whom, and how often: many alike are one event.
ALTER TABLE events ADD COLUMN name text; -- the user's name, or where there is no such user, a keyed hash of what was typed
ALTER TABLE events ADD COLUMN user_agent text;
ALTER TABLE events ADD COLUMN count bigint NOT NULL DEFAULT 1;
