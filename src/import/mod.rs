//! Users who come from elsewhere, and who go there: the files that other programs write, and the one of this one.
//!
//! `lines` and `json` read what a file is made of; `jsonl`, `htpasswd`, `rocketchat`, `django` and `medama` are a format each.
//! What is read becomes a `record`, or is refused with its line and the reason. `collisions` are names that are one name
//! here, and `export` writes what `jsonl` reads.

mod collisions;
mod django;
mod export;
mod htpasswd;
mod json;
mod jsonl;
mod lines;
mod medama;
mod record;
mod rocketchat;

pub use self::collisions::refuse_collisions;
pub use self::export::export;
pub use self::lines::MOST_BYTES;
pub use self::medama::read_medama;
pub use self::record::{Read, Record, Refused, shown};

/// What a file is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// JSON Lines, of this program.
    Jsonl,
    /// The file of `htpasswd`.
    Htpasswd,
    /// `mongoexport` of Rocket.Chat's `users`.
    RocketChat,
    /// `dumpdata` of Django's users.
    Django,
}

/// Reads a file: every user in it that can be taken over, and every one that cannot, with the reason.
///
/// # Errors
/// Why the file as a whole cannot be read, in a sentence.
pub fn read(format: Format, file: &[u8]) -> Result<Read, String> {
    match format {
        Format::Jsonl => jsonl::read(file),
        Format::Htpasswd => htpasswd::read(file),
        Format::RocketChat => rocketchat::read(file),
        Format::Django => django::read(file),
    }
}

#[cfg(test)]
mod tests;
