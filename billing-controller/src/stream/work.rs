//! The shards of one worker, and what is under way for each.

use super::{Stream, StreamError, StreamMetrics};
use crate::rating::{self, Catalogue};
use calendar::Instant;
use futures::StreamExt;
use ids::AccountId;
use metering::{Record, ShardNumber};
use operator_kit::ErrorChain;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use stream::{FoldError, Folded, Folder, LinesDue, PostgresLog};
use tokio::time::Instant as Moment;

/// With no more dirty windows than these in all shards of a worker, lines are written with every epoch.
const DIRTY_NOW_MAX: usize = 2_000;
/// With more, after so many epochs.
const EPOCHS_MAX: i64 = 8;
/// Commits under way at once per worker; each takes a connection.
const COMMITS_MAX: usize = 6;
/// Shards claimed at once per worker.
const CLAIMS_MAX: usize = 4;
/// How long a parked shard rests before it is tried again.
const PARKED_FOR: Duration = Duration::from_secs(30);

/// One shard and what is under way for it.
pub(super) struct Work {
    folder: Folder,
    folded: Option<Folded>,
    due: Option<LinesDue>,
    /// Until when each account's fees have been rated.
    fees_until: BTreeMap<AccountId, Instant>,
}

/// A worker's shards.
pub(super) struct Owned {
    works: BTreeMap<ShardNumber, Work>,
    waiting: BTreeSet<ShardNumber>,
    /// Shards whose content is refused, and when to try them again.
    parked: BTreeMap<ShardNumber, Moment>,
}

impl Owned {
    /// Claims `shards`.
    pub(super) async fn claim(
        stream: &Stream,
        shards: &[ShardNumber],
    ) -> Result<Self, StreamError> {
        let mut own =
            Self { works: BTreeMap::new(), waiting: BTreeSet::new(), parked: BTreeMap::new() };
        own.add(stream, shards).await?;
        Ok(own)
    }

    /// Claims the parked shards that have rested; nothing is asked of anybody while there are none.
    pub(super) async fn claim_parked(&mut self, stream: &Stream) -> Result<(), StreamError> {
        let now = Moment::now();
        let rested: Vec<ShardNumber> =
            self.parked.iter().filter(|(_, at)| **at <= now).map(|(shard, _)| *shard).collect();
        for shard in &rested {
            self.parked.remove(shard);
        }
        self.add(stream, &rested).await
    }

    async fn add(&mut self, stream: &Stream, shards: &[ShardNumber]) -> Result<(), StreamError> {
        let claim = async |shard| (shard, Folder::claim(stream.pool.clone(), shard).await);
        let claims = shards.iter().map(|shard| claim(*shard));
        let mut claims = futures::stream::iter(claims).buffer_unordered(CLAIMS_MAX);
        while let Some((shard, folder)) = claims.next().await {
            match folder {
                Ok(folder) => {
                    let fees_until = BTreeMap::new();
                    self.works.insert(shard, Work { folded: None, due: None, fees_until, folder });
                }
                Err(error) => self.park(shard, error.into(), stream).await?,
            }
        }
        Ok(())
    }

    /// Lets go of a shard whose content is refused: what was folded is forgotten, and folded again from what the
    /// database holds when the shard is tried anew. Any other failure is handed back.
    pub(super) async fn park(
        &mut self,
        shard: ShardNumber,
        error: StreamError,
        stream: &Stream,
    ) -> Result<(), StreamError> {
        if !error.is_refusal() {
            return Err(error);
        }
        let because = ErrorChain(&error).to_string();
        tracing::error!(shard = shard.number(), error = %because, "a shard is parked; its tenants' bills stand still");
        self.works.remove(&shard);
        self.waiting.remove(&shard);
        self.parked.insert(shard, Moment::now() + PARKED_FOR);
        let acquire = |source| store::Error::Database { act: "park a shard", source };
        let mut connection = stream.pool.acquire().await.map_err(acquire)?;
        Ok(store::shard::park(&mut connection, i16::from(shard.number()), &because).await?)
    }

    /// How many shards are parked.
    pub(super) fn parked_count(&self) -> usize {
        self.parked.len()
    }

    /// Each shard, the next number of the log that it wants, and whether it has lines to be written.
    pub(super) fn positions(&self) -> Vec<(ShardNumber, i64, bool)> {
        let position = |(shard, work): (&ShardNumber, &Work)| {
            (*shard, work.folder.next_seq(), !work.folder.dirty().is_empty())
        };
        self.works.iter().map(position).collect()
    }

    /// Notes that batches of these shards are on their way.
    pub(super) fn expect(&mut self, shards: impl Iterator<Item = ShardNumber>) {
        self.waiting.extend(shards);
    }

    /// Whether something is on its way.
    pub(super) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Folds a batch into its shard's state.
    pub(super) fn fold(&mut self, shard: ShardNumber, entries: &[(i64, Vec<Record>)]) {
        let Some(work) = self.works.get_mut(&shard) else { return };
        if entries.is_empty() {
            return;
        }
        for record in entries.iter().flat_map(|(_, records)| records) {
            match record {
                Record::Subscription(subscription) => {
                    work.fees_until.remove(&subscription.tenant);
                }
                Record::PlanVersion(_) => work.fees_until.clear(),
                Record::Sample(_)
                | Record::Transition(_)
                | Record::Registry(_)
                | Record::Meter(_)
                | Record::Tick { .. }
                | Record::PeriodClose { .. }
                | Record::ReceiverGap { .. }
                | Record::Vanished { .. } => {}
            }
        }
        work.folded = Some(work.folder.fold(entries));
    }

    /// Rates what a shard has changed, unless so much has that it waits for a later epoch.
    pub(super) async fn rate(
        &mut self,
        shard: ShardNumber,
        stream: &Stream,
        catalogue: &mut Catalogue,
    ) -> Result<(), StreamError> {
        let dirty: usize = self.works.values().map(|work| work.folder.dirty().len()).sum();
        let Some(work) = self.works.get_mut(&shard) else { return Ok(()) };
        let fees = work.take_fees_due();
        // One without anything dirty only moves its position on, which others may wait for.
        let is_due = work.folded.is_none()
            || !fees.is_empty()
            || work.folder.dirty().is_empty()
            || dirty <= DIRTY_NOW_MAX
            || work.folder.epochs_since_lines() >= EPOCHS_MAX;
        if !is_due {
            return Ok(());
        }
        let versions: Vec<_> = work.folder.state().versions().collect();
        for version in versions {
            let known = catalogue.ensure(&stream.pool, version.plan, version.generation).await;
            if let Err(error) = known {
                return self.park(shard, error.into(), stream).await;
            }
        }
        let dirty = work.folder.dirty().clone();
        let due = rating::lines_due(work.folder.state_mut(), &dirty, &fees, catalogue);
        stream.metrics.rated(due.lines.len());
        work.due = Some(due);
        Ok(())
    }

    /// Commits what has been folded and rated for `shards`, several at a time.
    pub(super) async fn commit(
        &mut self,
        shards: &[ShardNumber],
        stream: &Stream,
    ) -> Result<(), StreamError> {
        let mut works = Vec::new();
        for shard in shards {
            works.extend(self.works.remove(shard));
        }
        let commit = async |work: Work| {
            (work.folder.shard(), commit(work, &stream.log, &stream.metrics).await)
        };
        let commits = works.into_iter().map(commit);
        let mut commits = futures::stream::iter(commits).buffer_unordered(COMMITS_MAX);
        while let Some((shard, work)) = commits.next().await {
            match work {
                Ok(work) => {
                    self.waiting.remove(&shard);
                    self.works.insert(shard, work);
                }
                Err(error) => self.park(shard, error.into(), stream).await?,
            }
        }
        Ok(())
    }
}

async fn commit(
    mut work: Work,
    log: &PostgresLog,
    metrics: &StreamMetrics,
) -> Result<Work, FoldError> {
    match (work.folded.take(), work.due.take()) {
        (Some(folded), due) => {
            let counts = folded.counts().clone();
            work.folder.commit(log, folded, due).await?;
            metrics.committed(&counts);
        }
        (None, Some(due)) => work.folder.flush(due).await?,
        (None, None) => {}
    }
    Ok(work)
}

impl Work {
    /// The accounts whose fees have to be rated: those never rated, of a changed plan, or in a new period.
    fn take_fees_due(&mut self) -> BTreeSet<AccountId> {
        let state = self.folder.state();
        let Some(clock) = state.clock() else { return BTreeSet::new() };
        let is_due =
            |tenant: &AccountId| self.fees_until.get(tenant).is_none_or(|until| *until <= clock);
        let due: BTreeSet<AccountId> = state.tenants().filter(is_due).collect();
        for tenant in &due {
            let until = state.period_of(*tenant, clock).map_or(Instant::MAX, |one| one.during.to);
            self.fees_until.insert(*tenant, until);
        }
        due
    }
}
