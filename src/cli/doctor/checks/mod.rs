//! What is tried, one function for each check; which of them are made, and in which order, stands in `examination`.

pub mod identity;
pub mod login;
pub mod logout;
pub mod network;
pub mod refusals;
pub mod times;
