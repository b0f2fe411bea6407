//! The page that is tried, how it is asked for, and what its answers mean.

use std::cell::Cell;

use url::Url;

use super::client::{Client, Problem, Request};
use crate::cli::answer::Answer;

/// The page, and what is known of it.
pub struct Site {
    /// Sends requests.
    pub client: Client,
    /// The protected page.
    pub page: Url,
    /// Whether it is known to show the headers that it was sent.
    pub echoes: bool,
    /// Random letters in what is sent, so that they are recognised in what comes back.
    pub nonce: String,
    asked: Cell<usize>,
}

/// What an answer of the page means.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The application answered.
    Allowed,
    /// A redirect to the login page.
    ToLogin(Url),
    /// A redirect to somewhere else.
    Elsewhere(Url),
    /// A redirect that does not say where to.
    Nowhere(u16),
    /// 401.
    Unauthorized,
    /// 5xx.
    Failing(u16),
    /// Any other status.
    Other(u16),
}

impl Site {
    /// A page that was not asked for yet.
    pub fn new(client: Client, page: Url, nonce: String) -> Self {
        Self { client, page, echoes: false, nonce, asked: Cell::new(0) }
    }

    /// The page, with a query that it was never asked for with, so that no cache knows its answer.
    pub fn fresh(&self) -> Url {
        self.asked.set(self.asked.get() + 1);
        self.with_query(&format!("sessiond-doctor={}-{}", self.nonce, self.asked.get()))
    }

    /// The page, with this at the end of its query.
    pub fn with_query(&self, more: &str) -> Url {
        let mut url = self.page.clone();
        let query = url.query().map_or_else(|| more.to_owned(), |query| format!("{query}&{more}"));
        url.set_query(Some(&query));
        url
    }

    /// Sends a request for the page, and judges the answer.
    pub fn ask(&self, request: &Request) -> Result<(Verdict, Answer), Problem> {
        let answer = self.client.send(request)?;
        Ok((Verdict::judge(&answer, request.url()), answer))
    }
}

/// Asks for a page as a browser does whose address was typed in.
pub fn navigation(url: Url) -> Request {
    Request::new("GET", url)
        .header("Accept", "text/html,application/xhtml+xml,*/*;q=0.8")
        .header("Sec-Fetch-Site", "none")
        .header("Sec-Fetch-Mode", "navigate")
        .header("Sec-Fetch-Dest", "document")
}

/// Asks for a page as a script in a browser does.
pub fn fetch(url: Url) -> Request {
    Request::new("GET", url)
        .header("Accept", "application/json, */*;q=0.5")
        .header("Sec-Fetch-Site", "same-origin")
        .header("Sec-Fetch-Mode", "cors")
        .header("Sec-Fetch-Dest", "empty")
}

impl Verdict {
    /// Judges the answer to a request for `url`.
    fn judge(answer: &Answer, url: &Url) -> Self {
        match answer.status {
            101 | 200..=299 => Self::Allowed,
            status @ (301 | 302 | 303 | 307 | 308) => {
                match answer.header("location").and_then(|to| url.join(to).ok()) {
                    Some(to) if to.path() == "/login" => Self::ToLogin(to),
                    Some(to) => Self::Elsewhere(to),
                    None => Self::Nowhere(status),
                }
            }
            401 => Self::Unauthorized,
            status @ 500..=599 => Self::Failing(status),
            status => Self::Other(status),
        }
    }

    /// The login page, where it leads there.
    pub fn login_page(&self) -> Option<&Url> {
        match self {
            Self::ToLogin(to) => Some(to),
            Self::Allowed
            | Self::Elsewhere(_)
            | Self::Nowhere(_)
            | Self::Unauthorized
            | Self::Failing(_)
            | Self::Other(_) => None,
        }
    }

    /// The answer in words that end a sentence.
    pub fn words(&self) -> String {
        match self {
            Self::Allowed => "answered as if it were allowed".into(),
            Self::ToLogin(_) => "sent to the login page".into(),
            Self::Elsewhere(to) => format!("sent to {}", bare(to)),
            Self::Nowhere(status) => format!("answered {status} without a usable `Location`"),
            Self::Unauthorized => "answered 401".into(),
            Self::Failing(status) | Self::Other(status) => format!("answered {status}"),
        }
    }
}

/// A URL without its query, which may hold a secret.
pub fn bare(url: &Url) -> &str {
    &url[..url::Position::AfterPath]
}

/// Scheme, host and port, as a URL of the root.
pub fn root(url: &Url) -> Url {
    let mut root = url.clone();
    root.set_path("/");
    root.set_query(None);
    root.set_fragment(None);
    root
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_judged_by_its_status_and_where_it_leads() {
        let url = Url::parse("http://app.example/app/").expect("a URL");
        let to = |to: &str| Url::parse(to).expect("a URL");
        for (head, verdict) in [
            ("200 OK", Verdict::Allowed),
            ("101 Switching Protocols", Verdict::Allowed),
            ("302 Found\r\nLocation: /login?return_to=x", Verdict::ToLogin(to("http://app.example/login?return_to=x"))),
            ("303 See\r\nLocation: https://a.example/login", Verdict::ToLogin(to("https://a.example/login"))),
            ("302 Found\r\nLocation: /app/login2", Verdict::Elsewhere(to("http://app.example/app/login2"))),
            ("302 Found", Verdict::Nowhere(302)),
            ("304 Not Modified", Verdict::Other(304)),
            ("401 Unauthorized\r\nLocation: /login", Verdict::Unauthorized),
            ("403 Forbidden", Verdict::Other(403)),
            ("500 Internal Server Error", Verdict::Failing(500)),
        ] {
            let wire = format!("HTTP/1.1 {head}\r\nContent-Length: 0\r\n\r\n");
            let answer = Answer::read(&mut wire.as_bytes(), "GET").expect("an answer");
            assert_eq!(Verdict::judge(&answer, &url), verdict, "{head}");
        }
    }
}
