-- How many passwords and codes in a row were wrong. A key is an HMAC of a name, an account, or either of them with where
-- it was tried from: no name is kept here, and a name that no user has looks like any other.
CREATE TABLE throttles (
    key       bytea    NOT NULL PRIMARY KEY CHECK (length(key) = 32),
    about     bytea    NOT NULL CHECK (length(about) = 32), -- the key of the name or account, by which all about it is lifted
    counted   smallint NOT NULL, -- 0: a name from a place; 1: a known browser or a session; 2: a name; 3: an account; 4: a name without one
    failures  bigint   NOT NULL CHECK (failures > 0),
    until     bigint   NOT NULL, -- no try is checked before
    forget_at bigint   NOT NULL  -- 24 hours after the last failure
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02);
CREATE INDEX throttles_about ON throttles (about);
CREATE INDEX throttles_forget ON throttles (forget_at);

INSERT INTO schema_compatibility (migration, oldest) VALUES (3, 1);
