//! What shows that a user has the second factor.

use super::sealed::RecoveryHash;
use super::totp::Step;

/// What shows that a user has the second factor. It is judged and used up in the transaction of what it is for, so that of
/// many with the same code one succeeds.
#[derive(Clone, Debug)]
pub enum Proof {
    /// The user has no second factor.
    NoFactor,
    /// A code of this step was given. No code of this step or of a later one was used before.
    Step(Step),
    /// A recovery code was given, which is kept as one of these hashes.
    Recovery(Vec<RecoveryHash>),
    /// It was used up by the change before, and the credentials are still as that change left them.
    UsedUp,
}
