//! The mark in a file's header: whether it was ever in use, and whether it is a backup that was not restored yet.
//!
//! SQLite keeps a number for the application in the file's header. It is read there without opening the database, since
//! opening a database with the write-ahead log of another one beside it mixes the two.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use sqlx::Result;
use sqlx::sqlite::SqliteConnection;

/// How a header begins, and where in it the number is ([file format](https://www.sqlite.org/fileformat.html), section 1.3).
const MAGIC: &[u8] = b"SQLite format 3\0";
const PLACE: std::ops::Range<usize> = 68..72;

/// The meaning of the number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mark {
    /// The file has no mark.
    None,
    /// There were users in it.
    InUse,
    /// `sessiond backup` made it, and nothing has run on it since.
    Backup,
}

impl Mark {
    /// The mark of a file, as far as the write-ahead log was folded into it.
    pub(super) fn of(path: &Path) -> io::Result<Self> {
        let mut header = Vec::new();
        File::open(path)?.take(100).read_to_end(&mut header)?;
        let number = header.get(PLACE).filter(|_| header.starts_with(MAGIC));
        let number = number.and_then(|number| number.try_into().ok()).map_or(0, u32::from_be_bytes);
        let mark = [Self::InUse, Self::Backup].into_iter().find(|mark| mark.number() == number);
        Ok(mark.unwrap_or(Self::None))
    }

    /// The mark of the database that a connection is open to.
    pub(super) async fn inside(connection: &mut SqliteConnection) -> Result<Self> {
        let number: i64 = sqlx::query_scalar("PRAGMA application_id").fetch_one(connection).await?;
        let mark = [Self::InUse, Self::Backup].into_iter().find(|mark| i64::from(mark.number()) == number);
        Ok(mark.unwrap_or(Self::None))
    }

    /// The statement that sets this mark in a database.
    pub(super) const fn sql(self) -> &'static str {
        match self {
            Self::None => "PRAGMA application_id = 0",
            Self::InUse => "PRAGMA application_id = 1397052260",
            Self::Backup => "PRAGMA application_id = 1397052258",
        }
    }

    const fn number(self) -> u32 {
        match self {
            Self::None => 0,
            Self::InUse => u32::from_be_bytes(*b"SESd"),
            Self::Backup => u32::from_be_bytes(*b"SESb"),
        }
    }
}

#[cfg(test)]
mod tests {
    use sqlx::ConnectOptions as _;
    use sqlx::sqlite::SqliteConnectOptions;

    use super::*;

    #[tokio::test]
    async fn what_is_written_is_read_inside_and_from_the_file() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("test.db");
        let options = SqliteConnectOptions::new().filename(&path).create_if_missing(true);
        let mut connection = options.connect().await.expect("opened");
        sqlx::query("CREATE TABLE t (x)").execute(&mut connection).await.expect("made");
        for mark in [Mark::None, Mark::InUse, Mark::Backup] {
            sqlx::query(mark.sql()).execute(&mut connection).await.expect("marked");
            let read = (Mark::inside(&mut connection).await.expect("read"), Mark::of(&path).expect("read"));
            assert_eq!(read, (mark, mark));
        }
        std::fs::write(&path, "no database").expect("written");
        assert_eq!(Mark::of(&path).expect("read"), Mark::None);
    }
}
