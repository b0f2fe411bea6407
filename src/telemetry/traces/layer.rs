//! Records the spans of `tracing` that belong to a trace.

use tokio::time::Instant;
use tracing::span::{Attributes, Id};
use tracing::{Metadata, Span, Subscriber};
use tracing_subscriber::filter::{FilterFn, LevelFilter, filter_fn};
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{Layer, Registry};

use super::queue::Queue;
use super::record::{CHILDREN, REQUEST, Recording};

/// Records spans within one that is recorded, and queues each when it ends. All others cost nothing here.
pub struct TraceLayer(pub(super) &'static Queue);

impl TraceLayer {
    /// The spans that it has to see.
    pub(super) fn filter() -> FilterFn {
        fn concerns(metadata: &Metadata<'_>) -> bool {
            let ours = metadata.target().starts_with(env!("CARGO_PKG_NAME"));
            metadata.is_span() && ours && (metadata.name() == REQUEST || CHILDREN.contains(&metadata.name()))
        }
        filter_fn(concerns as fn(&Metadata<'_>) -> bool).with_max_level_hint(LevelFilter::INFO)
    }
}

impl<S: Subscriber + for<'l> LookupSpan<'l>> Layer<S> for TraceLayer {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let name = attributes.metadata().name();
        let began = Instant::now();
        let child = span.parent().and_then(|parent| Some(parent.extensions().get::<Recording>()?.child(name, began)));
        if let Some(child) = child {
            span.extensions_mut().insert(child);
        }
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let Some(span) = context.span(&id) else { return };
        let recording = span.extensions_mut().remove::<Recording>();
        if let Some(recording) = recording {
            self.0.put(recording.end(Instant::now()));
        }
    }
}

/// Records a span that begins a trace, or changes what is recorded of it.
pub(super) fn with_recording(span: &Span, change: impl FnOnce(&mut Option<Recording>)) {
    span.with_subscriber(|(id, dispatch)| {
        let Some(found) = dispatch.downcast_ref::<Registry>().and_then(|registry| registry.span(id)) else { return };
        let mut extensions = found.extensions_mut();
        let mut recording = extensions.remove::<Recording>();
        change(&mut recording);
        if let Some(recording) = recording {
            extensions.insert(recording);
        }
    });
}
