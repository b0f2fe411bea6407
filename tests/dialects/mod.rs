//! Each dialect by its contract, what they have in common, and the document that describes them.

mod admin;
mod canonical;
mod medama;
pub mod openapi;
mod parity;
mod rocketchat;
mod second_factor;
