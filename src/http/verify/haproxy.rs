//! HAProxy, which asks by a HEAD from Lua, and whose configuration makes redirects and refusals itself.

use super::family::{Denial, Family};
use super::original::forwarded;

/// Says which request it asks about in `X-Forwarded-*`, which the Lua file sets.
pub const FAMILY: Family = Family {
    path: "/verify/haproxy",
    asks_below: false,
    original: |_, _, headers| forwarded(headers),
    denial: Denial::Location,
};
