//! The address of the client: that of the peer, or, behind trusted proxies, the one that they forward.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use axum::extract::FromRequestParts;
use http::header::{HOST, USER_AGENT};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Request};
use tower_http::request_id::RequestId;

use crate::domain::session::Client;
use crate::domain::text::clip;
use crate::http::request::state::{App, Rules};

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// The most entries of the list that are read. No chain of proxies is longer.
const MOST_HOPS: usize = 32;

/// The address a connection came from, put into every request by the server.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub IpAddr);

/// A request, and the address that its connection came from. Kept apart, since a check needs no extensions otherwise.
#[derive(Debug)]
pub struct FromPeer<B> {
    /// The address.
    pub peer: IpAddr,
    /// The request.
    pub request: Request<B>,
}

/// Where a request comes from, to be shown to people.
#[derive(Debug)]
pub struct Sender(pub Client);

impl FromRequestParts<App> for Sender {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Self::Rejection> {
        let text = |name: HeaderName, longest| {
            let value = parts.headers.get(name).map(HeaderValue::as_bytes).unwrap_or_default();
            clip(&String::from_utf8_lossy(value), longest)
        };
        let id = parts.extensions.get::<RequestId>().and_then(|id| id.header_value().to_str().ok());
        let ip = parts.extensions.get::<Peer>().map(|peer| client_address(peer.0, &parts.headers, &app.rules()));
        Ok(Self(Client {
            ip: ip.map(|ip| ip.to_string()).unwrap_or_default(),
            user_agent: text(USER_AGENT, 512),
            host: text(HOST, 255),
            request_id: id.unwrap_or_default().to_owned(),
        }))
    }
}

/// Whether `peer` is a trusted proxy, whose forwarded addresses and ids count.
pub fn is_trusted(peer: IpAddr, app: &App) -> bool {
    app.rules().trusted_proxies.contains(peer)
}

/// The client's address: the rightmost in `X-Forwarded-For` that is not a trusted proxy's.
///
/// Each proxy adds the address that it was called from at the right, in the same line or in one of its own: lines of one
/// name are one list in their order (RFC 9110 section 5.3). The walk goes to the left for as long as the address it has
/// is a trusted proxy's, and ends at an entry that is no address; then the last good one counts.
pub(super) fn client_address(peer: IpAddr, headers: &HeaderMap, rules: &Rules) -> IpAddr {
    let lines = headers.get_all(X_FORWARDED_FOR).iter().rev();
    let entries = lines.flat_map(|line| line.as_bytes().rsplit(|byte| *byte == b',')).map(<[u8]>::trim_ascii);
    let mut client = peer.to_canonical();
    // Empty entries mean nothing in a list (RFC 9110 section 5.6.1), and count all the same.
    for entry in entries.take(MOST_HOPS) {
        if !rules.trusted_proxies.contains(client) {
            break;
        }
        if entry.is_empty() {
            continue;
        }
        let Some(address) = address(entry) else { break };
        client = address.to_canonical();
    }
    client
}

/// Reads an entry as gateways write them: an address, an IPv6 address in brackets, and either with a port.
fn address(entry: &[u8]) -> Option<IpAddr> {
    // A zone names a link of one machine (RFC 4007 section 11), and means nothing elsewhere.
    let entry = std::str::from_utf8(entry).ok().filter(|entry| !entry.contains('%'))?;
    let bare = || entry.parse().ok();
    let bracketed = || entry.strip_prefix('[')?.strip_suffix(']')?.parse().map(Ipv6Addr::into).ok();
    let with_port = || entry.parse().map(|address: SocketAddr| address.ip()).ok();
    bare().or_else(bracketed).or_else(with_port)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_read_as_any_gateway_writes_it() {
        for (entry, wanted) in [
            ("192.0.2.1", Some("192.0.2.1")),
            ("192.0.2.1:5555", Some("192.0.2.1")),
            ("2001:db8::1", Some("2001:db8::1")),
            ("[2001:db8::1]", Some("2001:db8::1")),
            ("[2001:db8::1]:5555", Some("2001:db8::1")),
            ("[::ffff:192.0.2.1]:5555", Some("::ffff:192.0.2.1")),
            ("2001:db8::1:5555", Some("2001:db8::1:5555")),
            ("[fe80::1%1]:80", None),
            ("fe80::1%eth0", None),
            ("", None),
            ("unknown", None),
            ("_hidden", None),
            ("192.0.2", None),
            ("192.0.2.1:", None),
            ("192.0.2.1:x", None),
            ("192.0.2.1:65536", None),
            ("192.0.2.1:1:2", None),
            ("192.0.2.256", None),
            ("192.0.2.1 192.0.2.2", None),
            ("[192.0.2.1]", None),
            ("[192.0.2.1]:80", None),
            ("[2001:db8::1", None),
            ("2001:db8::1]", None),
            ("[2001:db8::1]5555", None),
            ("\"[2001:db8::1]\"", None),
            ("for=192.0.2.1", None),
        ] {
            assert_eq!(address(entry.as_bytes()), wanted.map(|text| text.parse().expect("an address")), "{entry}");
        }
        assert_eq!(address(b"192.0.2.1\xff"), None);
    }
}
