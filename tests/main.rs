//! What a user, a browser, a proxy or an operator would see, against the real server: every case on both stores.

// Tests fail by panics, which lints keep out of the product, and their deadlines are not business time.
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

mod harness;

mod dialects;
mod import;
mod layering;
mod monitoring;
mod proxies;
mod replicas;
mod settings;
mod source;
mod stack;
mod store;
mod traces;
mod wire;
