//! What every client meets, whatever its dialect: heads, cookies, connections, checks, proxies, and the command line.

mod cap;
mod cli;
mod client_connections;
mod cookies;
mod cors;
mod csrf;
mod disconnected;
mod fail2ban;
mod forward_auth;
pub mod framing;
mod heads;
mod log;
mod meanwhile;
mod names;
pub mod outage;
mod pages;
mod principal;
mod proxies;
mod readiness;
mod refused;
mod reload;
mod second_factor;
mod supervisor;
mod throttles;
mod verify;
mod warm_up;
