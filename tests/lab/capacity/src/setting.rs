//! The settings of a run: the load, and the properties of the database.

use clap::Args;

use crate::Time;

/// One run.
#[derive(Args, Clone, Debug)]
pub struct Setting {
    /// Replicas
    #[arg(long, default_value_t = 3)]
    pub replicas: usize,
    /// Logouts a second, over all replicas
    #[arg(long, default_value_t = 100)]
    pub logouts: u32,
    /// No notification arrives: replicas learn of a logout when they beat, or while an answer waits there
    #[arg(long)]
    pub unnotified: bool,
    /// Cores of the database
    #[arg(long, default_value_t = 8)]
    pub cores: usize,
    /// Microseconds of a flush to the database's disk
    #[arg(long, default_value_t = 500)]
    pub flush: Time,
    /// Microseconds that a synchronous standby adds to a commit
    #[arg(long, default_value_t = 0)]
    pub standby: Time,
    /// Microseconds from a replica to the database and back
    #[arg(long, default_value_t = 300)]
    pub round_trip: Time,
    /// Seconds that are looked at, after one that is not
    #[arg(long, default_value_t = 5)]
    pub seconds: u64,
    /// How many times what was measured the statements cost: more where they come one by one to processes that slept
    #[arg(long, default_value_t = 2.0)]
    pub slowness: f64,
    /// What the run is drawn from
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Microseconds of processor time for each kind of statement.
    #[command(flatten)]
    pub costs: Costs,
}

/// Processor time of the database, in microseconds. The defaults were measured, as `docs/scaling.md` says.
#[derive(Args, Clone, Debug)]
pub struct Costs {
    /// Microseconds for a batch of logouts up to the locks on its sessions
    #[arg(long, default_value_t = 110.0)]
    pub lock: f64,
    /// Microseconds more for each logout
    #[arg(long, default_value_t = 15.0)]
    pub lock_each: f64,
    /// Microseconds from there to the commit, the counter held
    #[arg(long, default_value_t = 225.0)]
    pub revoke: f64,
    /// Microseconds more for each logout
    #[arg(long, default_value_t = 20.0)]
    pub revoke_each: f64,
    /// Microseconds after a commit for each process that listens, to wake it
    #[arg(long, default_value_t = 4.5)]
    pub signal: f64,
    /// Microseconds of a process that listens, to pass a notification on
    #[arg(long, default_value_t = 28.0)]
    pub wake: f64,
    /// Microseconds for a beat's commit
    #[arg(long, default_value_t = 47.0)]
    pub beat: f64,
    /// Microseconds for the news
    #[arg(long, default_value_t = 39.0)]
    pub news: f64,
    /// Microseconds more for each row of a replica
    #[arg(long, default_value_t = 0.3)]
    pub news_row: f64,
    /// Microseconds more for each number of the log
    #[arg(long, default_value_t = 2.0)]
    pub news_number: f64,
    /// Microseconds for a flush, beside the time it takes the disk
    #[arg(long, default_value_t = 95.0)]
    pub flush_cost: f64,
    /// Microseconds to acknowledge
    #[arg(long, default_value_t = 46.0)]
    pub acknowledge: f64,
}

impl Setting {
    /// The defaults.
    pub fn usual() -> Self {
        #[derive(clap::Parser)]
        struct Defaults {
            #[command(flatten)]
            setting: Setting,
        }
        <Defaults as clap::Parser>::parse_from([""]).setting
    }
}
