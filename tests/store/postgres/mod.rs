//! What is PostgreSQL's own.

mod backup;
mod impostor;
mod migrations;
mod refusals;
mod rows;
mod starting;
mod tls;
