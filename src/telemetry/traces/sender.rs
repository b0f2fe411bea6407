//! The thread that hands spans to the collector, in batches, and says in the log when it begins or ceases to work.

use std::convert::Infallible;
use std::time::Duration;

use tokio::time::Instant;

use super::client::{NotTaken, post};
use super::context::SpanId;
use super::otlp::encode;
use super::queue::Queue;
use crate::config::OtlpEndpoint;

/// How long a collector may take for a batch.
const PATIENCE: Duration = Duration::from_secs(5);
/// The first pause after a failure, which doubles with each further one, and the longest.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// How often a batch is sent before it is dropped.
const MOST_TRIES: u32 = 4;

/// Whether the collector takes spans, as far as the log has said.
#[derive(Clone, Copy)]
enum Collector {
    Unknown,
    Takes,
    Fails,
}

/// Sends what is in the queue, for ever.
pub(super) fn run(queue: &Queue, to: &OtlpEndpoint) -> Infallible {
    let instance = SpanId::random().to_string();
    let (mut collector, mut pause) = (Collector::Unknown, FIRST_PAUSE);
    loop {
        let batch = queue.take();
        let body = encode(&batch, &instance);
        let mut tries = 0;
        loop {
            tries += 1;
            let patience = Instant::now() + PATIENCE;
            let until = queue.end().map_or(patience, |end| end.min(patience));
            let (why, again) = match post(to, &body, until) {
                Ok(()) => {
                    collector = works(collector, to, queue);
                    pause = FIRST_PAUSE;
                    break;
                }
                Err(NotTaken::Now(why)) => (why, true),
                Err(NotTaken::Ever(why)) => (why, false),
            };
            collector = fails(collector, to, &why);
            if !again || tries == MOST_TRIES || queue.end().is_some() {
                queue.drop_taken(batch.len());
                break;
            }
            queue.pause(pause);
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}

fn works(collector: Collector, to: &OtlpEndpoint, queue: &Queue) -> Collector {
    match collector {
        Collector::Takes => {}
        Collector::Unknown => tracing::info!(collector = %to, "the collector takes spans"),
        Collector::Fails => {
            tracing::info!(collector = %to, dropped = queue.dropped().get(), "the collector takes spans again");
        }
    }
    Collector::Takes
}

fn fails(collector: Collector, to: &OtlpEndpoint, why: &str) -> Collector {
    match collector {
        Collector::Fails => {}
        Collector::Unknown | Collector::Takes => {
            tracing::warn!(collector = %to, why, "the collector takes no spans: those that find no room are dropped");
        }
    }
    Collector::Fails
}
