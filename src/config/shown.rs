//! The configuration as `check-config` prints it.

use std::fmt;

use super::values::format_span;
use super::{Config, Http, Origin, Sessions, TrustedProxies};

impl fmt::Display for Config {
    /// As the TOML that would give the same, with secrets hidden.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let quoted = |items: Vec<String>| {
            format!("[{}]", items.iter().map(|i| format!("\"{i}\"")).collect::<Vec<_>>().join(", "))
        };
        let word = |value: &dyn fmt::Debug| format!("\"{}\"", format!("{value:?}").to_lowercase());
        let origins = |all: &[Origin]| quoted(all.iter().map(|o| o.as_str().to_owned()).collect());
        let Http {
            listen,
            ops_listen,
            ops_hosts,
            max_connections,
            max_head,
            shutdown_delay,
            public_url,
            cors_origins,
            trusted_proxies,
            allowed_return_origins,
            require_https,
            clear_site_data,
            verify_credentials,
            cookie,
            brand,
        } = &self.http;
        writeln!(f, "listen = \"{listen}\"\nops_listen = \"{ops_listen}\"\nmax_connections = {max_connections}")?;
        let names = ops_hosts.iter().map(|name| name.as_str().to_owned()).collect();
        writeln!(f, "ops_hosts = {}\nmax_head = {max_head}", quoted(names))?;
        writeln!(f, "shutdown_delay = \"{}\"", format_span(*shutdown_delay))?;
        writeln!(f, "database_url = \"{}\"", self.database_url)?;
        if let Some(origin) = public_url {
            writeln!(f, "public_url = \"{}\"", origin.as_str())?;
        }
        writeln!(f, "cors_origins = {}", origins(cors_origins))?;
        match trusted_proxies {
            TrustedProxies::Unset => writeln!(f, "# trusted_proxies is not set")?,
            TrustedProxies::None => writeln!(f, "trusted_proxies = \"none\"")?,
            TrustedProxies::Listed(networks) => {
                writeln!(f, "trusted_proxies = {}", quoted(networks.iter().map(ToString::to_string).collect()))?;
            }
        }
        writeln!(f, "allowed_return_origins = {}", origins(allowed_return_origins))?;
        writeln!(f, "require_https = {require_https}\nclear_site_data = {clear_site_data}")?;
        let kinds = verify_credentials.iter().map(|kind| format!("{kind:?}").to_lowercase()).collect();
        writeln!(f, "verify_credentials = {}", quoted(kinds))?;
        writeln!(f, "cookie_name = \"{}\"\ncookie_secure = {}", cookie.name, cookie.secure)?;
        if let Some(domain) = &cookie.domain {
            writeln!(f, "cookie_domain = \"{domain}\"")?;
        }
        writeln!(f, "cookie_samesite = {}", word(&cookie.same_site))?;
        let text = |text: &str| toml::Value::from(text);
        writeln!(f, "brand_name = {}", text(&brand.name))?;
        if let Some(accent) = brand.accent {
            writeln!(f, "accent_color = \"{}\"", accent.light)?;
        }
        if let Some(logo) = &brand.logo {
            writeln!(f, "logo_file = {}", text(&logo.path.to_string_lossy()))?;
        }
        let Sessions { lifetimes, per_user, cache, cache_entries } = self.sessions;
        writeln!(f, "cache = {}\ncache_entries = {cache_entries}", word(&cache))?;
        for (kind, life) in [("session", lifetimes.plain), ("remembered", lifetimes.remembered)] {
            writeln!(f, "{kind}_idle = \"{}\"", format_span(life.idle))?;
            writeln!(f, "{kind}_absolute = \"{}\"", format_span(life.absolute))?;
        }
        writeln!(f, "sessions_per_user = {per_user}")?;
        writeln!(f, "password_workers = {}\npassword_queue = {}", self.passwords.workers, self.passwords.queue)?;
        writeln!(f, "failures_per_address = {}", self.passwords.failures_per_address)?;
        writeln!(f, "admin_username = \"{}\"", self.first_admin.username)?;
        if self.first_admin.password.is_some() {
            writeln!(f, "# admin_password is set (hidden)")?;
        }
        if !self.secret_keys.is_empty() {
            writeln!(f, "# secret_key_file is set (hidden)")?;
        }
        writeln!(f, "password_shortest = {}", self.passwords.rules.shortest())?;
        if let Some(list) = &self.settings.password_list_file {
            writeln!(f, "password_list_file = {}", text(&list.to_string_lossy()))?;
        }
        writeln!(f, "fresh_login_to_revoke = {}", self.fresh_login_to_revoke)?;
        writeln!(f, "events_kept = \"{}\"", format_span(self.events_kept))?;
        writeln!(f, "ended_kept = \"{}\"", format_span(self.ended_kept))?;
        writeln!(f, "log_format = {}\nlog_level = {}", word(&self.log_format), word(&self.log_level))?;
        if let Some(endpoint) = &self.otlp_endpoint {
            writeln!(f, "otlp_endpoint = \"{endpoint}\"")?;
        }
        writeln!(f, "traced_checks = {}", self.traced_checks.get())?;
        match &self.rust_log {
            Some(_) => writeln!(f, "# RUST_LOG is set, and decides instead of log_level"),
            None => Ok(()),
        }
    }
}
