//! Mistakes that can be made in the examples, in a file for each.

pub mod caddy;
pub mod envoy;
pub mod haproxy;
pub mod nginx;
pub mod traefik;

/// A mistake in an example.
pub struct Mistake {
    /// What it is.
    pub name: &'static str,
    /// Texts of its files, and what stands there instead.
    pub instead: &'static [(&'static str, &'static str)],
    /// The checks that have to find it.
    pub faults: &'static [&'static str],
}
