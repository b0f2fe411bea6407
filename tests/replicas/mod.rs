//! Many servers on one PostgreSQL: what one has ended is refused by all, whatever happens to them and to it.

mod clock;
mod coherence;
mod connections;
mod crowd;
mod down;
mod failover;
mod faults;
mod patroni;
mod pooler;
mod rolling;
mod servers;
