//! Makes users and sessions without hashing a password for each: the only file that knows the server's tables.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use tokio_postgres::{Client, NoTls};

use crate::{history::Id, random::Random};

/// A token's text.
pub type Token = [u8; 43];

/// What ids are made of.
const ID_ALPHABET: &[u8; 55] = b"23456789ABCDEFGHJKLMNPQRSTWXYZabcdefghijkmnopqrstuvwxyz";

const USERS: &str = "
    INSERT INTO users (id, username, username_key, name, password_hash, created_at, updated_at)
    SELECT new.id, new.name, new.name, new.name, first.password_hash, $3, $3
    FROM unnest($1::text[], $2::text[]) AS new (id, name), users AS first WHERE first.username_key = $4";

const SESSIONS: &str = "
    INSERT INTO sessions (id, token_hash, user_id, created_at, last_seen_at, idle_expires_at, expires_at,
                          remembered, ip, user_agent, host)
    SELECT new.id, new.token_hash, new.user_id, $4, $4, $5, $6, false, '127.0.0.1', 'history', '127.0.0.1'
    FROM unnest($1::text[], $2::bytea[], $3::text[]) AS new (id, token_hash, user_id)";

/// As each login does for its user, or the dead would make every list longer.
const BURY: &str = "
    UPDATE sessions SET buried = true WHERE number IN (
        SELECT number FROM sessions WHERE user_id = ANY ($1) AND NOT buried AND revoked_at IS NOT NULL
        ORDER BY number FOR UPDATE SKIP LOCKED)";

/// A session that is about to be stored.
pub struct Fresh {
    pub user: u16,
    pub id: Id,
    pub token: Token,
}

pub struct Seeder {
    url: String,
    client: Client,
    key: Hmac<Sha256>,
    users: Vec<String>,
}

impl Seeder {
    /// Makes users with these names and the password of the one called `first`.
    pub async fn start(url: &str, names: &[String], first: &str, random: &mut Random) -> Result<Self> {
        let client = connect(url).await?;
        let key = client.query_one("SELECT value FROM secrets WHERE name = 'token_key'", &[]).await?;
        let key = Hmac::new_from_slice(key.get(0))?;
        let users: Vec<String> = names.iter().map(|_| text(&id(random))).collect();
        let made = client.execute(USERS, &[&users, &names, &now()?, &first]).await?;
        ensure!(made == names.len() as u64, "{made} of {} users were made", names.len());
        Ok(Self { url: url.to_owned(), client, key, users })
    }

    /// A session of a user, not stored yet.
    pub fn fresh(&self, user: u16, random: &mut Random) -> Fresh {
        let mut bytes = [0; 32];
        let (drawn, check) = bytes.split_at_mut(24);
        random.fill(drawn);
        let mac = self.key.clone().chain_update(drawn).finalize();
        check.copy_from_slice(&mac.into_bytes()[..8]);
        let mut token = [0; 43];
        let written = URL_SAFE_NO_PAD.encode_slice(bytes, &mut token);
        debug_assert_eq!(written, Ok(token.len()));
        Fresh { user, id: id(random), token }
    }

    /// Stores them. After an error nobody knows whether they are.
    pub async fn store(&mut self, fresh: &[Fresh]) -> Result<()> {
        let ids: Vec<_> = fresh.iter().map(|one| text(&one.id)).collect();
        let hashes: Vec<_> = fresh.iter().map(|one| Sha256::digest(one.token).to_vec()).collect();
        let users: Vec<_> = fresh.iter().map(|one| &self.users[usize::from(one.user)]).collect();
        let now = now()?;
        let hours = |count: i64| now + count * 3_600_000;
        self.client.execute(SESSIONS, &[&ids, &hashes, &users, &now, &hours(2), &hours(24)]).await?;
        Ok(())
    }

    /// Puts the dead out of the way.
    pub async fn bury(&self) -> Result<()> {
        self.client.execute(BURY, &[&self.users]).await?;
        Ok(())
    }

    /// Connects again after an error.
    pub async fn reconnect(&mut self) -> Result<()> {
        self.client = connect(&self.url).await?;
        Ok(())
    }
}

/// A connection, for as long as the client is there.
pub async fn connect(url: &str) -> Result<Client> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.context("connecting to PostgreSQL")?;
    tokio::spawn(connection);
    Ok(client)
}

fn now() -> Result<i64> {
    Ok(i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis())?)
}

fn id(random: &mut Random) -> Id {
    std::array::from_fn(|_| ID_ALPHABET[random.below(ID_ALPHABET.len())])
}

/// An id or a token as text.
pub fn text(ascii: &[u8]) -> String {
    String::from_utf8_lossy(ascii).into_owned()
}
