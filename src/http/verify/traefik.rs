//! Traefik, which asks by `ForwardAuth` and hands any answer but 2xx to the client.

use super::family::{Denial, Family};
use super::original::forwarded;

/// Says which request it asks about in `X-Forwarded-*`.
pub const FAMILY: Family = Family {
    path: "/verify/traefik",
    asks_below: false,
    original: |_, _, headers| forwarded(headers),
    denial: Denial::Answer,
};
