//! The usage log in PostgreSQL.
//!
//! A commit waits for the disk, so appends are joined: whatever arrives while one transaction is under way goes into the
//! next. A lone append waits for nobody.

use crate::log::{Flush, LogError, UsageLog};
use async_trait::async_trait;
use metering::{Record, ShardNumber};
use sqlx::postgres::PgPool;
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot, watch};

/// The most appends that become one transaction.
const JOINED_MAX: usize = 256;
/// The most appends that wait; beyond it senders wait.
const WAITING_MAX: usize = 1024;

type Waiting = (Flush, oneshot::Sender<Result<(), Arc<LogError>>>);

/// The log; clones share one writer.
#[derive(Clone)]
pub struct PostgresLog {
    pool: PgPool,
    writer: mpsc::Sender<Waiting>,
    news: watch::Receiver<u64>,
}

impl PostgresLog {
    /// A log in a migrated database; its writer ends with the last clone.
    pub fn new(pool: PgPool) -> Self {
        let (writer, mut waiting) = mpsc::channel::<Waiting>(WAITING_MAX);
        let own = pool.clone();
        let (announce, news) = watch::channel(0_u64);
        tokio::spawn(async move {
            let mut joined = Vec::with_capacity(JOINED_MAX);
            while waiting.recv_many(&mut joined, JOINED_MAX).await > 0 {
                let (flushes, senders): (Vec<Flush>, Vec<_>) = joined.drain(..).unzip();
                let result = write(&own, flushes).await.map_err(Arc::new);
                announce.send_modify(|count| *count = count.wrapping_add(1));
                for sender in senders {
                    // A sender that has gone away needs no answer.
                    sender.send(result.clone()).ok();
                }
            }
        });
        Self { pool, writer, news }
    }

    /// Changes with every append of this process; others' appends are found by looking.
    pub fn news(&self) -> watch::Receiver<u64> {
        self.news.clone()
    }
}

/// One transaction for many appends, one entry per shard.
async fn write(pool: &PgPool, flushes: Vec<Flush>) -> Result<(), LogError> {
    let mut joined = Flush::new();
    for (shard, records) in flushes.into_iter().flatten() {
        joined.entry(shard).or_default().extend(records);
    }
    joined.retain(|_, records| !records.is_empty());
    if joined.is_empty() {
        return Ok(());
    }
    let shards: Vec<i16> = joined.keys().map(|shard| i16::from(shard.number())).collect();
    let payloads: Vec<Vec<u8>> =
        joined.values().map(postcard::to_stdvec).collect::<Result<_, _>>()?;
    let begin = |source| store::Error::Database { act: "append to the usage log", source };
    let mut transaction = pool.begin().await.map_err(begin)?;
    let numbers = store::log::log_numbers_take(&mut transaction, &shards).await?;
    store::log::log_insert(&mut transaction, &shards, &numbers, &payloads).await?;
    transaction.commit().await.map_err(begin)?;
    Ok(())
}

#[async_trait]
impl UsageLog for PostgresLog {
    async fn append(&self, flush: Flush) -> Result<(), LogError> {
        let (sender, answer) = oneshot::channel();
        self.writer.send((flush, sender)).await.map_err(|_| LogError::Closed)?;
        let result = answer.await.map_err(|_| LogError::Closed)?;
        result.map_err(|shared| match Arc::try_unwrap(shared) {
            Ok(error) => error,
            // The others of the same transaction hear it too; the words are the same.
            Err(shared) => LogError::Joined(shared.to_string()),
        })
    }

    async fn read(
        &self,
        shard: ShardNumber,
        from: i64,
        entries_max: i64,
    ) -> Result<Vec<(i64, Vec<Record>)>, LogError> {
        let acquire = |source| store::Error::Database { act: "read the usage log", source };
        let mut connection = self.pool.acquire().await.map_err(acquire)?;
        let number = i16::from(shard.number());
        let entries = store::log::log_read(&mut connection, number, from, entries_max).await?;
        if let Some(first) = entries.first().map(|entry| entry.seq).filter(|first| *first != from) {
            return Err(LogError::Hole { shard, first, from });
        }
        entries
            .into_iter()
            .map(|entry| Ok((entry.seq, postcard::from_bytes(&entry.payload)?)))
            .collect()
    }

    async fn trim(&self, shard: ShardNumber, below: i64) -> Result<bool, LogError> {
        let acquire = |source| store::Error::Database { act: "trim the usage log", source };
        let mut connection = self.pool.acquire().await.map_err(acquire)?;
        Ok(store::log::log_trim(&mut connection, i16::from(shard.number()), below).await?)
    }
}
