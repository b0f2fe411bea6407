//! `/admin/sessions/revoke`: ending all sessions that match, or all there are, but never the administrator's own.

use axum::extract::State;
use axum::response::Response;
use http::{StatusCode, Uri};

use super::administrator::Administrator;
use super::ask::Ask;
use super::filter::Asked;
use super::lists::address;
use super::words;
use crate::http::pages::dialect::Pages;
use crate::http::pages::render::{Reader, page, see_other};
use crate::http::pages::texts::Texts;
use crate::http::refusal::{Answer, Refused};
use crate::http::request::body::Payload;
use crate::http::request::fields::Fields;
use crate::http::request::state::App;
use crate::service::Error;
use crate::service::admin::Admin;
use crate::service::error::Conflict;
use crate::service::selection::{Meant, SessionFilter};

const LIST: &str = "/admin/sessions";

/// What is to end, as it stands in the address.
struct Wanted {
    asked: Asked,
    filter: SessionFilter,
}

impl Wanted {
    /// Reads it; `Err` leads to the list, which says what is wrong with the filter. Every session has to be meant.
    async fn read(uri: &Uri, powers: &Admin<'_>) -> Result<Result<Self, Response>, Refused<Pages>> {
        let mut query = Fields::from_query(uri.query())?;
        let (asked, all) = (Asked::read(&mut query)?, query.flag("all")?);
        if all == asked.is_empty()
            && let Meant::Sessions(filter) = asked.meant(powers).await?
        {
            return Ok(Ok(Self { asked, filter }));
        }
        Ok(Err(see_other(&asked.address(LIST))))
    }
}

/// `GET /admin/sessions/revoke`: says how many there are.
pub async fn ask(State(app): State<App>, reader: Reader, administrator: Administrator, uri: Uri) -> Answer<Pages> {
    let powers = administrator.powers(&app)?;
    match Wanted::read(&uri, &powers).await? {
        Ok(wanted) => Ok(question(&app, reader.t, &powers, &wanted, StatusCode::OK, None).await?),
        Err(to_list) => Ok(to_list),
    }
}

async fn question(
    app: &App,
    t: &'static Texts,
    powers: &Admin<'_>,
    Wanted { asked, filter }: &Wanted,
    status: StatusCode,
    error: Option<String>,
) -> Result<Response, Error> {
    let count = powers.count(filter).await?;
    let (button, means) = if asked.is_empty() {
        (t.admin.sign_out_everybody, &t.admin.sign_out_everybody_means)
    } else {
        (t.admin.sign_out_matching, &t.admin.sign_out_matching_means)
    };
    let sentence = match u64::try_from(count).unwrap_or(u64::MAX) {
        0 => t.admin.nothing_to_sign_out.to_owned(),
        count => means.of(count),
    };
    let shown = Ask {
        t,
        brand: &app.brand,
        section: LIST,
        error,
        sentence,
        conditions: asked.conditions(t),
        expect: Some(count),
        button,
        can: count > 0,
        takes: true,
        back: &asked.address(LIST),
    };
    Ok(page(status, &shown))
}

/// `POST /admin/sessions/revoke`: ends them, unless there are more than were counted.
pub async fn revoke(
    State(app): State<App>,
    reader: Reader,
    administrator: Administrator,
    uri: Uri,
    body: Payload<Pages>,
) -> Answer<Pages> {
    let powers = administrator.powers(&app)?;
    let mut fields = body.form()?;
    let expected = fields.number("expect")?;
    let wanted = match Wanted::read(&uri, &powers).await? {
        Ok(wanted) => wanted,
        Err(to_list) => return Ok(to_list),
    };
    // Without a number, nothing was counted yet.
    match powers.revoke_fitting(&wanted.filter, Some(expected.unwrap_or(0))).await {
        Ok(ended) => {
            let ended = ended.to_string();
            Ok(see_other(&address(LIST, &[wanted.asked.pairs().as_slice(), &[("ended", &ended)]].concat())))
        }
        Err(error @ Error::Conflict(Conflict::MoreThanExpected)) => {
            let (status, error) = words::in_box(error, reader.t)?;
            Ok(question(&app, reader.t, &powers, &wanted, status, Some(error)).await?)
        }
        Err(error) => Err(error.into()),
    }
}
