//! Who else may change the store's files: another user of the machine who can would decide who may log in.
//!
//! Files are made private where they are not (see `files`), so what is left to judge is whose they are, and the
//! directory, since a user who may write there can replace any file in it. What only its administrator can put right, as with volumes
//! that a container is given, is warned of and not refused.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use rustix::process::{Gid, getegid, geteuid, getgroups};

use super::super::{Result, StoreError};
use super::paths::{chown, unreachable_file};

const ROOT: u32 = 0;
const STICKY: u32 = 0o1000;

/// The owner, group and mode of a file or directory.
#[derive(Clone, Copy)]
struct Standing {
    owner: u32,
    group: u32,
    mode: u32,
}

/// The verdict on it, with the reason.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Fine,
    Warn(&'static str),
    Refuse(&'static str),
    /// It is another user's, and would have to be this process's.
    RefuseOwner,
}

/// Who this process is.
#[derive(Clone, Copy)]
struct Me {
    user: u32,
    /// Whether it is in root's group, as containers are that run as any user that a platform chooses.
    in_roots_group: bool,
}

impl Standing {
    fn of(found: &Metadata) -> Self {
        Self { owner: found.uid(), group: found.gid(), mode: found.mode() }
    }

    /// Judges the owner, for a process that runs as `me`. Root may use files of another user, as it does for commands.
    const fn judge_owner(self, me: Me) -> Verdict {
        if self.owner == me.user || self.owner == ROOT {
            Verdict::Fine
        } else if me.user == ROOT {
            Verdict::Warn("belongs to another user, who can change it: run sessiond as that user, or chown it to root")
        } else {
            Verdict::RefuseOwner
        }
    }

    /// Whether other users may rename this process's files in a directory. A sticky directory does not let them.
    const fn lets_others_rename(self, me: Me) -> bool {
        let owned = self.owner == me.user || self.owner == ROOT;
        !owned || self.mode & 0o002 != 0 && self.mode & STICKY == 0
    }

    /// Judges a directory.
    fn judge_directory(self, me: Me) -> Verdict {
        let (everybody, group) = (self.mode & 0o002 != 0, self.mode & 0o020 != 0);
        match self.judge_owner(me) {
            Verdict::Fine => {}
            // Only root puts a directory into its group, and a process too: so is the volume of our own image.
            Verdict::RefuseOwner if group && !everybody && self.group == ROOT && me.in_roots_group => {
                return Verdict::Warn(
                    "belongs to another user, who can change it, and lets root's group write: chown it to the user that sessiond runs as",
                );
            }
            bad @ (Verdict::Warn(_) | Verdict::Refuse(_) | Verdict::RefuseOwner) => return bad,
        }
        if everybody && self.mode & STICKY == 0 && self.owner == me.user {
            return Verdict::Refuse(
                "lets every user of the machine replace what is in it: chmod 700 it, or give the database a directory of its own",
            );
        }
        if everybody {
            return Verdict::Warn("lets every user of the machine write: give the database a directory of its own");
        }
        // A group with its user's number has no other user in it, by convention, and root's is root's.
        if group && self.group != self.owner && self.group != ROOT {
            return Verdict::Warn(
                "lets its group replace what is in it: chmod g-w it unless sessiond is alone in the group",
            );
        }
        Verdict::Fine
    }
}

/// Refuses a directory that another user may write. Returns a warning where it is not as bad as that, or where another
/// user may put another directory in its place.
pub(super) fn check_directory(directory: &Path) -> Result<Option<String>> {
    let found = directory.metadata().map_err(|error| unreachable_file(directory, &error))?;
    let warning = warning(directory, &Standing::of(&found).judge_directory(Me::now()))?;
    if warning.is_some() {
        return Ok(warning);
    }
    let directory = directory.canonicalize().map_err(|error| unreachable_file(directory, &error))?;
    let above = directory.ancestors().skip(1).find(|above| {
        let found = above.metadata();
        found.is_ok_and(|found| Standing::of(&found).lets_others_rename(Me::now()))
    });
    Ok(above.map(|above| {
        format!("{} lets other users of the machine replace the directories in it: chmod 755 it", above.display())
    }))
}

/// Refuses a file that is another user's. Returns a warning where it is not as bad as that.
pub(super) fn check_file(path: &Path, found: &Metadata) -> Result<Option<String>> {
    warning(path, &Standing::of(found).judge_owner(Me::now()))
}

impl Me {
    fn now() -> Self {
        let of_root = |group: Gid| group.is_root();
        let others = || getgroups().is_ok_and(|groups| groups.into_iter().any(of_root));
        Self { user: geteuid().as_raw(), in_roots_group: of_root(getegid()) || others() }
    }
}

/// The sentence for a verdict: a warning, or an error.
fn warning(path: &Path, verdict: &Verdict) -> Result<Option<String>> {
    let sentence = |why| format!("{} {why}", path.display());
    match verdict {
        Verdict::Fine => Ok(None),
        Verdict::Warn(why) => Ok(Some(sentence(why))),
        Verdict::Refuse(why) => Err(StoreError::unreachable(sentence(why))),
        Verdict::RefuseOwner => {
            let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
            let why = format!("{} belongs to another user, who can change it", path.display());
            Err(StoreError::unreachable(format!("{why}: {}", chown(path.display()))))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What of a verdict matters: fine, warned of or refused.
    const fn short(verdict: &Verdict) -> char {
        match verdict {
            Verdict::Fine => 'f',
            Verdict::Warn(_) => 'w',
            Verdict::Refuse(_) | Verdict::RefuseOwner => 'r',
        }
    }

    const fn user(user: u32) -> Me {
        Me { user, in_roots_group: false }
    }

    #[test]
    fn a_directory_that_others_may_write_is_refused_or_warned_of() {
        for (me, owner, group, mode, expected) in [
            (1000, 1000, 1000, 0o700, 'f'),
            (1000, 1000, 1000, 0o755, 'f'),
            (1000, 0, 0, 0o755, 'f'),
            // A group of one's own, and root's.
            (1000, 1000, 1000, 0o775, 'f'),
            (1000, 0, 0, 0o775, 'f'),
            (1000, 1000, 50, 0o775, 'w'),
            // As Kubernetes gives volumes with fsGroup, and without.
            (1000, 0, 2000, 0o2775, 'w'),
            (1000, 0, 0, 0o777, 'w'),
            // As /tmp is.
            (1000, 0, 0, 0o1777, 'w'),
            (0, 0, 0, 0o1777, 'w'),
            (1000, 1000, 1000, 0o1777, 'w'),
            (1000, 1000, 1000, 0o777, 'r'),
            (0, 0, 0, 0o777, 'r'),
            (1000, 1001, 1000, 0o700, 'r'),
            (1000, 1001, 1000, 0o1777, 'r'),
            (0, 1001, 1001, 0o700, 'w'),
        ] {
            let verdict = Standing { owner, group, mode }.judge_directory(user(me));
            assert_eq!(short(&verdict), expected, "{me}: {owner} {group} {mode:o}: {verdict:?}");
        }
    }

    #[test]
    fn a_directory_of_roots_group_is_for_any_user_in_it() {
        for (in_roots_group, group, mode, expected) in [
            (true, 0, 0o770, 'w'),
            (true, 0, 0o2770, 'w'),
            (true, 0, 0o750, 'r'),
            (true, 0, 0o777, 'r'),
            (true, 50, 0o770, 'r'),
            (false, 0, 0o770, 'r'),
        ] {
            let me = Me { user: 12345, in_roots_group };
            let verdict = Standing { owner: 65532, group, mode }.judge_directory(me);
            assert_eq!(short(&verdict), expected, "{in_roots_group}: {group} {mode:o}: {verdict:?}");
        }
    }

    #[test]
    fn a_directory_above_may_be_anybodys_to_read_and_no_other_users_to_change() {
        for (me, owner, mode, lets) in [
            (1000, 0, 0o755, false),
            (1000, 0, 0o1777, false),
            (1000, 1000, 0o775, false),
            (1000, 1000, 0o777, true),
            (0, 0, 0o777, true),
            (1000, 1001, 0o755, true),
        ] {
            let standing = Standing { owner, group: owner, mode };
            assert_eq!(standing.lets_others_rename(user(me)), lets, "{me}: {owner} {mode:o}");
        }
    }

    #[test]
    fn a_file_of_another_user_is_refused_and_root_is_warned_of_it() {
        for (me, owner, expected) in [(1000, 1000, 'f'), (1000, 0, 'f'), (1000, 1001, 'r'), (0, 0, 'f'), (0, 1000, 'w')]
        {
            let verdict = Standing { owner, group: 0, mode: 0o600 }.judge_owner(user(me));
            assert_eq!(short(&verdict), expected, "{me}: {owner}: {verdict:?}");
        }
    }
}
