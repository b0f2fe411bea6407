//! `sessiond session`: list a user's, end one, end all of a user.

use clap::{Args, Subcommand};

use super::outcome::{Failed, confirm, say};
use super::user::NameArgs;
use crate::app::Core;
use crate::domain::id::SessionId;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List a user's live sessions, newest login first
    ///
    /// One a line, in columns: id, time of the login, time when it was last seen, client's address, and `User-Agent`, which
    /// may contain blanks.
    List(NameArgs),
    /// End a session, or every one of a user
    Revoke(RevokeArgs),
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(super) struct RevokeArgs {
    /// The session's id
    id: Option<String>,
    /// Every session of this user
    #[arg(long, value_name = "USERNAME")]
    user: Option<String>,
}

/// Runs the command.
pub(super) async fn run(command: Command, core: &Core) -> Result<(), Failed> {
    let operator = core.service.operator();
    match command {
        Command::List(who) => {
            let user = who.find(core).await?;
            for session in operator.sessions(user.id).await? {
                let (id, client) = (session.id, &session.client);
                let (created, seen) = (session.created_at.rfc3339(), session.last_seen_at.rfc3339());
                say(format_args!("{id}  {created}  {seen}  {}  {}", client.ip, client.user_agent))?;
            }
            Ok(())
        }
        Command::Revoke(RevokeArgs { id: Some(id), .. }) => {
            let nothing = || Failed::Sentence(format!("there is no live session `{id}`"));
            let session: SessionId = id.parse().map_err(|_| nothing())?;
            let revoked = operator.revoke(session).await?;
            confirm(core, revoked.seq).await?;
            if revoked.sessions.is_empty() { Err(nothing()) } else { say("1 session ended") }
        }
        Command::Revoke(RevokeArgs { user, .. }) => {
            let user = NameArgs { username: user.unwrap_or_default() }.find(core).await?;
            let revoked = operator.revoke_all(user.id).await?;
            confirm(core, revoked.seq).await?;
            say(format_args!("{} sessions ended", revoked.sessions.len()))
        }
    }
}
