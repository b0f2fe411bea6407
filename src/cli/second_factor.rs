//! `sessiond second-factor`: put what is kept of second factors under another key.

use clap::Subcommand;

use super::outcome::{Failed, say};
use crate::app::Core;
use crate::service::reseal::Resealed;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Put all secrets and recovery codes under the first key of `secret_key_file`
    ///
    /// For a key that comes later than the first second factor, and for one that takes another's place. Give every server
    /// the file first, and start it anew: one that lacks the key reads nothing of what is put under it. It can be run
    /// beside servers, and again. It fails if a secret is under a key that is not there.
    Reseal,
}

/// Runs the command.
pub(super) async fn run(command: Command, core: &Core) -> Result<(), Failed> {
    let Resealed { secrets, recovery_codes, secrets_left, users_left } = match command {
        Command::Reseal => core.service.operator().reseal().await?,
    };
    say(format_args!("{secrets} secrets and {recovery_codes} recovery codes resealed, {secrets_left} secrets left"))?;
    if users_left > 0 {
        say(format_args!(
            "{users_left} users have recovery codes under another key, which cannot be moved: these are good only while \
             secret_key_file has that key, so have them get new ones before it is dropped"
        ))?;
    }
    if secrets_left > 0 {
        return Err(Failed::Sentence(format!(
            "{secrets_left} secrets are under keys that are not here: add those to secret_key_file, each on a line of its \
             own, and run this again"
        )));
    }
    Ok(())
}
