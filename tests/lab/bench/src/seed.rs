//! Fills a fresh database with live sessions: the only file that knows the server's tables.
//!
//! Tokens are derived from their number, so a million of them need not be made at random and kept.

use std::{
    ops::Range,
    path::Path,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result, ensure};
use hmac::{Hmac, KeyInit, Mac};
use rusqlite::{Connection, TransactionBehavior};
use sha2::{Digest, Sha256};

use crate::{
    cluster,
    requests::{Token, encode},
    server::ADMIN,
};

/// A MAC under the key that tells issued tokens from made-up ones.
pub type TokenKey = Hmac<Sha256>;

/// Rows in one statement, and statements in one transaction.
const CHUNK: usize = 5_000;
const CHUNKS: usize = 20;

/// What ids are made of.
const ID_ALPHABET: &[u8; 55] = b"23456789ABCDEFGHJKLMNPQRSTWXYZabcdefghijkmnopqrstuvwxyz";

const USERS: &str = "
    INSERT INTO users (id, username, username_key, email, email_key, name, password_hash, created_at, updated_at)
    SELECT value ->> 0, value ->> 1, value ->> 1, value ->> 2, value ->> 2, value ->> 3,
           (SELECT password_hash FROM users WHERE username_key = ?2), ?3, ?3
    FROM json_each(?1)";

const SESSIONS: &str = "
    INSERT INTO sessions (id, token_hash, user_id, created_at, last_seen_at, idle_expires_at, expires_at,
                          remembered, ip, user_agent, host)
    SELECT value ->> 0, unhex(value ->> 1), value ->> 2, ?2, ?2, ?3, ?4,
           0, '127.0.0.1', 'Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0', '127.0.0.1'
    FROM json_each(?1)";

pub struct Seeded {
    pub tokens: Arc<[Token]>,
    pub key: TokenKey,
}

/// Stores `size` users, who all have the first account's password, with one live session each.
/// The server has made the tables and is not running.
pub fn sqlite(file: &Path, size: usize) -> Result<Seeded> {
    let mut database = Connection::open(file).with_context(|| format!("opening {}", file.display()))?;
    // A crash here loses nothing that matters, so no journal and no waiting for the disk.
    database.execute_batch(
        "PRAGMA journal_mode = OFF;
         PRAGMA synchronous = OFF;
         PRAGMA foreign_keys = OFF;
         PRAGMA cache_size = -1000000;",
    )?;
    let seeded = fill_connected(&mut database, size)?;
    database.execute_batch("PRAGMA journal_mode = WAL")?;
    database.close().map_err(|(_, error)| error)?;
    // What is still to be written must not be charged to the first benchmark.
    std::fs::File::open(file)?.sync_all()?;
    Ok(seeded)
}

fn fill_connected(database: &mut Connection, size: usize) -> Result<Seeded> {
    let key: Vec<u8> = database
        .query_row("SELECT value FROM secrets WHERE name = 'token_key'", [], |row| row.get(0))
        .context("reading the token key")?;
    let key = TokenKey::new_from_slice(&key)?;
    let tokens = tokens(&key, 0..size);

    let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis())?;
    let hours = |count: i64| now + count * 3_600_000;
    let numbers = scattered(size);
    for transaction in numbers.chunks(CHUNK * CHUNKS) {
        let writing = database.transaction_with_behavior(TransactionBehavior::Immediate)?;
        for chunk in transaction.chunks(CHUNK) {
            let users = chunk.iter().map(|number| {
                let name = username(*number);
                serde_json::json!([
                    id("user", *number),
                    name,
                    format!("{name}@example.org"),
                    format!("Number {number:07}")
                ])
            });
            let users = serde_json::Value::from_iter(users).to_string();
            let users = writing.execute(USERS, (users, ADMIN, now))?;
            let sessions = chunk.iter().map(|number| {
                let token_hash = hex(&Sha256::digest(tokens[*number]));
                serde_json::json!([id("session", *number), token_hash, id("user", *number)])
            });
            let sessions = serde_json::Value::from_iter(sessions).to_string();
            let sessions = writing.execute(SESSIONS, (sessions, now, hours(2), hours(24)))?;
            ensure!([users, sessions] == [chunk.len(); 2], "some rows were not inserted");
        }
        writing.commit()?;
    }
    Ok(Seeded { tokens, key })
}

/// The same in a PostgreSQL database.
pub async fn postgres(url: &str, size: usize) -> Result<Seeded> {
    let client = cluster::connect(url).await?;
    // What is lost in a crash here does not matter.
    client.batch_execute("SET synchronous_commit = off").await?;
    let key: Vec<u8> = client.query_one("SELECT value FROM secrets WHERE name = 'token_key'", &[]).await?.get(0);
    let key = TokenKey::new_from_slice(&key)?;
    let tokens = tokens(&key, 0..size);
    let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis())?;
    let hours = |count: i64| now + count * 3_600_000;
    let numbers = scattered(size);
    for chunk in numbers.chunks(CHUNK) {
        let names: Vec<_> = chunk.iter().map(|number| username(*number)).collect();
        let (users, sessions): (Vec<_>, Vec<_>) =
            chunk.iter().map(|number| (id("user", *number), id("session", *number))).unzip();
        let hashes: Vec<_> = chunk.iter().map(|number| Sha256::digest(tokens[*number]).to_vec()).collect();
        client
            .execute(
                "INSERT INTO users (id, username, username_key, email, email_key, name, password_hash, created_at, updated_at)
                 SELECT id, name, name, name || '@example.org', name || '@example.org', 'Number ' || right(name, 7),
                     (SELECT password_hash FROM users WHERE username_key = $3), $4, $4
                 FROM unnest($1::text[], $2::text[]) AS u (id, name)",
                &[&users, &names, &ADMIN, &now],
            )
            .await?;
        client
            .execute(
                "INSERT INTO sessions (id, token_hash, user_id, created_at, last_seen_at, idle_expires_at, expires_at,
                                       remembered, ip, user_agent, host)
                 SELECT id, hash, owner, $4, $4, $5, $6, false, '127.0.0.1',
                     'Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0', '127.0.0.1'
                 FROM unnest($1::text[], $2::bytea[], $3::text[]) AS s (id, hash, owner)",
                &[&sessions, &hashes, &users, &now, &hours(2), &hours(24)],
            )
            .await?;
    }
    // What is still to be written must not be charged to the first benchmark.
    client.batch_execute("VACUUM ANALYZE").await?;
    client.batch_execute("CHECKPOINT").await?;
    Ok(Seeded { tokens, key })
}

/// The numbers below `size` in the order in which their rows are stored: whoever goes through the tokens by number, as
/// load does, comes to rows that lie anywhere.
fn scattered(size: usize) -> Vec<usize> {
    let mut numbers: Vec<usize> = (0..size).collect();
    numbers.sort_by_cached_key(|number| derived("place", *number));
    numbers
}

/// The name of a seeded account; all are equally long, so that all answers are.
pub fn username(number: usize) -> String {
    format!("user{number:07}")
}

/// The tokens with these numbers.
pub fn tokens(key: &TokenKey, numbers: Range<usize>) -> Arc<[Token]> {
    numbers.map(|number| token(key, number)).collect()
}

/// 24 bytes and the first 8 of their HMAC, as base64url.
fn token(key: &TokenKey, number: usize) -> Token {
    let drawn = derived("bench", number);
    let mut bytes = [0; 32];
    let (random, check) = bytes.split_at_mut(24);
    random.copy_from_slice(&drawn[..24]);
    let mac = key.clone().chain_update(random).finalize();
    check.copy_from_slice(&mac.into_bytes()[..8]);
    encode(&bytes)
}

/// 17 characters of the alphabet of ids, different for each kind and number.
fn id(kind: &str, number: usize) -> String {
    derived(kind, number)
        .iter()
        .take(17)
        .map(|byte| char::from(ID_ALPHABET[usize::from(*byte) % ID_ALPHABET.len()]))
        .collect()
}

fn derived(kind: &str, number: usize) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(kind);
    hash.update((number as u64).to_le_bytes());
    hash.finalize().into()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCHEMA: &str = include_str!("../../../../migrations/sqlite/0001_initial.sql");

    #[test]
    fn the_seed_fits_the_servers_tables() -> Result<()> {
        let mut database = Connection::open_in_memory()?;
        database.execute_batch(SCHEMA)?;
        database.execute_batch(
            "INSERT INTO secrets VALUES ('token_key', zeroblob(32));
             INSERT INTO users (id, username, username_key, name, password_hash, created_at, updated_at)
             VALUES ('first', 'admin', 'admin', 'Admin', '$argon2id$…', 0, 0);",
        )?;

        let seeded = fill_connected(&mut database, CHUNK + 1)?;

        let found: String = database.query_row(
            "SELECT username FROM sessions JOIN users ON users.id = user_id
             WHERE token_hash = ?1 AND password_hash = '$argon2id$…'",
            [Sha256::digest(seeded.tokens[CHUNK]).as_slice()],
            |row| row.get(0),
        )?;
        assert_eq!(found, username(CHUNK));
        Ok(())
    }

    #[test]
    fn a_token_is_bound_to_its_key() -> Result<()> {
        let under = |key: [u8; 32]| TokenKey::new_from_slice(&key).map(|key| token(&key, 7));
        let (one, other) = (under([1; 32])?, under([2; 32])?);

        assert_eq!(one[..32], other[..32]);
        assert_ne!(one[32..], other[32..]);
        Ok(())
    }
}
