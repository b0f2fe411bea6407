//! The types of the product: ids, secrets, users, sessions, events and time. Imports nothing from the other modules.
//!
//! `text` and `password` use `unicode`; `user`, `session`, `principal`, `event`, `revocation` and `second_factor` are built
//! from `id`, `token`, `text` and `clock`. `throttle` counts by `text`, `id` and `address`, and `token` makes its key.

pub mod address;
pub mod clock;
pub mod cursor;
pub mod device;
pub mod entropy;
pub mod event;
pub mod host;
pub mod id;
pub mod name_hash;
pub mod one_time;
pub mod password;
pub mod principal;
pub mod revocation;
pub mod second_factor;
pub mod session;
pub mod text;
pub mod throttle;
pub mod token;
mod unicode;
pub mod user;
