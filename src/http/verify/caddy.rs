//! Caddy, which asks by `forward_auth` and hands any answer but 2xx to the client.

use super::family::{Denial, Family};
use super::original::forwarded;

/// Says which request it asks about in `X-Forwarded-*`. Its check is always a GET.
pub const FAMILY: Family = Family {
    path: "/verify/caddy",
    asks_below: false,
    original: |_, _, headers| forwarded(headers),
    denial: Denial::Answer,
};
