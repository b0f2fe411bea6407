//! Reads from a `User-Agent` which device sent it, for people who look at their sessions.

use woothee::parser::Parser;

/// A device in words. Every part is empty when unknown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Device {
    /// `desktop`, `mobile`, `bot` or `unknown`.
    pub kind: &'static str,
    /// The browser or client program.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The operating system.
    pub os_name: String,
    /// Its version.
    pub os_version: String,
}

impl Device {
    /// Reads a `User-Agent`. What the list of browsers does not know is named by its first product token
    /// (RFC 9110 section 10.1.5), so that `curl/8.5.0` is `curl`.
    pub fn from_user_agent(user_agent: &str) -> Self {
        let known = |text: &str| {
            if text == woothee::woothee::VALUE_UNKNOWN { String::new() } else { text.to_owned() }
        };
        // Its entry for programs is one word for all of them: their own name says more.
        let browser =
            |found: &woothee::parser::WootheeResult<'_>| found.category != "misc" && !known(found.name).is_empty();
        let parsed = Parser::new().parse(user_agent).filter(browser);
        match parsed {
            Some(found) => Self {
                kind: match found.category {
                    "pc" => "desktop",
                    "smartphone" | "mobilephone" | "appliance" => "mobile",
                    "crawler" => "bot",
                    _ => "unknown",
                },
                name: known(found.name),
                version: known(found.version),
                os_name: known(found.os),
                os_version: known(&found.os_version),
            },
            None => Self::from_product(user_agent),
        }
    }

    fn from_product(user_agent: &str) -> Self {
        let product = user_agent.split([' ', '(', ';']).next().unwrap_or_default();
        let (name, version) = product.split_once('/').unwrap_or((product, ""));
        Self { kind: "unknown", name: name.to_owned(), version: version.to_owned(), ..Self::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_browser_is_named_with_its_system() {
        let device = Device::from_user_agent(
            "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36",
        );
        assert_eq!((device.kind, device.name.as_str()), ("desktop", "Chrome"));
        assert_eq!(device.version, "126.0.0.0");
        assert_eq!(device.os_name, "Linux");
    }

    #[test]
    fn a_program_is_named_by_its_first_product() {
        let device = Device::from_user_agent("acme-sync/2.4 (build 7)");
        assert_eq!((device.name.as_str(), device.version.as_str()), ("acme-sync", "2.4"));
        assert_eq!(Device::from_user_agent("curl/8.5.0").name, "curl");
        assert_eq!(Device::from_user_agent("").name, "");
    }
}
