//! A span that is recorded, and all that it can say: a closed list of names and of attributes.

use std::sync::Arc;

use tokio::time::Instant;

use super::context::{Parent, SpanId, TraceId, traceparent};
use crate::domain::clock::Timestamp;

/// The name of the span around a request. What is recorded of it is chosen in `begin`.
pub(super) const REQUEST: &str = "request";

/// The names of the spans within a request. They are no part of the log.
pub const CHILDREN: [&str; 5] = ["store read", "store commit", "password queue", "password hash", "settle"];

/// What a span can say of itself. There is no other way to add to one: no header, no query, no body, no value of a
/// statement and no user's name has a place here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attribute {
    /// The method, or `_OTHER` for one that HTTP does not define.
    Method(&'static str),
    /// The route's template.
    Route(Arc<str>),
    /// The status.
    Status(u16),
    /// Whose words the answer has.
    Dialect(&'static str),
    /// How it ended, in one word of a few.
    Result(&'static str),
    /// Where the answer to a check came from.
    Source(&'static str),
}

impl Attribute {
    /// Its name, by the semantic conventions where they have one.
    pub(super) const fn key(&self) -> &'static str {
        match self {
            Self::Method(_) => "http.request.method",
            Self::Route(_) => "http.route",
            Self::Status(_) => "http.response.status_code",
            Self::Dialect(_) => "sessiond.dialect",
            Self::Result(_) => "sessiond.result",
            Self::Source(_) => "sessiond.source",
        }
    }

    /// Roughly how many bytes it takes on its way.
    fn bytes(&self) -> usize {
        let value = match self {
            Self::Method(text) | Self::Dialect(text) | Self::Result(text) | Self::Source(text) => text.len(),
            Self::Route(text) => text.len(),
            Self::Status(_) => 2,
        };
        self.key().len() + value + 8
    }
}

/// The time of a trace: the wall clock at its begin, and what has passed since, which no step of that clock changes.
#[derive(Clone, Copy, Debug)]
pub(super) struct TraceClock {
    pub(super) wall: Timestamp,
    pub(super) began: Instant,
}

impl TraceClock {
    /// The moment in nanoseconds of Unix time.
    fn nanos(self, at: Instant) -> u64 {
        let wall = u64::try_from(self.wall.millis()).unwrap_or_default().saturating_mul(1_000_000);
        let since = at.saturating_duration_since(self.began).as_nanos();
        wall.saturating_add(u64::try_from(since).unwrap_or(u64::MAX))
    }
}

/// A span that has begun.
#[derive(Clone, Debug)]
pub struct Recording {
    trace: TraceId,
    span: SpanId,
    parent: Option<SpanId>,
    /// Passed on with it, where another system began the trace.
    state: Option<Box<str>>,
    name: &'static str,
    clock: TraceClock,
    began: Instant,
    attributes: Vec<Attribute>,
}

impl Recording {
    /// The span around a request.
    pub(super) fn root(trace: TraceId, parent: Option<Parent>, clock: TraceClock) -> Self {
        let (parent, state) = parent.map_or((None, None), |parent| (Some(parent.span), parent.state));
        let span = SpanId::random();
        Self { trace, span, parent, state, name: REQUEST, clock, began: clock.began, attributes: Vec::new() }
    }

    /// One within it.
    pub(super) fn child(&self, name: &'static str, began: Instant) -> Self {
        let (parent, span) = (Some(self.span), SpanId::random());
        Self { trace: self.trace, span, parent, state: None, name, clock: self.clock, began, attributes: Vec::new() }
    }

    pub(super) const fn trace(&self) -> TraceId {
        self.trace
    }

    pub(super) fn state(&self) -> Option<&str> {
        self.state.as_deref()
    }

    pub(super) fn add(&mut self, attribute: Attribute) {
        self.attributes.push(attribute);
    }

    /// What a system that is called next is given as its `traceparent`.
    pub(super) fn traceparent(&self) -> String {
        traceparent(self.trace, self.span, true)
    }

    pub(super) fn end(self, at: Instant) -> Record {
        let (begin, end) = (self.clock.nanos(self.began), self.clock.nanos(at));
        let Self { trace, span, parent, state, name, clock: _, began: _, attributes } = self;
        Record { trace, span, parent, state, name, begin, end, attributes }
    }
}

/// A span that has ended.
#[derive(Clone, Debug)]
pub(super) struct Record {
    pub(super) trace: TraceId,
    pub(super) span: SpanId,
    pub(super) parent: Option<SpanId>,
    pub(super) state: Option<Box<str>>,
    pub(super) name: &'static str,
    pub(super) begin: u64,
    pub(super) end: u64,
    pub(super) attributes: Vec<Attribute>,
}

impl Record {
    /// Roughly how many bytes it takes on its way, and in memory.
    pub(super) fn bytes(&self) -> usize {
        let attributes: usize = self.attributes.iter().map(Attribute::bytes).sum();
        size_of::<Self>() + self.state.as_deref().map_or(0, str::len) + self.name.len() + attributes
    }
}
