//! What holds on SQLite holds on PostgreSQL: the same tests on databases of a throw-away server. And what is PostgreSQL's own.

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

use sessiond_needs::needs_postgres;

needs_postgres! {
    mod backup;
    mod clock;
    mod cluster;
    mod connections;
    mod copy;
    mod crowd;
    mod database;
    mod down;
    mod failover;
    mod faults;
    mod fleet;
    mod load;
    #[path = "../needs/machine.rs"] mod machine;
    mod migrations;
    mod proxy;
    mod refusals;
    mod replicas;
    mod rolling;
    mod rows;
    mod seed;
    mod servers;
    mod sql;
    mod starting;
    mod tls;

    // What is told of every store.
    #[path = "../it/fresh.rs"] mod fresh;
    #[path = "../it/harness.rs"] mod harness;
    #[path = "../it/ports.rs"] mod ports;
    #[path = "../it/process.rs"] mod process;
    #[path = "../it/reverse_proxy.rs"] mod reverse_proxy;
    #[path = "../it/statements.rs"] mod statements;

    #[path = "../it/canonical/mod.rs"] mod canonical;
    #[path = "../it/cap.rs"] mod cap;
    #[path = "../it/cli.rs"] mod cli;
    #[path = "../it/client_connections.rs"] mod client_connections;
    #[path = "../it/cookies.rs"] mod cookies;
    #[path = "../it/cors.rs"] mod cors;
    #[path = "../it/crash.rs"] mod crash;
    #[path = "../it/csrf.rs"] mod csrf;
    #[path = "../it/framing.rs"] mod framing;
    #[path = "../it/gone.rs"] mod gone;
    #[path = "../it/heads.rs"] mod heads;
    #[path = "../it/log.rs"] mod log;
    #[path = "../it/meanwhile.rs"] mod meanwhile;
    #[path = "../it/medama.rs"] mod medama;
    #[path = "../it/names.rs"] mod names;
    #[path = "../it/openapi.rs"] mod openapi;
    #[path = "../it/outage.rs"] mod outage;
    #[path = "../it/parity.rs"] mod parity;
    #[path = "../it/principal.rs"] mod principal;
    #[path = "../it/proxies.rs"] mod proxies;
    #[path = "../it/readiness.rs"] mod readiness;
    #[path = "../it/refused.rs"] mod refused;
    #[path = "../it/rocketchat.rs"] mod rocketchat;
    #[path = "../it/secrets.rs"] mod secrets;
    #[path = "../it/state_machine.rs"] mod state_machine;
    #[path = "../it/store_contract.rs"] mod store_contract;
    #[path = "../it/verify.rs"] mod verify;
}
