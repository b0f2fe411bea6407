//! One test binary: what a user, a browser, a proxy or an operator would see, against the real server.

// The lints that keep panics out of the product are the way a test fails.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod harness;
mod process;

mod canonical;
mod cli;
mod cors;
mod crash;
mod csrf;
mod framing;
mod layering;
mod medama;
mod openapi;
mod outage;
mod parity;
mod principal;
mod rocketchat;
mod secrets;
mod sql;
mod state_machine;
mod store_contract;
mod verify;
