//! The question before an act, with the safe way first.

use askama::Template;

use crate::http::brand::Brand;
use crate::http::pages::texts::Texts;

/// A question. Its form is sent to the path that it stands at.
#[derive(Template)]
#[template(path = "admin/ask.html", config = ".askama.toml")]
pub struct Ask<'a> {
    pub t: &'static Texts,
    pub brand: &'a Brand,
    /// The part of the pages that it belongs to.
    pub section: &'static str,
    pub error: Option<String>,
    pub sentence: String,
    /// What is meant, by name and value.
    pub conditions: Vec<(&'static str, &'a str)>,
    /// How many sessions may end.
    pub expect: Option<usize>,
    pub button: &'static str,
    /// Whether there is anything to do.
    pub can: bool,
    /// Whether the act takes something away.
    pub takes: bool,
    /// The safe way.
    pub back: &'a str,
}
