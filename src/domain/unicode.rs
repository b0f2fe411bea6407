//! The rules of Unicode for names and passwords: which characters are invisible, and which spellings are equal.
//!
//! Usernames follow RFC 8265's `UsernameCaseMapped`, passwords its `OpaqueString`. `precis-profiles` knows the letters of
//! Unicode 6.3, as the registry of RFC 8264 does: a letter that came later is in no username yet.

use icu_properties::props::{DefaultIgnorableCodePoint, GeneralCategory, SoftDotted};
use icu_properties::{CodePointMapData, CodePointSetData};
use precis_profiles::UsernameCaseMapped;
use precis_profiles::precis_core::profile::PrecisFastInvocation as _;
use unicode_normalization::UnicodeNormalization as _;
use unicode_normalization::char::{canonical_combining_class, is_combining_mark};

/// What a canonically decomposed text may be longer than its composed form, in UTF-8: three times at most.
pub(super) const DECOMPOSED: usize = 3;
/// The dot that `i` has already.
const DOT_ABOVE: char = '\u{307}';
/// How often RFC 8264 (section 7) lets its rules be applied until they change nothing more.
const APPLICATIONS: usize = 4;

/// `text` as `UsernameCaseMapped` writes it (RFC 8265, section 3.3): width and case mapped, NFC, one direction, and nothing
/// that is not a letter, a digit, a mark between them or visible ASCII. `None` where that cannot be, or begins with a mark,
/// which would stand on whatever is written before the name.
pub(super) fn username_case_mapped(text: &str) -> Option<String> {
    let mut mapped = UsernameCaseMapped::enforce(text).ok()?.into_owned();
    for _ in 1..APPLICATIONS {
        let again = UsernameCaseMapped::enforce(mapped.as_str()).ok()?;
        if again == mapped {
            return if mapped.starts_with(is_combining_mark) { None } else { Some(mapped) };
        }
        mapped = again.into_owned();
    }
    None
}

/// Makes equal what lower case keeps apart and no reader can: a final sigma, and a dot above a letter that has one.
pub(super) fn without_twins(text: &str) -> String {
    let soft_dotted = CodePointSetData::new::<SoftDotted>();
    let mut one = String::with_capacity(text.len());
    // Whether the dot of the letter in hand is still to be seen.
    let mut dotted = false;
    for c in text.chars() {
        match canonical_combining_class(c) {
            0 => {
                dotted = soft_dotted.contains(c);
                one.push(if c == 'ς' { 'σ' } else { c });
            }
            230 if c == DOT_ABOVE && dotted => {}
            230 if c == DOT_ABOVE && one.ends_with(['ı', 'ȷ']) => {
                let letter = if one.pop() == Some('ı') { 'i' } else { 'j' };
                one.push(letter);
                dotted = true;
            }
            230 => {
                dotted = false;
                one.push(c);
            }
            _ => one.push(c),
        }
    }
    one.nfc().collect()
}

/// Lower case and NFKC: the form under which two spellings of an e-mail address are the same.
pub(super) fn compatible_lower_case(text: &str) -> String {
    let lower: String = text.nfkc().flat_map(char::to_lowercase).nfkc().collect();
    without_twins(&lower)
}

/// `OpaqueString`'s mapping (RFC 8265, section 4.2): every space is U+0020, and NFC.
pub(super) fn opaque(text: &str) -> String {
    let category = CodePointMapData::<GeneralCategory>::new();
    text.chars().map(|c| if category.get(c) == GeneralCategory::SpaceSeparator { ' ' } else { c }).nfc().collect()
}

/// Whether `c` shows nothing, or means something only to programs: what is ignored by default, formats (the marks that
/// turn a line around among them), private and unassigned characters, and blanks that are no spaces.
pub(super) fn is_invisible(c: char) -> bool {
    const BRAILLE_BLANK: char = '\u{2800}';
    let odd = matches!(
        CodePointMapData::<GeneralCategory>::new().get(c),
        GeneralCategory::Format
            | GeneralCategory::LineSeparator
            | GeneralCategory::ParagraphSeparator
            | GeneralCategory::PrivateUse
            | GeneralCategory::Surrogate
            | GeneralCategory::Unassigned
    );
    odd || c == BRAILLE_BLANK || CodePointSetData::new::<DefaultIgnorableCodePoint>().contains(c)
}

/// Whether `c` chooses how its neighbours look: in Persian words and in many emoji. RFC 8265 would refuse some of
/// them in a password; people's keyboards type them.
pub(super) const fn is_joiner(c: char) -> bool {
    matches!(c, '\u{200c}' | '\u{200d}' | '\u{fe00}'..='\u{fe0f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_of_rfc_8265_come_out_as_it_says() {
        // Section 3.5, tables 1 and 2.
        for (text, mapped) in [
            ("juliet@example.com", Some("juliet@example.com")),
            ("fussball", Some("fussball")),
            ("fußball", Some("fußball")),
            ("π", Some("π")),
            ("Σ", Some("σ")),
            ("σ", Some("σ")),
            ("ς", Some("ς")),
            ("foo bar", None),
            ("", None),
            ("henry\u{2163}", None),
            ("\u{265a}", None),
        ] {
            assert_eq!(username_case_mapped(text).as_deref(), mapped, "{text}");
        }
        // Section 4.3, tables 3 and 4.
        assert_eq!(opaque("Jack of \u{2666}s"), "Jack of \u{2666}s");
        assert_eq!(opaque("foo\u{1680}bar"), "foo bar");
        assert_eq!(opaque("\u{1100}\u{1161}e\u{301}\u{a0}"), "가é ");
    }

    #[test]
    fn look_alikes_are_one_name() {
        for (text, one) in [
            ("νικος", "νικοσ"),
            ("adm\u{69}\u{307}n", "admin"),
            ("adm\u{131}\u{307}n", "admin"),
            ("\u{69}\u{307}\u{301}", "í"),
            ("\u{1ecb}\u{307}", "\u{1ecb}"),
            ("\u{456}\u{307}", "\u{456}"),
            ("i\u{301}\u{307}", "í\u{307}"),
            ("ı", "ı"),
            ("z\u{307}", "ż"),
        ] {
            assert_eq!(without_twins(text), one, "{text}");
        }
    }

    #[test]
    fn what_cannot_be_seen_is_known() {
        for c in "\u{ad}\u{34f}\u{61c}\u{115f}\u{180e}\u{180f}\u{200b}\u{200d}\u{200e}\u{202e}\u{2028}\u{2060}\u{2065}\u{2066}\u{2800}\u{3164}\u{e000}\u{fe0f}\u{feff}\u{ffa0}\u{fff9}\u{1d173}\u{e0041}\u{e0100}\u{10ffff}".chars() {
            assert!(is_invisible(c), "U+{:04X}", u32::from(c));
        }
        for c in "a ü漢א\u{301}👍🤔€ﬁ".chars() {
            assert!(!is_invisible(c), "U+{:04X}", u32::from(c));
        }
    }
}
