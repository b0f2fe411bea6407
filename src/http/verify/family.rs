//! What differs between the proxies that ask: where they say which request they ask about, and how they can be refused.

use http::{HeaderMap, Method, Uri};

use super::original::Original;

/// A kind of proxy, or of any other service that asks.
#[derive(Debug)]
pub struct Family {
    /// The path at which it asks.
    pub path: &'static str,
    /// Whether it asks at any path under that one.
    pub asks_below: bool,
    /// Reads what a trusted proxy says of the request that it asks about.
    pub original: fn(&Method, &Uri, &HeaderMap) -> Original,
    /// How it is told that a request is refused.
    pub denial: Denial,
}

/// How a refusal is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denial {
    /// 401, and nothing else.
    Bare,
    /// 401 with the login page in `Location`, from which the proxy makes a redirect itself where that is right.
    Location,
    /// An answer that the proxy hands to the client as it is: a redirect of a navigation, and else 401 with a body.
    Answer,
}

impl Family {
    /// Whether it asks at this path.
    pub fn asks_at(&self, path: &str) -> bool {
        match path.strip_prefix(self.path) {
            Some("") => true,
            Some(below) => self.asks_below && below.starts_with('/'),
            None => false,
        }
    }

    /// The path as a route is listed.
    pub fn route(&self) -> Vec<String> {
        let below = self.asks_below.then(|| format!("{}/{{path}}", self.path));
        std::iter::once(self.path.to_owned()).chain(below).collect()
    }
}
