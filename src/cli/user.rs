//! `sessiond user`: add, list, disable, enable, set a password, and reset a second factor.

use clap::{Args, Subcommand};

use super::outcome::{Failed, confirm, say};
use super::password::PasswordArgs;
use crate::app::Core;
use crate::domain::user::User;
use crate::service::Error;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Add a user
    Add(AddArgs),
    /// List every user
    ///
    /// One a line, in columns: id, `admin` or `user`, `enabled` or `disabled`, username, e-mail address or `-`, and name,
    /// which may contain blanks.
    List,
    /// Set a password, which ends every session of the user
    Passwd(PasswdArgs),
    /// Let a user log in no more, which ends every session of theirs
    Disable(NameArgs),
    /// Let a disabled user log in again
    Enable(NameArgs),
    /// Remove a user's second factor, for one who has lost it, which ends every session of theirs
    ResetSecondFactor(NameArgs),
}

#[derive(Debug, Args)]
pub(super) struct AddArgs {
    /// The name to log in with
    username: String,
    /// An e-mail address to log in with
    #[arg(long)]
    email: Option<String>,
    /// What they are called [default: the username]
    #[arg(long)]
    name: Option<String>,
    /// May act on other users
    #[arg(long)]
    admin: bool,
    #[command(flatten)]
    password: PasswordArgs,
}

#[derive(Debug, Args)]
pub(super) struct PasswdArgs {
    #[command(flatten)]
    who: NameArgs,
    #[command(flatten)]
    password: PasswordArgs,
}

#[derive(Debug, Args)]
pub(super) struct NameArgs {
    /// The username or e-mail address
    pub(super) username: String,
}

impl NameArgs {
    /// Finds the user.
    pub(super) async fn find(&self, core: &Core) -> Result<User, Failed> {
        let explained = |error: Error| {
            if matches!(error, Error::NotFound) {
                Failed::Sentence(format!("there is no user `{}`", self.username))
            } else {
                error.into()
            }
        };
        core.service.operator().user(&self.username).await.map_err(explained)
    }
}

/// Runs the command.
pub(super) async fn run(command: Command, core: &Core) -> Result<(), Failed> {
    let operator = core.service.operator();
    match command {
        Command::Add(AddArgs { username, email, name, admin, password }) => {
            let password = password.ask()?;
            let user = operator.add_user(&username, email.as_deref(), name.as_deref(), admin, password).await?;
            say(format_args!("{}  {}", user.id, user.username.as_str()))
        }
        Command::List => {
            for user in operator.users().await? {
                let state = if user.disabled_at.is_some() { "disabled" } else { "enabled" };
                let rank = if user.admin { "admin" } else { "user" };
                let email = user.email.as_ref().map_or("-", |email| email.as_str());
                let (id, username) = (user.id, user.username.as_str());
                say(format_args!("{id}  {rank:5}  {state:8}  {username}  {email}  {}", user.name.as_str()))?;
            }
            Ok(())
        }
        Command::Passwd(PasswdArgs { who, password }) => {
            let user = who.find(core).await?;
            let revoked = operator.set_password(user.id, password.ask()?).await?;
            confirm(core, revoked.seq).await?;
            say(format_args!("password set, {} sessions ended", revoked.sessions.len()))
        }
        Command::Disable(who) => {
            let user = who.find(core).await?;
            let revoked = operator.set_disabled(user.id, true).await?;
            confirm(core, revoked.seq).await?;
            say(format_args!("disabled, {} sessions ended", revoked.sessions.len()))
        }
        Command::ResetSecondFactor(who) => {
            let user = who.find(core).await?;
            let none = || Failed::Sentence(format!("`{}` has no second factor", who.username));
            let reset = operator.reset_second_factor(user.id).await;
            let revoked =
                reset.map_err(|error| if matches!(error, Error::NotFound) { none() } else { error.into() })?;
            confirm(core, revoked.seq).await?;
            say(format_args!("second factor removed, {} sessions ended", revoked.sessions.len()))
        }
        Command::Enable(who) => {
            let user = who.find(core).await?;
            operator.set_disabled(user.id, false).await?;
            say("enabled")
        }
    }
}
