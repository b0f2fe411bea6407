//! Where a person goes on to after signing in: back to where they came from, and only to origins that are ours or listed.

use http::HeaderMap;
use http::header::HOST;
use url::{Origin, Url};

use super::single::only;
use crate::config;
use crate::http::request::state::App;

/// The longest `Location` that holds where to return to, in bytes. nginx has 4 KiB for the head of an answer, and would make
/// a 502 of a longer one; it stays under 3.5 KiB with the rest.
pub const LONGEST_LOCATION: usize = 2_600;

/// What a link or a form says of where to return to. Nothing where it is too long for that: a form that held it would be
/// refused, too.
pub fn said(raw: Option<String>) -> String {
    raw.filter(|raw| raw.len() <= LONGEST_LOCATION).unwrap_or_default()
}

/// Where to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReturnTo {
    /// One's own sessions, where nothing else may be meant.
    Sessions,
    /// A page of our own origin.
    Ours(String),
    /// A page of another origin that is listed.
    Listed(String),
}

impl ReturnTo {
    /// Reads what a link or a form says. It is parsed as browsers parse it (WHATWG URL), and then compared by scheme, host
    /// and port, so that nothing can look like an origin of ours and be another.
    pub fn read(raw: &str, headers: &HeaderMap, app: &App) -> Self {
        if raw.is_empty() {
            return Self::Sessions;
        }
        let Some(base) = base(headers, app) else { return Self::Sessions };
        let Ok(url) = base.join(raw) else { return Self::Sessions };
        let bare = url.username().is_empty() && url.password().is_none();
        // Spaces and letters beyond ASCII have become longer.
        let short = url.as_str().len() <= LONGEST_LOCATION;
        if !bare || !short || !matches!(url.scheme(), "http" | "https") {
            return Self::Sessions;
        }
        if is_ours(&url, &base, app) {
            return match url.path() {
                "/" | "/login" | "/logout" => Self::Sessions,
                // `//` would name another host.
                path if path.starts_with("//") => Self::Sessions,
                _ => Self::Ours(String::from(&url[url::Position::BeforePath..])),
            };
        }
        let listed = |origin: &config::Origin| Url::parse(origin.as_str()).is_ok_and(|listed| same(&listed, &url));
        if app.allowed_return_origins.iter().any(listed) {
            return Self::Listed(url.into());
        }
        // Anybody who is logged in could write it all the time.
        if app.unlisted_returns.lock().is_due() {
            tracing::info!(
                origin = url.origin().ascii_serialization(),
                "not sent back there: it is not in allowed_return_origins"
            );
        }
        Self::Sessions
    }

    /// The path or the URL.
    pub fn location(&self) -> &str {
        match self {
            Self::Sessions => "/sessions",
            Self::Ours(to) | Self::Listed(to) => to,
        }
    }
}

/// The address of this service as the browser has it: the scheme does not matter where no public URL is set.
fn base(headers: &HeaderMap, app: &App) -> Option<Url> {
    if let Some(public) = app.rules().origins.public() {
        return Url::parse(public).ok();
    }
    let host = std::str::from_utf8(only(headers, &HOST)?).ok()?;
    Url::parse(&format!("http://{host}")).ok()
}

fn is_ours(url: &Url, base: &Url, app: &App) -> bool {
    // Behind a proxy that ends TLS the browser may use either scheme.
    let either = || url.host() == base.host() && (url.port() == base.port());
    same(url, base) || (app.rules().origins.public().is_none() && either())
}

fn same(one: &Url, other: &Url) -> bool {
    let (one, other): (Origin, Origin) = (one.origin(), other.origin());
    one.is_tuple() && one == other
}
