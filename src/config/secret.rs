//! Settings that hold a secret, and are printed without it.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use url::Url;

use super::error::{BadConfig, bad};
use super::files::read_small_text;

/// A secret setting: never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Hidden(String);

impl Hidden {
    /// Takes the secret.
    pub const fn new(text: String) -> Self {
        Self(text)
    }

    /// The secret itself.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

/// The store's URL. Its password, should it hold one, is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct DatabaseUrl(String);

impl DatabaseUrl {
    /// Takes a URL; whether a store answers to it is for `store::connect` to say.
    pub const fn new(url: String) -> Self {
        Self(url)
    }

    /// Whether some part of it may be a secret: not where nothing but the user and the query cannot be shown, the user comes
    /// without a password, and the query names none.
    pub(super) fn is_secret(&self) -> bool {
        let Some((scheme @ ("postgres" | "postgresql"), rest)) = self.0.split_once("://") else {
            return self.is_hidden();
        };
        let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
        // A name may be written with escapes, and a password may hold a question mark.
        let names_password = query.contains(['%', '#', '@']) || query.to_ascii_lowercase().contains("password");
        let in_place = match place.split_once('@') {
            Some((user, hosts)) if !user.contains([':', '/', '#']) => hosts.contains(['@', '#']),
            Some(_) | None => Self(format!("{scheme}://{place}")).is_hidden(),
        };
        names_password || in_place
    }

    fn is_hidden(&self) -> bool {
        self.to_string() != self.0
    }

    /// The URL, secrets included.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Where a password that is made up at the first start is kept: beside the database if that is a file, else in the
    /// working directory.
    pub fn first_password_file(&self) -> PathBuf {
        PathBuf::from(format!("{}.first-password", self.0.strip_prefix("sqlite://").unwrap_or("sessiond")))
    }
}

impl FromStr for DatabaseUrl {
    type Err = BadConfig;

    fn from_str(text: &str) -> Result<Self, BadConfig> {
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for DatabaseUrl {
    /// The whole URL where no part can be a secret, else only its scheme: a password with an unescaped character can
    /// end up in any part.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_scheme = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_lowercase());
        let Some((scheme, rest)) = self.0.split_once("://").filter(|(scheme, _)| is_scheme(scheme)) else {
            return f.write_str("(hidden)");
        };
        // Behind `sqlite://` stands a path, which need not be a URL's.
        let open = match scheme {
            "sqlite" => !rest.contains(['?', '#']),
            _ => !rest.contains(['@', '?', '#']) && Url::parse(&self.0).is_ok(),
        };
        if open { f.write_str(&self.0) } else { write!(f, "{scheme}://(hidden)") }
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A secret that is given either directly or in a file, and not both.
pub(super) fn one<S>(
    key: &str,
    given: Option<S>,
    file: Option<&Path>,
    new: impl FnOnce(String) -> S,
) -> Result<Option<S>, BadConfig> {
    match (given, file) {
        (Some(_), Some(_)) => bad(format!("{key} and {key}_file are both set: keep one")),
        (given, None) => Ok(given),
        (None, Some(path)) => match read_small_text(path) {
            Ok(text) => Ok(Some(new(text.trim_end_matches(['\r', '\n']).to_owned()))),
            Err(error) => bad(format!("{key}_file {} cannot be read: {error}", path.display())),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Settings};

    #[test]
    fn a_database_url_is_shown_only_where_no_part_can_be_a_secret() {
        for (url, shown) in [
            ("sqlite://sessiond.db", "sqlite://sessiond.db"),
            ("sqlite:///srv/me@here/the sessions.db", "sqlite:///srv/me@here/the sessions.db"),
            ("sqlite://x.db?key=s3cret", "sqlite://(hidden)"),
            ("postgres://db.example:5432/x", "postgres://db.example:5432/x"),
            ("postgres://me:s3cret@db/x", "postgres://(hidden)"),
            ("postgres://me:s3cret#pw@db/x", "postgres://(hidden)"),
            ("postgres://me:12#s3cret@db/x", "postgres://(hidden)"),
            ("postgres://me:12/s3cret@db/x", "postgres://(hidden)"),
            ("postgres://me:s3cret/x", "postgres://(hidden)"),
            ("postgres://db/x?user=me&password=s3cret", "postgres://(hidden)"),
            ("me:s3cret@db", "(hidden)"),
            ("s3cret", "(hidden)"),
            ("my s3cret://x", "(hidden)"),
        ] {
            let url = DatabaseUrl::new(url.into());
            assert_eq!((url.to_string(), format!("{url:?}")), (shown.into(), shown.into()));
        }
    }

    #[test]
    fn a_database_url_without_a_password_is_no_secret() {
        for open in [
            "sqlite://sessiond.db",
            "postgres://sess@127.0.0.1/s",
            "postgresql://sess@db.example:5432,other:5433/s?sslmode=disable",
            "postgres:///s?host=/run/postgresql&user=sess",
            "postgres://db/s?user=me&sslkey=/etc/key",
        ] {
            assert!(!DatabaseUrl::new(open.into()).is_secret(), "{open}");
        }
        for secret in [
            "postgres://me:s3cret@db/x",
            "postgres://me:s3cret#pw@db/x",
            "postgres://me:12/s3cret@db/x",
            "postgres://me:12?s3cret@db/x",
            "postgres://me:s3cret/x",
            "postgres://me:a@b@db/x",
            "postgres://db/x?user=me&password=s3cret",
            "postgres://me@db/x?Password=s3cret",
            "postgres://db/x?user=me&p%61ssword=s3cret",
            "postgresql://db/x?sslpassword=s3cret",
            "sqlite://x.db?key=s3cret",
            "me:s3cret@db",
        ] {
            assert!(DatabaseUrl::new(secret.into()).is_secret(), "{secret}");
        }
    }

    #[test]
    fn secrets_are_never_printed() {
        let toml = "admin_password = 'sup3rs3cret'\ndatabase_url = 'postgres://me:s3cret@db/x'";
        let settings: Settings = toml::from_str(toml).expect("fine");
        let config = Config::new(&settings).expect("fine");
        assert!(!format!("{settings:?} {config} {config:?}").contains("s3cret"));
    }
}
