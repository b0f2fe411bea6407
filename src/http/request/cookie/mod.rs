//! The session cookie: read from a request's raw header bytes, and written to answers.

pub use self::read::{Found, Tokens, find, values};
pub use self::write::{Others, SessionCookie};

mod read;
mod write;
