//! What is kept: the contract of every store, what is one store's own, and what survives a crash.

mod backup;
mod clock;
mod contract;
mod copy;
mod crash;
mod postgres;
mod secrets;
mod sqlite;
mod sqlite_batches;
mod sqlite_migrations;
mod state_machine;
pub mod statements;
