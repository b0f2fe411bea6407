//! Whether the store can be read and written. The answer is kept for a moment for readiness probes, and asked for again
//! and again while the store fails, to find out when it is back.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::store::{Result, SharedStore, StoreError};
use crate::telemetry::Metrics;
use crate::telemetry::causes::Causes;

/// How long a good answer is given to later probes, unless something fails meanwhile.
const REMEMBERED: Duration = Duration::from_secs(1);
/// How long a bad answer is given to later probes, from when it came.
const BAD_REMEMBERED: Duration = Duration::from_millis(200);
/// How long an answer is waited for. A probe that waits for a second should get the reason.
const PATIENCE: Duration = Duration::from_millis(950);
/// How often the store is asked while it fails.
const PAUSE: Duration = Duration::from_millis(250);

/// Asks the store, once for all probes.
pub struct Health {
    store: SharedStore,
    metrics: Arc<Metrics>,
    last: parking_lot::Mutex<Option<Answer>>,
    /// Held by the one probe that asks the store.
    asking: Mutex<()>,
}

#[derive(Clone)]
struct Answer {
    at: Instant,
    answer: Result<()>,
}

impl Health {
    /// Makes it, without asking the store yet.
    pub fn new(store: SharedStore, metrics: Arc<Metrics>) -> Self {
        Self { store, metrics, last: parking_lot::Mutex::default(), asking: Mutex::default() }
    }

    /// Whether the store can be read, and whether its writer lives and can write. Probes that ask at the same time
    /// share an answer. While a store that has failed is asked again, they get the failure at once: probes that all waited would
    /// leave no connection for `/livez`.
    pub async fn ready(&self) -> Result<()> {
        let asking = self.asking.try_lock();
        let _asking = match (asking, self.last()) {
            (Err(_), Some(Answer { answer: Err(error), .. })) => return Err(error),
            (Err(_), Some(Answer { answer: Ok(()), .. }) | None) => self.asking.lock().await,
            (Ok(asking), _) => asking,
        };
        if let Some(Answer { at, answer }) = self.last() {
            let holds = match answer {
                Ok(()) => at.elapsed() < REMEMBERED && !self.metrics.store.failed_since(at),
                Err(_) => at.elapsed() < BAD_REMEMBERED,
            };
            if holds {
                return answer;
            }
        }
        let asked = Instant::now();
        let late = |_| StoreError::too_slow(format!("it could not be read and written within {PATIENCE:?}"));
        let answer = timeout(PATIENCE, self.store.ping()).await.map_err(late).flatten();
        let at = match &answer {
            // A failure after it was asked counts.
            Ok(()) => {
                self.metrics.store.answered(asked);
                asked
            }
            // It may have taken long, and those who wait for it are to share it.
            Err(error) => {
                self.metrics.store.task_failed(error.cause(), &Causes(error));
                Instant::now()
            }
        };
        *self.last.lock() = Some(Answer { at, answer: answer.clone() });
        answer
    }

    fn last(&self) -> Option<Answer> {
        self.last.lock().clone()
    }

    /// Asks the store during an outage until it answers, so that the end of the outage is noticed. Runs until it is
    /// stopped.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        let watch = async {
            loop {
                self.metrics.store.begun().await;
                sleep(PAUSE).await;
                // `ready` records the result.
                let _ = self.ready().await;
                self.metrics.store.tick();
            }
        };
        tokio::select! {
            () = stop.cancelled() => self.metrics.store.close(),
            () = watch => {}
        }
    }
}
