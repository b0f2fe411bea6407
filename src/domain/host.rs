//! A host and a port, as a request names them (RFC 9110 section 7.2) and as settings list them.

use std::net::{IpAddr, Ipv6Addr};

/// No name is longer in bytes (RFC 1035 section 2.3.4), the dot at its end aside.
const LONGEST_NAME: usize = 253;
/// No part of a name between two dots is longer.
const LONGEST_LABEL: usize = 63;

/// A host and, where one is given, a port. They are borrowed from the text, since every request is checked for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Host<'h> {
    name: &'h [u8],
    port: Option<u16>,
}

impl<'h> Host<'h> {
    /// Reads `name`, `name:port`, an IPv4 address or an IPv6 address in brackets, as `Host` has them.
    ///
    /// Narrower than RFC 3986 section 3.2.2, by what no client sends: a name is made of letters, digits, `-` and `_`,
    /// with single dots in between and perhaps one at the end. Everything else could be read in two ways.
    pub fn parse(text: &'h [u8]) -> Option<Self> {
        let end = if text.first() == Some(&b'[') { end_of_address(text)? } else { end_of_name(text)? };
        let (name, port) = text.split_at_checked(end)?;
        let port = match port {
            [] => None,
            [b':', digits @ ..] => Some(read_port(digits)?),
            _ => return None,
        };
        Some(Self { name, port })
    }

    /// The host as it was written, an IPv6 address in its brackets.
    pub fn name(&self) -> &'h [u8] {
        self.name
    }

    /// The port, if one was written.
    pub fn port(&self) -> Option<u16> {
        self.port
    }

    /// The address that it is, if it is no name.
    pub fn address(&self) -> Option<IpAddr> {
        let bare = self.name.strip_prefix(b"[").and_then(|rest| rest.strip_suffix(b"]")).unwrap_or(self.name);
        std::str::from_utf8(bare).ok()?.parse().ok()
    }

    /// Whether its name is `name`, in whatever case, with or without the dot at the end.
    pub fn is_called(&self, name: &str) -> bool {
        self.name.strip_suffix(b".").unwrap_or(self.name).eq_ignore_ascii_case(name.as_bytes())
    }
}

/// Where the name at the beginning of `text` ends, if it is one.
fn end_of_name(text: &[u8]) -> Option<usize> {
    let (mut label, mut end) = (0, 0);
    for byte in text {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => label += 1,
            b'.' if (1..=LONGEST_LABEL).contains(&label) => label = 0,
            b':' => break,
            _ => return None,
        }
        end += 1;
    }
    let dot = usize::from(label == 0);
    (label <= LONGEST_LABEL && (1..=LONGEST_NAME + dot).contains(&end)).then_some(end)
}

/// Where the IPv6 address in brackets at the beginning of `text` ends, if it is one.
fn end_of_address(text: &[u8]) -> Option<usize> {
    let bracket = text.iter().position(|byte| *byte == b']')?;
    let address = std::str::from_utf8(text.get(1..bracket)?).ok()?;
    address.parse::<Ipv6Addr>().ok().and_then(|_| bracket.checked_add(1))
}

fn read_port(digits: &[u8]) -> Option<u16> {
    // `parse` takes a sign.
    let unsigned = digits.first().is_some_and(u8::is_ascii_digit);
    std::str::from_utf8(digits).ok().filter(|_| unsigned)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_clients_send_is_a_host() {
        for (text, name, port) in [
            ("localhost", "localhost", None),
            ("localhost:8080", "localhost", Some(8080)),
            ("LOGIN.Example.com", "LOGIN.Example.com", None),
            ("login.example.com.", "login.example.com.", None),
            ("login.example.com.:443", "login.example.com.", Some(443)),
            ("my_service-1:80", "my_service-1", Some(80)),
            ("xn--nxasmq6b.example", "xn--nxasmq6b.example", None),
            ("192.0.2.1", "192.0.2.1", None),
            ("192.0.2.1:65535", "192.0.2.1", Some(65535)),
            ("[::1]", "[::1]", None),
            ("[2001:DB8::1]:8080", "[2001:DB8::1]", Some(8080)),
            ("[::ffff:192.0.2.1]", "[::ffff:192.0.2.1]", None),
        ] {
            assert_eq!(Host::parse(text.as_bytes()), Some(Host { name: name.as_bytes(), port }), "{text}");
        }
        let longest = ["a".repeat(63), "b".repeat(63), "c".repeat(63), "d".repeat(61)].join(".");
        assert!(Host::parse(longest.as_bytes()).is_some() && Host::parse(format!("{longest}.").as_bytes()).is_some());
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_none() {
        let long = "a".repeat(64);
        let longer = ["a"; 128].join(".");
        for text in [
            "",
            " ",
            ".",
            "..",
            ".a",
            "a..b",
            "a..",
            "a b",
            "a,b",
            "a, b",
            "user@a",
            "user:word@a",
            "a/b",
            "a?b",
            "a#b",
            "a\\b",
            "http://a",
            "a%41",
            "a%",
            "ä",
            "a\u{200b}",
            "a\0",
            "a\t",
            "*",
            "a;b",
            "a'b",
            "\"a\"",
            "<a>",
            "a|b",
            "a=b",
            ":",
            ":80",
            "a:",
            "a:b",
            "a:-1",
            "a:+1",
            "a:65536",
            "a:80:80",
            "a: 80",
            "a:8 0",
            "a:80,b:80",
            "::1",
            "[",
            "[]",
            "[]:80",
            "[a]",
            "[::1",
            "::1]",
            "[::1]a",
            "[::1]:",
            "[::1]:x",
            "[::1]]",
            "[[::1]]",
            "[::1%eth0]",
            "[v1.a]",
            "[192.0.2.1]",
            "a[::1]",
            long.as_str(),
            longer.as_str(),
        ] {
            assert_eq!(Host::parse(text.as_bytes()), None, "{text:?}");
        }
        assert_eq!(Host::parse(b"a\xff"), None);
    }

    #[test]
    fn a_name_is_compared_without_case_and_last_dot() {
        let host = Host::parse(b"LocalHost.:80").expect("a host");
        assert!(host.is_called("localhost") && !host.is_called("localhos") && !host.is_called("localhost.example"));
        assert_eq!((host.address(), host.port()), (None, Some(80)));
        for (text, address) in [("127.0.0.1:80", "127.0.0.1"), ("[::1]", "::1")] {
            assert_eq!(Host::parse(text.as_bytes()).and_then(|host| host.address()), address.parse().ok());
        }
    }

    proptest! {
        #[test]
        fn what_is_read_is_what_was_written(text in "[a-z0-9.:@,\\[\\] _-]{0,30}") {
            if let Some(host) = Host::parse(text.as_bytes()) {
                let port = host.port().map(|_| text.rsplit_once(':').expect("a port").1.to_owned());
                let name = String::from_utf8(host.name().to_vec()).expect("a name");
                prop_assert_eq!(port.map_or(name.clone(), |port| format!("{name}:{port}")), text);
            }
        }
    }
}
