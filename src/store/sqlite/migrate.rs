//! Brings the tables up to date: `PRAGMA user_version` says how many migrations a file has had.

use rusqlite::{Connection, TransactionBehavior};

use super::super::{Result, StoreError};
use super::connection::failed;

/// Every migration there ever was, by name; what a file has had is never changed.
const MIGRATIONS: [(&str, &str); 1] = [("0001_initial", include_str!("../../../migrations/sqlite/0001_initial.sql"))];

/// Applies what is missing, in one transaction. Of two processes that start at once, the second finds nothing to do.
pub(super) fn migrate(connection: &mut Connection) -> Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
    let (applied, missing) = missing(&transaction)?;
    let made_by_others = "SELECT 1 FROM sqlite_schema WHERE name NOT LIKE 'sqlite_%'";
    if applied == 0 && transaction.prepare(made_by_others).and_then(|mut any| any.exists([])).map_err(failed)? {
        return Err(StoreError::inconsistent(String::from(
            "the database has tables of somebody else's: give sessiond one of its own",
        )));
    }
    for (number, (name, sql)) in (applied + 1..).zip(missing) {
        let log = |error: &rusqlite::Error| tracing::error!(migration = name, %error, "cannot migrate");
        transaction.execute_batch(sql).inspect_err(log).map_err(failed)?;
        transaction.pragma_update(None, "user_version", number).map_err(failed)?;
    }
    transaction.commit().map_err(failed)
}

/// Refuses a database that lacks a migration, without a change to it.
pub(super) fn check(connection: &Connection) -> Result<()> {
    match missing(connection)? {
        (_, []) => Ok(()),
        (applied, [..]) => Err(StoreError::inconsistent(format!(
            "the source has had {applied} of {} migrations: run `sessiond migrate` on it first",
            MIGRATIONS.len()
        ))),
    }
}

/// How many migrations a database has had, and the others.
fn missing(connection: &Connection) -> Result<(u32, &'static [(&'static str, &'static str)])> {
    let applied: u32 = connection.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(failed)?;
    let Some(missing) = MIGRATIONS.get(applied as usize..) else {
        return Err(StoreError::inconsistent(format!(
            "the database has had {applied} migrations and this sessiond knows {}: a newer one has written it, so run that",
            MIGRATIONS.len()
        )));
    };
    Ok((applied, missing))
}

#[cfg(test)]
mod tests {
    use super::super::connection;
    use super::*;

    #[test]
    fn of_many_that_start_at_once_one_migrates() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("test.db");
        super::super::files::make_private(&path).expect("made");
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| migrate(&mut connection::writer(&path).expect("opened")).expect("migrated"));
            }
        });
    }

    #[test]
    fn a_file_of_an_earlier_version_is_brought_up_to_date_and_keeps_what_it_holds() {
        let mut connection = Connection::open_in_memory().expect("memory");
        connection.execute_batch(MIGRATIONS[0].1).expect("made");
        connection.pragma_update(None, "user_version", 1).expect("set");
        connection
            .execute_batch("INSERT INTO events (at, kind, actor) VALUES (1, 'login_failed', 'anonymous')")
            .expect("an event");
        migrate(&mut connection).expect("migrated");
        let event = "SELECT at, name, count FROM events WHERE number = 1";
        let event = connection.query_row(event, [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)));
        assert_eq!(event, Ok((1, None::<String>, 1)));
    }

    #[test]
    fn a_file_with_tables_of_somebody_elses_is_refused_and_left_alone() {
        let mut connection = Connection::open_in_memory().expect("memory");
        connection.execute_batch("CREATE TABLE notes (text TEXT)").expect("made");
        let refused = migrate(&mut connection).expect_err("refused").to_string();
        assert!(refused.contains("give sessiond one of its own"), "{refused}");
        let tables = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get::<_, i64>(0));
        assert_eq!(tables, Ok(1));
    }

    #[test]
    fn a_file_that_a_newer_version_has_written_is_refused_with_a_sentence() {
        let mut connection = Connection::open_in_memory().expect("memory");
        migrate(&mut connection).expect("migrated");
        connection.pragma_update(None, "user_version", 1000).expect("set");
        let refused = migrate(&mut connection).expect_err("refused").to_string();
        assert!(refused.contains("has had 1000 migrations"), "{refused}");
    }
}
