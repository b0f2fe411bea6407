//! What a person types where a code is asked for.

use super::recovery::RecoveryCode;
use super::totp::Code;

/// The most bytes that are looked at: a recovery code with much between its letters.
const MOST: usize = 128;

/// A code as it was typed.
#[derive(Clone, Debug)]
pub enum TypedCode {
    /// One that an authenticator shows.
    Authenticator(Code),
    /// One from paper.
    Recovery(RecoveryCode),
    /// Nothing that can be right.
    Neither,
}

impl TypedCode {
    /// Reads six ASCII digits with any blanks between them, or a recovery code in any case with any blanks and dashes.
    /// Nothing is guessed: digits of other scripts, and look-alikes of letters, are wrong.
    pub fn read(text: &str) -> Self {
        if text.len() > MOST {
            return Self::Neither;
        }
        let close: String = text.chars().filter(|c| !c.is_whitespace()).collect();
        if let Some(code) = Code::read(&close) {
            return Self::Authenticator(code);
        }
        let letters: String = close.chars().filter(|c| !is_dash(*c)).collect();
        RecoveryCode::read(&letters).map_or(Self::Neither, Self::Recovery)
    }
}

/// A hyphen, or what word processors make of one.
const fn is_dash(c: char) -> bool {
    matches!(c, '-' | '\u{2010}'..='\u{2015}' | '\u{2212}' | '_')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn short(text: &str) -> char {
        match TypedCode::read(text) {
            TypedCode::Authenticator(_) => 'a',
            TypedCode::Recovery(_) => 'r',
            TypedCode::Neither => '-',
        }
    }

    #[test]
    fn blanks_do_not_matter_and_leading_zeros_do() {
        for (text, kind) in [
            ("123456", 'a'),
            ("000000", 'a'),
            (" 123 456 ", 'a'),
            ("123\u{a0}456", 'a'),
            ("1 2\t3\u{202f}4 5\u{2009}6\n", 'a'),
            ("", '-'),
            ("   ", '-'),
            ("12345", '-'),
            ("1234567", '-'),
            ("123-456", '-'),
            ("+12345", '-'),
            ("12345\u{660}", '-'),
            ("\u{661}\u{662}\u{663}\u{664}\u{665}\u{666}", '-'),
            ("\u{ff11}23456", '-'),
            ("12345.", '-'),
            ("AB2C-D3EF-4GHJ", 'r'),
            ("ab2cd3ef4ghj", 'r'),
            (" ab2c d3ef\u{a0}4ghj ", 'r'),
            ("ab2c\u{2013}d3ef\u{2212}4ghj", 'r'),
            ("2345-6789-2345", 'r'),
            ("AB2C-D3EF-4GHO", '-'),
            ("AB2C-D3EF-4GH", '-'),
            ("AB2C.D3EF.4GHJ", '-'),
        ] {
            assert_eq!(short(text), kind, "{text:?}");
        }
        assert_eq!(short(&format!("123456{}", " ".repeat(122))), 'a', "128 bytes");
        assert_eq!(short(&format!("123456{}", " ".repeat(123))), '-', "too long to be looked at");
        assert_eq!(short(&format!("123456{}", " ".repeat(200))), '-', "too long to be looked at");
    }

    proptest! {
        #[test]
        fn whatever_is_typed_is_read_without_a_panic(text in ".{0,200}") {
            let _ = TypedCode::read(&text);
        }
    }
}
