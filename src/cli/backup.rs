//! `sessiond backup` and `sessiond restore`: the whole store in one file, and back.

use std::path::PathBuf;

use clap::Args;

use super::outcome::{Failed, say};
use crate::config::Config;
use crate::domain::clock::SystemClock;
use crate::domain::entropy::SystemEntropy;
use crate::store::backup::{backup, restore};

#[derive(Debug, Args)]
pub(super) struct BackupArgs {
    /// The file to write, which must not be there yet
    file: PathBuf,
}

#[derive(Debug, Args)]
pub(super) struct RestoreArgs {
    /// A file that `sessiond backup` has written
    file: PathBuf,
    /// Keep the sessions in it alive, those too that were logged out after the backup
    #[arg(long)]
    keep_sessions: bool,
}

/// Copies a store into a file. A server may be running on it.
pub(super) async fn save(BackupArgs { file }: &BackupArgs, config: &Config) -> Result<(), Failed> {
    let saved = backup(&config.database_url, file, &SystemEntropy).await?;
    say(format_args!("saved {} users, {} sessions to {}", saved.users, saved.sessions, file.display()))
}

/// Restores a store from a file, where there is no store yet.
pub(super) async fn bring_back(args: RestoreArgs, config: &Config) -> Result<(), Failed> {
    let RestoreArgs { file, keep_sessions } = args;
    let url = &config.database_url;
    let restored = restore(url, file, keep_sessions, &SystemClock, &SystemEntropy).await?;
    say(format_args!("restored {} users to {url}, {} sessions ended", restored.users, restored.sessions))
}
