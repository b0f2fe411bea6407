//! Which sessions of all users are asked for, as it stands in the address of a page.

use super::lists::{address, local, text, time};
use crate::http::pages::texts::Texts;
use crate::http::refusal::FieldError;
use crate::http::request::fields::Fields;
use crate::service::Error;
use crate::service::admin::Admin;
use crate::service::selection::{Condition, Meant, WrittenFilter};

/// A filter as it is filled in.
#[derive(Debug)]
pub struct Asked {
    pub user: String,
    pub ip: String,
    pub user_agent: String,
    pub before: String,
}

impl Asked {
    /// Takes it from a query.
    ///
    /// # Errors
    /// As any field of a query.
    pub fn read(query: &mut Fields) -> Result<Self, FieldError> {
        Ok(Self {
            user: text(query, "user")?,
            ip: text(query, "ip")?,
            user_agent: text(query, "user_agent")?,
            before: local(&text(query, "before")?),
        })
    }

    /// Whether it asks for every session.
    pub const fn is_empty(&self) -> bool {
        let Self { user, ip, user_agent, before } = self;
        user.is_empty() && ip.is_empty() && user_agent.is_empty() && before.is_empty()
    }

    /// The parameters that say the same.
    pub fn pairs(&self) -> [(&'static str, &str); 4] {
        let Self { user, ip, user_agent, before } = self;
        [("user", user), ("ip", ip), ("user_agent", user_agent), ("before", before)]
    }

    /// The address of the page at `path` that is about these sessions.
    pub fn address(&self, path: &str) -> String {
        address(path, &self.pairs())
    }

    /// What is asked for, by name and value.
    pub fn conditions(&self, t: &Texts) -> Vec<(&'static str, &str)> {
        let Self { user, ip, user_agent, before } = self;
        let named = [
            (t.admin.user, user.as_str()),
            (t.admin.network, ip),
            (t.admin.user_agent, user_agent),
            (t.admin.before, before),
        ];
        named.into_iter().filter(|(_, value)| !value.is_empty()).collect()
    }

    /// What it comes to.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn meant(&self, powers: &Admin<'_>) -> Result<Meant, Error> {
        let filled_in = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
        let Self { user, ip, user_agent, before } = self;
        let written = WrittenFilter {
            user: filled_in(user),
            ip: filled_in(ip),
            user_agent: filled_in(user_agent),
            before: filled_in(before),
        };
        powers.session_filter(written, |text| time(text).ok().flatten()).await
    }
}

/// What is said of a condition that cannot be used.
pub const fn unfit(condition: Condition, t: &Texts) -> &'static str {
    match condition {
        Condition::Network => t.admin.bad_network,
        Condition::UserAgent => t.admin.too_long,
        Condition::Before => t.admin.bad_time,
    }
}
