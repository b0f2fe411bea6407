//! Writes users as lines that `jsonl` reads.

use serde::Serialize;

use crate::domain::second_factor::SecretText;
use crate::domain::text::Email;
use crate::domain::user::Credentials;
use crate::password::exported;

/// The members in their order. What is false or not there is left out.
#[derive(Serialize)]
struct Line<'u> {
    username: &'u str,
    scheme: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    hash: Option<String>,
    id: &'u str,
    #[serde(skip_serializing_if = "Option::is_none")]
    email: Option<&'u str>,
    name: &'u str,
    #[serde(skip_serializing_if = "is_false")]
    admin: bool,
    #[serde(skip_serializing_if = "is_false")]
    disabled: bool,
    created_at: String,
    #[serde(skip_serializing_if = "is_false")]
    must_change_password: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    totp_secret: Option<&'u str>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
const fn is_false(flag: &bool) -> bool {
    !*flag
}

/// A user as a line, without its end. The secret of a second factor is in it where one is given.
///
/// # Errors
/// When it cannot be written, which does not happen.
pub fn export(known: &Credentials, totp_secret: Option<&SecretText>) -> serde_json::Result<String> {
    let (user, hash) = (&known.user, exported(&known.password_hash));
    let (scheme, hash) = hash.map_or(("none", None), |(scheme, hash)| (scheme, Some(hash)));
    serde_json::to_string(&Line {
        username: user.username.as_str(),
        scheme,
        hash,
        id: user.id.as_str(),
        email: user.email.as_ref().map(Email::as_str),
        name: user.name.as_str(),
        admin: user.admin,
        disabled: user.disabled_at.is_some(),
        created_at: user.created_at.rfc3339(),
        must_change_password: known.one_time.is_some(),
        totp_secret: totp_secret.map(SecretText::reveal),
    })
}
