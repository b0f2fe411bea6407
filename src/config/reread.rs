//! What of a configuration can change while the server runs, and what differs between two of them.

use sha2::{Digest as _, Sha256};

use super::settings::{Complete, RUST_LOG};
use super::{Config, Http, Passwords};

/// The settings that a running server takes over. All others need a restart.
pub const REREAD: &[&str] = &["cors_origins", "failures_per_address", LOG_LEVEL, "trusted_proxies"];

const LOG_LEVEL: &str = "log_level";

/// A configuration that was read again, compared with the one in force.
#[derive(Debug)]
pub struct Reread {
    /// What is in force from now on: the old configuration, with what can change taken from the new one.
    pub config: Config,
    /// The settings that change now.
    pub changed: Vec<&'static str>,
    /// Those that are other than what is in force, and need a restart.
    pub need_restart: Vec<&'static str>,
    /// Those that could change if flags or the environment did not give them.
    pub fixed: Vec<&'static str>,
}

impl Config {
    /// Takes over what can change from a configuration that was read, checked and built as a whole.
    #[must_use]
    pub fn reread(&self, new: Self) -> Reread {
        let differing = self.settings.differing(&new.settings);
        let (mut changed, mut need_restart): (Vec<_>, Vec<_>) =
            differing.into_iter().partition(|name| REREAD.contains(name));
        need_restart.extend(self.contents.differing(&new.contents));
        need_restart.sort_unstable();
        need_restart.dedup();
        let rust_log = new.rust_log.as_ref().map(|_| RUST_LOG);
        if rust_log.is_some() {
            // It decides, whatever the level is.
            changed.retain(|name| *name != LOG_LEVEL);
        }
        let fixed = new.fixed.iter().copied().filter(|name| REREAD.contains(name)).chain(rust_log).collect();
        let settings = Complete {
            cors_origins: new.settings.cors_origins,
            failures_per_address: new.settings.failures_per_address,
            log_level: new.settings.log_level,
            trusted_proxies: new.settings.trusted_proxies,
            ..self.settings.clone()
        };
        let Http { cors_origins, trusted_proxies, .. } = new.http;
        let http = Http { cors_origins, trusted_proxies, ..self.http.clone() };
        let failures_per_address = new.passwords.failures_per_address;
        let passwords = Passwords { failures_per_address, ..self.passwords.clone() };
        let config = Self { http, passwords, log_level: new.log_level, settings, ..self.clone() };
        Reread { config, changed, need_restart, fixed }
    }

    /// A number that is equal on servers that are configured alike, 48 bits so that Prometheus keeps it exactly.
    ///
    /// No secret counts, not even hashed: the number is published, and who knows the rest of the configuration could try
    /// short secrets until it fits. Addresses do not count either, since each server has its own.
    pub fn hash(&self) -> u64 {
        // Secrets are written as `(hidden)`, and a URL that may hold one as its scheme.
        let settings = Complete { listen: NOWHERE, ops_listen: NOWHERE, ..self.settings.clone() };
        let open = ["logo_file", "password_list_file"].map(|name| self.contents.of(name));
        let digest = Sha256::digest(format!("{settings:?} {:?} {open:?}", self.rust_log));
        digest.iter().take(6).fold(0, |hash, byte| hash << 8 | u64::from(*byte))
    }
}

const NOWHERE: std::net::SocketAddr =
    std::net::SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED), 0);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Settings;

    fn config(toml: &str) -> Config {
        Config::new(&toml::from_str::<Settings>(toml).expect("well-formed")).expect("consistent")
    }

    #[test]
    fn what_can_change_is_taken_over_and_everything_else_is_named_and_stays() {
        let old = config("cors_origins = ['https://a.example']");
        let new = config(
            "cors_origins = ['https://b.example']\ntrusted_proxies = '10.0.0.1'\nlog_level = 'debug'\n\
             failures_per_address = 7\ncookie_name = 'other'\nadmin_password = 'correct horse battery'\nsession_idle = '1h'",
        );
        let Reread { config, changed, need_restart, fixed } = old.reread(new.clone());
        assert_eq!(changed, ["trusted_proxies", "cors_origins", "failures_per_address", "log_level"]);
        assert_eq!(need_restart, ["admin_password", "cookie_name", "session_idle"]);
        assert_eq!(fixed, [""; 0]);
        assert_eq!(config.http.cors_origins, new.http.cors_origins);
        assert_eq!(config.passwords.failures_per_address.get(), 7);
        assert_eq!((config.log_level, &config.http.cookie.name), (new.log_level, &old.http.cookie.name));
        let again = config.reread(new);
        assert_eq!((again.changed.len(), again.need_restart.len()), (0, 3), "what needs a restart is said each time");
    }

    #[test]
    fn every_setting_that_can_change_is_one() {
        let all = Settings::all();
        assert!(REREAD.iter().all(|name| all.contains(name)), "{all:?}");
    }

    #[test]
    fn a_file_that_holds_something_else_needs_a_restart() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("key");
        let load = |byte: &str| {
            std::fs::write(&file, byte.repeat(32)).expect("written");
            config(&format!("secret_key_file = '{}'", file.display()))
        };
        let (old, new) = (load("ab"), load("cd"));
        assert_eq!(old.reread(new.clone()).need_restart, ["secret_key_file"]);
        assert_eq!(old.hash(), new.hash(), "no secret counts");
    }

    #[test]
    fn the_hash_is_equal_where_all_but_addresses_and_secrets_is() {
        let hash = |toml: &str| config(toml).hash();
        let common = "database_url = 'postgres://me:s3cret@db/x'\nadmin_password = 'correct horse battery'";
        let other =
            "database_url = 'postgres://me:0ther@db/x'\nadmin_password = 'another horse battery'\nlisten = ':1'";
        assert_eq!(hash(common), hash(other));
        for toml in ["session_idle = '1h'", "trusted_proxies = 'none'", "log_level = 'debug'", "brand_name = 'x'"] {
            assert_ne!(hash(toml), hash(""), "{toml}");
        }
        assert!(hash("") < 1 << 48);
    }
}
