-- What was refused, to whom, and how often: many alike are one event.
ALTER TABLE events ADD COLUMN name TEXT; -- the user's name, or where there is no such user, a keyed hash of what was typed
ALTER TABLE events ADD COLUMN user_agent TEXT;
ALTER TABLE events ADD COLUMN count INTEGER NOT NULL DEFAULT 1;
