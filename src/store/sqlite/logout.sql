-- ?1 is an array of [token hash, user id or null, time, address or null], each hash once.
-- Until its own entry is in the log, what this transaction ended is known by the number it will have.
BEGIN IMMEDIATE;

UPDATE sessions
SET revoked_at = wanted.at, revoked_by = sessions.user_id, revoked_why = 'logout',
    revoked_seq = (SELECT coalesce(max(seq), 0) + 1 FROM revocations)
FROM (SELECT unhex(value ->> 0) AS token_hash, value ->> 1 AS user_id, value ->> 2 AS at FROM json_each(?1)) AS wanted
WHERE sessions.token_hash = wanted.token_hash
    AND (wanted.user_id IS NULL OR wanted.user_id = sessions.user_id)
    AND revoked_at IS NULL AND idle_expires_at > wanted.at AND expires_at > wanted.at;

INSERT INTO events (at, kind, user_id, session_id, actor, ip)
SELECT s.revoked_at, 'logout', s.user_id, s.id, s.user_id, wanted.value ->> 3
FROM json_each(?1) AS wanted CROSS JOIN sessions AS s ON s.token_hash = unhex(wanted.value ->> 0)
WHERE s.revoked_seq = (SELECT coalesce(max(seq), 0) + 1 FROM revocations);

SELECT (SELECT coalesce(max(seq), 0) FROM revocations) AS head,
    json_group_array(json_array(lower(hex(s.token_hash)), s.id)) AS ended
FROM json_each(?1) AS wanted CROSS JOIN sessions AS s ON s.token_hash = unhex(wanted.value ->> 0)
WHERE s.revoked_seq = (SELECT coalesce(max(seq), 0) + 1 FROM revocations);

INSERT INTO revocations (seq, at, what)
SELECT (SELECT coalesce(max(seq), 0) + 1 FROM revocations), max(s.revoked_at),
    json_object('sessions', json_group_array(lower(hex(s.token_hash))), 'users', json_array())
FROM json_each(?1) AS wanted CROSS JOIN sessions AS s ON s.token_hash = unhex(wanted.value ->> 0)
WHERE s.revoked_seq = (SELECT coalesce(max(seq), 0) + 1 FROM revocations)
HAVING count(*) > 0;

COMMIT;
