-- How many passwords and codes in a row were wrong. A key is an HMAC of a name, an account, or either of them with where
-- it was tried from: no name is kept here, and a name that no user has looks like any other.
CREATE TABLE throttles (
    key       BLOB    NOT NULL PRIMARY KEY CHECK (length(key) = 32),
    about     BLOB    NOT NULL CHECK (length(about) = 32), -- the key of the name or account, by which all about it is lifted
    counted   INTEGER NOT NULL, -- 0: a name from a place; 1: a known browser or a session; 2: a name; 3: an account; 4: a name without one
    failures  INTEGER NOT NULL CHECK (failures > 0),
    until     INTEGER NOT NULL, -- no try is checked before
    forget_at INTEGER NOT NULL  -- 24 hours after the last failure
) STRICT, WITHOUT ROWID;
CREATE INDEX throttles_about ON throttles (about);
CREATE INDEX throttles_forget ON throttles (forget_at);

INSERT INTO schema_compatibility (migration, oldest) VALUES (3, 1);
