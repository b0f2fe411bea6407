//! The tries of this process that are being checked. Each is counted as a failure until it turns out to be none, so others
//! wait for it rather than be refused for it: right passwords that come together are all right.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::domain::throttle::{Counter, ThrottleKey};

/// How many tries are being checked, by the most special of their counters: a name and a place, or a browser that is known.
/// The others are of no use here: who waits for a try of another name of the same account would learn that they belong
/// together.
#[derive(Debug, Default)]
pub struct InFlight {
    tries: Mutex<HashMap<ThrottleKey, usize>>,
    ended: Notify,
}

/// A try that is being checked, until this is dropped.
#[derive(Debug)]
pub struct Checking {
    in_flight: Arc<InFlight>,
    key: Option<ThrottleKey>,
}

impl InFlight {
    /// Counts a try.
    pub fn begin(self: &Arc<Self>, counters: &[Counter]) -> Checking {
        let key = counters.first().map(|counter| counter.key);
        if let Some(key) = key {
            *self.tries.lock().entry(key).or_default() += 1;
        }
        Checking { in_flight: Arc::clone(self), key }
    }

    /// Waits until a try has ended of the same name and place, or of the same browser. False, at once, where there is none.
    pub async fn one_ends(&self, counters: &[Counter]) -> bool {
        let ended = self.ended.notified();
        tokio::pin!(ended);
        // From here on no end is missed.
        ended.as_mut().enable();
        let any = counters.first().is_some_and(|counter| self.tries.lock().contains_key(&counter.key));
        if any {
            ended.await;
        }
        any
    }
}

impl Drop for Checking {
    fn drop(&mut self) {
        let Some(key) = self.key else { return };
        let mut tries = self.in_flight.tries.lock();
        if let Some(count) = tries.get_mut(&key) {
            *count -= 1;
            if *count == 0 {
                tries.remove(&key);
            }
        }
        drop(tries);
        self.in_flight.ended.notify_waiters();
    }
}
