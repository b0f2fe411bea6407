//! What a user, a browser, a proxy or an operator would see, against the real server, here on SQLite.
//!
//! `tests/postgres` holds the same against PostgreSQL: it has a `database` of its own, and takes the other files from here.

// The lints that keep panics out of the product are the way a test fails, and a deadline is not business time.
#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::pedantic,
    clippy::print_stderr,
    clippy::type_complexity,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "tests"
)]

mod database;
mod fresh;
mod harness;
mod ports;
mod process;
mod reverse_proxy;

mod backup;
mod canonical;
mod cap;
mod cli;
mod client_connections;
mod cookies;
mod cors;
mod crash;
mod csrf;
mod framing;
mod gone;
mod heads;
mod impostor;
mod layering;
mod log;
mod meanwhile;
mod medama;
mod names;
mod openapi;
mod outage;
mod parity;
mod principal;
mod proxies;
mod readiness;
mod refused;
mod rocketchat;
mod secrets;
mod sql;
mod sqlite;
mod sqlite_batches;
mod sqlite_migrations;
mod state_machine;
mod statements;
mod store_contract;
mod verify;
