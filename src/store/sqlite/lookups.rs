//! What tokens lead to, many by one trip to the database: its answer is one row, since each row is a trip by itself.

use std::borrow::Cow;

use serde::Deserialize;
use sqlx::Error;

use super::super::lookups::Found;
use super::super::{Lookup, Result};
use super::connection::failed;
use super::readers::Readers;
use super::revocations::{from_json, json};
use crate::domain::clock::Timestamp;
use crate::domain::revocation::Seq;
use crate::domain::session::{Client, Expiry, Session};
use crate::domain::text::{Email, Name, Username};
use crate::domain::token::TokenHash;
use crate::domain::user::User;

/// Finds what the tokens lead to. What was archived is over, whatever the clock says by now.
pub(super) async fn find(readers: &Readers, tokens: Vec<TokenHash>) -> Result<Found> {
    let hexadecimal: Vec<_> = tokens.iter().map(TokenHash::to_hex).collect();
    let lookup = sqlx::query_as(
        "SELECT json_group_array(json_array(wanted.key, s.revoked_at, s.revoked_seq,
             s.id, s.user_id, s.created_at, s.last_seen_at, iif(s.archived, 0, s.idle_expires_at), s.expires_at,
             s.remembered, s.ip, s.user_agent, s.host, u.username, u.email, u.name, u.admin, u.disabled_at,
             u.created_at, u.updated_at))
         FROM json_each(?1) AS wanted CROSS JOIN sessions AS s ON s.token_hash = unhex(wanted.value)
             CROSS JOIN users AS u ON u.id = s.user_id",
    );
    let found: Option<(String,)> = readers.one(lookup.bind(json(&hexadecimal).map_err(failed)?)).await?;
    let (found,) = found.unwrap_or_default();
    let rows: Vec<FoundRow<'_>> = from_json(&found).map_err(failed)?;
    let lookups = rows.into_iter().filter_map(|row| Some((*tokens.get(row.place)?, row.lookup().map_err(failed))));
    Ok(lookups.collect())
}

/// A session that was found, in the order of the statement's columns.
#[derive(Deserialize)]
struct FoundRow<'a> {
    /// Of its token, among those that were asked for.
    place: usize,
    revoked_at: Option<i64>,
    revoked_seq: Option<i64>,
    #[serde(borrow)]
    id: Cow<'a, str>,
    #[serde(borrow)]
    user_id: Cow<'a, str>,
    created_at: i64,
    last_seen_at: i64,
    idle_expires_at: i64,
    expires_at: i64,
    remembered: u8,
    ip: String,
    user_agent: String,
    host: String,
    username: String,
    email: Option<String>,
    name: String,
    admin: u8,
    disabled_at: Option<i64>,
    user_created_at: i64,
    user_updated_at: i64,
}

impl FoundRow<'_> {
    fn lookup(self) -> sqlx::Result<Lookup> {
        let impossible = |error: Box<dyn std::error::Error + Send + Sync>| Error::Decode(error);
        let id = self.id.parse().map_err(|error| impossible(Box::new(error)))?;
        match (self.revoked_at, self.revoked_seq) {
            (None, None) => {}
            (Some(_), Some(seq)) => return Ok(Lookup::Revoked(Seq(seq))),
            (Some(_), None) | (None, Some(_)) => {
                return Err(impossible(format!("the tombstone of session {id} is half written").into()));
            }
        }
        let user_id = self.user_id.parse().map_err(|error| impossible(Box::new(error)))?;
        let at = Timestamp::from_millis;
        let session = Session {
            id,
            user_id,
            created_at: at(self.created_at),
            last_seen_at: at(self.last_seen_at),
            expiry: Expiry { idle: at(self.idle_expires_at), absolute: at(self.expires_at) },
            remembered: self.remembered != 0,
            client: Client { ip: self.ip, user_agent: self.user_agent, host: self.host, request_id: String::new() },
        };
        let user = User {
            id: user_id,
            username: Username::stored(self.username),
            email: self.email.map(Email::stored),
            name: Name::stored(self.name),
            admin: self.admin != 0,
            disabled_at: self.disabled_at.map(at),
            created_at: at(self.user_created_at),
            updated_at: at(self.user_updated_at),
        };
        Ok(Lookup::Found(Box::new((session, user))))
    }
}
