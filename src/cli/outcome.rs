//! What a command ends with: lines for people, a change that is confirmed, or why it failed.

use std::io::{self, Write as _};

use crate::app::{Core, StartError};
use crate::cache::coherence::Confirmed;
use crate::domain::revocation::Seq;
use crate::service;
use crate::service::transfer::TransferError;
use crate::store::backup::BackupError;
use crate::store::copy::CopyError;

/// A command that failed, in a sentence.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failed {
    #[error(transparent)]
    Config(#[from] crate::config::BadConfig),
    #[error(transparent)]
    Connect(#[from] crate::store::connect::ConnectError),
    #[error(transparent)]
    Start(#[from] StartError),
    #[error(transparent)]
    Service(#[from] service::Error),
    #[error(transparent)]
    Transfer(#[from] TransferError),
    #[error(transparent)]
    Copy(#[from] CopyError),
    #[error(transparent)]
    Backup(#[from] BackupError),
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Such as `head`, which has its lines.
    #[error("nobody reads what is printed")]
    ReaderGone,
    #[error("{0}")]
    Sentence(String),
}

/// Returns once a running server has applied the change.
pub(super) async fn confirm(core: &Core, seq: Seq) -> Result<(), Failed> {
    match core.service.operator().confirm(seq).await? {
        Confirmed::Applied | Confirmed::NoServer => Ok(()),
        Confirmed::NotInTime => Err(Failed::Sentence("committed; the running server has not confirmed".into())),
    }
}

/// Says something beside the output, which a program may read. The command goes on where nobody can be told.
pub(super) fn note(sentence: impl std::fmt::Display) {
    let _ = writeln!(io::stderr(), "sessiond: {sentence}");
}

/// Prints a line to standard output.
pub(super) fn say(line: impl std::fmt::Display) -> Result<(), Failed> {
    printed(writeln!(io::stdout(), "{line}"))
}

/// What it means for a command whether its output could be printed.
pub(super) fn printed(written: io::Result<()>) -> Result<(), Failed> {
    let gone = |error: &io::Error| error.kind() == io::ErrorKind::BrokenPipe;
    written.map_err(|error| if gone(&error) { Failed::ReaderGone } else { error.into() })
}
