//! What goes into the operations on second factors, and what comes out of them.

use super::types::{EventNumber, Renewal, Revoked};
use crate::domain::clock::Timestamp;
use crate::domain::event::{Actor, Event, EventKind, Origin};
use crate::domain::id::{EnrolmentId, UserId};
use crate::domain::revocation::Seq;
use crate::domain::second_factor::proof::Proof;
use crate::domain::second_factor::sealed::{RecoveryHash, SealedSecret};
use crate::domain::second_factor::totp::Step;

/// How many logins of a user may wait for a code at a time; the one that waits longest makes room.
pub(super) const PENDING_LOGINS: i64 = 8;

/// A second factor in force.
#[derive(Clone, Debug)]
pub struct Factor {
    /// Its secret.
    pub secret: SealedSecret,
    /// The newest step of which a code was used.
    pub last_step: Step,
    /// Since when it is in force.
    pub confirmed_at: Timestamp,
    /// How many recovery codes are left.
    pub recovery_codes: i64,
}

/// An enrolment that is not confirmed yet.
#[derive(Clone, Debug)]
pub struct Enrolment {
    /// Which one it is: another start makes another.
    pub id: EnrolmentId,
    /// Its secret.
    pub secret: SealedSecret,
    /// When it was started.
    pub started_at: Timestamp,
}

/// A change of a user's second factor.
#[derive(Clone, Debug)]
pub struct FactorChange {
    /// The user.
    pub user: UserId,
    /// The epoch under which the user's password was checked; none when an operator makes the change.
    pub auth_epoch: Option<i64>,
    /// What shows that the user has the factor in force; none where that is not asked for.
    pub proof: Option<Proof>,
    /// The session that goes on under a new token, where other sessions end.
    pub keep: Option<Renewal>,
    /// What is changed.
    pub act: FactorAct,
}

/// What is changed of a second factor.
#[derive(Clone, Debug)]
pub enum FactorAct {
    /// An enrolment begins, in place of an earlier one. What is in force stays.
    Start(EnrolmentId, SealedSecret),
    /// An enrolment that has begun after `begun_after` comes into force, in place of what was.
    Confirm {
        /// Which one.
        enrolment: EnrolmentId,
        /// An earlier one is over.
        begun_after: Timestamp,
        /// The step of the code that it was confirmed with, which is used up.
        step: Step,
        /// The hashes of its recovery codes.
        recovery: Vec<RecoveryHash>,
    },
    /// The recovery codes are replaced by those of these hashes.
    RenewRecoveryCodes(Vec<RecoveryHash>),
    /// The factor, its codes and what is pending are removed.
    Remove,
    /// The same, if this is its secret still.
    RemoveIfSealed(SealedSecret),
}

impl FactorAct {
    /// The audit's word for it.
    pub(super) const fn event(&self) -> EventKind {
        match self {
            Self::Start(..) => EventKind::SecondFactorStarted,
            Self::Confirm { .. } => EventKind::SecondFactorSet,
            Self::RenewRecoveryCodes(_) => EventKind::RecoveryCodesRenewed,
            Self::Remove | Self::RemoveIfSealed(_) => EventKind::SecondFactorRemoved,
        }
    }

    /// Whether the user's other sessions end, and the logins that are being checked.
    pub(super) const fn ends_sessions(&self) -> bool {
        match self {
            Self::Confirm { .. } | Self::Remove | Self::RemoveIfSealed(_) => true,
            Self::Start(..) | Self::RenewRecoveryCodes(_) => false,
        }
    }
}

/// The outcome of a change of a second factor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FactorChanged {
    /// It was made, and ended these sessions.
    Yes(Revoked),
    /// It was not made: the session that asked has ended meanwhile, which is settled with this number.
    NoSession(Seq),
    /// It was superseded: there is no such user, or since the password was checked, it changed or the user was disabled.
    Superseded,
    /// The proof does not hold, or not any more.
    Unproven,
    /// The user has no second factor, or not the one that is meant.
    NoFactor,
    /// The enrolment is over: it took too long, or another one was started or confirmed.
    EnrolmentOver,
}

/// A login whose password was right, and that waits for a code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PendingLogin {
    /// The user.
    pub user: UserId,
    /// The epoch that the password was checked under.
    pub auth_epoch: i64,
    /// Whether the session is to outlive the browser.
    pub remembered: bool,
    /// When it is over.
    pub expires_at: Timestamp,
}

/// Which secrets are read or replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecretsOf {
    /// Those of what is being set up.
    Enrolments,
    /// Those in force.
    Factors,
}

/// Something of a user's that is kept in another form from now on, unless it is not what it was when it was read.
#[derive(Clone, Debug)]
pub struct Replacement<T> {
    /// The user.
    pub user: UserId,
    /// What was read.
    pub old: T,
    /// What takes its place.
    pub new: T,
}

/// What is put under another key.
#[derive(Clone, Debug)]
pub enum Replacements {
    /// Secrets.
    Secrets(SecretsOf, Vec<Replacement<SealedSecret>>),
    /// Recovery codes.
    RecoveryCodes(Vec<Replacement<RecoveryHash>>),
}

/// A part of the act that puts second factors under another key.
#[derive(Clone, Debug)]
pub struct Reseal {
    /// What is put there.
    pub what: Replacements,
    /// The event of the act, once there is one.
    pub event: Option<EventNumber>,
    /// The actor.
    pub by: Actor,
    /// Where the act comes from.
    pub origin: Origin,
}

/// The outcome of such a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resealed {
    /// How many were replaced.
    pub replaced: u64,
    /// The event of the act, if there is one by now.
    pub event: Option<EventNumber>,
}

impl Replacements {
    /// Whose they are.
    pub(super) fn users(&self) -> Vec<UserId> {
        match self {
            Self::Secrets(_, them) => them.iter().map(|one| one.user).collect(),
            Self::RecoveryCodes(them) => them.iter().map(|one| one.user).collect(),
        }
    }
}

impl Reseal {
    /// The audit's line for so many of them.
    pub(super) fn event(&self, replaced: u64, at: Timestamp) -> Event {
        let count = i64::try_from(replaced).unwrap_or(i64::MAX);
        Event { count, ..Event::new(EventKind::SecondFactorsResealed, self.by, at).from(&self.origin) }
    }
}
