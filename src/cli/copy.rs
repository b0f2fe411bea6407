//! `sessiond copy`: moves everything from an embedded store to PostgreSQL, where the service goes on.

use std::io::{self, IsTerminal as _, Write as _};
use std::time::Duration;

use clap::Args;
use tokio::time::Instant;

use super::outcome::{Failed, say};
use crate::config::{Config, DatabaseUrl};
use crate::store::copy::copy;

/// How often the progress is printed.
const WORD: Duration = Duration::from_secs(1);

#[derive(Debug, Args)]
pub(super) struct CopyArgs {
    /// What to copy, its server stopped: sqlite:// and a path
    #[arg(long, value_name = "URL")]
    from: DatabaseUrl,
    /// The empty database to copy it to: postgres://… [default: the `database_url`]
    #[arg(long, value_name = "URL")]
    to: Option<DatabaseUrl>,
}

/// Copies, and says how much there is.
pub(super) async fn run(CopyArgs { from, to }: CopyArgs, config: Config) -> Result<(), Failed> {
    let to = to.unwrap_or(config.database_url);
    let (watched, mut last) = (io::stderr().is_terminal(), Instant::now());
    let contents = copy(&from, &to, |table, rows, all| {
        if watched && (rows == all || last.elapsed() > WORD) {
            last = Instant::now();
            // The copy goes on if its progress cannot be printed.
            let _ = writeln!(io::stderr(), "{rows} of {all} {}", table.name());
        }
    })
    .await?;
    let (users, sessions, events) = (contents.users, contents.sessions, contents.events);
    say(format_args!("copied {users} users, {sessions} sessions, {events} events"))
}
