//! Tells the service manager that started this process how far it is, as `sd_notify(3)` of systemd has it.

use std::convert::Infallible;
use std::future::pending;
use std::io;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use sd_notify::NotifyState;

use crate::store::opening::Opening;

/// The variable that names the service manager's socket.
const SOCKET: &str = "NOTIFY_SOCKET";
/// How often the service manager is told of a start that takes long.
const STARTING: Duration = Duration::from_secs(5);
/// For how long it is to wait for the next time, in microseconds.
const PATIENCE: u32 = 20_000_000;
/// How many messages wait; more are dropped.
const WAITING: usize = 8;

enum Message {
    Starting(String),
    Ready,
    Reloading,
    Runs,
    Stopping,
}

/// The service manager, if there is one that wants to be told.
pub(super) struct Supervisor(Option<SyncSender<Message>>);

impl Supervisor {
    /// Finds it by the environment. What it is told goes through a thread of its own, since it may be slow to read.
    ///
    /// # Errors
    /// When the operating system refuses the thread.
    pub(super) fn find() -> io::Result<Self> {
        if std::env::var_os(SOCKET).is_none_or(|socket| socket.is_empty()) {
            return Ok(Self(None));
        }
        let (sender, messages) = sync_channel(WAITING);
        std::thread::Builder::new().name(String::from("supervisor")).spawn(move || tell(&messages))?;
        Ok(Self(Some(sender)))
    }

    /// Says what a start waits for that takes long, and that it is under way, so that it is not taken for one that failed.
    pub(super) async fn while_starting(&self, opening: &Opening) -> Infallible {
        loop {
            tokio::time::sleep(STARTING).await;
            self.tell(Message::Starting(format!("store: {opening}")));
        }
    }

    /// Says that requests are served.
    pub(super) fn ready(&self) {
        self.tell(Message::Ready);
    }

    /// Says that the configuration is read again. Once that is done, it is [`Self::ready`].
    pub(super) fn reloading(&self) {
        self.tell(Message::Reloading);
    }

    /// Says that it is about to end.
    pub(super) fn stopping(&self) {
        self.tell(Message::Stopping);
    }

    /// Says again and again that the runtime's timers and tasks still run, where that is asked for (`WatchdogSec=`).
    pub(super) async fn watch(&self) -> Infallible {
        let Some(within) = sd_notify::watchdog_enabled().filter(|within| !within.is_zero()) else {
            return pending().await;
        };
        let mut turns = tokio::time::interval(within / 3);
        loop {
            turns.tick().await;
            self.tell(Message::Runs);
        }
    }

    fn tell(&self, message: Message) {
        // One that does not read its socket misses something.
        let _ = self.0.as_ref().map(|sender| sender.try_send(message));
    }
}

fn tell(messages: &Receiver<Message>) {
    while let Ok(message) = messages.recv() {
        let told = match &message {
            Message::Starting(status) => {
                sd_notify::notify(&[NotifyState::ExtendTimeoutUsec(PATIENCE), NotifyState::Status(status)])
            }
            Message::Ready => sd_notify::notify(&[NotifyState::Ready, NotifyState::Status("serving")]),
            Message::Reloading => {
                NotifyState::monotonic_usec_now().and_then(|now| sd_notify::notify(&[NotifyState::Reloading, now]))
            }
            Message::Runs => sd_notify::notify(&[NotifyState::Watchdog]),
            Message::Stopping => sd_notify::notify(&[NotifyState::Stopping, NotifyState::Status("stopping")]),
        };
        if let Err(error) = told {
            tracing::debug!(%error, "the service manager could not be told");
        }
    }
}
