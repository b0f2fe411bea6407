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

/// Modules that need PostgreSQL.
macro_rules! modules {
    ($($(#[$path:meta])? $name:ident;)*) => {$( #[cfg(has_postgres)] $(#[$path])? mod $name; )*};
}

modules! {
    clock;
    cluster;
    connections;
    copy;
    database;
    failover;
    faults;
    fleet;
    load;
    migrations;
    proxy;
    replicas;
    rolling;
    seed;
    servers;
    sql;
    tls;
}

// What is told of every store.
modules! {
    #[path = "../it/fresh.rs"] fresh;
    #[path = "../it/harness.rs"] harness;
    #[path = "../it/process.rs"] process;
    #[path = "../it/statements.rs"] statements;

    #[path = "../it/canonical/mod.rs"] canonical;
    #[path = "../it/cli.rs"] cli;
    #[path = "../it/client_connections.rs"] client_connections;
    #[path = "../it/cors.rs"] cors;
    #[path = "../it/crash.rs"] crash;
    #[path = "../it/csrf.rs"] csrf;
    #[path = "../it/framing.rs"] framing;
    #[path = "../it/gone.rs"] gone;
    #[path = "../it/meanwhile.rs"] meanwhile;
    #[path = "../it/medama.rs"] medama;
    #[path = "../it/openapi.rs"] openapi;
    #[path = "../it/outage.rs"] outage;
    #[path = "../it/parity.rs"] parity;
    #[path = "../it/principal.rs"] principal;
    #[path = "../it/readiness.rs"] readiness;
    #[path = "../it/rocketchat.rs"] rocketchat;
    #[path = "../it/secrets.rs"] secrets;
    #[path = "../it/state_machine.rs"] state_machine;
    #[path = "../it/store_contract.rs"] store_contract;
    #[path = "../it/verify.rs"] verify;
}

#[test]
#[cfg(not(has_postgres))]
#[ignore = "needs initdb and pg_ctl of PostgreSQL 15 or newer, or SESSIOND_TEST_POSTGRES_URL"]
fn postgresql_is_tested_too() {
    panic!("there is no PostgreSQL here");
}
