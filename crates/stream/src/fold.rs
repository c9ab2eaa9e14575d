//! Folding one shard of the log, an epoch at a time, exactly once.

use crate::log::{Flush, LogError, UsageLog};
use metering::{Changes, ShardNumber, ShardState, StateDelta, UsageWindow, WindowKey};
use sqlx::postgres::PgPool;
use store::shard::Claim;
use store::window::WindowRow;

/// The most entries of the log that are folded in one epoch.
pub const ENTRIES_MAX: i64 = 1000;
/// After so many epochs what is kept of the state becomes one row.
const COMPACT_EVERY: i64 = 64;

/// Why an epoch was not committed.
#[derive(Debug, thiserror::Error)]
pub enum FoldError {
    /// The log could not be read or written.
    #[error("fold shard")]
    Log(#[from] LogError),
    /// The database refused or could not be reached.
    #[error("fold shard")]
    Store(#[from] store::Error),
    /// The state could not be turned into bytes or back.
    #[error("fold shard: encode or decode its state")]
    Codec(#[from] postcard::Error),
    /// Another owner has claimed the shard; this one must stop.
    #[error("fold shard {}: another owner has claimed it; this one stops", .0.number())]
    Stale(ShardNumber),
}

/// What an epoch came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// Nothing was there to fold.
    Idle,
    /// So many entries were folded.
    Folded(usize),
}

/// The owner of one shard.
pub struct Folder {
    pool: PgPool,
    shard: ShardNumber,
    claim: Claim,
    state: ShardState,
}

impl Folder {
    /// Claims the shard and loads what its fold remembers.
    ///
    /// # Errors
    /// See [`FoldError`].
    pub async fn claim(pool: PgPool, shard: ShardNumber) -> Result<Self, FoldError> {
        let number = i16::from(shard.number());
        let mut transaction = pool.begin().await.map_err(begin)?;
        // The claim waits for a commit under way and shuts out every later one of the old owner.
        let claim = store::shard::shard_claim(&mut transaction, number).await?;
        let mut state = ShardState::new(shard);
        for delta in store::shard::state_load(&mut transaction, number).await? {
            state.apply(postcard::from_bytes::<StateDelta>(&delta)?);
        }
        transaction.commit().await.map_err(begin)?;
        Ok(Self { pool, shard, claim, state })
    }

    /// What the fold remembers.
    pub fn state(&self) -> &ShardState {
        &self.state
    }

    /// Folds what the log holds beyond the position, up to [`ENTRIES_MAX`] entries, and commits.
    ///
    /// After an error this value must not be used again: its state may be ahead of the database. Claim anew.
    ///
    /// # Errors
    /// See [`FoldError`].
    pub async fn epoch(&mut self, log: &dyn UsageLog) -> Result<Progress, FoldError> {
        let entries = log.read(self.shard, self.claim.next_seq, ENTRIES_MAX).await?;
        let Some((last, _)) = entries.last() else { return Ok(Progress::Idle) };
        let to = last.saturating_add(1);
        let records = entries.iter().flat_map(|(_, records)| records);
        let changes = metering::step(&mut self.state, records);
        // What belongs to another shard goes there before this position moves on: after a crash it is sent again, and a
        // repeated record changes nothing.
        self.forward(log, &changes).await?;
        self.commit(to, &changes).await?;
        Ok(Progress::Folded(entries.len()))
    }

    async fn forward(&self, log: &dyn UsageLog, changes: &Changes) -> Result<(), FoldError> {
        let mut flush = Flush::new();
        for (account, record) in &changes.forwards {
            flush.entry(ShardNumber::of(*account)).or_default().push(record.clone());
        }
        if !flush.is_empty() {
            log.append(flush).await?;
        }
        Ok(())
    }

    /// Position, state and windows in one transaction.
    async fn commit(&mut self, to: i64, changes: &Changes) -> Result<(), FoldError> {
        let number = i16::from(self.shard.number());
        let mut transaction = self.pool.begin().await.map_err(begin)?;
        let next = store::shard::shard_advance(&mut transaction, number, self.claim, to).await?;
        let next = next.ok_or(FoldError::Stale(self.shard))?;
        let delta = postcard::to_stdvec(&changes.state)?;
        store::shard::state_put(&mut transaction, number, next.epoch, &delta).await?;
        if next.epoch.rem_euclid(COMPACT_EVERY) == 0 {
            self.compact(&mut transaction, number, next.epoch).await?;
        }
        let rows: Vec<WindowRow> =
            changes.windows.iter().map(|(key, window)| row(key, window)).collect();
        store::window::windows_put(&mut transaction, &rows).await?;
        transaction.commit().await.map_err(begin)?;
        self.claim = next;
        Ok(())
    }

    async fn compact(
        &self,
        connection: &mut store::PgConnection,
        number: i16,
        epoch: i64,
    ) -> Result<(), FoldError> {
        let mut whole: Option<StateDelta> = None;
        for delta in store::shard::state_load(connection, number).await? {
            let delta: StateDelta = postcard::from_bytes(&delta)?;
            match &mut whole {
                Some(whole) => whole.merge(delta),
                None => whole = Some(delta),
            }
        }
        if let Some(whole) = whole {
            store::shard::state_compact(connection, number, epoch, &postcard::to_stdvec(&whole)?)
                .await?;
        }
        Ok(())
    }
}

fn begin(source: sqlx::Error) -> store::Error {
    store::Error::Database { act: "commit an epoch", source }
}

fn row(key: &WindowKey, window: &UsageWindow) -> WindowRow {
    let count = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    WindowRow {
        tenant: key.tenant.0,
        resource_uid: key.resource.0,
        meter: key.meter.as_str().to_owned(),
        part: key.part.as_str().to_owned(),
        window_start_microseconds: key.start.microseconds(),
        plan_uid: key.version.map(|version| version.plan.0),
        plan_generation: key.version.map(|version| version.generation),
        quantity: window.quantity.to_string(),
        facts: count(window.facts),
        estimated_facts: count(window.estimated_facts),
    }
}
