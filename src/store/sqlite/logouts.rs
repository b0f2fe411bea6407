//! A batch of logouts: two trips to the database, however many logouts there are, with the decisions made here in
//! between.

use sqlx::sqlite::SqliteConnection;
use sqlx::{Error, Result};

use super::super::{Logout, Revoked};
use super::revocations::{self, from_json, json};
use crate::domain::clock::{Clock, Timestamp};
use crate::domain::revocation::{Revocation, Seq};

/// A session that was found: the place of its token in the batch, its number, its id, its user's, its idle deadline and its
/// absolute one.
type Found<'a> = (usize, i64, &'a str, &'a str, i64, i64);

/// Ends what the logouts may end, in one transaction, and returns what each ended, in their order, and what the sink has to
/// apply. After an error the transaction may be open, and the outcome of its commit is unknown.
pub(super) async fn commit(
    connection: &mut SqliteConnection,
    clock: &dyn Clock,
    logouts: &[&Logout],
) -> Result<(Vec<Revoked>, Option<Revocation>)> {
    let tokens: Vec<_> = logouts.iter().map(|logout| logout.token.to_hex()).collect();
    let (head, found): (Seq, String) = sqlx::query_as(
        "BEGIN IMMEDIATE;
         SELECT (SELECT coalesce(max(seq), 0) FROM revocations), json_group_array(json_array(
             wanted.key, s.number, s.id, s.user_id, s.idle_expires_at, s.expires_at))
         FROM json_each(?1) AS wanted CROSS JOIN sessions AS s ON s.token_hash = unhex(wanted.value)
         WHERE s.revoked_at IS NULL",
    )
    .bind(json(&tokens)?)
    .fetch_one(&mut *connection)
    .await?;
    let found: Vec<Found<'_>> = from_json(&found)?;
    // A session that expired while the batch waited for the file is over.
    let now = clock.now();
    let seq = Seq(head.0 + 1);
    let mut ended = vec![None; logouts.len()];
    let (mut numbers, mut events) = (Vec::with_capacity(found.len()), Vec::with_capacity(found.len()));
    let mut entry = Revocation { seq, ..Revocation::default() };
    for (place, number, id, user, idle, absolute) in found {
        let (Some(logout), Some(ended)) = (logouts.get(place), ended.get_mut(place)) else { continue };
        let live = now < Timestamp::from_millis(idle.min(absolute));
        let entitled = logout.user.is_none_or(|named| named.as_str() == user);
        // Of several logouts of one session, the first that may end it does.
        if !entitled || numbers.contains(&number) {
            continue;
        }
        // One that has expired ends, too, since it would be live again if the clock ran ahead and is set right. It is not part of
        // the outcome.
        entry.sessions.push(logout.token);
        numbers.push(number);
        if live {
            *ended = Some(id.parse().map_err(|error| Error::Decode(Box::new(error)))?);
            events.push((user, id, &logout.ip, &logout.request_id));
        }
    }
    let revoked = |seq| ended.into_iter().map(|id| Revoked { sessions: id.into_iter().collect(), seq }).collect();
    if numbers.is_empty() {
        sqlx::query("COMMIT").execute(connection).await?;
        return Ok((revoked(head), None));
    }
    sqlx::query(
        "UPDATE sessions SET revoked_at = ?3, revoked_by = user_id, revoked_why = 'logout', revoked_seq = ?2
         WHERE number IN (SELECT value FROM json_each(?1));
         INSERT INTO events (at, kind, user_id, session_id, actor, ip, request_id)
         SELECT ?3, 'logout', value ->> 0, value ->> 1, value ->> 0, value ->> 2, value ->> 3 FROM jsonb_each(?5);
         INSERT INTO revocations (seq, at, what) VALUES (?2, ?3, ?4);
         COMMIT",
    )
    .bind(json(&numbers)?)
    .bind(seq)
    .bind(now)
    .bind(revocations::written(&entry)?)
    .bind(json(&events)?)
    .execute(connection)
    .await?;
    Ok((revoked(seq), Some(entry)))
}
