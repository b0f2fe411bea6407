//! Copies an embedded store into PostgreSQL page by page, and goes on from where an earlier attempt ended.
//!
//! The source is held as a server would hold it, and stays as it is. A mark among the target's secrets names the source
//! for as long as something is missing, so that no process serves from an incomplete copy, and nothing else is added to
//! it. The last key in a table says how far the copy of that table is, since pages come in the order of keys, and each
//! is one transaction.

use futures_util::future::join;

use super::connect::{Scheme, scheme};
pub use super::copied::{Contents, CopyError, Table};
use super::{postgres, sqlite};
use crate::config::DatabaseUrl;

/// Copies what is at `from` to `to`. `progress` is called for every page: the table, how many of its rows are there now, and
/// of how many.
///
/// # Errors
/// [`CopyError`]; until a copy is complete, any other process that opens the target refuses it.
pub async fn copy(
    from: &DatabaseUrl,
    to: &DatabaseUrl,
    mut progress: impl FnMut(Table, i64, i64),
) -> Result<Contents, CopyError> {
    let (Ok(Scheme::Sqlite(path)), Ok(Scheme::Postgres)) = (scheme(from), scheme(to)) else {
        return Err(CopyError::OtherWay(from.clone(), to.clone()));
    };
    let mut source = sqlite::CopySource::open(path).await?;
    let contents = source.contents().await?;
    if contents.users == 0 {
        return Err(CopyError::Nothing(from.clone()));
    }
    let mut target = postgres::CopyTarget::open(to).await?;
    if !target.begin(&contents).await? {
        return Ok(contents);
    }
    for table in Table::ALL {
        let (mut rows, last) = target.reached(table).await?;
        let mut page = source.page(table, last).await?;
        while page.rows > 0 {
            let (added, next) = join(target.add(table, page.text), source.page(table, page.last)).await;
            added?;
            rows += page.rows;
            progress(table, rows, contents.rows(table));
            page = next?;
        }
    }
    target.finish(&contents).await?;
    Ok(contents)
}
