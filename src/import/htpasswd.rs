//! The file of `htpasswd`: a name, a colon, a hash, and whatever else stands behind another colon.

use super::lines::lines;
use super::record::{BadLine, Raw, Read};
use crate::password::Scheme;

/// Reads a file.
///
/// # Errors
/// Why the file as a whole cannot be read, in a sentence.
pub(super) fn read(file: &[u8]) -> Result<Read, String> {
    let mut read = Read::default();
    for (number, line) in lines(file)? {
        // As for Apache, a comment is one only at the start of a line.
        if line.as_ref().is_ok_and(|line| line.starts_with('#')) {
            continue;
        }
        read.add(number, line.map_err(BadLine::of("")).and_then(user));
    }
    Ok(read)
}

fn user(line: &str) -> Result<Raw, BadLine> {
    let Some((username, rest)) = line.split_once(':') else {
        // What stands there may be a password.
        return Err(BadLine::of("")(String::from("it has no colon")));
    };
    let hash = rest.split(':').next().unwrap_or_default();
    Ok(Raw::new(username.to_owned(), Scheme::Htpasswd, hash.to_owned()))
}
