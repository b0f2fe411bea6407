//! Why a hash is never computed, in words that go behind "a hash", and the bound that several schemes share.

/// A reason.
pub(crate) type Why = &'static str;

/// It is not written as it should be.
pub(crate) const FORM: Why = "is not written as its scheme has it";
/// Its salt or its output is of a length that its scheme does not have.
pub(super) const LENGTHS: Why = "has a salt or an output of an unusual length";
/// It would keep a worker for too long, or take too much memory.
pub(super) const COSTLY: Why = "asks for more work or memory than is accepted";

/// The most memory that a stored hash may ask for, in KiB. Hashes of more than the usual block take turns.
pub(super) const MEMORY_KIB_MOST: u32 = 128 * 1024;
