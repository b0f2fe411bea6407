//! What a request says: who calls, from where, and what is asked for; and what its handlers share.

mod asked;
pub mod body;
pub mod client_address;
pub mod cookie;
pub mod credential;
pub mod fields;
pub mod forwarded;
pub mod id;
pub mod navigation;
pub mod origin;
pub mod page;
pub mod path;
pub mod return_to;
pub mod second_factor;
pub mod single;
pub mod state;
pub mod trace_context;
pub mod tried_from;
