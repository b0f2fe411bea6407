//! What a dialect is, and the extractors that speak it.

use std::marker::PhantomData;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, Request};
use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_TYPE, RETRY_AFTER, SET_COOKIE};
use http::{HeaderMap, HeaderValue, StatusCode};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde::Serialize;

use super::fields::Fields;
use super::state::App;
use crate::service;
use crate::telemetry::outage::StoreCause;

/// The largest body that is read, in bytes.
pub const LARGEST_BODY: usize = 8 * 1024;
/// What clients are told to wait for when the service is short of something, in seconds.
const RETRY_SECONDS: u16 = 1;

/// How one API spells every outcome.
pub trait Dialect: Send + Sync + 'static {
    /// Words for a refusal: status, headers of its own and body.
    fn refuse(refusal: &Refusal) -> Response;
}

/// All that can be refused on the wire. Closed: each dialect has words for every one.
#[derive(Debug)]
pub enum Refusal {
    /// The service said no.
    Service(service::Error),
    /// A request that HTTP itself forbids, such as one without `Host`.
    BadRequest(&'static str),
    /// No such route.
    UnknownRoute,
    /// The route does not take this method.
    WrongMethod,
    /// A change from a place that may not make it.
    WrongPlace,
    /// The body did not arrive in time.
    BodyTimeout,
    /// The client has gone before all of its body came, so there is no client left to be told.
    ClientGone,
    /// The body is larger than [`LARGEST_BODY`].
    BodyTooLarge,
    /// The body is of a type the route does not take.
    WrongContentType,
    /// The head is larger than it may be.
    HeadTooLarge,
    /// The body was coded for its transfer in another way than in chunks.
    TransferCoding,
    /// The body is not what its content type says.
    Malformed,
    /// The body or the query is well-formed but wrong.
    Field(FieldError),
    /// A cursor or a page size that was not handed out or is out of bounds.
    BadPage(&'static str),
    /// The answer took too long to make.
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
    /// It is none of these.
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

/// A refusal on its way out, in the words of dialect `D`.
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
            && let Some(failure) = Failure::of(error)
        {
            response.extensions_mut().insert(failure);
        }
        with_cookies(response, self.cookies)
    }
}

/// What went wrong inside, for the outermost layer to count or to log.
#[derive(Clone, Debug)]
pub enum Failure {
    /// The store failed. That is one fact, however many requests notice it.
    Store(StoreCause, String),
    /// Anything else, with a line of its own.
    Bug(String),
}

impl Failure {
    /// What went wrong, where something did and nobody was merely refused.
    pub fn of(error: &service::Error) -> Option<Self> {
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

/// Adds `Retry-After`.
pub fn with_retry(mut response: Response) -> Response {
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(RETRY_SECONDS));
    response
}

/// What a body says it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContentType {
    /// `application/json`.
    Json,
    /// `application/x-www-form-urlencoded`.
    Form,
    /// Anything else, or nothing.
    Other,
}

impl ContentType {
    fn of(headers: &HeaderMap) -> Self {
        let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let essence = value.split(';').next().unwrap_or_default().trim();
        if essence.eq_ignore_ascii_case("application/json") {
            Self::Json
        } else if essence.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
            Self::Form
        } else {
            Self::Other
        }
    }
}

/// A body that arrived whole, in time and within bounds. To be the last extractor, so that what is wrong with a body
/// is told only to those who may send one.
#[derive(Debug)]
pub struct Payload<D> {
    /// What it says it is.
    pub content_type: ContentType,
    bytes: Bytes,
    dialect: PhantomData<D>,
}

impl<D: Dialect> FromRequest<App> for Payload<D> {
    type Rejection = Refused<D>;

    async fn from_request(request: Request, app: &App) -> Result<Self, Refused<D>> {
        let content_type = ContentType::of(request.headers());
        let bytes = collect(request.into_body(), app.timeouts.body).await?;
        Ok(Self { content_type, bytes, dialect: PhantomData })
    }
}

/// A body that arrived within bounds and whose content does not matter to the route. To be the last extractor.
#[derive(Debug)]
pub struct Unused<D>(PhantomData<D>);

impl<D: Dialect> FromRequest<App> for Unused<D> {
    type Rejection = Refused<D>;

    async fn from_request(request: Request, app: &App) -> Result<Self, Refused<D>> {
        discard(request.into_body(), app.timeouts.body).await?;
        Ok(Self(PhantomData))
    }
}

/// Reads a body whole, as long as that takes no longer than `timeout`.
///
/// # Errors
/// [`Refusal::BodyTooLarge`], [`Refusal::BodyTimeout`], [`Refusal::ClientGone`] when the connection broke off, or
/// [`Refusal::Malformed`] when its framing makes no sense.
pub async fn collect(body: Body, timeout: Duration) -> Result<Bytes, Refusal> {
    use http_body::Body as _;
    if body.is_end_stream() {
        return Ok(Bytes::new());
    }
    if body.size_hint().lower() > LARGEST_BODY as u64 {
        return Err(Refusal::BodyTooLarge);
    }
    match tokio::time::timeout(timeout, Limited::new(body, LARGEST_BODY).collect()).await {
        Err(_) => Err(Refusal::BodyTimeout),
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Refusal::BodyTooLarge),
        Ok(Err(error)) if has_gone(&*error) => Err(Refusal::ClientGone),
        Ok(Err(_)) => Err(Refusal::Malformed),
    }
}

/// Reads a body whose content does not matter, as long as that takes no longer than `timeout`. A client that goes away in
/// the middle of it has asked for what it asked for all the same.
///
/// # Errors
/// As [`collect`], but for a connection that broke off.
pub async fn discard(body: Body, timeout: Duration) -> Result<(), Refusal> {
    match collect(body, timeout).await {
        Ok(_) | Err(Refusal::ClientGone) => Ok(()),
        Err(refusal) => Err(refusal),
    }
}

/// Whether a body ended because its connection did, and not because its framing makes no sense.
fn has_gone(error: &(dyn std::error::Error + 'static)) -> bool {
    use std::io::ErrorKind::{InvalidData, InvalidInput};
    let senseless = |error: &std::io::Error| matches!(error.kind(), InvalidData | InvalidInput);
    let causes = std::iter::successors(Some(error), |error| error.source());
    !causes.filter_map(|cause| cause.downcast_ref::<std::io::Error>()).any(senseless)
}

impl<D> Payload<D> {
    /// Reads it as JSON.
    ///
    /// # Errors
    /// [`Refusal::WrongContentType`] and [`Refusal::Malformed`].
    pub fn json(&self) -> Result<Fields, Refusal> {
        match self.content_type {
            ContentType::Json => Fields::from_json(&self.bytes),
            ContentType::Form | ContentType::Other => Err(Refusal::WrongContentType),
        }
    }

    /// Reads it as JSON or as a form, whichever it says it is.
    ///
    /// # Errors
    /// As [`Self::json`].
    pub fn json_or_form(&self) -> Result<Fields, Refusal> {
        match self.content_type {
            ContentType::Json => Fields::from_json(&self.bytes),
            ContentType::Form => Fields::from_form(&self.bytes),
            ContentType::Other => Err(Refusal::WrongContentType),
        }
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }
}
