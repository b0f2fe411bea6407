//! File descriptors: each connection takes one, and clients must leave some for everything else.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// How many descriptors are kept for the runtime, the listeners, every connection of operations, and the store, whose
/// connections to PostgreSQL take three each where a password is guarded.
const KEPT: u64 = 128;

/// How many connections clients may have: as many as are `wanted`, or as there are descriptors for.
///
/// Raises the soft limit to the hard one first. Without a descriptor left no user could log out any more, since the
/// store needs them too.
pub fn connections(wanted: usize) -> usize {
    let limit = getrlimit(Resource::Nofile);
    // Where that is refused, the soft limit stays as it is.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
    let descriptors = getrlimit(Resource::Nofile).current;
    let most = fitting(wanted, descriptors);
    if most < wanted {
        tracing::warn!(max_connections = most, wanted, descriptors, "lowered, since no more files may be open");
    }
    most
}

fn fitting(wanted: usize, descriptors: Option<u64>) -> usize {
    let most = descriptors.map(|descriptors| descriptors.saturating_sub(KEPT).max(1));
    most.and_then(|most| usize::try_from(most).ok()).map_or(wanted, |most| wanted.min(most))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_descriptors_for_everything_else() {
        for (wanted, descriptors, most) in [
            (10_000, None, 10_000),
            (10_000, Some(20_000), 10_000),
            (10_000, Some(10_128), 10_000),
            (10_000, Some(1024), 896),
            (10_000, Some(129), 1),
            (10_000, Some(3), 1),
            (2, Some(1024), 2),
        ] {
            assert_eq!(fitting(wanted, descriptors), most, "{wanted} of {descriptors:?}");
        }
    }
}
