//! What is logged about a request: a span around all of it, which has its id, and one line about its answer.

use http::{HeaderValue, Method, StatusCode};
use tracing::Span;

use super::refusal::Failure;
use crate::telemetry::Metrics;

/// The span of a request. Its level is the highest, so that no setting of the log takes the id from the lines within.
///
/// Paths may be logged, since no route takes a secret in its path. Queries may hold anything.
pub fn span(id: Option<&HeaderValue>, set_aside: Option<&HeaderValue>, method: &Method, path: &str) -> Span {
    fn text(id: Option<&HeaderValue>) -> Option<&str> {
        id.and_then(|id| id.to_str().ok())
    }
    tracing::error_span!("request", request_id = text(id), their_request_id = text(set_aside), %method, path)
}

/// Writes the one line about an answer, within the span of its request. Failures of the store are counted, and are not
/// a line for each request.
pub fn answered(status: StatusCode, failure: Option<&Failure>, metrics: &Metrics) {
    let status = status.as_u16();
    match failure {
        Some(Failure::Store(cause, why)) => {
            tracing::debug!(status, why, "failed");
            metrics.store.request_failed(*cause, why);
        }
        Some(Failure::Bug(why)) => tracing::error!(status, why, "failed"),
        None => tracing::debug!(status, "answered"),
    }
}
