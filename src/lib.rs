//! `sessiond` logs people in, tells proxies and services who is calling, and logs them out for real.
//!
//! An hourglass: the wire side varies, the storage side varies, and every rule lives once, in the waist. A file
//! imports only from floors below its own, or from the siblings its folder's `mod.rs` names.
//!
//! ```text
//! 7  cli/         serve, user, session, replicas, copy, migrate, healthcheck, check-config, completions
//! 6  app          builds the parts, binds the listeners, runs the tasks, drains
//! 5  http/        the stack around the routes, connections, one file a dialect, who is calling
//! 4  service/     the only business rules; knows neither HTTP nor SQL
//! 3  cache        token hash -> live session, in memory
//!    coherence    beats, trust, and who must have heard of a revocation before it is answered
//!    touch        last-seen times, batched
//!    purge        what ended for good, in small batches
//!    health       whether the store can be read and written
//! 2  store/       the durable truth: a trait of whole operations, and the embedded SQLite
//! 1  password     bounded argon2 workers
//!    telemetry    log lines and metrics
//! 0  config       typed settings
//!    domain/      ids, tokens, users, sessions, events, time
//! ```

pub mod app;
pub mod cache;
pub mod cli;
pub mod coherence;
pub mod config;
pub mod domain;
pub mod health;
pub mod http;
pub mod password;
pub mod purge;
pub mod service;
pub mod store;
pub mod telemetry;
pub mod touch;
