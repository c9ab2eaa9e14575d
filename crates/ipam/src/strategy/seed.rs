//! The number that takes the place of chance.

use ids::ResourceUid;
use sha2::{Digest, Sha256};

/// From where a dispersed claim begins to look. Part of the stored format: it may never be computed otherwise, or a
/// replay would choose differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seed(pub u64);

impl Seed {
    /// The first 8 bytes of SHA-256(claim UID, pool UID), big-endian; UIDs as their 16 bytes. A claim for several addresses
    /// appends the number of the address (2 bytes, big-endian) from the second on.
    pub fn of(claim: ResourceUid, pool: ResourceUid, number: u16) -> Self {
        let mut hasher = Sha256::new();
        hasher.update(claim.0.as_bytes());
        hasher.update(pool.0.as_bytes());
        if number > 0 {
            hasher.update(number.to_be_bytes());
        }
        let hash: [u8; 32] = hasher.finalize().into();
        Self(hash.iter().take(8).fold(0, |seed, byte| (seed << 8) | u64::from(*byte)))
    }

    /// The slot to begin with: the lowest byte.
    pub(super) const fn slot(self) -> u8 {
        let [low, ..] = self.0.to_le_bytes();
        low
    }

    /// One of `count` blocks, from 0; none of none. The bits above the slot's, so that both do not go together.
    pub(super) fn pick(self, count: u128) -> Option<u128> {
        u128::from(self.0 >> 8).checked_rem(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seed_is_frozen() {
        let uid = |text: &str| text.parse::<ResourceUid>().unwrap();
        let claim = uid("123e4567-e89b-12d3-a456-426614174000");
        let pool = uid("00000000-0000-0000-0000-000000000001");
        // printf '123e4567e89b12d3a45642661417400000000000000000000000000000000001' | xxd -r -p | sha256sum
        assert_eq!(Seed::of(claim, pool, 0).0, 0xbd1e_c438_a81e_8fbe);
        // … the same with 0001 appended
        assert_eq!(Seed::of(claim, pool, 1).0, 0xa06e_0c96_7786_e865);
    }
}
