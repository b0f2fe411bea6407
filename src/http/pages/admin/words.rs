//! What went wrong with an act, for the box above its form; and what was done, for the notice.

use http::StatusCode;

use crate::http::pages::texts::{Field, Texts};
use crate::http::refusal::FieldError;
use crate::http::request::fields::Fields;
use crate::service::Error;
use crate::service::error::Unusable;

/// What the box above a form says, with the status of its page.
///
/// # Errors
/// For what a page of its own is about.
pub fn in_box(error: Error, t: &Texts) -> Result<(StatusCode, String), Error> {
    match error {
        Error::Conflict(conflict) => Ok((StatusCode::CONFLICT, (t.admin.conflict)(conflict).to_owned())),
        Error::Invalid { field: _, why: why @ (Unusable::Password(_) | Unusable::Unchanged) } => {
            Ok((StatusCode::UNPROCESSABLE_ENTITY, (t.unusable_password)(why).into_owned()))
        }
        Error::Invalid { field, why } => match Field::from_word(field) {
            Some(named) => Ok((StatusCode::UNPROCESSABLE_ENTITY, (t.admin.invalid)(named, why))),
            None => Err(Error::Invalid { field, why }),
        },
        other @ (Error::BadCredentials
        | Error::NoSession
        | Error::Forbidden
        | Error::NotFound
        | Error::PasswordChangeRequired
        | Error::ReauthenticationRequired
        | Error::Throttled(_)
        | Error::SecondFactorRequired { .. }
        | Error::Overloaded
        | Error::StoreUnreachable(_)
        | Error::StoreTooSlow(_)
        | Error::Bug(_)) => Err(other),
    }
}

/// What the page that one comes to after an act says of it.
///
/// # Errors
/// As the fields of any query.
pub fn notice(query: &mut Fields, t: &Texts) -> Result<Option<String>, FieldError> {
    let done = match query.optional_text("done")?.as_deref() {
        Some("created") => Some(t.admin.was_created),
        Some("saved") => Some(t.admin.was_saved),
        Some("disabled") => Some(t.admin.was_disabled),
        Some("enabled") => Some(t.admin.was_enabled),
        Some("factor_reset") => Some(t.admin.was_factor_reset),
        Some("unlocked") => Some(t.admin.was_unlocked),
        Some("nothing_locked") => Some(t.admin.nothing_locked),
        Some("deleted") => Some(t.admin.was_deleted),
        Some(_) | None => None,
    };
    let ended = query.number("ended")?.map(|count| ended(count, t));
    Ok(match (done, ended) {
        (Some(done), Some(ended)) => Some(format!("{done} {ended}")),
        (Some(done), None) => Some(done.to_owned()),
        (None, ended) => ended,
    })
}

/// How many sessions were signed out.
pub fn ended(count: usize, t: &Texts) -> String {
    match u64::try_from(count).unwrap_or(u64::MAX) {
        0 => t.admin.ended_none.to_owned(),
        count => t.sessions_ended(count),
    }
}
