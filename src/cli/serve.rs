//! `sessiond serve`: until SIGTERM or SIGINT.

use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

use super::first_admin::FirstAdmin;
use super::{Failed, say};
use crate::app::{Environment, Listeners, build, serve};
use crate::config::Config;

/// Serves. The first line of the log says where; on a first start, how to log in comes next.
pub(super) async fn run(config: &Config) -> Result<(), Failed> {
    // First, so that whoever has read that it serves can also stop it in good order.
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let core = build(config, true, Environment::default()).await?;
    let listeners = Listeners::bind(&config.http).await?;
    // Once nothing is left to go wrong, or nobody would be told the password.
    let first_admin = FirstAdmin::make(config, &core).await?;
    let running = serve(config, core, listeners);
    if let Some(first_admin) = first_admin {
        first_admin.announce(&format!("http://{}", running.listen), |line| say(line))?;
    }
    // Whoever sits at the keyboard has no proxies that send clients here.
    let delay = tokio::select! {
        _ = terminate.recv() => config.http.shutdown_delay,
        _ = interrupt.recv() => Duration::ZERO,
    };
    tracing::info!(?delay, "stopping");
    running.drain();
    let stopped = async {
        tokio::time::sleep(delay).await;
        running.stop().await;
    };
    tokio::select! {
        () = stopped => tracing::info!("stopped"),
        _ = terminate.recv() => tracing::warn!("stopped at once, as asked twice"),
        _ = interrupt.recv() => tracing::warn!("stopped at once, as asked twice"),
    }
    Ok(())
}
