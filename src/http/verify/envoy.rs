//! Envoy, which asks by `ext_authz` over HTTP, and the Gateway API, which asks by `ExternalAuth`: with the request's own
//! method, `Host` and path, the path behind a prefix. They hand any answer but 200 to the client.

use http::header::HOST;

use super::family::{Denial, Family};
use super::original::{Address, Original};
use crate::http::request::forwarded::scheme;
use crate::http::request::single::only;

const PATH: &str = "/verify/envoy";

/// Of `X-Forwarded-*` only the scheme counts: Envoy lets a client's own `-Host`, `-Uri` and `-Method` through.
pub const FAMILY: Family = Family {
    path: PATH,
    asks_below: true,
    original: |method, uri, headers| {
        let target = uri.path_and_query().and_then(|target| target.as_str().strip_prefix(PATH));
        let target = target.map(|target| if target.starts_with('/') { target.as_bytes() } else { b"/" });
        let address = || Address::new(scheme(headers)?, only(headers, &HOST)?, target?);
        Original { method: Some(method.clone()), address: address() }
    },
    denial: Denial::Answer,
};
