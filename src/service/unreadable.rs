//! Second factors that no key at hand opens: which there are, and their removal once the key is lost.

use super::Result;
use super::operator::Operator;
use crate::domain::id::UserId;
use crate::domain::second_factor::sealed::{FactorKeys, SealedSecret};
use crate::store::{FactorAct, Revoked, SecretsOf, Store};

/// Whether each second factor in force is encrypted under one of these keys, by the names of the keys alone.
///
/// # Errors
/// When the store fails.
pub async fn can_open_all(keys: &FactorKeys, store: &dyn Store) -> Result<bool> {
    Ok(store.second_factor_keys().await?.into_iter().all(|key| keys.has(key)))
}

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
            if let Some(Revoked { sessions, seq }) = self.authority().change_factor(self.service(), user, act).await? {
                removed += 1;
                all.seq = all.seq.max(seq);
                all.sessions.extend(sessions);
            }
        }
        Ok((removed, all))
    }
}
