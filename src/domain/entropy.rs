//! Randomness as a value, and where it comes from.

use rand::TryRng as _;

/// The random source gave nothing; whatever needed it must fail.
#[derive(Debug, thiserror::Error)]
#[error("the operating system's random source failed")]
pub struct NoEntropy;

/// Fills buffers with unpredictable bytes. Passed in, so that tests can be deterministic.
pub trait Entropy: Send + Sync + 'static {
    /// Fills `bytes` whole.
    ///
    /// # Errors
    /// [`NoEntropy`] when the source fails; `bytes` must then not be used.
    fn fill(&self, bytes: &mut [u8]) -> Result<(), NoEntropy>;
}

/// The operating system's random source (OWASP ASVS 11.5.1).
#[derive(Debug, Default)]
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), NoEntropy> {
        rand::rngs::SysRng.try_fill_bytes(bytes).map_err(|_| NoEntropy)
    }
}
