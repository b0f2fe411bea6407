//! An error as the log writes it: in its own words, followed by what it was caused by.

use std::error::Error;
use std::fmt;

/// An error and the chain of its causes, one behind the other. A cause whose words stand there already is left out: many
/// errors repeat their cause in their own words.
#[derive(Debug)]
pub struct Causes<'e>(pub &'e dyn Error);

impl fmt::Display for Causes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = self.0.to_string();
        let mut next = self.0.source();
        while let Some(cause) = next {
            let words = cause.to_string();
            if !text.contains(&words) {
                text.push_str(": ");
                text.push_str(&words);
            }
            next = cause.source();
        }
        f.write_str(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{0}")]
    struct Link(&'static str, #[source] Option<Box<Self>>);

    #[test]
    fn each_cause_is_written_once_in_the_order_of_the_chain() {
        let link = |words, cause| Link(words, Some(Box::new(cause)));
        let chain = link("no logout: disk full", link("disk full", link("write failed", Link("os error 28", None))));
        assert_eq!(Causes(&chain).to_string(), "no logout: disk full: write failed: os error 28");
        assert_eq!(Causes(&Link("by itself", None)).to_string(), "by itself");
    }
}
