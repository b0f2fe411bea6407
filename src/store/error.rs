//! Why a store's operation has no result.

use std::fmt;
use std::sync::Arc;

use crate::telemetry::outage::StoreCause;

/// Why an operation has no result. A row that is not there is an outcome, not an error.
///
/// Its text never holds a value that was stored or asked for: such details of a driver's error are left out.
#[derive(Clone, Debug)]
pub enum StoreError {
    /// Refused, dropped, disk full, I/O error: nothing was changed, or what was changed is unknown.
    Unreachable(Cause),
    /// No answer in time; a write may or may not have happened.
    TooSlow(Cause),
    /// What the store holds, or was asked, makes no sense: a bug here or a change made by hand in the database.
    Inconsistent(Cause),
}

/// The result of every operation.
pub type Result<T> = std::result::Result<T, StoreError>;

/// What happened in words, and the error that it comes from, if it comes from one.
///
/// One failure may be the answer to a whole batch, so it can be cloned.
#[derive(Clone)]
pub struct Cause {
    words: String,
    source: Option<Arc<dyn std::error::Error + Send + Sync>>,
}

impl Cause {
    /// A failure in words, which include what an operator must know of `source`. The log writes what `source`
    /// displays as well, so that must not hold a value that was stored or asked for either.
    pub fn new(words: impl Into<String>, source: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self { words: words.into(), source: Some(Arc::new(source)) }
    }

    /// An error of the driver, whose words are given. Those of a database that has refused something are all that may be
    /// logged of it; the driver's own say the same around them.
    pub(super) fn of_driver(words: String, error: sqlx::Error) -> Self {
        if matches!(error, sqlx::Error::Database(_)) { Self::from(words) } else { Self::new(words, error) }
    }
}

impl From<String> for Cause {
    fn from(words: String) -> Self {
        Self { words, source: None }
    }
}

impl From<&str> for Cause {
    fn from(words: &str) -> Self {
        Self::from(words.to_owned())
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words)
    }
}

impl fmt::Debug for Cause {
    /// Shows only the words, since a driver's error may hold values in its details.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.words, f)
    }
}

impl std::error::Error for Cause {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn std::error::Error + 'static))
    }
}

impl StoreError {
    /// That there was no answer, or a deadline passed, in words.
    pub fn too_slow(words: impl Into<Cause>) -> Self {
        Self::TooSlow(words.into())
    }

    /// That the store cannot be reached, in words.
    pub fn unreachable(words: impl Into<Cause>) -> Self {
        Self::Unreachable(words.into())
    }

    /// That the store makes no sense, in words.
    pub fn inconsistent(words: impl Into<Cause>) -> Self {
        Self::Inconsistent(words.into())
    }

    /// Of which kind it is, for the log and the metrics.
    pub const fn cause(&self) -> StoreCause {
        match self {
            Self::Unreachable(_) => StoreCause::unreachable,
            Self::TooSlow(_) => StoreCause::too_slow,
            Self::Inconsistent(_) => StoreCause::inconsistent,
        }
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable(cause) => write!(f, "the store cannot be reached: {cause}"),
            Self::TooSlow(cause) => write!(f, "the store did not answer in time: {cause}"),
            Self::Inconsistent(cause) => write!(f, "the store holds or was asked something impossible: {cause}"),
        }
    }
}

impl std::error::Error for StoreError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        let (Self::Unreachable(cause) | Self::TooSlow(cause) | Self::Inconsistent(cause)) = self;
        cause.source()
    }
}
