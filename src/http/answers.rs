//! The kind of service that the wire side is made of: one that never fails, and answers every request.

use std::convert::Infallible;

use axum::response::Response;
use tower::Service;

/// A service that is always ready, and has an answer to every request of type `R`.
pub trait Answers<R>:
    Service<R, Response = Response, Error = Infallible, Future: Send + 'static> + Clone + Send + Sync + 'static
{
}

impl<R, S> Answers<R> for S where
    S: Service<R, Response = Response, Error = Infallible, Future: Send + 'static> + Clone + Send + Sync + 'static
{
}
