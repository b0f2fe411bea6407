//! What every service of the wire side is: one that always has an answer.

use std::convert::Infallible;

use axum::response::Response;
use tower::Service;

/// A service that answers requests of type `R`, each of them, and is always ready.
pub trait Answers<R>:
    Service<R, Response = Response, Error = Infallible, Future: Send + 'static> + Clone + Send + Sync + 'static
{
}

impl<R, S> Answers<R> for S where
    S: Service<R, Response = Response, Error = Infallible, Future: Send + 'static> + Clone + Send + Sync + 'static
{
}
