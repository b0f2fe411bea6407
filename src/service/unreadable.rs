//! Second factors that no key at hand opens: which there are, and their removal once the key is lost.

use super::Result;
use super::operator::Operator;
use crate::domain::event::Actor;
use crate::domain::id::UserId;
use crate::domain::revocation::{Reason, Why};
use crate::domain::second_factor::sealed::SealedSecret;
use crate::store::{FactorAct, FactorChange, FactorChanged, Revoked, SecretsOf};

/// A second factor in force that no key at hand opens.
#[derive(Debug)]
pub struct Unreadable {
    user: UserId,
    secret: SealedSecret,
}

impl Operator<'_> {
    /// Every second factor in force that no key at hand opens.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn unreadable_second_factors(&self) -> Result<Vec<Unreadable>> {
        let keys = &self.service().parts.factor_keys;
        let mut unreadable = Vec::new();
        self.each_secret(SecretsOf::Factors, async |page| {
            let closed = page.into_iter().filter(|(user, secret)| keys.open(secret, *user).is_none());
            unreadable.extend(closed.map(|(user, secret)| Unreadable { user, secret }));
            Ok(())
        })
        .await?;
        Ok(unreadable)
    }

    /// Removes such second factors, each of which ends every session of its user. One that was set up anew meanwhile stays.
    /// Returns how many were removed.
    ///
    /// # Errors
    /// When the store fails. Those that were removed by then stay so.
    pub async fn remove_unreadable(&self, unreadable: Vec<Unreadable>) -> Result<(usize, Revoked)> {
        let (mut removed, mut all) = (0, Revoked::default());
        for Unreadable { user, secret } in unreadable {
            let act = FactorAct::RemoveIfSealed(secret);
            let change = FactorChange { user, auth_epoch: None, proof: None, keep: None, act };
            let (by, why, origin) = (Actor::CommandLine, Why::SecondFactor, self.origin());
            let reason = Reason { by, requested_by: None, as_administrator: false, why, origin };
            match self.service().parts.store.change_second_factor(change, reason).await? {
                FactorChanged::Yes(Revoked { sessions, seq }) => {
                    removed += 1;
                    all.seq = all.seq.max(seq);
                    all.sessions.extend(sessions);
                }
                // It, or its user, is gone.
                FactorChanged::NoFactor
                | FactorChanged::Superseded
                | FactorChanged::NoSession(_)
                | FactorChanged::Unproven
                | FactorChanged::EnrolmentOver => {}
            }
        }
        Ok((removed, all))
    }
}
