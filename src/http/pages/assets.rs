//! The stylesheet and the icon, under names made of their content, so that browsers may keep them for a year.

use std::sync::LazyLock;

use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use sha2::{Digest as _, Sha256};

use super::dialect::Pages;
use crate::http::refusal::{Dialect as _, Refusal};

const STYLE: &str = include_str!("style.css");
const ICON: &str = include_str!("icon.svg");

/// Where the assets are, for the templates.
#[derive(Debug)]
pub struct Assets {
    /// The stylesheet's path.
    pub style: String,
    /// The icon's path.
    pub icon: String,
}

/// Where they are.
pub static ASSETS: LazyLock<Assets> =
    LazyLock::new(|| Assets { style: path("style", STYLE, "css"), icon: path("icon", ICON, "svg") });

fn path(name: &str, content: &str, extension: &str) -> String {
    let digest = URL_SAFE_NO_PAD.encode(Sha256::digest(content));
    format!("/assets/{name}-{}.{extension}", digest.get(..12).unwrap_or_default())
}

/// `GET /assets/{name}`.
pub async fn serve(name: Result<Path<String>, PathRejection>) -> Response {
    let asked = name.map(|Path(name)| format!("/assets/{name}")).unwrap_or_default();
    let (content, kind) = if asked == ASSETS.style {
        (STYLE, "text/css; charset=utf-8")
    } else if asked == ASSETS.icon {
        (ICON, "image/svg+xml")
    } else {
        return Pages::refuse(&Refusal::UnknownRoute);
    };
    ([(CONTENT_TYPE, kind), (CACHE_CONTROL, "public, max-age=31536000, immutable")], content).into_response()
}
