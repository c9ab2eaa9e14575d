//! What the tests of the intake share: owners and meters of their own, a log in memory, a clock that stands still.

use super::meters::{Identity, MeterIndex, SampledMeter};
use async_trait::async_trait;
use calendar::Instant;
use ids::{AccountId, ResourceUid};
use metering::{Record, Sample, ShardNumber};
use operator_kit::Clock;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use stream::{Flush, LogError, UsageLog};
use tokio::sync::Semaphore;

pub(super) const OWNED: &str = "11111111-2222-4333-8444-555555555555";
pub(super) const UNOWNED: &str = "99999999-2222-4333-8444-555555555555";
pub(super) const ACCOUNT: &str = "123e4567-e89b-12d3-a456-426614174000";
/// The clock's instant: 2026-11-01T00:00:00Z.
pub(super) const NOW_MILLISECONDS: i64 = 1_793_491_200_000;

pub(super) fn now() -> Instant {
    Instant::from_milliseconds(NOW_MILLISECONDS).unwrap()
}

pub(super) struct Owners {
    pub(super) owners: BTreeMap<ResourceUid, AccountId>,
    pub(super) meters: Mutex<Arc<MeterIndex>>,
}

impl Owners {
    /// One object has an owner; CPU time by mode `user`, and traffic by interface, are metered.
    pub(super) fn usual() -> Self {
        let owners = BTreeMap::from([(OWNED.parse().unwrap(), ACCOUNT.parse().unwrap())]);
        let meters = MeterIndex::new([cpu(), traffic()]);
        Self { owners, meters: Mutex::new(Arc::new(meters)) }
    }
}

impl Identity for Owners {
    fn account_of(&self, resource: ResourceUid) -> Option<AccountId> {
        self.owners.get(&resource).copied()
    }

    fn meters(&self) -> Arc<MeterIndex> {
        self.meters.lock().unwrap().clone()
    }
}

pub(super) fn cpu() -> SampledMeter {
    SampledMeter {
        name: "cpu-time".into(),
        metric: "cpu_seconds_total".to_owned(),
        match_labels: BTreeMap::from([("mode".to_owned(), "user".to_owned())]),
        resource_label: "uuid".to_owned(),
        part_label: None,
        base_units_per_unit: 1_000_000,
    }
}

pub(super) fn traffic() -> SampledMeter {
    SampledMeter {
        name: "traffic".into(),
        metric: "network_bytes_total".to_owned(),
        match_labels: BTreeMap::new(),
        resource_label: "uuid".to_owned(),
        part_label: Some("interface".to_owned()),
        base_units_per_unit: 1,
    }
}

/// A clock that tests set.
pub(super) struct FalseClock(pub(super) AtomicI64);

impl FalseClock {
    pub(super) fn at_now() -> Self {
        Self(AtomicI64::new(NOW_MILLISECONDS))
    }
}

impl Clock for FalseClock {
    fn now(&self) -> jiff::Timestamp {
        jiff::Timestamp::from_millisecond(self.0.load(Ordering::SeqCst)).unwrap()
    }
}

/// A log that keeps what it is given, or refuses, or waits for leave.
pub(super) struct MemoryLog {
    pub(super) flushes: Mutex<Vec<Flush>>,
    pub(super) broken: AtomicBool,
    pub(super) leave: Semaphore,
}

impl Default for MemoryLog {
    fn default() -> Self {
        Self {
            flushes: Mutex::default(),
            broken: AtomicBool::new(false),
            leave: Semaphore::new(Semaphore::MAX_PERMITS),
        }
    }
}

impl MemoryLog {
    pub(super) fn records(&self) -> Vec<(ShardNumber, Record)> {
        let flushes = self.flushes.lock().unwrap();
        let entries = flushes.iter().flatten();
        entries
            .flat_map(|(shard, records)| records.iter().map(|record| (*shard, record.clone())))
            .collect()
    }

    pub(super) fn samples(&self) -> Vec<Sample> {
        samples_of(self.records().into_iter().map(|(_, record)| record))
    }
}

pub(super) fn samples_of(records: impl IntoIterator<Item = Record>) -> Vec<Sample> {
    let sample = |record| match record {
        Record::Sample(sample) => Some(sample),
        _ => None,
    };
    records.into_iter().filter_map(sample).collect()
}

#[async_trait]
impl UsageLog for MemoryLog {
    async fn append(&self, flush: Flush) -> Result<(), LogError> {
        self.leave.acquire().await.unwrap().forget();
        if self.broken.load(Ordering::SeqCst) {
            return Err(LogError::Closed);
        }
        self.flushes.lock().unwrap().push(flush);
        Ok(())
    }

    async fn read(
        &self,
        _: ShardNumber,
        _: i64,
        _: i64,
    ) -> Result<Vec<(i64, Vec<Record>)>, LogError> {
        Ok(Vec::new())
    }

    async fn trim(&self, _: ShardNumber, _: i64) -> Result<bool, LogError> {
        Ok(false)
    }
}
