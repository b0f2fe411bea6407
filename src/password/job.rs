//! What the workers are asked, and what they answer.

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::error::HashError;
use crate::domain::password::{Password, PasswordHash, Typed};

/// The outcome of checking a password.
#[derive(Debug)]
pub enum Verdict {
    /// It is the wrong password, or there is no such user.
    Wrong,
    /// The stored hash is one that is never computed. Only the log tells this from [`Self::Wrong`].
    Unusable {
        /// The reason, in words that go behind "a stored hash".
        why: &'static str,
    },
    /// It is the password. Where the stored hash has outdated parameters or was made elsewhere, there is a fresh one to
    /// replace it; but not where what was typed has no prepared form, of which a hash could be made.
    Right {
        /// The fresh hash.
        rehashed: Option<PasswordHash>,
    },
}

/// A verdict, and when a worker began to look for it.
pub(super) struct Checked {
    pub(super) verdict: Verdict,
    pub(super) begun: Instant,
}

/// Where an answer goes.
pub(super) type Reply<T> = oneshot::Sender<Result<T, HashError>>;

/// A job that waits for a worker, and since when.
pub(super) struct Waiting {
    pub(super) job: Job,
    pub(super) since: Instant,
}

/// What a worker is asked.
pub(super) enum Job {
    /// To check a password against a stored hash, or as if there were one.
    Verify(Typed, Option<PasswordHash>, Reply<Checked>),
    /// To hash a password that is to be set.
    Hash(Password, Reply<PasswordHash>),
    /// To measure how long a hash of this kind takes.
    Measure(PasswordHash, Reply<()>),
}

impl Job {
    /// Whether the answer is no longer waited for.
    pub(super) fn is_given_up(&self) -> bool {
        match self {
            Self::Verify(_, _, reply) => reply.is_closed(),
            Self::Hash(_, reply) => reply.is_closed(),
            Self::Measure(_, reply) => reply.is_closed(),
        }
    }

    /// The stored hash that it is about.
    pub(super) const fn stored(&self) -> Option<&PasswordHash> {
        match self {
            Self::Verify(_, hash, _) => hash.as_ref(),
            Self::Measure(hash, _) => Some(hash),
            Self::Hash(..) => None,
        }
    }

    /// Answers that there is no room for it.
    pub(super) fn shed(self) {
        // What is no longer waited for needs no answer.
        match self {
            Self::Verify(_, _, reply) => drop(reply.send(Err(HashError::Overloaded))),
            Self::Hash(_, reply) => drop(reply.send(Err(HashError::Overloaded))),
            Self::Measure(_, reply) => drop(reply.send(Err(HashError::Overloaded))),
        }
    }
}
