//! Every family of proxies, and which of them asks at a path.

use super::family::{Denial, Family};
use super::original::Original;
use super::{caddy, envoy, haproxy, nginx, traefik};

/// Any service that wants to know who is calling.
const NEUTRAL: Family =
    Family { path: "/verify", asks_below: false, original: |_, _, _| Original::default(), denial: Denial::Bare };

/// Every family.
pub static ALL: [Family; 6] = [NEUTRAL, nginx::FAMILY, traefik::FAMILY, caddy::FAMILY, haproxy::FAMILY, envoy::FAMILY];

/// Its place in [`ALL`], if it asks at this path.
pub fn at(path: &str) -> Option<usize> {
    // No other route begins like this.
    if !path.starts_with(NEUTRAL.path) {
        return None;
    }
    ALL.iter().position(|family| family.asks_at(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_family_has_its_path() {
        for (path, wanted) in [
            ("/verify", Some("/verify")),
            ("/verify/nginx", Some("/verify/nginx")),
            ("/verify/envoy", Some("/verify/envoy")),
            ("/verify/envoy/", Some("/verify/envoy")),
            ("/verify/envoy/app/x", Some("/verify/envoy")),
            ("/verify/envoyx", None),
            ("/verify/", None),
            ("/verify/nginx/", None),
            ("/verify/nginx/x", None),
            ("/verifyx", None),
            ("/Verify", None),
            ("/", None),
        ] {
            assert_eq!(at(path).and_then(|at| ALL.get(at)).map(|family| family.path), wanted, "{path}");
        }
    }
}
