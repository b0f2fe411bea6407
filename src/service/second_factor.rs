//! The second factor: setting it up, proving it, new recovery codes, and removing it.

use std::time::Duration;

use super::accounts::Authority;
use super::error::Conflict;
use super::limits::TriedFrom;
use super::password_change::{NewToken, Renewed};
use super::sessions::principal_reason;
use super::throttle::Try;
use super::{Error, Result, Service};
use crate::domain::clock::Timestamp;
use crate::domain::id::{EnrolmentId, SessionId, UserId};
use crate::domain::password::Typed;
use crate::domain::principal::Principal;
use crate::domain::revocation::Why;
use crate::domain::second_factor::SecretText;
use crate::domain::second_factor::proof::Proof;
use crate::domain::second_factor::recovery::RecoveryCode;
use crate::domain::second_factor::sealed::RecoveryHash;
use crate::domain::second_factor::totp::TotpSecret;
use crate::domain::second_factor::typed::TypedCode;
use crate::domain::second_factor::uri::otpauth;
use crate::domain::session::Client;
use crate::domain::user::{Credentials, User};
use crate::store::{Factor, FactorAct, FactorChange, FactorChanged, Renewal, Revoked};

/// How long an enrolment waits for its first code.
const ENROLMENT: Duration = Duration::from_mins(10);

/// What a user gives to show that a change of their second factor is theirs to make.
#[derive(Debug)]
pub struct Present {
    /// The password, as it was typed.
    pub password: String,
    /// The code, as it was typed, if one was.
    pub code: Option<String>,
}

/// A second factor in force, as its user may see it.
#[derive(Clone, Copy, Debug)]
pub struct InForce {
    /// Since when.
    pub since: Timestamp,
    /// How many recovery codes are left.
    pub recovery_codes: i64,
}

/// An enrolment that waits for its first code. What it holds is shown now and never again.
#[derive(Debug)]
pub struct Started {
    /// Which one it is.
    pub enrolment: EnrolmentId,
    /// The secret, to be typed into an authenticator.
    pub secret: SecretText,
    /// The secret, to be scanned.
    pub uri: SecretText,
}

/// A second factor that came into force.
#[derive(Debug)]
pub struct Confirmed {
    /// Its recovery codes, which are shown now and never again.
    pub recovery_codes: Vec<SecretText>,
    /// One's own session, and how many others ended.
    pub renewed: Renewed,
}

/// What shows that a user has the second factor, and the try of a code that it comes from, if one does.
pub(super) struct Proven<'s> {
    /// What is judged where it is used up; none where nothing has to be shown.
    pub(super) proof: Option<Proof>,
    /// It counts as failed until it is given back or resets the counters.
    pub(super) tried: Option<Try<'s>>,
}

impl Proven<'_> {
    /// The code was not wrong, or was not judged.
    pub(super) async fn give_back(self) {
        if let Some(tried) = self.tried {
            tried.give_back().await;
        }
    }
}

impl Service {
    /// The user's second factor, if one is in force.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn second_factor(&self, principal: &Principal) -> Result<Option<InForce>> {
        let factor = self.parts.store.second_factor(principal.user_id()).await?;
        Ok(factor.map(|Factor { confirmed_at: since, recovery_codes, .. }| InForce { since, recovery_codes }))
    }

    /// Begins to set a second factor up. One that is in force stays so until the new one is confirmed, and a code of it is
    /// asked for.
    ///
    /// # Errors
    /// [`Error::BadCredentials`] for a wrong password, [`Error::SecondFactorRequired`] for a code that is missing or wrong,
    /// and [`Error::NoSession`] when the session has ended since it was checked.
    pub async fn start_second_factor(
        &self,
        principal: &Principal,
        present: Present,
        client: &Client,
        from: &TriedFrom,
    ) -> Result<Started> {
        let (user, entropy) = (principal.user_id(), &*self.parts.entropy);
        let known = self.own_password(principal, present.password, client, from).await?;
        let factor = self.parts.store.second_factor(user).await?;
        let session = Some(principal.session_id());
        let proven = self.proof(&known.user, session, factor.as_ref(), present.code.as_deref(), client, from).await?;
        let secret = TotpSecret::random(entropy)?;
        let enrolment = EnrolmentId::random(entropy)?;
        let sealed = self.parts.factor_keys.seal(&secret, user, entropy)?;
        let act = FactorAct::Start(enrolment, sealed);
        self.change_factor(principal, &known, proven, None, act, client).await?;
        let uri = otpauth(&secret, &self.parts.issuer, known.user.username.as_str());
        Ok(Started { enrolment, secret: secret.base32(), uri })
    }

    /// Brings a second factor into force by its first code, which is used up. The user's other sessions end, and the
    /// logins that are being checked; one's own session goes on under a new token.
    ///
    /// # Errors
    /// [`Error::SecondFactorRequired`] for a wrong code, [`Error::Conflict`] when the enrolment is over, and
    /// [`Error::NoSession`] when the session has ended since it was checked.
    pub async fn confirm_second_factor(
        &self,
        principal: &Principal,
        enrolment: &str,
        code: &str,
        client: &Client,
        from: &TriedFrom,
    ) -> Result<Confirmed> {
        let (user, now) = (principal.user_id(), self.parts.clock.now());
        let known = self.own_credentials(principal).await?;
        let begun_after = now.before(ENROLMENT);
        let pending = self.parts.store.enrolment(user).await?;
        let pending = pending.filter(|pending| pending.id.as_str() == enrolment && pending.started_at > begun_after);
        let pending = pending.ok_or(Error::Conflict(Conflict::EnrolmentReplaced))?;
        let secret = self.parts.factor_keys.open(&pending.secret, user).ok_or_else(unreadable)?;
        let tried = self.book_code(user, from).await?;
        let step = match TypedCode::read(code) {
            TypedCode::Authenticator(code) => secret.matching(code, now, None),
            TypedCode::Recovery(_) | TypedCode::Neither => None,
        };
        let Some(step) = step else {
            return self.wrong_code(&known.user, Some(principal.session_id()), client).await;
        };
        let proven = Proven { proof: None, tried: Some(tried) };
        let (codes, recovery) = self.new_recovery_codes(user)?;
        let NewToken { token, session, left, renewal } = self.new_token(principal).await?;
        let act = FactorAct::Confirm { enrolment: pending.id, begun_after, step, recovery };
        let revoked = self.change_factor(principal, &known, proven, Some(renewal), act, client).await?;
        Ok(Confirmed { recovery_codes: codes, renewed: Renewed { revoked, token, session, left } })
    }

    /// Replaces the user's recovery codes.
    ///
    /// # Errors
    /// As [`Self::start_second_factor`]; [`Error::NotFound`] when no second factor is in force.
    pub async fn renew_recovery_codes(
        &self,
        principal: &Principal,
        present: Present,
        client: &Client,
        from: &TriedFrom,
    ) -> Result<Vec<SecretText>> {
        let (known, proven) = self.proven(principal, present, client, from).await?;
        let (codes, hashes) = self.new_recovery_codes(principal.user_id())?;
        let act = FactorAct::RenewRecoveryCodes(hashes);
        self.change_factor(principal, &known, proven, None, act, client).await?;
        Ok(codes)
    }

    /// Removes the user's second factor. Their other sessions end, and one's own goes on under a new token.
    ///
    /// # Errors
    /// As [`Self::start_second_factor`]; [`Error::NotFound`] when no second factor is in force.
    pub async fn remove_second_factor(
        &self,
        principal: &Principal,
        present: Present,
        client: &Client,
        from: &TriedFrom,
    ) -> Result<Renewed> {
        let (known, proven) = self.proven(principal, present, client, from).await?;
        let NewToken { token, session, left, renewal } = self.new_token(principal).await?;
        let revoked = self.change_factor(principal, &known, proven, Some(renewal), FactorAct::Remove, client).await?;
        Ok(Renewed { revoked, token, session, left })
    }

    /// Checks the password and a code of the factor in force.
    async fn proven(
        &self,
        principal: &Principal,
        present: Present,
        client: &Client,
        from: &TriedFrom,
    ) -> Result<(Credentials, Proven<'_>)> {
        let known = self.own_password(principal, present.password, client, from).await?;
        let factor = self.parts.store.second_factor(principal.user_id()).await?.ok_or(Error::NotFound)?;
        let (session, code) = (Some(principal.session_id()), present.code.as_deref());
        let proven = self.proof(&known.user, session, Some(&factor), code, client, from).await?;
        Ok((known, proven))
    }

    /// Reads the code of a login, if the user needs one.
    ///
    /// # Errors
    /// [`Error::SecondFactorRequired`], and [`Error::Throttled`].
    pub(super) async fn login_proof(
        &self,
        user: &User,
        code: Option<&str>,
        client: &Client,
        from: &TriedFrom,
    ) -> Result<Proven<'_>> {
        let factor = self.parts.store.second_factor(user.id).await?;
        self.proof(user, None, factor.as_ref(), code, client, from).await
    }

    /// Reads a code as proof of the factor in force, at a login or in the user's own `session`. Whether it was used meanwhile is
    /// judged where it is used up. It counts as a failed try until then.
    async fn proof(
        &self,
        user: &User,
        session: Option<SessionId>,
        factor: Option<&Factor>,
        code: Option<&str>,
        client: &Client,
        from: &TriedFrom,
    ) -> Result<Proven<'_>> {
        let Some(factor) = factor else { return Ok(Proven { proof: Some(Proof::NoFactor), tried: None }) };
        let Some(code) = code.filter(|code| !code.trim().is_empty()) else {
            return Err(Error::SecondFactorRequired { wrong: false });
        };
        let tried = self.book_code(user.id, from).await?;
        let proof = match TypedCode::read(code) {
            TypedCode::Authenticator(code) => {
                let secret = self.parts.factor_keys.open(&factor.secret, user.id).ok_or_else(unreadable)?;
                match secret.matching(code, self.parts.clock.now(), Some(factor.last_step)) {
                    Some(step) => Proof::Step(step),
                    None => return self.wrong_code(user, session, client).await,
                }
            }
            TypedCode::Recovery(code) => Proof::Recovery(self.parts.factor_keys.recovery_hashes(&code, user.id)),
            TypedCode::Neither => return self.wrong_code(user, session, client).await,
        };
        Ok(Proven { proof: Some(proof), tried: Some(tried) })
    }

    /// Records that a code was wrong, at a login or in the user's own `session`, and refuses it.
    pub(super) async fn wrong_code<T>(&self, user: &User, session: Option<SessionId>, client: &Client) -> Result<T> {
        self.refusals.code(user, session, client, self.parts.clock.now()).await?;
        Err(Error::SecondFactorRequired { wrong: true })
    }

    /// Checks the password of the principal's user.
    async fn own_password(
        &self,
        principal: &Principal,
        password: String,
        client: &Client,
        from: &TriedFrom,
    ) -> Result<Credentials> {
        let known = self.own_credentials(principal).await?;
        self.check_own_password(principal, &known, Typed::new(password), client, from).await?;
        Ok(known)
    }

    fn new_recovery_codes(&self, user: UserId) -> Result<(Vec<SecretText>, Vec<RecoveryHash>)> {
        let codes = RecoveryCode::set(&*self.parts.entropy)?;
        let hashes = codes.iter().map(|code| self.parts.factor_keys.recovery_hash(code, user)).collect();
        Ok((codes.iter().map(RecoveryCode::shown).collect(), hashes))
    }

    /// Makes a change that the principal asked for. Returns how many sessions it ended, once they are refused everywhere.
    async fn change_factor(
        &self,
        principal: &Principal,
        known: &Credentials,
        proven: Proven<'_>,
        keep: Option<Renewal>,
        act: FactorAct,
        client: &Client,
    ) -> Result<usize> {
        let (user, auth_epoch) = (known.user.id, Some(known.auth_epoch));
        let change = FactorChange { user, auth_epoch, proof: proven.proof.clone(), keep, act };
        let reason = principal_reason(principal, Why::SecondFactor, client);
        let changed = match self.parts.store.change_second_factor(change, reason).await {
            // What was tried has failed.
            Ok(FactorChanged::Unproven) => {
                return self.wrong_code(&known.user, Some(principal.session_id()), client).await;
            }
            changed => changed,
        };
        proven.give_back().await;
        match changed? {
            FactorChanged::Yes(revoked) => self.settled_revoked(&revoked).await,
            FactorChanged::NoSession(seq) => self.no_session(seq).await,
            FactorChanged::Superseded => Err(Error::BadCredentials),
            FactorChanged::Unproven => Err(Error::SecondFactorRequired { wrong: true }),
            FactorChanged::NoFactor => Err(Error::NotFound),
            FactorChanged::EnrolmentOver => Err(Error::Conflict(Conflict::EnrolmentReplaced)),
        }
    }
}

/// A process that serves has looked for such secrets at its start, and found none.
fn unreadable() -> Error {
    Error::Bug("a second factor is encrypted under a key that is not here, or was changed in the store".into())
}

impl Authority {
    /// Removes a user's second factor, which ends every session of theirs.
    ///
    /// # Errors
    /// [`Error::NotFound`] when the user is gone, or has no second factor.
    pub(super) async fn reset_second_factor(&self, service: &Service, user: UserId) -> Result<Revoked> {
        self.change_factor(service, user, FactorAct::Remove).await?.ok_or(Error::NotFound)
    }

    /// Changes a user's second factor without their password. `None`: the user, or what is to be changed, is gone.
    pub(super) async fn change_factor(
        &self,
        service: &Service,
        user: UserId,
        act: FactorAct,
    ) -> Result<Option<Revoked>> {
        let change = FactorChange { user, auth_epoch: None, proof: None, keep: None, act };
        match service.parts.store.change_second_factor(change, self.because(Why::SecondFactor)).await? {
            FactorChanged::Yes(revoked) => Ok(Some(revoked)),
            FactorChanged::NoSession(seq) => self.refused(service, seq).await,
            FactorChanged::NoFactor
            | FactorChanged::Superseded
            | FactorChanged::Unproven
            | FactorChanged::EnrolmentOver => Ok(None),
        }
    }
}
