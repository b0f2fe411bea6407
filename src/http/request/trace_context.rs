//! The trace that a request belongs to, as a trusted proxy says, and what is passed on of it (W3C Trace Context).

use http::{HeaderMap, HeaderName, HeaderValue};

use super::single::only;
use crate::telemetry::traces::{self, Parent, Trace};

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// What a trusted proxy says, while requests are traced. Of a client that is not trusted it counts as none.
pub fn parent(headers: &HeaderMap, is_trusted: impl FnOnce() -> bool) -> Option<Parent> {
    if !traces::are_on() {
        return None;
    }
    let parent = only(headers, &TRACEPARENT).filter(|_| is_trusted())?;
    let states: Vec<_> = headers.get_all(TRACESTATE).iter().map(HeaderValue::as_bytes).collect();
    Parent::read(parent, &states)
}

/// Puts the trace into an answer, for a proxy that passes it on to the application behind it.
pub fn pass_on(trace: &Trace, headers: &mut HeaderMap) {
    let (parent, state) = trace.passed_on();
    let values = [(TRACEPARENT, Some(&*parent)), (TRACESTATE, state)];
    for (name, value) in values {
        if let Some(value) = value.and_then(|value| HeaderValue::from_str(value).ok()) {
            headers.insert(name, value);
        }
    }
}
