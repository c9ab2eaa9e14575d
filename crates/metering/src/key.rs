//! What the log is cut by: shards, series, meters and parts.
//!
//! The shard of an account and the hash of a label set are written into the log and the database, so both functions
//! are frozen: the test vectors below may never change. FNV-1a with a final mix was taken over a keyed or
//! cryptographic hash because it is a page of arithmetic that any other program can repeat, and because nothing is
//! gained by a collision: a series hash only tells series of one resource, meter and part apart.

use ids::{AccountId, ResourceUid};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::sync::Arc;

/// How many shards there are, for ever; the widest spread over workers.
pub const SHARD_COUNT: u8 = 64;

/// A shard, 0 to 63.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub struct ShardNumber(u8);

/// A number that is no shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("shard {number} does not exist; shards are 0 to 63")]
pub struct NoSuchShard {
    /// The number as given.
    pub number: u8,
}

impl ShardNumber {
    /// The shard that holds everything of `account`.
    pub fn of(account: AccountId) -> Self {
        Self::of_bytes(account.0.as_bytes())
    }

    /// Where facts about a resource wait while nobody knows whose it is.
    pub fn of_unknown(resource: ResourceUid) -> Self {
        Self::of_bytes(resource.0.as_bytes())
    }

    fn of_bytes(bytes: &[u8]) -> Self {
        let number = mix(fnv(FNV_OFFSET, bytes)) & 63;
        // Six bits always fit.
        Self(u8::try_from(number).unwrap_or(0))
    }

    /// The number, 0 to 63.
    pub const fn number(self) -> u8 {
        self.0
    }

    /// All 64, ascending.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..SHARD_COUNT).map(Self)
    }
}

impl TryFrom<u8> for ShardNumber {
    type Error = NoSuchShard;

    fn try_from(number: u8) -> Result<Self, Self::Error> {
        if number < SHARD_COUNT { Ok(Self(number)) } else { Err(NoSuchShard { number }) }
    }
}

impl From<ShardNumber> for u8 {
    fn from(shard: ShardNumber) -> Self {
        shard.0
    }
}

/// The canonical hash of a label set, replica labels left out.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct SeriesHash(pub u64);

/// Hashes labels. `labels` may come in any order; those named in `without` (replica labels) do not count. Names and
/// values are hashed with their lengths, so that no two different sets run together.
pub fn hash_labels<'a>(
    labels: impl IntoIterator<Item = (&'a str, &'a str)>,
    without: &[&str],
) -> SeriesHash {
    let mut pairs: Vec<(&str, &str)> =
        labels.into_iter().filter(|(name, _)| !without.contains(name)).collect();
    pairs.sort_unstable();
    let hash = pairs.into_iter().fold(FNV_OFFSET, |hash, (name, value)| {
        [name, value].into_iter().fold(hash, |hash, text| {
            let length = u64::try_from(text.len()).unwrap_or(u64::MAX);
            fnv(fnv(hash, &length.to_le_bytes()), text.as_bytes())
        })
    });
    SeriesHash(mix(hash))
}

const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0000_0100_0000_01b3;

fn fnv(start: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(start, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(FNV_PRIME))
}

/// The finaliser of splitmix64: FNV leaves its low bits poorly mixed, and the shard is taken from those.
fn mix(hash: u64) -> u64 {
    let hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

macro_rules! shared_text {
    ($(#[$docs:meta])* $name:ident) => {
        $(#[$docs])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(Arc::from(text))
            }
        }

        impl From<String> for $name {
            fn from(text: String) -> Self {
                Self(Arc::from(text))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(&self.0)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer).map(Self::from)
            }
        }
    };
}

shared_text! {
    /// `metadata.name` of a Meter. Cloning shares the text.
    MeterName
}

shared_text! {
    /// What tells parts of one resource apart under a meter, such as an interface; empty where there are none.
    /// Cloning shares the text.
    Part
}

impl Part {
    /// No part: the resource as a whole.
    pub fn whole() -> Self {
        Self::from("")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shard(account: &str) -> u8 {
        ShardNumber::of(account.parse().unwrap()).number()
    }

    /// Frozen: logs and tables are laid out by these.
    #[test]
    fn shards_are_pinned() {
        let vectors = [
            ("00000000-0000-0000-0000-000000000000", 63),
            ("00000000-0000-0000-0000-000000000001", 36),
            ("123e4567-e89b-12d3-a456-426614174000", 36),
            ("ffffffff-ffff-ffff-ffff-ffffffffffff", 49),
            ("6ba7b810-9dad-11d1-80b4-00c04fd430c8", 7),
        ];
        let found: Vec<u8> = vectors.iter().map(|(account, _)| shard(account)).collect();
        let wanted: Vec<u8> = vectors.iter().map(|(_, number)| *number).collect();
        assert_eq!(found, wanted);
    }

    #[test]
    fn accounts_spread_over_all_shards() {
        let mut counts = [0_u32; 64];
        for number in 0..6_400_u128 {
            let account = AccountId(uuid_of(number));
            counts[usize::from(ShardNumber::of(account).number())] += 1;
        }
        assert!(counts.iter().all(|count| (50..=160).contains(count)), "{counts:?}");
    }

    fn uuid_of(number: u128) -> uuid::Uuid {
        uuid::Uuid::from_u128(number)
    }

    #[test]
    fn label_hashes_are_pinned() {
        let labels = [("__name__", "cpu_seconds_total"), ("uuid", "x"), ("replica", "a")];
        let mut turned = labels;
        turned.reverse();
        let hash = hash_labels(labels, &["replica"]);
        assert_eq!(hash, hash_labels(turned, &["replica"]));
        assert_ne!(hash, hash_labels(labels, &[]));
        assert_ne!(hash_labels([("ab", "c")], &[]), hash_labels([("a", "bc")], &[]));
        assert_eq!(hash, SeriesHash(12_107_895_449_667_645_825));
    }

    #[test]
    fn there_are_64_shards() {
        assert_eq!(ShardNumber::all().count(), 64);
        assert!(ShardNumber::try_from(63).is_ok());
        assert!(ShardNumber::try_from(64).is_err());
    }
}
