//! Which sessions of all users are asked for, as it stands in the address of a page.

use super::lists::{NoTime, address, local, text, time};
use crate::http::pages::texts::Texts;
use crate::http::refusal::FieldError;
use crate::http::request::fields::Fields;
use crate::service::Error;
use crate::service::admin::Admin;
use crate::service::selection::SessionFilter;

/// The most characters of a part of a `User-Agent`.
const LONGEST_PART: usize = 512;

/// A filter as it is filled in.
#[derive(Debug)]
pub struct Asked {
    pub user: String,
    pub ip: String,
    pub user_agent: String,
    pub before: String,
}

/// What a filter that was filled in comes to.
#[derive(Debug)]
pub enum Meant {
    /// These sessions.
    Sessions(SessionFilter),
    /// None, since there is no such user.
    NoSuchUser,
    /// Nothing, for the reason in the sentence.
    Unfit(&'static str),
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
    pub async fn meant(&self, powers: &Admin<'_>, t: &'static Texts) -> Result<Meant, Error> {
        let network = match SessionFilter::network(&self.ip) {
            None if !self.ip.is_empty() => return Ok(Meant::Unfit(t.admin.bad_network)),
            network => network,
        };
        if self.user_agent.chars().nth(LONGEST_PART).is_some() {
            return Ok(Meant::Unfit(t.admin.too_long));
        }
        let before = match time(&self.before) {
            Ok(before) => before,
            Err(NoTime) => return Ok(Meant::Unfit(t.admin.bad_time)),
        };
        let user = match self.user.as_str() {
            "" => None,
            user => match powers.find(user).await? {
                Some(user) => Some(user),
                None => return Ok(Meant::NoSuchUser),
            },
        };
        let user_agent = Some(self.user_agent.clone()).filter(|part| !part.is_empty());
        Ok(Meant::Sessions(SessionFilter { user, network, user_agent, before }))
    }
}
