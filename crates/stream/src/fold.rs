//! Folding one shard of the log, an epoch at a time, exactly once.
//!
//! Each epoch commits the position and the state. Windows and lines are absolute values that follow from the state, so
//! they may be written every few epochs: what has changed since is *dirty*, and after a crash that is found again in the
//! state's deltas. Freshness is all that this costs.

use crate::log::{Flush, LogError, UsageLog};
use crate::rows;
use metering::{Changes, Record, ShardNumber, ShardState, StateDelta, WindowKey};
use sqlx::postgres::PgPool;
use std::collections::BTreeSet;
use store::line::{LineRow, RatedScope, UnpricedRow};
use store::shard::Claim;
use store::window::WindowRow;

/// The most entries of the log that are folded in one epoch.
pub const ENTRIES_MAX: i64 = 256;
/// After so many epochs small rows of the state are joined.
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

impl FoldError {
    /// Whether what this shard holds is at fault: trying again changes nothing, and other shards are not concerned.
    pub fn is_refusal(&self) -> bool {
        match self {
            Self::Log(error) => error.is_refusal(),
            Self::Store(error) => error.is_refusal(),
            Self::Codec(_) => true,
            Self::Stale(_) => false,
        }
    }
}

/// What an epoch came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// Nothing was there to fold.
    Idle,
    /// So many entries were folded.
    Folded(usize),
}

/// Lines that are due: what rating makes of the dirty windows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LinesDue {
    /// Lines as they are now.
    pub lines: Vec<LineRow>,
    /// What was rated anew; lines within it that are not among `lines` are void.
    pub scopes: Vec<RatedScope>,
    /// What no card prices, by the scopes with a meter.
    pub unpriced: Vec<UnpricedRow>,
}

/// One epoch, folded and not committed yet.
pub struct Folded {
    to: i64,
    changes: Changes,
}

impl Folded {
    /// What was seen, for metrics.
    pub fn counts(&self) -> &metering::StepCounts {
        &self.changes.counts
    }
}

/// The owner of one shard.
pub struct Folder {
    pool: PgPool,
    shard: ShardNumber,
    claim: Claim,
    state: ShardState,
    dirty: BTreeSet<WindowKey>,
    clean_before: i64,
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
        let mut dirty = BTreeSet::new();
        for (epoch, delta) in store::shard::state_load(&mut transaction, number).await? {
            let delta: StateDelta = postcard::from_bytes(&delta)?;
            if epoch > claim.lines_epoch {
                dirty.extend(delta.window_keys().cloned());
            }
            state.apply(delta);
        }
        transaction.commit().await.map_err(begin)?;
        let clean_before = claim.epoch;
        Ok(Self { pool, shard, claim, state, dirty, clean_before })
    }

    /// The shard.
    pub fn shard(&self) -> ShardNumber {
        self.shard
    }

    /// The first number of the log that is not folded and committed.
    pub fn next_seq(&self) -> i64 {
        self.claim.next_seq
    }

    /// What the fold remembers.
    pub fn state(&self) -> &ShardState {
        &self.state
    }

    /// What the fold remembers, to be asked with a memory for answers.
    pub fn state_mut(&mut self) -> &mut ShardState {
        &mut self.state
    }

    /// Windows that are not written, or whose lines are not.
    pub fn dirty(&self) -> &BTreeSet<WindowKey> {
        &self.dirty
    }

    /// How many epochs were committed since windows and lines were written.
    pub fn epochs_since_lines(&self) -> i64 {
        self.claim.epoch.saturating_sub(self.clean_before)
    }

    /// Folds entries that follow the position without a hole. After an error in what comes next this value must not be
    /// used again: its state may be ahead of the database. Claim anew.
    pub fn fold<'a>(
        &mut self,
        entries: impl IntoIterator<Item = &'a (i64, Vec<Record>)>,
    ) -> Folded {
        let mut to = self.claim.next_seq;
        let records = entries.into_iter().flat_map(|(number, records)| {
            to = number.saturating_add(1);
            records
        });
        let changes = metering::step(&mut self.state, records);
        self.dirty.extend(changes.windows.keys().cloned());
        Folded { to, changes }
    }

    /// Commits a folded epoch: position, state, facts, and windows and lines when `due` says what they are.
    ///
    /// # Errors
    /// See [`FoldError`].
    pub async fn commit(
        &mut self,
        log: &dyn UsageLog,
        folded: Folded,
        due: Option<LinesDue>,
    ) -> Result<(), FoldError> {
        let Folded { to, changes } = folded;
        // What belongs to another shard goes there before this position moves on: after a crash it is sent again, and a
        // repeated record changes nothing.
        self.forward(log, &changes).await?;
        let number = i16::from(self.shard.number());
        let mut transaction = self.pool.begin().await.map_err(begin)?;
        let next = store::shard::shard_advance(&mut transaction, number, self.claim, to).await?;
        let next = next.ok_or(FoldError::Stale(self.shard))?;
        let delta = postcard::to_stdvec(&changes.state)?;
        store::shard::state_put(&mut transaction, number, next.epoch, &delta).await?;
        rows::facts_put(&mut transaction, self.shard, &changes).await?;
        let is_written = due.is_some();
        if let Some(due) = due {
            self.write_lines(&mut transaction, next, &due).await?;
            if next.epoch.div_euclid(COMPACT_EVERY) != self.clean_before.div_euclid(COMPACT_EVERY) {
                compact(&mut transaction, number, next.epoch).await?;
            }
        }
        transaction.commit().await.map_err(begin)?;
        self.claim = next;
        if is_written {
            self.cleaned();
        }
        Ok(())
    }

    /// Writes windows and lines without a new epoch.
    ///
    /// # Errors
    /// See [`FoldError`].
    pub async fn flush(&mut self, due: LinesDue) -> Result<(), FoldError> {
        let mut transaction = self.pool.begin().await.map_err(begin)?;
        self.write_lines(&mut transaction, self.claim, &due).await?;
        transaction.commit().await.map_err(begin)?;
        self.cleaned();
        Ok(())
    }

    /// Folds what the log holds beyond the position, up to [`ENTRIES_MAX`] entries, and commits it with the lines that
    /// `rate` makes of it.
    ///
    /// # Errors
    /// See [`FoldError`].
    pub async fn epoch(
        &mut self,
        log: &dyn UsageLog,
        rate: impl FnOnce(&mut Self) -> LinesDue,
    ) -> Result<Progress, FoldError> {
        let entries = log.read(self.shard, self.claim.next_seq, ENTRIES_MAX).await?;
        if entries.is_empty() {
            return Ok(Progress::Idle);
        }
        let folded = self.fold(&entries);
        let due = rate(self);
        self.commit(log, folded, Some(due)).await?;
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

    async fn write_lines(
        &self,
        connection: &mut store::PgConnection,
        claim: Claim,
        due: &LinesDue,
    ) -> Result<(), FoldError> {
        let number = i16::from(self.shard.number());
        if !store::shard::lines_written(connection, number, claim).await? {
            return Err(FoldError::Stale(self.shard));
        }
        let windows: Vec<WindowRow> =
            self.dirty.iter().map(|key| rows::window(key, self.state.window(key))).collect();
        store::window::windows_put(connection, &windows).await?;
        store::line::lines_put(connection, &due.lines).await?;
        for scope in &due.scopes {
            store::line::lines_void_others(connection, scope).await?;
            if let Some(meter) = &scope.meter {
                let period = scope.period_from_microseconds;
                let found: Vec<UnpricedRow> = due
                    .unpriced
                    .iter()
                    .filter(|row| {
                        (row.tenant, row.period_from_microseconds, &row.meter)
                            == (scope.tenant, period, meter)
                    })
                    .cloned()
                    .collect();
                store::line::unpriced_replace(connection, scope.tenant, period, meter, &found)
                    .await?;
            }
        }
        Ok(())
    }

    fn cleaned(&mut self) {
        self.dirty.clear();
        self.clean_before = self.claim.epoch;
    }
}

/// Joins the newest rows of the state with those before them that are not much larger: a large row is rewritten only
/// after about as much has been added to it, so the cost of keeping a state does not grow with its size.
async fn compact(
    connection: &mut store::PgConnection,
    number: i16,
    epoch: i64,
) -> Result<(), FoldError> {
    let mut from = epoch;
    let mut total: i64 = 0;
    for (row, bytes) in store::shard::state_sizes(connection, number).await? {
        let bytes = i64::from(bytes);
        if row != epoch && bytes > total.saturating_mul(2) {
            break;
        }
        from = row;
        total = total.saturating_add(bytes);
    }
    let mut whole = StateDelta::default();
    for delta in store::shard::state_since(connection, number, from).await? {
        whole.merge(postcard::from_bytes(&delta)?);
    }
    let whole = postcard::to_stdvec(&whole)?;
    store::shard::state_compact(connection, number, (from, epoch), &whole).await?;
    Ok(())
}

fn begin(source: sqlx::Error) -> store::Error {
    store::Error::Database { act: "commit an epoch", source }
}
