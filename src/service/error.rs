//! Every outcome of an operation other than success. The list is closed: each dialect has words for every one.

use crate::cache::coherence::NotSettled;
use crate::domain::entropy::NoEntropy;
use crate::domain::password::Unfit;
use crate::domain::text::BadText;
use crate::domain::throttle::Wait;
use crate::password::HashError;
use crate::store::{Cause, StoreError};
use crate::telemetry::causes::Causes;
use crate::telemetry::outage::StoreCause;

/// Why there is no result. What it wraps is for the log, never for a client.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Wrong password, unknown or disabled user: all alike.
    #[error("bad credentials")]
    BadCredentials,
    /// The password was right, and a code of the second factor is needed, or was wrong.
    #[error("{}", if *.wrong { "wrong code" } else { "code needed" })]
    SecondFactorRequired {
        /// Whether a code was given, and was wrong.
        wrong: bool,
    },
    /// No credential, or one that stands for no live session.
    #[error("no session")]
    NoSession,
    /// A live session whose user may not do this.
    #[error("forbidden")]
    Forbidden,
    /// What was named does not exist, or belongs to another user: the two are not distinguished.
    #[error("not found")]
    NotFound,
    /// The password was right, but is a one-time password that has to be changed first.
    #[error("the password has to be changed")]
    PasswordChangeRequired,
    /// The act asks for a password that was given a short while ago.
    #[error("the password was given too long ago")]
    ReauthenticationRequired,
    /// It does not go together with what there is.
    #[error("{0}")]
    Conflict(Conflict),
    /// A field's value cannot be used.
    #[error("{field} {why}")]
    Invalid {
        /// The field as the operation names it.
        field: &'static str,
        /// Why not.
        why: Unusable,
    },
    /// So many passwords or codes were wrong lately that no other is checked for a while.
    #[error("throttled for {} s", .0.seconds())]
    Throttled(Wait),
    /// Too many passwords are waiting to be checked.
    #[error("overloaded")]
    Overloaded,
    /// The store refused, dropped the connection or failed.
    #[error("store unreachable: {0}")]
    StoreUnreachable(#[source] Cause),
    /// The store did not answer in time, or a revocation could not be confirmed in time.
    #[error("store too slow: {0}")]
    StoreTooSlow(#[source] Cause),
    /// Something that should be impossible.
    #[error("bug: {0}")]
    Bug(#[source] Cause),
}

/// What does not go together with what there is. As text, it is a sentence without its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Conflict {
    /// Another user has the username.
    #[error("the username is taken")]
    UsernameTaken,
    /// Another user has the e-mail address.
    #[error("the email is taken")]
    EmailTaken,
    /// No administrator who can log in would be left.
    #[error("no administrator who can log in would be left: make another one first, who has a password of their own")]
    LastAdmin,
    /// Administrators do not do this to themselves.
    #[error("administrators cannot do this to themselves: ask another one, or use the commands on the server")]
    Oneself,
    /// The enrolment of a second factor is over: it was replaced or used, or took too long.
    #[error("this is over, start again")]
    EnrolmentReplaced,
    /// More sessions match than were expected.
    #[error("more sessions match than were expected")]
    MoreThanExpected,
}

impl Conflict {
    /// The word for it in the audit.
    pub const fn word(self) -> &'static str {
        match self {
            Self::UsernameTaken => "username_taken",
            Self::EmailTaken => "email_taken",
            Self::LastAdmin => "last_admin",
            Self::Oneself => "oneself",
            Self::EnrolmentReplaced => "enrolment_replaced",
            Self::MoreThanExpected => "more_than_expected",
        }
    }
}

/// Why a field's value cannot be used. As text, it is a sentence that goes behind the field's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// It is no password that anybody may have.
    #[error(transparent)]
    Password(#[from] Unfit),
    /// It is the password that is to be changed.
    #[error("must differ from the current one")]
    Unchanged,
    /// Nothing asks for it.
    #[error("is only taken where the password has to be changed")]
    NotAsked,
    /// It is no username, address or name.
    #[error(transparent)]
    Text(#[from] BadText),
}

/// What is to blame for an outcome.
enum Blame {
    /// The request, which was merely refused.
    Request,
    /// The store.
    Store(StoreCause),
    /// A mistake in this program.
    Bug,
}

impl Error {
    const fn blame(&self) -> Blame {
        match self {
            Self::StoreUnreachable(_) => Blame::Store(StoreCause::unreachable),
            Self::StoreTooSlow(_) => Blame::Store(StoreCause::too_slow),
            Self::Bug(_) => Blame::Bug,
            Self::BadCredentials
            | Self::SecondFactorRequired { .. }
            | Self::NoSession
            | Self::Forbidden
            | Self::NotFound
            | Self::PasswordChangeRequired
            | Self::ReauthenticationRequired
            | Self::Conflict(_)
            | Self::Invalid { .. }
            | Self::Throttled(_)
            | Self::Overloaded => Blame::Request,
        }
    }

    /// What the log should say, once, when something went wrong inside: this error and all its causes. Nothing when a
    /// request was merely refused.
    pub fn failure(&self) -> Option<String> {
        match self.blame() {
            Blame::Store(_) | Blame::Bug => Some(Causes(self).to_string()),
            Blame::Request => None,
        }
    }

    /// The word of the audit for an act of an administrator that was refused: not for what was mistyped, or failed.
    pub(super) const fn refused_administration(&self) -> Option<&'static str> {
        match self {
            Self::Forbidden => Some("forbidden"),
            Self::ReauthenticationRequired => Some("reauthentication_required"),
            Self::Conflict(conflict) => Some(conflict.word()),
            Self::BadCredentials
            | Self::SecondFactorRequired { .. }
            | Self::NoSession
            | Self::NotFound
            | Self::PasswordChangeRequired
            | Self::Invalid { .. }
            | Self::Throttled(_)
            | Self::Overloaded
            | Self::StoreUnreachable(_)
            | Self::StoreTooSlow(_)
            | Self::Bug(_) => None,
        }
    }

    /// Whether the store is to blame, and how.
    pub const fn store_cause(&self) -> Option<StoreCause> {
        match self.blame() {
            Blame::Store(cause) => Some(cause),
            Blame::Request | Blame::Bug => None,
        }
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unreachable(why) => Self::StoreUnreachable(why),
            StoreError::TooSlow(why) => Self::StoreTooSlow(why),
            StoreError::Inconsistent(why) => Self::Bug(why),
        }
    }
}

impl From<NotSettled> for Error {
    fn from(error: NotSettled) -> Self {
        Self::StoreTooSlow(Cause::new(error.to_string(), error))
    }
}

impl From<HashError> for Error {
    fn from(error: HashError) -> Self {
        match error {
            HashError::Overloaded => Self::Overloaded,
            HashError::Failed(why) => Self::Bug(why.into()),
        }
    }
}

impl From<NoEntropy> for Error {
    fn from(error: NoEntropy) -> Self {
        Self::Bug(Cause::new(error.to_string(), error))
    }
}
