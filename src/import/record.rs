//! A user of a file: checked, or refused with the number of the line and the reason.

use std::fmt;

use crate::domain::clock::Timestamp;
use crate::domain::id::UserId;
use crate::domain::password::PasswordHash;
use crate::domain::second_factor::totp::TotpSecret;
use crate::domain::text::{Email, Name, Username};
use crate::domain::user::NewUser;
use crate::password::Scheme;

/// A user that can be taken over, as far as the file alone says.
#[derive(Clone, Debug)]
pub struct Record {
    /// The number of the line, or of the row, counted from one.
    pub line: usize,
    /// The user; an administrator where the file says so.
    pub user: NewUser,
    /// The id, where it is one of ours.
    pub id: Option<UserId>,
    /// The hash of the password, or none.
    pub hash: PasswordHash,
    /// Whether they may not log in.
    pub disabled: bool,
    /// When they were made.
    pub created_at: Option<Timestamp>,
    /// Whether the password has to be changed at the next login.
    pub must_change_password: bool,
    /// The secret of their second factor, where they have one; or why it cannot be taken over.
    pub totp_secret: Option<Result<TotpSecret, String>>,
}

/// A user that cannot be taken over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The number of the line, or of the row, counted from one.
    pub line: usize,
    /// The username as it stands there, which may be none.
    pub username: String,
    /// The reason, in a sentence that holds no hash.
    pub why: String,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let username = if self.username.is_empty() { "(no username)".to_owned() } else { shown(&self.username) };
        write!(f, "line {}: {username}: {}", self.line, self.why)
    }
}

/// What is in a file.
#[derive(Debug, Default)]
pub struct Read {
    /// The users that can be taken over.
    pub records: Vec<Record>,
    /// Those that cannot.
    pub refused: Vec<Refused>,
    /// What else there is to be said about it, in sentences.
    pub notes: Vec<String>,
}

impl Read {
    /// Adds what was found in a line.
    pub(super) fn add(&mut self, line: usize, found: Result<Raw, BadLine>) {
        let checked = found.and_then(|raw| {
            let username = raw.username.clone();
            raw.checked(line).map_err(|why| BadLine { username, why })
        });
        match checked {
            Ok(record) => self.records.push(record),
            Err(BadLine { username, why }) => self.refused.push(Refused { line, username, why }),
        }
    }
}

/// Why a line is refused, and whose it is, as far as that can be told.
#[derive(Debug)]
pub(super) struct BadLine {
    pub(super) username: String,
    pub(super) why: String,
}

impl BadLine {
    /// Of a line whose username is known.
    pub(super) fn of(username: &str) -> impl Fn(String) -> Self {
        move |why| Self { username: username.to_owned(), why }
    }
}

/// A user as a file has it.
pub(super) struct Raw {
    pub(super) username: String,
    pub(super) scheme: Scheme,
    /// Empty where there is none.
    pub(super) hash: String,
    pub(super) email: Option<String>,
    /// The username where there is none.
    pub(super) name: Option<String>,
    pub(super) admin: bool,
    pub(super) disabled: bool,
    pub(super) id: Option<UserId>,
    pub(super) created_at: Option<Timestamp>,
    pub(super) must_change_password: bool,
    /// The secret of a second factor in force, in base32. One that is empty or otherwise unfit is a factor still.
    pub(super) totp_secret: Option<String>,
}

impl Raw {
    /// A user of whom no more is known.
    pub(super) fn new(username: String, scheme: Scheme, hash: String) -> Self {
        Self {
            username,
            scheme,
            hash,
            email: None,
            name: None,
            admin: false,
            disabled: false,
            id: None,
            created_at: None,
            must_change_password: false,
            totp_secret: None,
        }
    }

    fn checked(self, line: usize) -> Result<Record, String> {
        let username = Username::new(&self.username).map_err(|bad| format!("its username {bad}"))?;
        let not_empty = |text: &String| !text.trim().is_empty();
        let email = self.email.filter(not_empty).as_deref().map(Email::new).transpose();
        let email = email.map_err(|bad| format!("its e-mail address {bad}"))?;
        let name = self.name.filter(not_empty).unwrap_or(self.username);
        let name = Name::new(&name).map_err(|bad| format!("its name {bad}"))?;
        let hash = self.scheme.read(&self.hash).map_err(|why| format!("its hash {why}"))?;
        Ok(Record {
            line,
            user: NewUser { username, email, name, admin: self.admin },
            id: self.id,
            hash,
            disabled: self.disabled,
            created_at: self.created_at,
            must_change_password: self.must_change_password,
            totp_secret: self.totp_secret.map(|text| TotpSecret::from_base32(&text).ok_or_else(no_secret)),
        })
    }
}

fn no_secret() -> String {
    String::from("the secret of its second factor must be 10 to 64 bytes in base32")
}

/// The most characters of a username, or of another name in a file, that are shown.
const SHOWN: usize = 64;

/// A name out of a file as it can be shown on a terminal, whatever is in it.
pub fn shown(name: &str) -> String {
    let mut shown = String::new();
    for c in name.chars().take(SHOWN) {
        // What is escaped but quotes cannot be seen, or does something to the terminal.
        if c.escape_debug().count() == 1 || matches!(c, '\'' | '"' | '\\') {
            shown.push(c);
        } else {
            shown.extend(c.escape_unicode());
        }
    }
    if name.chars().nth(SHOWN).is_some() {
        shown.push('…');
    }
    shown
}

/// A point in time as RFC 3339 writes it. One without an offset is taken for UTC.
pub(super) fn time(text: &str) -> Result<Timestamp, String> {
    let with_offset = text.parse::<jiff::Timestamp>();
    let at = with_offset.or_else(|_| format!("{text}Z").parse()).map_err(|_| "its time is not one of RFC 3339")?;
    past(at.as_millisecond())
}

/// A point in time that was after 1970, in milliseconds.
pub(super) fn past(milliseconds: i64) -> Result<Timestamp, String> {
    // The first of January 10000.
    const END: i64 = 253_402_300_800_000;
    if (0..END).contains(&milliseconds) {
        Ok(Timestamp::from_millis(milliseconds))
    } else {
        Err(String::from("its time lies before 1970 or after 9999"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_username_does_nothing_to_a_terminal() {
        assert_eq!(shown("O'Neill \"x\" é 漢"), "O'Neill \"x\" é 漢");
        assert_eq!(shown("a\u{1b}[31m\nb\u{202e}\u{ad}"), "a\\u{1b}[31m\\u{a}b\\u{202e}\\u{ad}");
        assert_eq!(shown(&"x".repeat(65)), "x".repeat(64) + "…");
        let refused = Refused { line: 3, username: String::new(), why: "it is empty".into() };
        assert_eq!(refused.to_string(), "line 3: (no username): it is empty");
    }

    #[test]
    fn times_are_read_with_and_without_an_offset() {
        let at = Timestamp::from_millis(1_767_323_045_678);
        for text in ["2026-01-02T03:04:05.678Z", "2026-01-02T04:04:05.678+01:00", "2026-01-02T03:04:05.678"] {
            assert_eq!(time(text), Ok(at), "{text}");
        }
        for text in ["", "yesterday", "2026-01-02", "1969-12-31T23:59:59Z", "1767323045"] {
            assert!(time(text).is_err(), "{text}");
        }
    }
}
