//! The log: which lines there are, what they look like, and where they go.

use std::fs::File;
use std::io::{self, IsTerminal as _, Write};
use std::os::fd::AsFd as _;
use std::sync::atomic::AtomicU64;
use std::sync::{LazyLock, OnceLock};
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use tracing::{Level, Metadata};
use tracing_subscriber::filter::{FilterExt as _, LevelFilter, filter_fn};
use tracing_subscriber::fmt::time::SystemTime;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _, Registry, reload};

use super::lines::Lines;
use super::{notices, traces};
use crate::config::{Config, LogFormat, LogLevel};

/// How long the end of the process waits for lines to be written.
const FLUSH: Duration = Duration::from_millis(500);

static LINES: LazyLock<Lines> = LazyLock::new(Lines::default);

/// Sets the filter of the log that is running.
static FILTER: OnceLock<reload::Handle<EnvFilter, Registry>> = OnceLock::new();

/// Sends log lines, and panics too, to standard error by way of a queue, so that nothing ever waits for what reads
/// them. The configuration chooses which.
///
/// # Errors
/// When there is no thread to be had.
pub fn start(config: &Config) -> io::Result<()> {
    // This avoids std's own handle, whose lock would be held for as long as a write takes.
    let error_output = File::from(io::stderr().as_fd().try_clone_to_owned()?);
    let report = |count| tracing::warn!("{count} log lines were dropped");
    std::thread::Builder::new().name(String::from("log")).spawn(move || LINES.write(error_output, report))?;
    std::panic::set_hook(Box::new(|panic| {
        let thread = std::thread::current();
        let at = panic.location().map(ToString::to_string).unwrap_or_default();
        let message = panic.payload_as_str().unwrap_or_default();
        tracing::error!(thread = thread.name(), at, "panicked: {message}");
    }));
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(|| ToQueue)
        .with_timer(SystemTime)
        .with_target(false)
        .with_ansi(io::stderr().is_terminal())
        // Internal errors would be written to standard error directly.
        .log_internal_errors(false);
    let lines = match config.log_format {
        LogFormat::Text => lines.boxed(),
        LogFormat::Json => lines.json().flatten_event(true).with_span_list(false).boxed(),
    };
    let (wanted, handle) = reload::Layer::new(filter(config));
    // The filters belong to the log's layer, so that notices of the database are caught whatever the log shows.
    let lines = lines.with_filter(wanted.and(filter_fn(is_permitted)));
    let all = tracing_subscriber::registry().with(lines).with(notices::layer());
    // An absent layer in an `Option` would have every event judged anew, those of libraries in each check too.
    let begun = match traces::start(config)? {
        Some(traces) => all.with(traces).try_init(),
        None => all.try_init(),
    };
    // An error means that a test has set one up already.
    if begun.is_ok() {
        let _ = FILTER.set(handle);
    }
    Ok(())
}

/// From now on the log has the lines that this configuration chooses.
pub fn set_level(config: &Config) {
    if let Some(handle) = FILTER.get() {
        // It fails where the log has ended, as it does with the process alone.
        let _ = handle.reload(filter(config));
    }
}

/// `RUST_LOG` chooses, or the level where that is not set.
fn filter(config: &Config) -> EnvFilter {
    let level = match config.log_level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    let builder = EnvFilter::builder().with_default_directive(level.into());
    // The configuration has refused what cannot be parsed.
    let chosen = config.rust_log.as_deref().and_then(|directives| builder.parse(directives).ok());
    chosen.unwrap_or_else(|| EnvFilter::default().add_directive(level.into()))
}

/// Whether a line may be written, whatever `RUST_LOG` says. Below `info`, libraries log what they are given: statements
/// with their parameters, among them names, addresses and the key of tokens; heads with their credentials. Only what this
/// crate logs itself is known to hold no secret.
fn is_permitted(metadata: &Metadata<'_>) -> bool {
    // A trace has spans that say nothing in a line.
    if metadata.is_span() && traces::CHILDREN.contains(&metadata.name()) {
        return false;
    }
    let ours = metadata.target().strip_prefix("sessiond").is_some_and(|rest| rest.is_empty() || rest.starts_with("::"));
    ours || (*metadata.level() <= Level::INFO && !notices::is_notice(metadata))
}

/// Writes a last line for the operator, behind those of the log, and waits for all of them for a moment.
pub fn finish(last: Option<&str>) {
    if let Some(last) = last {
        if LazyLock::get(&LINES).is_some() {
            LINES.put(format!("{last}\n").as_bytes());
        } else {
            // There was no log yet.
            let _ = writeln!(io::stderr(), "{last}");
        }
    }
    LINES.flush(FLUSH);
}

/// How many lines were dropped since the start.
pub(super) fn dropped() -> Counter<u64, AtomicU64> {
    LINES.dropped().clone()
}

/// Puts each event into the queue, which the layer hands over whole.
struct ToQueue;

impl Write for ToQueue {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        LINES.put(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
