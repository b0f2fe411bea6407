//! The page that asks for the password once more, before an act that gives power away.

use askama::Template;
use axum::response::Response;
use http::StatusCode;

use super::render;
use super::signed_in::login_and_back;
use super::texts::Texts;
use crate::http::brand::Brand;
use crate::http::request::state::App;

#[derive(Template)]
#[template(path = "again.html", config = ".askama.toml")]
struct Again<'a> {
    t: &'static Texts,
    brand: &'a Brand,
    login: &'a str,
    back: &'a str,
}

/// The page. From the login one gets back to `back`, which is a page of ours that changes nothing.
pub fn page(t: &'static Texts, app: &App, back: &str) -> Response {
    let login = login_and_back("/login?again=1&return_to=", back);
    render::page(StatusCode::FORBIDDEN, &Again { t, brand: &app.brand, login: &login, back })
}
