//! Appending what is declared to the usage log, once for as long as the program runs.
//!
//! Whatever was said before the program started is said again: that changes nothing and needs no memory on disk.

use ids::{AccountId, ResourceUid};
use metering::{Record, ShardNumber};
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use stream::{Flush, LogError, PostgresLog, UsageLog};

/// Why something declared is not in the usage log.
#[derive(Debug, thiserror::Error)]
#[error("say in the usage log what is declared")]
pub struct AnnounceError(#[from] LogError);

/// Where a record has to be said.
#[derive(Debug, Clone, Copy)]
pub(super) enum Audience {
    /// Everywhere.
    All,
    /// In the account's shard.
    Account(AccountId),
    /// In the account's shard, and where facts about the resource may wait for an owner.
    Resource(AccountId, ResourceUid),
}

/// Says each thing once.
pub(super) struct Announcer {
    log: PostgresLog,
    said: Mutex<BTreeMap<String, Record>>,
}

impl Announcer {
    pub(super) fn new(log: PostgresLog) -> Self {
        Self { log, said: Mutex::default() }
    }

    /// Appends `record` unless the last one said under `key` was the same; durable on return.
    pub(super) async fn announce(
        &self,
        key: String,
        audience: Audience,
        record: Record,
    ) -> Result<(), AnnounceError> {
        if self.said().get(&key) == Some(&record) {
            return Ok(());
        }
        self.append(audience, vec![record.clone()]).await?;
        self.said().insert(key, record);
        Ok(())
    }

    /// Appends `records`; durable on return.
    pub(super) async fn append(
        &self,
        audience: Audience,
        records: Vec<Record>,
    ) -> Result<(), AnnounceError> {
        let shards: Vec<ShardNumber> = match audience {
            Audience::All => ShardNumber::all().collect(),
            Audience::Account(account) => vec![ShardNumber::of(account)],
            Audience::Resource(account, resource) => {
                vec![ShardNumber::of(account), ShardNumber::of_unknown(resource)]
            }
        };
        let flush: Flush = shards.into_iter().map(|shard| (shard, records.clone())).collect();
        Ok(self.log.append(flush).await?)
    }

    /// Forgets what was said under `key`: its object is gone.
    pub(super) fn forget(&self, key: &str) {
        self.said().remove(key);
    }

    fn said(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Record>> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
