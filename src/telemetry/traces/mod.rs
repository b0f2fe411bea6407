//! Traces: spans of requests and of what they wait for, handed to a collector by OTLP over HTTP (ADR 23).
//!
//! `context` reads who else traces a request, and `record` is a span with all that it can say. The `layer` records spans of
//! `tracing`, the `queue` holds those that have ended, `otlp` encodes them, and the `sender` has a thread of its own on which
//! the `client` hands them over. Without a collector in the configuration there is none of it.

use std::io;
use std::sync::OnceLock;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use tokio::time::Instant;
use tracing::Span;
use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::{FilterFn, Filtered};

pub use self::context::{Parent, TraceId};
pub use self::layer::TraceLayer;
use self::layer::with_recording;
use self::queue::Queue;
use self::record::TraceClock;
pub use self::record::{Attribute, CHILDREN, Recording};
use crate::config::Config;
use crate::domain::clock::{Clock as _, SystemClock};

mod client;
mod context;
mod layer;
mod otlp;
mod queue;
mod record;
mod sender;

/// How long the end of the process waits for the collector: less than anybody would notice.
const FLUSH: Duration = Duration::from_millis(250);

/// What is there once traces are on.
struct Traces {
    queue: Queue,
    /// The share of checks from memory that are traced.
    checks: f64,
}

static TRACES: OnceLock<Traces> = OnceLock::new();

/// Starts the thread that sends, where the configuration names a collector. Returns what records spans for it.
pub(super) fn start<S>(config: &Config) -> io::Result<Option<Filtered<TraceLayer, FilterFn, S>>>
where
    TraceLayer: tracing_subscriber::Layer<S>,
    S: tracing::Subscriber,
{
    let Some(endpoint) = config.otlp_endpoint.clone() else { return Ok(None) };
    let traces = TRACES.get_or_init(|| Traces { queue: Queue::default(), checks: config.traced_checks.get() });
    std::thread::Builder::new().name(String::from("traces")).spawn(move || sender::run(&traces.queue, &endpoint))?;
    Ok(Some(TraceLayer(&traces.queue).with_filter(TraceLayer::filter())))
}

/// Hands over what is left, for a moment.
pub fn finish() {
    if let Some(traces) = TRACES.get() {
        traces.queue.flush(FLUSH);
    }
}

/// How many spans were dropped since the start.
pub(super) fn dropped() -> Counter<u64, AtomicU64> {
    TRACES.get().map(|traces| traces.queue.dropped().clone()).unwrap_or_default()
}

/// Whether requests are traced.
pub fn are_on() -> bool {
    TRACES.get().is_some()
}

/// The trace of a request, as far as it is known when its head has been read.
#[derive(Clone, Debug)]
pub enum Trace {
    /// It is recorded here.
    Recorded(Recording),
    /// A trusted proxy has decided that it is not recorded.
    Followed(Parent),
}

impl Trace {
    /// The trace of a request. A trusted proxy decides whether it is recorded, and without one it is.
    pub fn of_request(parent: Option<Parent>) -> Option<Self> {
        are_on().then(|| Self::new(TraceId::random, parent))
    }

    /// The trace of a check. Without a proxy that decides, a share of them is recorded.
    pub fn of_check(parent: Option<Parent>) -> Option<Self> {
        let traces = TRACES.get()?;
        if parent.is_some() {
            return Some(Self::new(TraceId::random, parent));
        }
        if traces.checks <= 0.0 {
            return None;
        }
        let id = TraceId::random();
        (id.fraction() < traces.checks).then(|| Self::new(|| id, None))
    }

    fn new(own: impl FnOnce() -> TraceId, parent: Option<Parent>) -> Self {
        match parent {
            Some(parent) if !parent.sampled => Self::Followed(parent),
            parent => {
                let id = parent.as_ref().map_or_else(own, Parent::trace);
                Self::Recorded(Recording::root(
                    id,
                    parent,
                    TraceClock { wall: SystemClock.now(), began: Instant::now() },
                ))
            }
        }
    }

    /// Its number, for the log.
    pub const fn id(&self) -> TraceId {
        match self {
            Self::Recorded(recording) => recording.trace(),
            Self::Followed(parent) => parent.trace(),
        }
    }

    /// Records `span` as that of the request, and what is within it.
    pub fn record(&self, span: &Span) {
        match self.clone() {
            Self::Recorded(recording) => with_recording(span, |of_span| *of_span = Some(recording)),
            Self::Followed(_) => {}
        }
    }

    /// Ends the span of a request that had none of `tracing`.
    pub fn end(self, attributes: impl IntoIterator<Item = Attribute>) {
        if let (Self::Recorded(mut recording), Some(traces)) = (self, TRACES.get()) {
            attributes.into_iter().for_each(|attribute| recording.add(attribute));
            traces.queue.put(recording.end(Instant::now()));
        }
    }

    /// What is passed on to what is asked next: `traceparent`, and `tracestate` if there was one. Of a trace that is not
    /// recorded here, that is what came.
    pub fn passed_on(&self) -> (String, Option<&str>) {
        match self {
            Self::Recorded(recording) => (recording.traceparent(), recording.state()),
            Self::Followed(parent) => (parent.traceparent(), parent.state()),
        }
    }
}

/// Adds to what is recorded of a request.
pub fn note(span: &Span, attributes: impl IntoIterator<Item = Attribute>) {
    if are_on() {
        with_recording(span, |recording| {
            if let Some(recording) = recording {
                attributes.into_iter().for_each(|attribute| recording.add(attribute));
            }
        });
    }
}
