//! Logouts: many of them, one transaction, and one trip to the database's thread.
//!
//! The driver runs statements on a thread of its own, and every trip there and back costs two context switches. A logout
//! is what must be quick, alone and in floods, so its whole transaction is one text, `logout.sql`. The macros check single
//! statements only; the store contract suite runs these.

use std::collections::HashMap;

use sqlx::{Executor as _, Row as _, SqliteConnection};

use super::super::{Logout, Result, Revoked, StoreError};
use super::failed;
use super::operations::json;
use super::rows::id;
use crate::domain::id::SessionId;
use crate::domain::revocation::{Revocation, Seq};
use crate::domain::token::TokenHash;

const TRANSACTION: &str = include_str!("logout.sql");

/// Ends the sessions that tokens lead to, each token once. After an error, other than that the file was busy, the connection is to be dropped, which rolls
/// back whatever was begun; where the commit itself failed, nobody can tell.
pub(super) async fn logout(
    connection: &mut SqliteConnection,
    logouts: &[&Logout],
) -> Result<(Vec<Revoked>, Option<Revocation>)> {
    let wanted: Vec<_> = logouts
        .iter()
        .map(|wanted| {
            let user = wanted.user.map(|user| user.to_string());
            (wanted.token.to_hex(), user, wanted.at.millis(), wanted.ip.as_deref())
        })
        .collect();
    let query = sqlx::query(TRANSACTION).bind(json(&wanted)?);
    let row = connection.fetch_all(query).await.map_err(failed)?.pop();
    let row = row.ok_or_else(|| StoreError::Inconsistent(String::from("a logout came to nothing at all")))?;
    let head: i64 = row.try_get("head").map_err(failed)?;
    let ended: String = row.try_get("ended").map_err(failed)?;
    let odd = || StoreError::Inconsistent(String::from("a logout ended something odd"));
    let ended: Vec<(String, String)> = serde_json::from_str(&ended).map_err(|_| odd())?;
    let mut ended: HashMap<TokenHash, SessionId> = ended
        .into_iter()
        .map(|(hash, session)| Ok((TokenHash::from_hex(&hash).ok_or_else(odd)?, id(&session)?)))
        .collect::<Result<_>>()?;
    let revocation = (!ended.is_empty()).then(|| Revocation {
        seq: Seq(head + 1),
        sessions: ended.keys().copied().collect(),
        users: Vec::new(),
    });
    let seq = revocation.as_ref().map_or(Seq(head), |revocation| revocation.seq);
    let revoked = logouts
        .iter()
        .map(|logout| Revoked { sessions: ended.remove(&logout.token).into_iter().collect(), seq })
        .collect();
    Ok((revoked, revocation))
}
