//! What any usage log has to do, whatever carries it.

use async_trait::async_trait;
use metering::{Record, ShardNumber};
use std::collections::BTreeMap;

/// Records that become durable together, by shard, in order.
pub type Flush = BTreeMap<ShardNumber, Vec<Record>>;

/// Why the log did not do its work.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The store refused or could not be reached; nothing is known to be durable.
    #[error("usage log")]
    Store(#[from] store::Error),
    /// Records could not be turned into bytes or back.
    #[error("usage log: encode or decode records")]
    Codec(#[from] postcard::Error),
    /// Entries are missing before the one asked for.
    #[error(
        "usage log: shard {} begins at {first}, but {from} was asked for; restore the log or the database",
        .shard.number()
    )]
    Hole {
        /// The shard.
        shard: ShardNumber,
        /// The first entry there is.
        first: i64,
        /// The one asked for.
        from: i64,
    },
    /// The transaction that carried this append and others failed.
    #[error("usage log: {0}")]
    Joined(String),
    /// The log is shutting down.
    #[error("usage log: the writer has ended")]
    Closed,
}

impl LogError {
    /// Whether what the log holds, or was given, is at fault: trying again changes nothing.
    pub fn is_refusal(&self) -> bool {
        match self {
            Self::Store(error) => error.is_refusal(),
            Self::Codec(_) | Self::Hole { .. } => true,
            Self::Joined(_) | Self::Closed => false,
        }
    }
}

/// A log of 64 shards.
#[async_trait]
pub trait UsageLog: Send + Sync {
    /// Makes all records durable before it returns; per shard they become one entry.
    ///
    /// # Errors
    /// [`LogError`]: the caller may append again, a repeated record changes nothing.
    async fn append(&self, flush: Flush) -> Result<(), LogError>;

    /// Up to `entries_max` entries of a shard from number `from` on, as (number, records), without holes.
    ///
    /// # Errors
    /// [`LogError::Hole`] when the log no longer has `from`.
    async fn read(
        &self,
        shard: ShardNumber,
        from: i64,
        entries_max: i64,
    ) -> Result<Vec<(i64, Vec<Record>)>, LogError>;

    /// Forgets entries below `below`; false, and nothing forgotten, while some of them are not folded.
    ///
    /// # Errors
    /// [`LogError`].
    async fn trim(&self, shard: ShardNumber, below: i64) -> Result<bool, LogError>;
}
