//! The settings of runs: the processes that take part, and what may happen.

use crate::state::Revocation;

/// What a process does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Serves from memory: registers, beats, loads, checks; and revokes, waits and reaps.
    Serves,
    /// Serves from memory, and does nothing else.
    Caches,
    /// Has no cache and no row, like the command line: revokes, waits and reaps.
    Stands,
}

/// The bounds of a run. Time is not among them.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// Its name.
    pub name: &'static str,
    /// The processes.
    pub roles: &'static [Role],
    /// L, in ticks.
    pub lease: u8,
    /// How many sessions there are, all of one user.
    pub sessions: u8,
    /// The revocations, which happen in any order and by any process.
    pub revocations: &'static [Revocation],
    /// Whether the database crashes.
    pub crashes: bool,
    /// Whether the log is cut.
    pub cuts: bool,
    /// Whether processes deregister or die, and others take their place.
    pub restarts: bool,
    /// Whether a rival may end a session between the snapshot of a logout's statement and its lock. What follows from that
    /// concerns a waiting client and no other server, so the largest settings do without it.
    pub rivals: bool,
}

/// One server, and a command line that revokes, waits and reaps. Everything may happen, and time is finest.
pub const SERVER: Setting = Setting {
    name: "a server and a bystander",
    roles: &[Role::Serves, Role::Stands],
    lease: 3,
    sessions: 1,
    revocations: &[Revocation::Session(0)],
    crashes: true,
    cuts: true,
    restarts: true,
    rivals: true,
};

/// Two revocations, so that an answer may end before the head, and a log be cut in the middle.
pub const TWO_REVOCATIONS: Setting = Setting {
    name: "two revocations",
    roles: &[Role::Caches, Role::Stands],
    lease: 2,
    sessions: 2,
    revocations: &[Revocation::Session(0), Revocation::User],
    ..SERVER
};

/// One server that does everything, another that serves.
pub const SERVER_AND_CACHE: Setting =
    Setting { name: "a server and a cache", roles: &[Role::Serves, Role::Caches], lease: 2, rivals: false, ..SERVER };

/// Two servers, each of which does everything. They run on, and the log is kept.
pub const TWO_SERVERS: Setting = Setting {
    name: "two servers",
    roles: &[Role::Serves, Role::Serves],
    lease: 1,
    cuts: false,
    restarts: false,
    rivals: false,
    ..SERVER
};

/// Two servers, and a process without a row.
pub const TWO_CACHES: Setting = Setting {
    name: "two caches and a bystander",
    roles: &[Role::Caches, Role::Caches, Role::Stands],
    lease: 1,
    ..SERVER
};

/// Every setting that is exhausted.
pub const SETTINGS: &[Setting] = &[SERVER, TWO_REVOCATIONS, SERVER_AND_CACHE, TWO_SERVERS, TWO_CACHES];
