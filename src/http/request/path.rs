//! What stands in a path.

use axum::extract::Path;
use axum::extract::rejection::PathRejection;

use crate::service::Error;

/// What stands in a path.
pub type InPath<T> = Result<Path<T>, PathRejection>;

/// Reads an id that stands in a path, of a user or of a session. What cannot be one names nothing.
///
/// # Errors
/// [`Error::NotFound`].
pub fn id<T: std::str::FromStr>(path: InPath<String>) -> Result<T, Error> {
    path.ok().and_then(|Path(id)| id.parse().ok()).ok_or(Error::NotFound)
}
