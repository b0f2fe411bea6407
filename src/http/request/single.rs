//! Headers that may be there once. A second line was put there by somebody else.

use http::{HeaderMap, HeaderName};

/// What is there of a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Single<'h> {
    /// No line.
    Absent,
    /// One line.
    Value(&'h [u8]),
    /// More lines.
    Several,
}

/// Looks at a header.
pub fn single<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Single<'h> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Single::Absent,
        (Some(value), None) => Single::Value(value.as_bytes()),
        (Some(_), Some(_)) => Single::Several,
    }
}

/// The value of a header, if there is exactly one.
pub fn only<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h [u8]> {
    match single(headers, name) {
        Single::Value(value) => Some(value),
        Single::Absent | Single::Several => None,
    }
}
