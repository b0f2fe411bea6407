//! Reading the configuration again while the server runs.

use std::path::PathBuf;
use std::sync::Arc;

use super::outcome::Failed;
use crate::app::Running;
use crate::config::{Config, Flags, Reread};
use crate::store::connect::{certificates, check};
use crate::telemetry::log;

/// The name under which the log has the certificates, which no setting holds.
const CERTIFICATES: &str = "certificates";

/// Where the configuration comes from, beside the environment.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) flags: Flags,
    pub(super) file: Option<PathBuf>,
}

impl Source {
    /// Reads the configuration and checks the whole of it. Returns it with what is unsafe in it.
    pub(super) fn load(&self) -> Result<(Config, Vec<String>), Failed> {
        let config = Config::load(&self.flags, self.file.clone())?;
        let mut warnings = config.warnings();
        warnings.extend(check(&config.database_url)?);
        Ok((config, warnings))
    }
}

/// What is in force, to be compared with what is read next.
pub(super) struct Reloader {
    source: Arc<Source>,
    config: Config,
    warnings: Vec<String>,
    certificates: Option<[u8; 32]>,
}

impl Reloader {
    /// Remembers what the server has started with.
    pub(super) fn new(source: Source, config: Config, warnings: Vec<String>) -> Self {
        // If they cannot be read any more, the next signal says so.
        let certificates = certificates(&config.database_url).unwrap_or_default();
        Self { source: Arc::new(source), config, warnings, certificates }
    }

    /// Reads everything again, and takes over what can change: all of it, or, where any of it is wrong, nothing. One line
    /// of the log says which.
    pub(super) async fn reload(&mut self, running: &Running) {
        let (source, url) = (Arc::clone(&self.source), self.config.database_url.clone());
        // It reads files, and a disk may hang.
        let read = tokio::task::spawn_blocking(move || {
            let (config, warnings) = source.load()?;
            Ok::<_, Failed>((config, warnings, certificates(&url)?))
        });
        let (read, warnings, certificates) = match read.await {
            Ok(Ok(read)) => read,
            Ok(Err(refused)) => return refuse(running, &refused.to_string()),
            Err(panicked) => return refuse(running, &panicked.to_string()),
        };
        let Reread { config, mut changed, need_restart, fixed } = self.config.reread(read);
        let renewed = certificates != self.certificates;
        if renewed {
            changed.push(CERTIFICATES);
        }
        let say = || {
            tracing::info!(
                changed = names(&changed),
                needs_restart = names(&need_restart),
                from_flags_or_environment = names(&fixed),
                "SIGHUP: the configuration was read again"
            );
        };
        running.take_over(&config, renewed);
        // The line is there if either level has it.
        if config.log_level < self.config.log_level {
            say();
            log::set_level(&config);
        } else {
            log::set_level(&config);
            say();
        }
        for warning in warnings.iter().filter(|warning| !self.warnings.contains(warning)) {
            tracing::warn!("{warning}");
        }
        (self.config, self.warnings, self.certificates) = (config, warnings, certificates);
    }
}

fn refuse(running: &Running, why: &str) {
    running.keep_configuration();
    tracing::error!("SIGHUP: the configuration was read again and changes nothing: {why}");
}

/// Names of settings in one field of a line, and none where there are none.
fn names(settings: &[&str]) -> String {
    if settings.is_empty() { String::from("none") } else { settings.join(",") }
}
