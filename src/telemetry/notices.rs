//! Notices that PostgreSQL sends beside its answers. The driver passes them on only as events of `tracing`, and the
//! layer here collects them for the statement that they belong to.
//!
//! A commit that waits for a standby can be cut short by an operator. The server then answers that it committed, with a
//! warning; so without that warning a logout would be answered as final that may be lost. A subscriber that lacks the
//! layer, or has a filter before it, is detected when a connection is opened: the server is asked to send a notice
//! then.

use std::cell::RefCell;
use std::fmt;
use std::sync::Once;

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, filter_fn};
use tracing_subscriber::layer::{Context, SubscriberExt as _};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;

tokio::task_local! {
    static CAUGHT: RefCell<Vec<Notice>>;
}

/// A notice of the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Whether it is a warning.
    pub is_warning: bool,
    /// Its message, in the server's language.
    pub words: String,
}

/// Waits for `work`, and also returns the notices that came meanwhile: the driver passes them on before it returns.
pub async fn watch<T>(work: impl Future<Output = T>) -> (T, Vec<Notice>) {
    let watched = async {
        let answer = work.await;
        (answer, CAUGHT.with(RefCell::take))
    };
    CAUGHT.scope(RefCell::default(), watched).await
}

/// The layer that every subscriber needs where a PostgreSQL store is opened. It has a filter of its own.
pub fn layer<S: Subscriber + for<'span> LookupSpan<'span>>() -> impl Layer<S> {
    Catch.with_filter(filter_fn(is_notice).with_max_level_hint(LevelFilter::INFO))
}

/// Makes the layer the whole subscriber of a process that keeps no log, unless it has one. When it returns, it is there,
/// whichever thread was the first.
pub fn install() {
    static ONCE: Once = Once::new();
    // An error means that there is a subscriber already, which the first connection will test.
    ONCE.call_once(|| drop(tracing_subscriber::registry().with(layer()).try_init()));
}

/// Whether an event is one that the driver makes of a notice. They do not belong in the log as they are.
pub(super) fn is_notice(metadata: &Metadata<'_>) -> bool {
    metadata.target() == "sqlx::postgres::notice"
}

struct Catch;

impl<S: Subscriber> Layer<S> for Catch {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut notice = Notice { is_warning: *event.metadata().level() <= Level::WARN, words: String::new() };
        event.record(&mut Message(&mut notice.words));
        // A notice outside of `watch` belongs to no statement.
        let _ = CAUGHT.try_with(|caught| caught.borrow_mut().push(notice));
    }
}

/// Copies an event's message.
struct Message<'w>(&'w mut String);

impl Visit for Message<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            value.clone_into(self.0);
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            *self.0 = format!("{value:?}");
        }
    }
}

#[cfg(test)]
mod tests {
    use tracing::subscriber::with_default;
    use tracing_subscriber::registry;

    use super::*;

    /// Sends a warning of the driver, and events of other levels and targets. Returns what is caught.
    fn caught() -> Vec<Notice> {
        let work = async {
            tracing::warn!(target: "sqlx::postgres::notice", message = "perhaps not on the standby");
            tracing::debug!(target: "sqlx::postgres::notice", message = "too much");
            tracing::warn!("of something else");
        };
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(watch(work)).1
    }

    #[test]
    fn a_warning_is_caught_beside_a_log_that_takes_nothing_and_missed_where_a_filter_stands_before_all() {
        let expected = [Notice { is_warning: true, words: String::from("perhaps not on the standby") }];
        let silent_log = tracing_subscriber::fmt::layer().with_filter(LevelFilter::OFF);
        assert_eq!(with_default(registry().with(silent_log).with(layer()), caught), expected);
        assert_eq!(with_default(registry().with(layer()).with(LevelFilter::ERROR), caught), []);
        assert_eq!(with_default(registry(), caught), []);
    }
}
