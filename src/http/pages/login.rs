//! `/login`: signing in, and the way back to where a person came from.

use std::borrow::Cow;

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use http::{HeaderValue, StatusCode, Uri};

use super::dialect::Pages;
use super::form_refusal::FormRefusal;
use super::render::{Reader, page, page_with_script, see_other};
use super::texts::Texts;
use crate::domain::text::LoginName;
use crate::http::brand::Brand;
use crate::http::refusal::{Answer, Refused, with_cookies};
use crate::http::request::body::Payload;
use crate::http::request::client_address::Sender;
use crate::http::request::credential::{Caller, Cookies};
use crate::http::request::fields::Fields;
use crate::http::request::return_to::{LONGEST_LOCATION, ReturnTo, said};
use crate::http::request::state::App;
use crate::service::Error;
use crate::service::limits::TriedFrom;
use crate::service::login::{FirstStep, LoggedIn, Login};

/// The form.
#[derive(Template)]
#[template(path = "login.html", config = ".askama.toml")]
struct Form<'f> {
    t: &'static Texts,
    brand: &'f Brand,
    error: Option<Cow<'static, str>>,
    notice: Option<&'static str>,
    beside: Beside,
    username: &'f str,
    remember: bool,
    return_to: &'f str,
    /// How many characters a password has to have.
    shortest: usize,
}

/// What is asked for beside the password.
#[derive(Clone, Copy, Default)]
struct Beside {
    /// A new one, since a one-time password has to be changed.
    new_password: bool,
    /// A code of the second factor.
    code: bool,
}

/// Words for those whose application does not get the cookie. A redirect would have them sent back and forth.
#[derive(Template)]
#[template(path = "out_of_reach.html", config = ".askama.toml")]
struct OutOfReach<'o> {
    t: &'static Texts,
    brand: &'o Brand,
}

/// A page that goes on to another origin by itself. Browsers hold `form-action` against every redirect that follows a
/// form, so a redirect would be refused by those that the other origin makes.
#[derive(Template)]
#[template(path = "onward.html", config = ".askama.toml")]
struct Onward<'o> {
    t: &'static Texts,
    brand: &'o Brand,
    url: &'o str,
}

/// `GET /login`: the form, or straight through with a live session, unless that is to be replaced by a younger one.
pub async fn form(
    State(app): State<App>,
    reader: Reader,
    caller: Result<Caller<Pages>, Refused<Pages>>,
    uri: Uri,
) -> Answer<Pages> {
    let mut query = Fields::from_query(uri.query())?;
    let raw = said(query.optional_text("return_to")?);
    let again = query.optional_text("again")?.is_some();
    if caller.is_ok() && !again {
        let to = ReturnTo::read(&raw, &reader.headers, &app);
        if let ReturnTo::Listed(url) = &to
            && !app.cookie_reaches(url)
        {
            return Ok(page(StatusCode::OK, &OutOfReach { t: reader.t, brand: &app.brand }));
        }
        return Ok(see_other(to.location()));
    }
    let caller = caller.ok().map(|caller| caller.principal);
    let remember = match &caller {
        Some(principal) => app.service.current(principal).await.is_ok_and(|(session, _)| session.remembered),
        None => false,
    };
    let signed_out = query.optional_text("signed_out")?.map(|_| reader.t.signed_out);
    let form = Form {
        t: reader.t,
        brand: &app.brand,
        error: None,
        notice: caller.as_ref().map(|_| reader.t.again_because).or(signed_out),
        beside: Beside::default(),
        username: caller.as_ref().map_or("", |principal| principal.identity.username()),
        remember,
        return_to: &raw,
        shortest: app.service.shortest_password(),
    };
    Ok(page(StatusCode::OK, &form))
}

/// `POST /login`.
pub async fn sign_in(
    State(app): State<App>,
    reader: Reader,
    Sender(client): Sender,
    from: TriedFrom,
    cookies: Cookies,
    body: Payload<Pages>,
) -> Answer<Pages> {
    let mut fields = body.form()?;
    let text = |text: Option<String>| text.unwrap_or_default();
    let (username, password) = (text(fields.optional_text("username")?), text(fields.optional_text("password")?));
    let new_password = fields.optional_text("new_password")?.filter(|new| !new.is_empty());
    let (remember, return_to) = (fields.flag("remember")?, said(fields.optional_text("return_to")?));
    let code = fields.optional_text("code")?.filter(|code| !code.is_empty());
    let (changing, with_code) = (new_password.is_some(), code.is_some());
    let again_with = |status, error: Cow<'static, str>, beside: Beside| {
        let form = Form {
            t: reader.t,
            brand: &app.brand,
            error: Some(error),
            notice: None,
            beside,
            username: &username,
            remember,
            return_to: &return_to,
            shortest: app.service.shortest_password(),
        };
        if beside.new_password { page_with_script(status, &form) } else { page(status, &form) }
    };
    let again = |status, error, new_password| again_with(status, error, Beside { new_password, code: with_code });
    if username.is_empty() || password.is_empty() {
        return Ok(again(StatusCode::UNPROCESSABLE_ENTITY, reader.t.required.into(), changing));
    }
    let login = Login {
        name: LoginName::either(&username),
        password,
        code,
        remembered: remember,
        replaces: cookies.tokens(),
        new_password,
        client,
        from,
    };
    let logged_in = match app.service.login_in_steps(login).await {
        Ok(FirstStep::LoggedIn(logged_in)) => logged_in,
        Ok(FirstStep::CodeNeeded(token)) => {
            let code = see_other(&with_return_to("/login/code", &return_to));
            return Ok(with_cookies(code, vec![app.cookie.set_waiting(Some(&token))]));
        }
        Err(Error::SecondFactorRequired { wrong: true }) => {
            let beside = Beside { new_password: changing, code: true };
            return Ok(again_with(StatusCode::UNAUTHORIZED, reader.t.wrong_code.into(), beside));
        }
        // The password has to be changed at this login: what is needed for that is asked for at once.
        Err(Error::SecondFactorRequired { wrong: false }) => {
            let beside = Beside { new_password: true, code: true };
            return Ok(again_with(StatusCode::UNAUTHORIZED, reader.t.one_time_with_code.into(), beside));
        }
        Err(Error::BadCredentials) => return Ok(again(StatusCode::UNAUTHORIZED, reader.t.no_match.into(), changing)),
        Err(Error::PasswordChangeRequired) => {
            return Ok(again(StatusCode::FORBIDDEN, reader.t.one_time_password.into(), true));
        }
        Err(error) => {
            let FormRefusal { status, words, retry } = FormRefusal::new(error, reader.t)?;
            return Ok(retry.on(again(status, words, changing)));
        }
    };
    Ok(go_on(&logged_in, &return_to, &cookies, Vec::new(), &reader, &app))
}

/// Sets the cookie of a login after other `lines`, and sends the person back to where they came from.
pub(super) fn go_on(
    logged_in: &LoggedIn,
    return_to: &str,
    cookies: &Cookies,
    mut lines: Vec<HeaderValue>,
    reader: &Reader,
    app: &App,
) -> Response {
    let LoggedIn { token, session, by_recovery_code, browser, .. } = logged_in;
    let until = session.expiry.absolute.since(session.created_at);
    lines.extend(cookies.set_at_login(token, session.remembered.then_some(until), browser, &app.cookie));
    let onward = match ReturnTo::read(return_to, &reader.headers, app) {
        to @ (ReturnTo::Sessions | ReturnTo::Ours(_)) => {
            let is_told = *by_recovery_code && to.location() == ReturnTo::Sessions.location();
            see_other(if is_told { "/sessions?recovery_code_used=1" } else { to.location() })
        }
        ReturnTo::Listed(url) => page(StatusCode::OK, &Onward { t: reader.t, brand: &app.brand, url: &url }),
    };
    with_cookies(onward, lines)
}

/// A page of signing in, from which one gets back to where one came from.
pub(super) fn with_return_to(path: &str, return_to: &str) -> String {
    let to: String = form_urlencoded::byte_serialize(return_to.as_bytes()).collect();
    let whole = format!("{path}?return_to={to}");
    let fits = !return_to.is_empty() && whole.len() <= LONGEST_LOCATION;
    if fits { whole } else { path.to_owned() }
}
