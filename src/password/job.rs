//! What the workers are asked, and what they answer.

use tokio::sync::oneshot;
use tokio::time::Instant;
use tracing::{Span, info_span};

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

/// Where an answer goes, and what a trace has of it.
pub(super) struct Reply<T> {
    to: oneshot::Sender<Result<T, HashError>>,
    asker: Span,
    /// For as long as no worker has begun.
    waits: Span,
}

impl<T> Reply<T> {
    /// An answer that is waited for from now on.
    pub(super) fn new(to: oneshot::Sender<Result<T, HashError>>) -> Self {
        let waits = info_span!("password queue");
        let asker = if waits.is_none() { Span::none() } else { Span::current() };
        Self { to, asker, waits }
    }

    fn is_closed(&self) -> bool {
        self.to.is_closed()
    }

    /// A worker begins. Its work is over when the result is dropped.
    pub(super) fn begin(&mut self) -> Span {
        self.waits = Span::none();
        if self.asker.is_none() { Span::none() } else { info_span!(parent: &self.asker, "password hash") }
    }

    /// Answers. What is no longer waited for needs no answer.
    pub(super) fn send(self, answer: Result<T, HashError>) {
        drop(self.to.send(answer));
    }
}

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
        match self {
            Self::Verify(_, _, reply) => reply.send(Err(HashError::Overloaded)),
            Self::Hash(_, reply) => reply.send(Err(HashError::Overloaded)),
            Self::Measure(_, reply) => reply.send(Err(HashError::Overloaded)),
        }
    }
}
