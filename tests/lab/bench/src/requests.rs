//! The requests a load is made of: prebuilt bytes into which only a token is copied.

use std::{
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use sessiond_support::{
    random::Random,
    token::{Token, made_up},
};

/// What one connection sends; `None` ends it.
pub trait Requests: Send + 'static {
    fn next(&mut self) -> Option<&[u8]>;
}

/// A request with a gap for the token.
#[derive(Clone)]
pub struct Template {
    bytes: Vec<u8>,
    gap: Range<usize>,
}

impl Template {
    /// A forward-auth check, with the cookie a proxy would pass on.
    pub fn check() -> Self {
        Self::new("GET /verify HTTP/1.1\r\nhost: 127.0.0.1\r\ncookie: _me_sess=", "\r\n\r\n")
    }

    /// A page that only those see who are logged in.
    pub fn page() -> Self {
        Self::new("GET /app/page HTTP/1.1\r\nhost: 127.0.0.1\r\naccept: text/html\r\ncookie: _me_sess=", "\r\n\r\n")
    }

    /// A logout with a bearer token.
    pub fn logout() -> Self {
        Self::new(
            "POST /api/v1/auth/logout HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer ",
            "\r\ncontent-length: 0\r\n\r\n",
        )
    }

    fn new(before: &str, after: &str) -> Self {
        let gap = before.len()..before.len() + size_of::<Token>();
        let mut bytes = vec![b'A'; gap.end];
        bytes[..gap.start].copy_from_slice(before.as_bytes());
        bytes.extend_from_slice(after.as_bytes());
        Self { bytes, gap }
    }

    pub fn with(&mut self, token: &Token) -> &[u8] {
        self.bytes[self.gap.clone()].copy_from_slice(token);
        &self.bytes
    }
}

/// A login with a password, answered with a token in the body.
pub fn login(username: &str, password: &str) -> Vec<u8> {
    login_with(username, password, "")
}

/// The same, from an address that a proxy names.
pub fn login_from(address: &str, username: &str, password: &str) -> Vec<u8> {
    login_with(username, password, &format!("x-forwarded-for: {address}\r\n"))
}

fn login_with(username: &str, password: &str, more: &str) -> Vec<u8> {
    let body = serde_json::json!({
        "username": username,
        "password": password,
        "transport": "token",
    })
    .to_string();
    post("/api/v1/auth/login", more, "application/json", body.as_bytes())
}

/// A request with a body of a kind.
pub fn post(path: &str, headers: &str, kind: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\n{headers}content-type: {kind}\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

/// One request with each token of a range, once, shared among the connections.
pub struct Each {
    template: Template,
    tokens: Arc<[Token]>,
    next: Arc<AtomicUsize>,
    end: usize,
}

impl Each {
    /// A maker of one source per connection; the counter, once past the range, says all were taken.
    pub fn of(
        template: Template,
        tokens: &Arc<[Token]>,
        range: Range<usize>,
    ) -> (impl Fn(usize) -> Self + use<>, Arc<AtomicUsize>) {
        let next = Arc::new(AtomicUsize::new(range.start));
        let shared = Arc::clone(&next);
        let tokens = Arc::clone(tokens);
        let make = move |_| Self {
            template: template.clone(),
            tokens: Arc::clone(&tokens),
            next: Arc::clone(&shared),
            end: range.end,
        };
        (make, next)
    }
}

impl Requests for Each {
    fn next(&mut self) -> Option<&[u8]> {
        let index = self.next.fetch_add(1, Ordering::Relaxed);
        (index < self.end).then(|| self.template.with(&self.tokens[index]))
    }
}

/// Endless requests spread evenly over a range of tokens.
pub struct Checks {
    template: Template,
    tokens: Arc<[Token]>,
    range: Range<usize>,
    random: Random,
}

impl Checks {
    /// Checks.
    pub fn over(tokens: &Arc<[Token]>, range: Range<usize>) -> impl Fn(usize) -> Self + use<> {
        Self::with(Template::check(), tokens, range)
    }

    pub fn with(template: Template, tokens: &Arc<[Token]>, range: Range<usize>) -> impl Fn(usize) -> Self + use<> {
        let tokens = Arc::clone(tokens);
        move |_| Self {
            template: template.clone(),
            tokens: Arc::clone(&tokens),
            range: range.clone(),
            random: Random::new(),
        }
    }
}

impl Requests for Checks {
    fn next(&mut self) -> Option<&[u8]> {
        let index = self.range.start + self.random.below(self.range.len());
        Some(self.template.with(&self.tokens[index]))
    }
}

/// Endless checks, each with a fresh token that was never issued.
pub struct MadeUp {
    template: Template,
    random: Random,
}

impl MadeUp {
    pub fn new(_connection: usize) -> Self {
        Self { template: Template::check(), random: Random::new() }
    }
}

impl Requests for MadeUp {
    fn next(&mut self) -> Option<&[u8]> {
        Some(self.template.with(&made_up(&mut self.random)))
    }
}

/// Prebuilt requests, taken in turn by all connections, `limit` of them in all.
#[derive(Clone)]
pub struct Prebuilt {
    requests: Arc<[Vec<u8>]>,
    next: Arc<AtomicUsize>,
    limit: usize,
}

impl Prebuilt {
    pub fn endless(requests: &Arc<[Vec<u8>]>) -> impl Fn(usize) -> Self + use<> {
        Self::limited(requests, usize::MAX)
    }

    pub fn once_each(requests: &Arc<[Vec<u8>]>) -> impl Fn(usize) -> Self + use<> {
        Self::limited(requests, requests.len())
    }

    fn limited(requests: &Arc<[Vec<u8>]>, limit: usize) -> impl Fn(usize) -> Self + use<> {
        let source = Self { requests: Arc::clone(requests), next: Arc::default(), limit };
        move |_| source.clone()
    }
}

impl Requests for Prebuilt {
    fn next(&mut self) -> Option<&[u8]> {
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        (turn < self.limit).then(|| self.requests[turn % self.requests.len()].as_slice())
    }
}
