//! Faults during a run: frozen and killed servers, a database that closes its connections or crashes.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use anyhow::Result;
use sessiond_support::{database, postgres::Postgres, random::Random};

use crate::{client::Scene, replica::Replica};

/// No more of each kind than this.
const MOST: u32 = 1_000;

#[derive(Default)]
pub struct Faults {
    enough: AtomicBool,
    pub frozen: AtomicU32,
    pub killed: AtomicU32,
    pub disconnected: AtomicU32,
    pub crashed: AtomicU32,
}

impl Faults {
    /// Ends them; whatever was begun is set right first.
    pub fn stop(&self) {
        self.enough.store(true, Ordering::Release);
    }

    /// Waits for a random time. False once there is to be no more.
    pub async fn pause(&self, random: &mut Random, least: usize, most: usize) -> bool {
        let mut left = least + random.below(most - least);
        while left > 0 && !self.enough.load(Ordering::Acquire) {
            let step = left.min(50);
            tokio::time::sleep(Duration::from_millis(step as u64)).await;
            left -= step;
        }
        !self.enough.load(Ordering::Acquire)
    }

    /// Freezes a server now and then, and kills it now and then.
    pub async fn of_replica(
        self: Arc<Self>,
        scene: Arc<Scene>,
        number: usize,
        mut replica: Replica,
    ) -> Result<Replica> {
        let mut random = Random::new();
        while self.pause(&mut random, 1_000, 6_000).await {
            if random.chance(70) && once_more(&self.frozen) {
                let frozen = replica.freeze()?;
                self.pause(&mut random, 300, 2_500).await;
                drop(frozen);
            } else if once_more(&self.killed) {
                replica = replica.replace(&scene.doors[number]).await?;
            }
        }
        Ok(replica)
    }

    /// Has the database close every connection now and then, and crash now and then if it is our own.
    pub async fn of_database(self: Arc<Self>, url: String, cluster: Option<Postgres>) -> Result<Option<Postgres>> {
        let mut random = Random::new();
        while self.pause(&mut random, 2_000, 8_000).await {
            match &cluster {
                Some(cluster) if random.chance(30) => {
                    if once_more(&self.crashed) {
                        cluster.stop_immediately().await?;
                        cluster.start_again().await?;
                    }
                }
                Some(_) | None => {
                    if once_more(&self.disconnected) {
                        disconnect(&url).await?;
                    }
                }
            }
        }
        Ok(cluster)
    }
}

fn once_more(count: &AtomicU32) -> bool {
    let more = count.load(Ordering::Relaxed) < MOST;
    if more {
        count.fetch_add(1, Ordering::Relaxed);
    }
    more
}

async fn disconnect(url: &str) -> Result<()> {
    const EVERY: &str = "
        SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()";
    database::execute(url, EVERY).await
}
