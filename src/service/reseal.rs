//! Puts second factors under the key that seals now, where they are kept under another one.

use std::collections::HashSet;

use super::Result;
use super::operator::Operator;
use crate::domain::event::Actor;
use crate::domain::id::UserId;
use crate::domain::second_factor::sealed::{Anew, RecoveryHash, SealedSecret};
use crate::store::{EventNumber, Replacement, Replacements, Reseal, SecretsOf};

/// How many are read and replaced at a time, so that nothing else waits for them for long.
const PAGE: u32 = 200;

/// What became of the second factors that were kept under other keys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Resealed {
    /// How many secrets were sealed anew, those of enrolments included.
    pub secrets: u64,
    /// How many recovery codes were put under the key.
    pub recovery_codes: u64,
    /// How many secrets are under other keys still: those in force that no key at hand opens, and what came meanwhile. An
    /// enrolment that nothing opens does not count, since it ends by itself.
    pub secrets_left: usize,
    /// How many users have recovery codes that cannot be put under the key.
    pub users_left: usize,
}

impl Operator<'_> {
    /// Puts every secret and every recovery code under the key that seals, as far as the keys at hand allow. All of it is
    /// one event of the audit.
    ///
    /// # Errors
    /// When the store fails. What was done by then stays so, and the rest can be done later.
    pub async fn reseal(&self) -> Result<Resealed> {
        let (mut all, mut event) = (Resealed::default(), None);
        // In this order: one that is being set up is sealed anew before it is confirmed, or is found in force.
        for of in [SecretsOf::Enrolments, SecretsOf::Factors] {
            self.each_secret(of, async |page| {
                let anew = |(user, old)| match self.sealed_anew(user, &old)? {
                    Anew::By(new) => Ok(Some(Replacement { user, old, new })),
                    Anew::Current | Anew::Stuck => Ok(None),
                };
                let anew: Vec<_> = page.into_iter().map(anew).filter_map(Result::transpose).collect::<Result<_>>()?;
                all.secrets += self.replace(Replacements::Secrets(of, anew), &mut event).await?;
                Ok(())
            })
            .await?;
        }
        self.each_recovery_code(async |page| {
            let anew = page.into_iter().filter_map(|(user, old)| match self.recovery_anew(&old) {
                Anew::By(new) => Some(Replacement { user, old, new }),
                Anew::Current | Anew::Stuck => None,
            });
            let anew = Replacements::RecoveryCodes(anew.collect());
            all.recovery_codes += self.replace(anew, &mut event).await?;
            Ok(())
        })
        .await?;
        for of in [SecretsOf::Enrolments, SecretsOf::Factors] {
            self.each_secret(of, async |page| {
                for (user, sealed) in page {
                    all.secrets_left += usize::from(match self.sealed_anew(user, &sealed)? {
                        Anew::Current => false,
                        Anew::By(_) => true,
                        Anew::Stuck => of == SecretsOf::Factors,
                    });
                }
                Ok(())
            })
            .await?;
        }
        let mut users = HashSet::new();
        self.each_recovery_code(async |page| {
            users.extend(
                page.iter().filter(|(_, hash)| self.recovery_anew(hash) != Anew::Current).map(|(user, _)| *user),
            );
            Ok(())
        })
        .await?;
        Ok(Resealed { users_left: users.len(), ..all })
    }

    fn sealed_anew(&self, user: UserId, sealed: &SealedSecret) -> Result<Anew<SealedSecret>> {
        let parts = &self.service().parts;
        Ok(parts.factor_keys.seal_anew(sealed, user, &*parts.entropy)?)
    }

    fn recovery_anew(&self, hash: &RecoveryHash) -> Anew<RecoveryHash> {
        self.service().parts.factor_keys.recovery_hash_anew(hash)
    }

    async fn replace(&self, what: Replacements, event: &mut Option<EventNumber>) -> Result<u64> {
        let reseal = Reseal { what, event: *event, by: Actor::CommandLine, origin: self.origin() };
        let resealed = self.service().parts.store.reseal(reseal).await?;
        *event = resealed.event;
        Ok(resealed.replaced)
    }

    /// Reads every secret, page by page.
    pub(super) async fn each_secret(
        &self,
        of: SecretsOf,
        mut act: impl AsyncFnMut(Vec<(UserId, SealedSecret)>) -> Result<()>,
    ) -> Result<()> {
        let mut last = None;
        loop {
            let page = self.service().parts.store.sealed_secrets(of, last, PAGE).await?;
            let Some((user, _)) = page.last() else { return Ok(()) };
            last = Some(*user);
            act(page).await?;
        }
    }

    /// Reads every recovery code, page by page.
    async fn each_recovery_code(
        &self,
        mut act: impl AsyncFnMut(Vec<(UserId, RecoveryHash)>) -> Result<()>,
    ) -> Result<()> {
        let mut last = None;
        loop {
            let page = self.service().parts.store.recovery_hashes(last, PAGE).await?;
            let Some((_, hash)) = page.last() else { return Ok(()) };
            last = Some(hash.clone());
            act(page).await?;
        }
    }
}
