//! The wire contracts, one file or folder each: its routes, and its words for every refusal. A new one is a file here, a
//! line in `http/mod.rs`, and a row in the parity test.

pub mod canonical;
pub mod medama;
pub mod rocketchat;
