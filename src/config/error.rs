//! The errors of a configuration that cannot be used.

/// The longest text that is repeated in a message.
const REPEATED: usize = 64;

/// A configuration that cannot be used, in a sentence that says what to write instead.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct BadConfig(pub(super) String);

/// Refuses a configuration with a sentence.
pub(super) fn bad<T>(sentence: impl Into<String>) -> Result<T, BadConfig> {
    Err(BadConfig(sentence.into()))
}

/// A value as a message shows it. Where it may be a secret in the wrong place, or is not a single word, it is left out.
pub(super) fn quoted(text: &str) -> String {
    if text.len() <= REPEATED && !text.contains('@') && !text.contains(char::is_control) {
        format!("`{text}`")
    } else {
        String::from("its value")
    }
}
