//! What the tests of the service and the laboratory share; each job is one file.
//!
//! Whatever can fail returns an error with its reason: a test expects success, a measurement reports what went wrong.

// The driver of both databases, for tests that need more of it than is here.
pub use sqlx;

pub mod database;
pub mod disk;
pub mod example;
pub mod exit;
pub mod http;
pub mod interrupt;
pub mod ops;
pub mod port;
pub mod postgres;
pub mod process;
pub mod random;
pub mod seed;
pub mod sessiond;
pub mod token;
pub mod wait;
