//! Why a hash was not computed.

/// Hashing did not happen.
#[derive(Debug, thiserror::Error)]
pub enum HashError {
    /// The queue is full; try again in a second or so.
    #[error("every password worker is busy and the queue is full")]
    Overloaded,
    /// The workers are gone, or something that cannot fail did.
    #[error("password hashing failed: {0}")]
    Failed(String),
}

impl HashError {
    /// Something that cannot fail did.
    pub(super) fn impossible(error: impl std::fmt::Display) -> Self {
        Self::Failed(error.to_string())
    }
}
