//! nginx, which asks by `auth_request`: a GET without a body, whatever was asked of nginx itself. It takes 2xx for
//! "allowed" and 401 or 403 for "refused", and turns every other status into a 500.

use http::HeaderName;

use super::family::{Denial, Family};
use super::original::{Address, Original, method};
use crate::http::request::single::only;

const X_ORIGINAL_METHOD: HeaderName = HeaderName::from_static("x-original-method");
const X_ORIGINAL_URL: HeaderName = HeaderName::from_static("x-original-url");

/// Says which request it asks about in the two headers that its configuration sets.
pub const FAMILY: Family = Family {
    path: "/verify/nginx",
    asks_below: false,
    original: |_, _, headers| Original {
        method: only(headers, &X_ORIGINAL_METHOD).and_then(method),
        address: only(headers, &X_ORIGINAL_URL).and_then(Address::parse),
    },
    denial: Denial::Location,
};
