//! `sessiond session`: list a user's; end one, all of a user, those that fit, or everybody's.

use clap::{Args, Subcommand};
use ipnet::IpNet;

use super::event::time;
use super::outcome::{Failed, confirm, say};
use super::user::NameArgs;
use crate::app::Core;
use crate::domain::clock::Timestamp;
use crate::domain::id::SessionId;
use crate::service::selection::SessionFilter;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List a user's live sessions, newest login first
    ///
    /// One a line, in columns: id, time of the login, time when it was last seen, client's address, and `User-Agent`, which
    /// may contain blanks.
    List(NameArgs),
    /// End a session, every one of a user, those that fit, or everybody's
    Revoke(RevokeArgs),
}

#[derive(Debug, Args)]
pub(super) struct RevokeArgs {
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    filter: FilterArgs,
    /// Count them instead
    #[arg(long, conflicts_with = "id")]
    dry_run: bool,
}

#[derive(Debug, Args)]
#[group(multiple = false)]
struct Which {
    /// The session's id
    #[arg(conflicts_with_all = ["ip", "user_agent", "before"])]
    id: Option<String>,
    /// Those of this user
    #[arg(long, value_name = "USERNAME")]
    user: Option<String>,
    /// Everybody's, as after a theft
    #[arg(long, conflicts_with_all = ["ip", "user_agent", "before"])]
    all: bool,
}

#[derive(Debug, Args)]
struct FilterArgs {
    /// Those whose login came from this address or network, such as 192.0.2.0/24
    #[arg(long, value_name = "NETWORK", value_parser = network)]
    ip: Option<IpNet>,
    /// Those whose login named a `User-Agent` that this is a part of
    #[arg(long, value_name = "PART")]
    user_agent: Option<String>,
    /// Those that began before this time, such as 2026-01-02T03:04:05Z
    #[arg(long, value_name = "TIME", value_parser = time)]
    before: Option<Timestamp>,
}

fn network(text: &str) -> Result<IpNet, &'static str> {
    SessionFilter::network(text).ok_or("write an address, or a network such as 192.0.2.0/24")
}

/// Runs the command.
pub(super) async fn run(command: Command, core: &Core) -> Result<(), Failed> {
    let operator = core.service.operator();
    let RevokeArgs { which, filter: FilterArgs { ip, user_agent, before }, dry_run } = match command {
        Command::Revoke(args) => args,
        Command::List(who) => {
            let user = who.find(core).await?;
            for session in operator.sessions(user.id).await? {
                let (id, client) = (session.id, &session.client);
                let (created, seen) = (session.created_at.rfc3339(), session.last_seen_at.rfc3339());
                say(format_args!("{id}  {created}  {seen}  {}  {}", client.ip, client.user_agent))?;
            }
            return Ok(());
        }
    };
    let Which { id, user, all } = which;
    if let Some(id) = id {
        let nothing = || Failed::Sentence(format!("there is no live session `{id}`"));
        let session: SessionId = id.parse().map_err(|_| nothing())?;
        let revoked = operator.revoke(session).await?;
        confirm(core, revoked.seq).await?;
        return if revoked.sessions.is_empty() { Err(nothing()) } else { say("1 session ended") };
    }
    let user = match user {
        Some(username) => Some(NameArgs { username }.find(core).await?.id),
        None => None,
    };
    let filter = SessionFilter { user, network: ip, user_agent, before };
    if filter == SessionFilter::default() && !all {
        let sentence = "say which: an id, --user, --ip, --user-agent, --before, or --all for everybody's";
        return Err(Failed::Sentence(sentence.into()));
    }
    if dry_run {
        return say(format_args!("{} sessions fit", operator.count(&filter).await?));
    }
    let revoked = match user {
        // This also ends the logins that are being checked.
        Some(user) if filter == (SessionFilter { user: Some(user), ..SessionFilter::default() }) => {
            operator.revoke_all(user).await?
        }
        Some(_) | None => operator.revoke_fitting(&filter).await?,
    };
    confirm(core, revoked.seq).await?;
    say(format_args!("{} sessions ended", revoked.sessions.len()))
}
