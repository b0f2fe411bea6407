//! `sessiond serve`: until SIGTERM or SIGINT. SIGHUP has it read the configuration again.

use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::time::Instant;

use super::first_admin::FirstAdmin;
use super::outcome::{Failed, say};
use super::reload::{Reloader, Source};
use super::supervisor::Supervisor;
use crate::app::{Environment, Listeners, STOPPING, build_saying, serve};
use crate::config::Config;
use crate::store::opening::Opening;

/// Serves. A line of the log says where; what is unsafe comes next, and on a first start, how to log in.
pub(super) async fn run(config: Config, warnings: Vec<String>, source: Source) -> Result<(), Failed> {
    // First, so that an operator who has read that it serves can also stop it in good order.
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    // One that comes before it serves is answered once it does.
    let mut hang_up = signal(SignalKind::hangup())?;
    let supervisor = Supervisor::find()?;
    let listeners = Listeners::bind(&config.http)?;
    let opening = Opening::default();
    let start = async {
        let core = build_saying(&config, true, Environment::default(), &opening).await?;
        // This comes once nothing else can fail, or the password would never be shown.
        let first_admin = FirstAdmin::make(&config, &core).await?;
        Ok::<_, Failed>((core, first_admin))
    };
    let (core, first_admin) = tokio::select! {
        started = listeners.during(start, &opening) => started?,
        never = supervisor.while_starting(&opening) => match never {},
        // Nothing is served yet, so there is nothing to take down.
        () = async { tokio::select! { _ = terminate.recv() => (), _ = interrupt.recv() => () } } => {
            tracing::info!("stopped before the start was over");
            return Ok(());
        }
    };
    let running = serve(&config, core, listeners);
    for warning in &warnings {
        tracing::warn!("{warning}");
    }
    if let Some(first_admin) = first_admin {
        first_admin.announce(&format!("http://{}", running.listen), |line| say(line))?;
    }
    supervisor.ready();
    let watched = supervisor.watch();
    tokio::pin!(watched);
    let shutdown_delay = config.http.shutdown_delay;
    let mut reloader = Reloader::new(source, config, warnings);
    // At a keyboard there are no proxies that send clients here.
    let delay = loop {
        tokio::select! {
            never = &mut watched => match never {},
            _ = terminate.recv() => break shutdown_delay,
            _ = interrupt.recv() => break Duration::ZERO,
            _ = hang_up.recv() => {
                supervisor.reloading();
                // Reading may take long, and must not keep it from stopping.
                tokio::select! {
                    () = reloader.reload(&running) => supervisor.ready(),
                    _ = terminate.recv() => break shutdown_delay,
                    _ = interrupt.recv() => break Duration::ZERO,
                }
            }
        }
    };
    tracing::info!(?delay, "stopping");
    supervisor.stopping();
    let deadline = Instant::now() + STOPPING;
    running.drain();
    let stopped = async {
        tokio::time::sleep(delay).await;
        running.stop_by(deadline).await;
    };
    tokio::select! {
        never = watched => match never {},
        () = stopped => tracing::info!("stopped"),
        _ = terminate.recv() => tracing::warn!("stopped at once, as asked twice"),
        _ = interrupt.recv() => tracing::warn!("stopped at once, as asked twice"),
    }
    Ok(())
}
