//! All that can be refused on the wire, and what a dialect is: its words for each.

use std::any::Any;
use std::marker::PhantomData;

use axum::BoxError;
use axum::response::{IntoResponse, Response};
use http::header::{ALLOW, CONNECTION, CONTENT_TYPE, RETRY_AFTER, SET_COOKIE};
use http::{HeaderValue, StatusCode};
use serde::Serialize;

use crate::domain::throttle::Wait;
use crate::service;
use crate::telemetry::DialectName;
use crate::telemetry::outage::StoreCause;

/// The value of `Retry-After` where the service is overloaded, in seconds.
const RETRY_SECONDS: u16 = 1;

/// The value of `Connection` that announces its end.
pub const CLOSE: HeaderValue = HeaderValue::from_static("close");

/// How one API spells every outcome.
pub trait Dialect: Send + Sync + 'static {
    /// What it is called in metrics and traces.
    const NAME: DialectName;
    /// Whether pages of listed origins may call it. If so, OPTIONS is a preflight, on unknown paths too.
    const FOR_PAGES: bool = true;
    /// Whether it is refused over plain HTTP where the configuration asks for HTTPS. Proxies and probes come as they do.
    const FOR_BROWSERS: bool = Self::FOR_PAGES;

    /// Words for a refusal: status, headers of its own and body.
    fn refuse(refusal: &Refusal) -> Response;
}

/// All that can be refused on the wire. Closed: each dialect has words for every one.
#[derive(Debug)]
pub enum Refusal {
    /// An outcome of the service other than success.
    Service(service::Error),
    /// A request that HTTP itself forbids, such as one without `Host`.
    BadRequest(&'static str),
    /// No such route.
    UnknownRoute,
    /// The route does not take this method.
    WrongMethod,
    /// A trusted proxy says that the client used plain HTTP, which the configuration does not allow.
    PlainHttp,
    /// A change asked for by a page of an origin that may not make it.
    WrongPlace,
    /// The body did not arrive in time.
    BodyTimeout,
    /// The connection ended before the whole body arrived, so no client will read the answer.
    ClientGone,
    /// The body is larger than is read.
    BodyTooLarge,
    /// The body is of a type the route does not take.
    WrongContentType,
    /// The head is larger than it may be.
    HeadTooLarge,
    /// The body has a transfer coding other than `chunked`.
    TransferCoding,
    /// The body is not what its content type says.
    Malformed,
    /// The body or the query is well-formed but wrong.
    Field(FieldError),
    /// A cursor that this service did not issue, or a page size out of bounds.
    BadPage(&'static str),
    /// The answer was not ready by the deadline.
    Deadline,
}

/// What is wrong with one field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldError {
    /// Where it stands.
    pub place: Place,
    /// Its name as it was sent.
    pub field: String,
    /// What is wrong.
    pub problem: Problem,
}

/// Where a field stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In the body.
    Body,
    /// In the query string.
    Query,
}

/// What is wrong with a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// It is not there.
    Missing,
    /// It should not be there.
    Unknown,
    /// It is not text.
    NotText,
    /// It is not true or false.
    NotFlag,
    /// It is not a whole number.
    NotNumber,
    /// It is none of these words.
    NoneOf(&'static [&'static str]),
    /// It cannot be used, for the reason in the sentence.
    Unfit(String),
}

impl From<FieldError> for Refusal {
    fn from(error: FieldError) -> Self {
        Self::Field(error)
    }
}

impl From<service::Error> for Refusal {
    fn from(error: service::Error) -> Self {
        Self::Service(error)
    }
}

/// A refusal as a response, in the words of dialect `D`.
#[derive(Debug)]
pub struct Refused<D> {
    refusal: Refusal,
    cookies: Vec<HeaderValue>,
    dialect: PhantomData<D>,
}

impl<D> Refused<D> {
    /// Sends cookies with it.
    #[must_use]
    pub fn with_cookies(mut self, cookies: Vec<HeaderValue>) -> Self {
        self.cookies = cookies;
        self
    }

    /// The cookies that go with it, for an answer in its place.
    pub fn into_cookies(self) -> Vec<HeaderValue> {
        self.cookies
    }

    /// Whether no live session was presented, and nothing is wrong otherwise.
    pub fn is_no_session(&self) -> bool {
        matches!(self.refusal, Refusal::Service(service::Error::NoSession))
    }
}

impl<D, R: Into<Refusal>> From<R> for Refused<D> {
    fn from(refusal: R) -> Self {
        Self { refusal: refusal.into(), cookies: Vec::new(), dialect: PhantomData }
    }
}

impl<D: Dialect> IntoResponse for Refused<D> {
    fn into_response(self) -> Response {
        let mut response = D::refuse(&self.refusal);
        if let Refusal::Service(error) = &self.refusal
            && let Some(failure) = Failure::from_error(error)
        {
            response.extensions_mut().insert(failure);
        }
        with_cookies(response, self.cookies)
    }
}

/// The answer after a panic.
pub fn panicked<D: Dialect>(panic: Box<dyn Any + Send>) -> Response {
    let mut response = D::refuse(&Refusal::Service(service::Error::Bug("".into())));
    response.extensions_mut().insert(Failure::Bug(words_of_panic(panic)));
    response
}

/// The message of a panic, for the log.
pub fn words_of_panic(panic: Box<dyn Any + Send>) -> String {
    let text = panic.downcast::<String>().map(|text| *text);
    let text = text.or_else(|panic| panic.downcast::<&str>().map(|text| (*text).to_owned()));
    format!("panic: {}", text.unwrap_or_default())
}

/// The answer where none was made in time.
pub async fn too_late<D: Dialect>(elapsed: BoxError) -> Response {
    let mut response = D::refuse(&Refusal::Deadline);
    response.extensions_mut().insert(Failure::Bug(elapsed.to_string()));
    response
}

/// A refusal of a head. The connection ends with it: what follows such a head may not be what it seems.
pub fn refuse_head<D: Dialect>(refusal: &Refusal) -> Response {
    // CONNECT, which no route takes.
    const ALLOWED: HeaderValue = HeaderValue::from_static("GET, HEAD, POST, PATCH, DELETE, OPTIONS");
    let mut response = D::refuse(refusal);
    response.headers_mut().insert(CONNECTION, CLOSE);
    if response.status() == StatusCode::METHOD_NOT_ALLOWED {
        response.headers_mut().insert(ALLOW, ALLOWED);
    }
    response
}

/// What went wrong inside, for the outermost layer to count or to log.
#[derive(Clone, Debug)]
pub enum Failure {
    /// The store failed, and how. An outage is logged once, however many requests it fails.
    Store(StoreCause, String),
    /// Anything else, with a line of its own.
    Bug(String),
}

impl Failure {
    /// What went wrong, where something did and the request was not merely refused.
    pub fn from_error(error: &service::Error) -> Option<Self> {
        let why = error.failure()?;
        Some(match error.store_cause() {
            Some(cause) => Self::Store(cause, why),
            None => Self::Bug(why),
        })
    }
}

/// What a handler returns.
pub type Answer<D> = Result<Response, Refused<D>>;

/// Adds `Set-Cookie` headers.
pub fn with_cookies(mut response: Response, cookies: Vec<HeaderValue>) -> Response {
    for cookie in cookies {
        response.headers_mut().append(SET_COOKIE, cookie);
    }
    response
}

/// An answer with a JSON body.
pub fn json(status: StatusCode, body: &impl Serialize) -> Response {
    const JSON: HeaderValue = HeaderValue::from_static("application/json");
    match serde_json::to_vec(body) {
        Ok(body) => (status, [(CONTENT_TYPE, JSON)], body).into_response(),
        // Structs of strings and numbers always serialize.
        Err(error) => {
            let mut response = StatusCode::INTERNAL_SERVER_ERROR.into_response();
            response.extensions_mut().insert(Failure::Bug(error.to_string()));
            response
        }
    }
}

/// Adds `Retry-After` for a wait.
pub fn with_wait(mut response: Response, wait: Wait) -> Response {
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(wait.seconds()));
    response
}

/// Adds `Retry-After`.
pub fn with_retry(mut response: Response) -> Response {
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(RETRY_SECONDS));
    response
}
