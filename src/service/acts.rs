//! One act of an administrator: what has to hold before it, and the note where it is refused. It is the only way from an
//! administrator to the right to change accounts, so that no act can go without either.

use super::accounts::Authority;
use super::error::Conflict;
use super::{Error, Result, Service};
use crate::domain::event::{Asked, Origin};
use crate::domain::id::UserId;
use crate::domain::principal::Principal;

/// What has to hold before an act.
#[derive(Clone, Copy, Debug)]
pub(super) struct Needs {
    /// The user whom it is about, if it is one.
    pub(super) about: Option<UserId>,
    /// Whether that has to be another user: administrators cannot lock themselves out.
    pub(super) another: bool,
    /// Whether the login has to be of a short while ago: for all that gives power away.
    pub(super) fresh: bool,
}

/// The acts of an administrator, in the session of one who was checked.
pub(super) struct Acts<'s> {
    service: &'s Service,
    authority: Authority,
    principal: &'s Principal,
    asked: Asked,
}

impl<'s> Acts<'s> {
    /// Those that `authority` has power for, of which one is `asked` for.
    pub(super) const fn new(
        service: &'s Service,
        authority: Authority,
        principal: &'s Principal,
        asked: Asked,
    ) -> Self {
        Self { service, authority, principal, asked }
    }

    /// Does what `needs` hold for.
    ///
    /// # Errors
    /// As the act itself; [`Error::Conflict`] for oneself; [`Error::Forbidden`]; [`Error::ReauthenticationRequired`].
    pub(super) async fn act<'a, T, A: Future<Output = Result<T>>>(
        &'a self,
        needs: Needs,
        does: impl FnOnce(&'a Authority) -> A,
    ) -> Result<T> {
        let done = match self.allows(needs).await {
            Ok(()) => does(&self.authority).await,
            Err(error) => Err(error),
        };
        if let Err(error) = &done {
            let Self { service, authority, principal, asked } = self;
            service.note_refused_act(principal, &authority.origin, needs.about, asked, error);
        }
        done
    }

    async fn allows(&self, needs: Needs) -> Result<()> {
        let Self { service, principal, .. } = self;
        if needs.another && needs.about == Some(principal.user_id()) {
            return Err(Error::Conflict(Conflict::Oneself));
        }
        // A request whose body took its time may have begun before its administrator was demoted.
        let known = service.parts.store.credentials_of(principal.user_id()).await?;
        if !known.is_some_and(|known| known.user.admin) {
            return Err(Error::Forbidden);
        }
        if needs.fresh { service.require_fresh(principal).await } else { Ok(()) }
    }
}

impl Service {
    /// Records that an act of administration was refused, if `error` means that.
    pub(super) fn note_refused_act(
        &self,
        asker: &Principal,
        origin: &Origin,
        about: Option<UserId>,
        asked: &Asked,
        error: &Error,
    ) {
        if let Some(why) = error.refused_administration() {
            self.refusals.act(asker, origin, about, asked, why, self.parts.clock.now());
        }
    }
}
