//! A rolling upgrade during a run: the servers of one release are replaced by those of another, one after the other, and
//! rolled back, again and again.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use anyhow::Result;
use sessiond_support::{random::Random, sessiond::Sessiond};

use crate::{client::Scene, faults::Faults, replica::Replica};

/// How often all servers were replaced.
#[derive(Default)]
pub struct Upgrades {
    pub forth: AtomicU32,
    pub back: AtomicU32,
}

impl Upgrades {
    /// Replaces the servers of `previous` by those of `new`, and those by the former, until the faults are stopped, which
    /// is after both were done once.
    pub async fn run(
        self: Arc<Self>,
        until: Arc<Faults>,
        scene: Arc<Scene>,
        replicas: Vec<Replica>,
        releases: [Sessiond; 2],
    ) -> Result<Vec<Replica>> {
        let replaced = self.replace(&until, &scene, replicas, releases).await;
        // Also where it failed: nothing waits for more then.
        scene.upgrading.store(false, Ordering::Relaxed);
        replaced
    }

    async fn replace(
        &self,
        until: &Faults,
        scene: &Scene,
        mut replicas: Vec<Replica>,
        [previous, new]: [Sessiond; 2],
    ) -> Result<Vec<Replica>> {
        let mut random = Random::new();
        'run: loop {
            for (release, replaced) in [(&new, &self.forth), (&previous, &self.back)] {
                for door in &scene.doors {
                    if !until.pause(&mut random, 500, 2_000).await {
                        break 'run;
                    }
                    // The first is the one that was replaced longest ago.
                    let next = replicas.remove(0).upgrade(release, door).await?;
                    replicas.push(next);
                }
                replaced.fetch_add(1, Ordering::Relaxed);
            }
            scene.upgrading.store(false, Ordering::Relaxed);
        }
        Ok(replicas)
    }
}
