//! One's own second factor in the canonical contract, `/api/v1/auth/second-factor`.

use axum::extract::State;
use http::StatusCode;
use serde::Serialize;

use super::new_token::{Changed, Travels};
use super::words::Canonical;
use crate::domain::second_factor::SecretText;
use crate::http::refusal::{Answer, FieldError, json, with_cookies};
use crate::http::request::body::Payload;
use crate::http::request::client_address::Sender;
use crate::http::request::credential::{Caller, Cookies};
use crate::http::request::fields::Fields;
use crate::http::request::state::App;
use crate::http::routes::Routes;
use crate::service::limits::TriedFrom;
use crate::service::second_factor::Present;

/// Its routes, under `/api/v1/auth`.
pub fn routes() -> Routes<Canonical> {
    Routes::default()
        .change("/second-factor", start)
        .revoke_by_delete("/second-factor", remove)
        .revoke("/second-factor/confirm", confirm)
        .change("/second-factor/recovery-codes", renew_recovery_codes)
}

/// `POST /api/v1/auth/second-factor`: a secret, which is shown here alone.
pub async fn start(
    State(app): State<App>,
    caller: Caller<Canonical>,
    Sender(client): Sender,
    from: TriedFrom,
    body: Payload<Canonical>,
) -> Answer<Canonical> {
    #[derive(Serialize)]
    struct Started<'s> {
        enrolment: &'s str,
        secret: &'s str,
        uri: &'s str,
    }
    let present = present(&mut body.json()?)?;
    let started = app.service.start_second_factor(&caller.principal, present, &client, &from).await?;
    let (secret, uri) = (started.secret.reveal(), started.uri.reveal());
    Ok(json(StatusCode::OK, &Started { enrolment: started.enrolment.as_str(), secret, uri }))
}

/// `POST /api/v1/auth/second-factor/confirm`: the recovery codes, which are shown here alone.
pub async fn confirm(
    State(app): State<App>,
    caller: Caller<Canonical>,
    Sender(client): Sender,
    from: TriedFrom,
    cookies: Cookies,
    body: Payload<Canonical>,
) -> Answer<Canonical> {
    #[derive(Serialize)]
    struct Confirmed<'c> {
        recovery_codes: Vec<&'c str>,
        #[serde(flatten)]
        changed: Changed<'c>,
    }
    let mut fields = body.json()?;
    let (enrolment, code) = (fields.text("enrolment")?, fields.text("code")?);
    let travels = Travels::before(&caller, &cookies, &app).await?;
    let confirmed = app.service.confirm_second_factor(&caller.principal, &enrolment, &code, &client, &from).await?;
    let (changed, lines) = travels.under_new_token(&confirmed.renewed, &app);
    let recovery_codes = confirmed.recovery_codes.iter().map(SecretText::reveal).collect();
    Ok(with_cookies(json(StatusCode::OK, &Confirmed { recovery_codes, changed }), lines))
}

/// `POST /api/v1/auth/second-factor/recovery-codes`: new ones, which are shown here alone.
pub async fn renew_recovery_codes(
    State(app): State<App>,
    caller: Caller<Canonical>,
    Sender(client): Sender,
    from: TriedFrom,
    body: Payload<Canonical>,
) -> Answer<Canonical> {
    #[derive(Serialize)]
    struct Renewed<'r> {
        recovery_codes: Vec<&'r str>,
    }
    let present = present(&mut body.json()?)?;
    let codes = app.service.renew_recovery_codes(&caller.principal, present, &client, &from).await?;
    Ok(json(StatusCode::OK, &Renewed { recovery_codes: codes.iter().map(SecretText::reveal).collect() }))
}

/// `DELETE /api/v1/auth/second-factor`: removes it.
pub async fn remove(
    State(app): State<App>,
    caller: Caller<Canonical>,
    Sender(client): Sender,
    from: TriedFrom,
    cookies: Cookies,
    body: Payload<Canonical>,
) -> Answer<Canonical> {
    let present = present(&mut body.json()?)?;
    let travels = Travels::before(&caller, &cookies, &app).await?;
    let renewed = app.service.remove_second_factor(&caller.principal, present, &client, &from).await?;
    let (changed, lines) = travels.under_new_token(&renewed, &app);
    Ok(with_cookies(json(StatusCode::OK, &changed), lines))
}

fn present(fields: &mut Fields) -> Result<Present, FieldError> {
    Ok(Present { password: fields.text("current_password")?, code: fields.optional_text("code")? })
}
