//! What is SQLite's own.

mod files;
mod statements;
