//! What is logged and traced of a request: a span around all of it, which has its id, and one line about its answer.

use http::{HeaderValue, Method, StatusCode};
use tracing::Span;

use super::refusal::Failure;
use crate::telemetry::Metrics;
use crate::telemetry::traces::{self, Attribute, Trace, TraceId};

/// The span of a request. Its level is the highest, so that no setting of the log takes the id from the lines within.
///
/// Paths may be logged, since no route takes a secret in its path. Queries may hold anything.
pub fn span(
    id: Option<&HeaderValue>,
    set_aside: Option<&HeaderValue>,
    method: &Method,
    path: &str,
    trace: Option<TraceId>,
) -> Span {
    fn text(id: Option<&HeaderValue>) -> Option<&str> {
        id.and_then(|id| id.to_str().ok())
    }
    let trace_id = trace.map(tracing::field::display);
    tracing::error_span!("request", request_id = text(id), their_request_id = text(set_aside), %method, path, trace_id)
}

/// The same, recorded as the trace says.
pub fn recorded(span: Span, trace: Option<&Trace>, method: &Method) -> Span {
    if let Some(trace) = trace {
        trace.record(&span);
        traces::note(&span, [Attribute::Method(method_name(method))]);
    }
    span
}

/// What a trace says of an answer.
pub fn outcome(status: StatusCode) -> [Attribute; 2] {
    let result = match status.as_u16() {
        ..400 => "ok",
        401 | 403 => "refused",
        429 => "throttled",
        400..500 => "invalid",
        503 => "unavailable",
        500.. => "failed",
    };
    [Attribute::Status(status.as_u16()), Attribute::Result(result)]
}

/// A method in the words of a closed list.
pub fn method_name(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        Method::TRACE => "TRACE",
        Method::CONNECT => "CONNECT",
        _ => "_OTHER",
    }
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
