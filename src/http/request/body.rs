//! Bodies: read whole, within bounds and in time.

use std::error::Error;
use std::marker::PhantomData;

use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, Request};
use http::HeaderMap;
use http::header::CONTENT_TYPE;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use tower_http::timeout::TimeoutError;

use super::fields::Fields;
use crate::http::refusal::{Dialect, Refusal, Refused};
use crate::http::request::state::App;

/// The largest body that is read, in bytes.
pub const LARGEST_BODY: usize = 8 * 1024;

/// The content type of a body.
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
    fn from_headers(headers: &HeaderMap) -> Self {
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

/// A body that arrived whole, in time and within bounds. It must be the last extractor, so that only clients that may
/// send a body learn what is wrong with it.
#[derive(Debug)]
pub struct Payload<D> {
    /// Its content type.
    pub content_type: ContentType,
    bytes: Bytes,
    dialect: PhantomData<D>,
}

impl<D: Dialect> FromRequest<App> for Payload<D> {
    type Rejection = Refused<D>;

    async fn from_request(request: Request, _: &App) -> Result<Self, Refused<D>> {
        let content_type = ContentType::from_headers(request.headers());
        let bytes = collect(request.into_body()).await?;
        Ok(Self { content_type, bytes, dialect: PhantomData })
    }
}

/// A body that arrived within bounds and whose content does not matter to the route. It must be the last extractor.
#[derive(Debug)]
pub struct Unused<D>(PhantomData<D>);

impl<D: Dialect> FromRequest<App> for Unused<D> {
    type Rejection = Refused<D>;

    async fn from_request(request: Request, _: &App) -> Result<Self, Refused<D>> {
        discard(request.into_body()).await?;
        Ok(Self(PhantomData))
    }
}

/// Reads a body whole. The time for the whole body is bounded by the layer that made it.
///
/// # Errors
/// [`Refusal::BodyTooLarge`], [`Refusal::BodyTimeout`], [`Refusal::ClientGone`] when the connection broke off, or
/// [`Refusal::Malformed`] when its framing makes no sense.
pub async fn collect(body: Body) -> Result<Bytes, Refusal> {
    use http_body::Body as _;
    if body.is_end_stream() {
        return Ok(Bytes::new());
    }
    if body.size_hint().lower() > LARGEST_BODY as u64 {
        return Err(Refusal::BodyTooLarge);
    }
    match Limited::new(body, LARGEST_BODY).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(Refusal::BodyTooLarge),
        Err(error) if causes(&*error).any(<dyn Error>::is::<TimeoutError>) => Err(Refusal::BodyTimeout),
        Err(error) if has_gone(&*error) => Err(Refusal::ClientGone),
        Err(_) => Err(Refusal::Malformed),
    }
}

/// Reads a body whose content does not matter. A request counts even if its client disconnects in the middle of the
/// body.
///
/// # Errors
/// As [`collect`], but for a connection that broke off.
pub async fn discard(body: Body) -> Result<(), Refusal> {
    match collect(body).await {
        Ok(_) | Err(Refusal::ClientGone) => Ok(()),
        Err(refusal) => Err(refusal),
    }
}

/// Whether a body ended because its connection did, and not because its framing makes no sense.
fn has_gone(error: &(dyn Error + 'static)) -> bool {
    use std::io::ErrorKind::{InvalidData, InvalidInput};
    let senseless = |error: &std::io::Error| matches!(error.kind(), InvalidData | InvalidInput);
    !causes(error).filter_map(|cause| cause.downcast_ref::<std::io::Error>()).any(senseless)
}

/// An error and what it wraps.
fn causes<'e>(error: &'e (dyn Error + 'static)) -> impl Iterator<Item = &'e (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error: &&'e (dyn Error + 'static)| (*error).source())
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

    /// Reads it as a form.
    ///
    /// # Errors
    /// As [`Self::json`].
    pub fn form(&self) -> Result<Fields, Refusal> {
        match self.content_type {
            ContentType::Form => Fields::from_form(&self.bytes),
            ContentType::Json | ContentType::Other => Err(Refusal::WrongContentType),
        }
    }

    /// Reads it as JSON or as a form, by its content type.
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
