//! argon2id, which is also how hashes are made here, and argon2i.

use argon2::{Algorithm, Argon2, Block, Params, Version};
use subtle::ConstantTimeEq as _;

use super::super::error::HashError;
use super::refusal::{COSTLY, FORM, LENGTHS, MEMORY_KIB_MOST, Why};
use super::text::{bytes, costs, number, parts, salt_and_output};

/// OWASP Password Storage Cheat Sheet, argon2id: m=19456 KiB, t=2, p=1.
pub(crate) const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;
/// The length of the salt and of the output of a hash made here, in bytes.
pub(crate) const SALT: usize = 16;
const OUTPUT: usize = 32;

/// The most lanes, which are computed one after the other: some programs write as many as their machine has cores.
const LANES_MOST: u32 = 255;
/// The most passes. With many over little memory, work takes much less time than with few over much.
const PASSES_MOST: u32 = 16;
/// The most memory times passes, to which the time of a hash is proportional: some fourteen times what a hash of ours
/// takes. A planted or imported row must neither stop the workers nor exhaust the machine.
const WORK_MOST: u64 = 4 * MEMORY_KIB_MOST as u64;

/// The memory that hashes are computed in.
///
/// It is kept from hash to hash: a fresh block each time costs page faults and stays with the allocator.
#[derive(Default)]
pub(crate) struct Blocks(Vec<Block>);

impl Blocks {
    /// How much is kept, in KiB.
    #[cfg(test)]
    pub(crate) const fn kept(&self) -> usize {
        self.0.capacity()
    }
}

/// A hash of argon2id or argon2i.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Argon2Hash {
    algorithm: Algorithm,
    version: Version,
    memory_kib: u32,
    passes: u32,
    lanes: u32,
    salt: Vec<u8>,
    output: Vec<u8>,
}

impl Argon2Hash {
    /// Puts a hash together.
    ///
    /// # Errors
    /// The reason why it is never computed.
    pub(crate) fn new(
        algorithm: &str,
        version: u32,
        [memory_kib, passes, lanes]: [u32; 3],
        salt: Vec<u8>,
        output: Vec<u8>,
    ) -> Result<Self, Why> {
        let algorithm = match algorithm {
            "argon2id" => Algorithm::Argon2id,
            "argon2i" => Algorithm::Argon2i,
            "argon2d" => return Err("is of argon2d, which is not made for passwords"),
            _ => return Err("is not of argon2"),
        };
        let version = Version::try_from(version).map_err(|_| "is of an unknown version of argon2")?;
        if !(8..=64).contains(&salt.len()) || !(16..=64).contains(&output.len()) {
            return Err(LENGTHS);
        }
        let work = u64::from(memory_kib) * u64::from(passes);
        if memory_kib > MEMORY_KIB_MOST || passes > PASSES_MOST || lanes > LANES_MOST || work > WORK_MOST {
            return Err(COSTLY);
        }
        let hash = Self { algorithm, version, memory_kib, passes, lanes, salt, output };
        hash.params().map_err(|_| "has costs that argon2 does not allow")?;
        Ok(hash)
    }

    /// Reads `$argon2id$v=19$m=…,t=…,p=…$salt$output`, every part as the PHC format has it and in this order.
    ///
    /// # Errors
    /// The reason why it is never computed.
    pub(crate) fn parse(text: &str) -> Result<Self, Why> {
        let [algorithm, version, written, salt, output] = parts(text)?;
        // Without a version it would be the first one, which computes otherwise.
        let version = number(version.strip_prefix("v=").ok_or(FORM)?)?;
        Self::new(algorithm, version, costs(written, ["m", "t", "p"])?, bytes(salt)?, bytes(output)?)
    }

    /// Hashes `password` as it is done here.
    ///
    /// # Errors
    /// When something fails that cannot.
    pub(crate) fn make(password: &[u8], salt: Vec<u8>, blocks: &mut Blocks) -> Result<Self, HashError> {
        let mut hash = Self {
            algorithm: Algorithm::Argon2id,
            version: Version::V0x13,
            memory_kib: MEMORY_KIB,
            passes: PASSES,
            lanes: LANES,
            salt,
            output: vec![0; OUTPUT],
        };
        hash.output = hash.derive(password, blocks)?;
        Ok(hash)
    }

    /// Whether a hash that is made now would have these costs, and a salt and an output at least as long.
    pub(crate) fn is_up_to_date(&self) -> bool {
        (self.algorithm, self.version) == (Algorithm::Argon2id, Version::V0x13)
            && (self.memory_kib, self.passes, self.lanes) == (MEMORY_KIB, PASSES, LANES)
            && self.salt.len() >= SALT
            && self.output.len() >= OUTPUT
    }

    /// Whether it is of the kind that is stored without the name of its scheme: argon2id in its present version.
    pub(crate) fn is_argon2id(&self) -> bool {
        (self.algorithm, self.version) == (Algorithm::Argon2id, Version::V0x13)
    }

    /// How much memory it takes to compute, in KiB.
    pub(crate) const fn memory_kib(&self) -> u32 {
        self.memory_kib
    }

    /// The name of its scheme.
    pub(super) const fn scheme(&self) -> &'static str {
        match self.algorithm {
            Algorithm::Argon2i => "argon2i",
            Algorithm::Argon2id | Algorithm::Argon2d => "argon2id",
        }
    }

    /// How it begins, up to the salt.
    pub(crate) fn costs(&self) -> String {
        let Self { memory_kib, passes, lanes, version, .. } = self;
        format!("${}$v={}$m={memory_kib},t={passes},p={lanes}$", self.scheme(), u32::from(*version))
    }

    /// The rest of it.
    pub(crate) fn salt_and_output(&self) -> String {
        salt_and_output(&self.salt, &self.output)
    }

    /// Whether it is of these bytes.
    pub(crate) fn is_of(&self, password: &[u8], blocks: &mut Blocks) -> Result<bool, HashError> {
        Ok(self.derive(password, blocks)?.ct_eq(&self.output).into())
    }

    fn params(&self) -> Result<Params, argon2::Error> {
        Params::new(self.memory_kib, self.passes, self.lanes, Some(self.output.len()))
    }

    fn derive(&self, password: &[u8], Blocks(blocks): &mut Blocks) -> Result<Vec<u8>, HashError> {
        let params = self.params().map_err(HashError::impossible)?;
        let (wanted, usual) = (params.block_count(), usize::try_from(MEMORY_KIB).unwrap_or_default());
        if blocks.len() < wanted {
            blocks.resize(wanted, Block::default());
        }
        let mut output = vec![0; self.output.len()];
        let derived = Argon2::new(self.algorithm, self.version, params)
            .hash_password_into_with_memory(
                password,
                &self.salt,
                &mut output,
                blocks.get_mut(..wanted).unwrap_or_default(),
            )
            .map_err(HashError::impossible);
        // The memory of a large hash is not kept, so that all workers together stay small.
        blocks.truncate(usual);
        blocks.shrink_to(usual);
        derived.map(|()| output)
    }
}
