//! A file as lines: without a byte order mark, with the line ends of any system, and of bounded length and number.

/// The longest file that is read, in bytes.
pub const MOST_BYTES: usize = 256 * 1024 * 1024;
/// The longest line, in bytes.
const LONGEST: usize = 64 * 1024;
/// The most users in a file: all of them are kept in memory, and come into being in one transaction.
pub(super) const MOST_USERS: usize = 200_000;

/// A file without its byte order mark.
///
/// # Errors
/// A sentence, where it is not in UTF-8 or has no end.
pub(super) fn without_mark(file: &[u8]) -> Result<&[u8], String> {
    if file.len() > MOST_BYTES {
        return Err(format!("the file has more than {MOST_BYTES} bytes: split it"));
    }
    if file.starts_with(b"\xff\xfe") || file.starts_with(b"\xfe\xff") {
        return Err(String::from("the file is in UTF-16: save it in UTF-8"));
    }
    Ok(file.strip_prefix(b"\xef\xbb\xbf").unwrap_or(file))
}

/// A line with its number, or why it cannot be read.
pub(super) type Line<'f> = (usize, Result<&'f str, String>);

/// The lines of a file that are not blank, with their numbers, or for each why it cannot be read.
///
/// # Errors
/// A sentence, where there are too many, or [`without_mark`] has one.
pub(super) fn lines(file: &[u8]) -> Result<Vec<Line<'_>>, String> {
    let lines = without_mark(file)?.split(|byte| *byte == b'\n').zip(1..).map(|(line, number)| {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let text = if line.len() > LONGEST {
            Err(format!("it has more than {LONGEST} bytes"))
        } else {
            str::from_utf8(line).map_err(|_| String::from("it is not in UTF-8"))
        };
        (number, text)
    });
    let lines: Vec<_> = lines
        .filter(|(_, text)| text.as_ref().map_or(true, |text| !text.trim().is_empty()))
        .take(MOST_USERS + 1)
        .collect();
    bounded(lines.len())?;
    Ok(lines)
}

/// Whether a file may have so many users.
///
/// # Errors
/// A sentence, where it may not.
pub(super) fn bounded(users: usize) -> Result<(), String> {
    if users > MOST_USERS { Err(format!("the file has more than {MOST_USERS} users: split it")) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(file: &[u8]) -> Vec<(usize, Option<&str>)> {
        lines(file).expect("lines").into_iter().map(|(number, text)| (number, text.ok())).collect()
    }

    #[test]
    fn marks_line_ends_and_blank_lines_mean_nothing() {
        assert_eq!(read(b"\xef\xbb\xbfone\r\n\r\n \t\ntwo\n"), [(1, Some("one")), (4, Some("two"))]);
        assert_eq!(read(b"one\rstill one"), [(1, Some("one\rstill one"))]);
        assert_eq!(read(b""), []);
    }

    #[test]
    fn what_cannot_be_read_is_a_lines_trouble_or_the_files() {
        assert_eq!(read(b"one\n\xff\ntwo"), [(1, Some("one")), (2, None), (3, Some("two"))]);
        let long = [&b"x".repeat(LONGEST + 1)[..], b"\nshort"].concat();
        assert_eq!(read(&long), [(1, None), (2, Some("short"))]);
        assert!(lines(b"\xff\xfeo\0n\0e\0").is_err());
        assert!(lines(&b"x\n".repeat(MOST_USERS)).is_ok());
        assert!(lines(&b"x\n".repeat(MOST_USERS + 1)).is_err());
    }
}
