//! `sessiond` logs people in, tells proxies and services who is calling, and logs them out for real.
//!
//! An hourglass: the wire side varies, the storage side varies, and every rule lives once, in the waist. A file
//! imports only from floors below its own, or from the siblings its folder's `mod.rs` names.
//!
//! ```text
//! 7  cli/         serve, user, session, event, second-factor, replicas, copy, backup, restore, migrate, healthcheck,
//!                 doctor, check-config
//! 6  app          builds the parts, binds the listeners, runs the tasks, drains
//! 5  http/        connections, the stack around the routes, what a request says, the dialects, the check, the pages
//! 4  service/     the only decisions; knows neither HTTP nor SQL
//! 3  cache/       token hash -> live session, in memory
//!      coherence/ when that may be trusted, and when a revocation is settled
//!      touch      last-seen times, batched;  purge  expired rows, in small batches
//!    import/      users from elsewhere, out of the files of other programs
//! 2  store/       the durable truth: a trait of whole operations, on SQLite and on PostgreSQL
//! 1  password/    bounded argon2 workers;  telemetry/  log lines and metrics
//! 0  config/      typed settings;  domain/  ids, tokens, users, sessions, principal, events, clock
//!    outbound     connections that the program opens by itself, for traces and `doctor`
//! ```

pub mod app;
pub mod cache;
pub mod cli;
pub mod config;
pub mod domain;
pub mod http;
pub mod import;
pub mod outbound;
pub mod password;
pub mod service;
pub mod store;
pub mod telemetry;
