//! What needs a PostgreSQL server, which is thrown away afterwards.

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
    cluster;
}

#[test]
#[cfg(not(has_postgres))]
#[ignore = "needs initdb and pg_ctl of PostgreSQL 15 or newer, or SESSIOND_TEST_POSTGRES_URL"]
fn postgresql_is_tested_too() {
    panic!("there is no PostgreSQL here");
}
