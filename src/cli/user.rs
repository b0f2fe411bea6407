//! `sessiond user`: add, list, edit, disable, enable, unlock and delete users, set passwords, reset second factors, and what
//! `transfer` does.

use clap::{Args, Subcommand};

use super::outcome::{Failed, confirm, say};
use super::password::PasswordArgs;
use super::transfer::{self, ExportArgs, ImportArgs};
use crate::app::Core;
use crate::domain::one_time::OneTimePassword;
use crate::domain::user::User;
use crate::service::Error;
use crate::service::accounts::{AccountEdit, NewAccount};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Add a user
    Add(AddArgs),
    /// List every user
    ///
    /// One a line, in columns: id, `admin` or `user`, `enabled` or `disabled`, username, e-mail address or `-`, and name,
    /// which may contain blanks.
    List,
    /// Change a username, a name, an e-mail address, or whether a user is an administrator
    ///
    /// Their sessions go on, and checks answer the new values from then on.
    Edit(EditArgs),
    /// Set a password, which ends every session of the user and lifts what wrong ones have led to
    Passwd(PasswdArgs),
    /// Let a user log in no more, which ends every session of theirs
    Disable(NameArgs),
    /// Let a disabled user log in again
    Enable(NameArgs),
    /// Remove a user's second factor, for one who has lost it, which ends every session of theirs
    ///
    /// From then on the password alone opens the account, until its user sets up another one. With `--unreadable` this is
    /// done to everybody whose second factor no key at hand opens: for when the file of keys is lost, so that no server
    /// starts.
    ResetSecondFactor(ResetArgs),
    /// Let a user log in again who must wait after too many wrong passwords
    Unlock(NameArgs),
    /// Delete a user for good, which ends every session of theirs
    ///
    /// Their name and address become free. Their id stays in the audit.
    Delete(DeleteArgs),
    /// Take over users from another program, with the hashes of their passwords
    Import(ImportArgs),
    /// Write every user with the hash of their password, to be imported elsewhere
    Export(ExportArgs),
}

#[derive(Debug, Args)]
pub(super) struct EditArgs {
    #[command(flatten)]
    who: NameArgs,
    /// The new username
    #[arg(long, value_name = "USERNAME")]
    rename: Option<String>,
    /// The new display name
    #[arg(long)]
    name: Option<String>,
    /// The new e-mail address
    #[arg(long)]
    email: Option<String>,
    /// Remove the e-mail address
    #[arg(long, conflicts_with = "email")]
    no_email: bool,
    /// Make the user an administrator
    #[arg(long)]
    admin: bool,
    /// Make the user one no longer
    #[arg(long, conflicts_with = "admin")]
    no_admin: bool,
}

#[derive(Debug, Args)]
pub(super) struct DeleteArgs {
    #[command(flatten)]
    who: NameArgs,
    /// Do it without being asked
    #[arg(long)]
    yes: bool,
}

#[derive(Debug, Args)]
pub(super) struct ResetArgs {
    /// The username, e-mail address or id
    #[arg(required_unless_present = "unreadable", conflicts_with = "unreadable")]
    username: Option<String>,
    /// Every one that no key at hand opens
    #[arg(long)]
    unreadable: bool,
    /// Do that without being asked
    #[arg(long, requires = "unreadable")]
    yes: bool,
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
    #[command(flatten)]
    made_up: OneTimeArgs,
}

#[derive(Debug, Args)]
pub(super) struct PasswdArgs {
    #[command(flatten)]
    who: NameArgs,
    #[command(flatten)]
    password: PasswordArgs,
    #[command(flatten)]
    made_up: OneTimeArgs,
}

#[derive(Debug, Args)]
pub(super) struct OneTimeArgs {
    /// Make up a password that has to be changed at its first use, within 24 hours, and print it
    #[arg(long, conflicts_with = "password_stdin")]
    one_time: bool,
}

#[derive(Debug, Args)]
pub(super) struct NameArgs {
    /// The username, e-mail address or id
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
        Command::Add(AddArgs { username, email, name, admin, password, made_up }) => {
            let password = if made_up.one_time { None } else { Some(password.ask()?) };
            let (user, made_up) = operator.add_account(NewAccount { username, email, name, admin, password }).await?;
            say(format_args!("{}  {}", user.id, user.username.as_str()))?;
            say_one_time(made_up.as_ref())
        }
        Command::Edit(EditArgs { who, rename, name, email, no_email, admin, no_admin }) => {
            let user = who.find(core).await?;
            let email = if no_email { Some(None) } else { email.map(Some) };
            let admin = if no_admin { Some(false) } else { admin.then_some(true) };
            let edit = AccountEdit { username: rename, email, name, admin, disabled: None };
            if edit == AccountEdit::default() {
                return Err(Failed::Sentence(String::from("nothing is to be changed: name what, see --help")));
            }
            let (account, revoked) = operator.edit(user.id, edit).await?;
            confirm(core, revoked.seq).await?;
            say(line(&account.user))
        }
        Command::List => operator.users().await?.iter().try_for_each(|user| say(line(user))),
        Command::Passwd(PasswdArgs { who, password, made_up }) => {
            let user = who.find(core).await?;
            let (revoked, made_up) = if made_up.one_time {
                operator.reset_password(user.id).await?
            } else {
                (operator.set_password(user.id, password.ask()?).await?, None)
            };
            confirm(core, revoked.seq).await?;
            say(format_args!("password set, {} sessions ended", revoked.sessions.len()))?;
            say_one_time(made_up.as_ref())
        }
        Command::Delete(DeleteArgs { who, yes }) => {
            let user = who.find(core).await?;
            if !yes {
                let name = user.username.as_str();
                return Err(Failed::Sentence(format!("this cannot be undone: to delete `{name}`, add --yes")));
            }
            let revoked = operator.delete(user.id).await?;
            confirm(core, revoked.seq).await?;
            say(format_args!("deleted, {} sessions ended", revoked.sessions.len()))
        }
        Command::Disable(who) => {
            let user = who.find(core).await?;
            let revoked = operator.set_disabled(user.id, true).await?;
            confirm(core, revoked.seq).await?;
            say(format_args!("disabled, {} sessions ended", revoked.sessions.len()))
        }
        Command::ResetSecondFactor(ResetArgs { username: None, unreadable: _, yes }) => {
            remove_unreadable(core, yes).await
        }
        Command::ResetSecondFactor(ResetArgs { username: Some(username), .. }) => {
            let who = NameArgs { username };
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
        Command::Unlock(who) => {
            let user = who.find(core).await?;
            let lifted = operator.unlock(&user).await?;
            say(if lifted { "unlocked" } else { "nothing was locked" })
        }
        Command::Import(args) => transfer::import(args, core).await,
        Command::Export(args) => transfer::export(args, core).await,
    }
}

/// Removes every second factor that no key at hand opens.
async fn remove_unreadable(core: &Core, yes: bool) -> Result<(), Failed> {
    let operator = core.service.operator();
    let unreadable = operator.unreadable_second_factors().await?;
    if !yes && !unreadable.is_empty() {
        return Err(Failed::Sentence(format!(
            "{} second factors are under keys that are not here. If these are not lost, name them to this command as to the \
             servers, by secret_key_file (SESSIOND_SECRET_KEY_FILE). This cannot be undone: to remove the second factors, so \
             that the passwords alone open these accounts, add --yes",
            unreadable.len()
        )));
    }
    let (removed, revoked) = operator.remove_unreadable(unreadable).await?;
    confirm(core, revoked.seq).await?;
    say(format_args!("{removed} second factors removed, {} sessions ended", revoked.sessions.len()))
}

/// A user, in columns.
fn line(user: &User) -> String {
    let state = if user.disabled_at.is_some() { "disabled" } else { "enabled" };
    let rank = if user.admin { "admin" } else { "user" };
    let email = user.email.as_ref().map_or("-", |email| email.as_str());
    let (id, username) = (user.id, user.username.as_str());
    format!("{id}  {rank:5}  {state:8}  {username}  {email}  {}", user.name.as_str())
}

/// Prints a one-time password, if one was made up.
fn say_one_time(made_up: Option<&OneTimePassword>) -> Result<(), Failed> {
    made_up.map_or(Ok(()), |password| say(format_args!("one-time password, for 24 hours: {}", password.reveal())))
}
