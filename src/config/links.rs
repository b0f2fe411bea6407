//! Service links: the variables that Kubernetes makes from a Service of our name.
//!
//! A Service named `sessiond` or `sessiond-…` puts `SESSIOND_PORT=tcp://10.96.12.7:8080` and its like into the
//! environment of every pod beside it. They are distinguished from settings by the form of both name and value, so that
//! a misspelt setting is not taken for a service link. No setting may have such a name, whatever the Service is called.

use std::net::IpAddr;

/// What the value of a link must be.
enum Form {
    /// An address.
    Host,
    /// A port's number; where the name repeats it, this one.
    Port(Option<u16>),
    /// The protocol and where it is spoken; the port and protocol where the name repeats them.
    Url(Option<(u16, &'static str)>),
    /// This word.
    Protocol(&'static str),
}

/// The protocols that a Service can have, as names and values write them.
const PROTOCOLS: [(&str, &str); 3] = [("TCP", "tcp"), ("UDP", "udp"), ("SCTP", "sctp")];

/// Whether a variable has the name and the value of a service link.
pub(super) fn is_service_link(name: &str, value: &str) -> bool {
    forms(name).into_iter().any(|form| form.fits(value))
}

/// Whether some service link can have this name.
#[cfg(test)]
pub(super) fn is_named_like_a_link(name: &str) -> bool {
    !forms(name).is_empty()
}

/// What the values of links with this name look like: none for most names, several for a few.
fn forms(name: &str) -> Vec<Form> {
    let mut forms = Vec::new();
    let Some(rest) = name.strip_prefix("SESSIOND_") else { return forms };
    // With the underscore that begins an ending, whatever stands before it in the Service's name.
    let rest = format!("_{rest}");
    if rest.ends_with("_SERVICE_HOST") {
        forms.push(Form::Host);
    }
    if rest.ends_with("_SERVICE_PORT") || rest.contains("_SERVICE_PORT_") {
        forms.push(Form::Port(None));
    }
    if rest.ends_with("_PORT") {
        forms.push(Form::Url(None));
    }
    // Occurrences may share an underscore.
    for numbered in (0..rest.len()).filter_map(|at| rest.get(at..)?.strip_prefix("_PORT_")) {
        let mut parts = numbered.split('_');
        let (Some(port), Some(protocol)) = (parts.next().and_then(|port| port.parse().ok()), parts.next()) else {
            continue;
        };
        let Some((_, protocol)) = PROTOCOLS.iter().find(|(upper, _)| *upper == protocol) else { continue };
        forms.extend(match (parts.next(), parts.next()) {
            (None, None) => Some(Form::Url(Some((port, protocol)))),
            (Some("PROTO"), None) => Some(Form::Protocol(protocol)),
            (Some("PORT"), None) => Some(Form::Port(Some(port))),
            (Some("ADDR"), None) => Some(Form::Host),
            (Some(_) | None, _) => None,
        });
    }
    forms
}

impl Form {
    fn fits(&self, value: &str) -> bool {
        match self {
            Self::Host => value.parse::<IpAddr>().is_ok(),
            Self::Port(expected) => {
                value.parse().is_ok_and(|port: u16| expected.is_none_or(|expected| port == expected))
            }
            Self::Protocol(expected) => value == *expected,
            Self::Url(expected) => {
                let Some((protocol, place)) = value.split_once("://") else { return false };
                let Some((host, port)) = place.rsplit_once(':') else { return false };
                let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
                let known = PROTOCOLS.iter().any(|(_, lower)| *lower == protocol);
                let as_named = |port: u16| expected.is_none_or(|expected| expected == (port, protocol));
                known && host.parse::<IpAddr>().is_ok() && port.parse().is_ok_and(as_named)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_kubernetes_makes_of_a_service_is_a_link() {
        for (name, value) in [
            ("SESSIOND_SERVICE_HOST", "10.96.12.7"),
            ("SESSIOND_SERVICE_PORT", "8080"),
            ("SESSIOND_SERVICE_PORT_HTTP", "8080"),
            ("SESSIOND_SERVICE_PORT_HTTP_ALT_2", "8080"),
            ("SESSIOND_PORT", "tcp://10.96.12.7:8080"),
            ("SESSIOND_PORT_8080_TCP", "tcp://10.96.12.7:8080"),
            ("SESSIOND_PORT_8080_TCP_PROTO", "tcp"),
            ("SESSIOND_PORT_8080_TCP_PORT", "8080"),
            ("SESSIOND_PORT_8080_TCP_ADDR", "10.96.12.7"),
            ("SESSIOND_PORT_53_UDP", "udp://10.96.12.7:53"),
            ("SESSIOND_PORT_9_SCTP_PROTO", "sctp"),
            ("SESSIOND_OPS_PORT", "tcp://[fd00::7]:9090"),
            ("SESSIOND_OPS_SERVICE_HOST", "fd00::7"),
            ("SESSIOND_OPS_PORT_9090_TCP_ADDR", "fd00::7"),
            ("SESSIOND_LISTEN_PORT", "tcp://10.96.12.7:8080"),
            ("SESSIOND_PORT_PORT_80_TCP", "tcp://10.96.12.7:80"),
        ] {
            assert!(is_service_link(name, value), "{name}={value}");
        }
    }

    #[test]
    fn what_has_the_form_of_a_link_in_only_its_name_or_value_is_none() {
        for (name, value) in [
            ("SESSIOND_PORT", "8080"),
            ("SESSIOND_PORT", "http://10.96.12.7:8080"),
            ("SESSIOND_PORT", "tcp://sessiond:8080"),
            ("SESSIOND_PORT", "tcp://10.96.12.7"),
            ("SESSIOND_LISTEN_PORT", "8080"),
            ("SESSIOND_SERVICE_HOST", "sessiond"),
            ("SESSIOND_SERVICE_PORT", "65536"),
            ("SESSIOND_SERVICE_PORT", "tcp://10.96.12.7"),
            ("SESSIOND_PORT_8080_TCP", "tcp://10.96.12.7:8081"),
            ("SESSIOND_PORT_8080_TCP", "udp://10.96.12.7:8080"),
            ("SESSIOND_PORT_8080_TCP_PORT", "8081"),
            ("SESSIOND_PORT_8080_TCP_PROTO", "udp"),
            ("SESSIOND_PORT_HTTP_TCP_PROTO", "tcp"),
            ("SESSIOND_PORT_8080_TCP_NAME", "tcp"),
            ("SESSIOND_LISTNE", "tcp://10.96.12.7:8080"),
            ("SESSIOND_PUBLIC_UR", "10.96.12.7"),
        ] {
            assert!(!is_service_link(name, value), "{name}={value}");
        }
    }
}
