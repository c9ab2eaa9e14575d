//! The records of the usage log: everything that can change a line.
//!
//! Facts (samples, transitions) and control records (who owns what, which plan holds, which rule a meter follows, how
//! far time is known to have come) share one order, the log's. Control records that concern every account (meters,
//! plan versions, ticks, receiver gaps) are appended to all 64 shards; those of one account to its shard only. A
//! registry entry goes to the account's shard and to [`crate::ShardNumber::of_unknown`] of the resource, where facts
//! may already wait for it.

use crate::key::{MeterName, Part, SeriesHash};
use crate::scale::ReadingRefused;
use calendar::{Instant, Interval, Periods};
use ids::{AccountId, ResourceUid};
use money::Quantity;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

/// One entry of the log. Repeating any of them changes nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Record {
    /// What a sampler saw.
    Sample(Sample),
    /// What an object held from an instant on.
    Transition(Transition),
    /// Whose a resource is, and when.
    Registry(RegistryEntry),
    /// Which plan an account is on, and from when.
    Subscription(Subscription),
    /// From when a version of a plan applies. To all shards.
    PlanVersion(PlanVersionStart),
    /// How a meter counts. To all shards; a later one of the same name replaces the rule for what comes after.
    Meter(MeterRule),
    /// Time has come so far: open spans are counted up to `at`, silence before it is noticed. To all shards.
    Tick {
        /// The instant, by the clock of whoever appends.
        at: Instant,
    },
    /// A period is closed: usage before `through` is no longer live.
    PeriodClose {
        /// Whose period.
        tenant: AccountId,
        /// The end of the closed period.
        through: Instant,
    },
    /// Nobody received samples. To all shards.
    ReceiverGap {
        /// When.
        during: Interval,
    },
    /// A resource is gone without having ended its record: nothing is held from `at` on. To its account's shard.
    Vanished {
        /// The resource.
        resource: ResourceUid,
        /// Its last sign of life.
        at: Instant,
    },
}

/// One sample of one series, in base units.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sample {
    /// The object that the series is about, as its label says; who pays is the registry's word.
    pub resource: ResourceUid,
    /// The meter that the metric feeds.
    pub meter: MeterName,
    /// The part of the object; empty for the whole.
    pub part: Part,
    /// The label set without replica labels.
    pub series: SeriesHash,
    /// The replica labels; equal for samples of one sender, 0 where there are no replica labels.
    pub replica: SeriesHash,
    /// When it was scraped.
    pub at: Instant,
    /// What was read.
    pub reading: Reading,
    /// When the counter was at zero, where the sender says so.
    pub started_at: Option<Instant>,
}

/// What a sampler read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reading {
    /// A counter's value in base units; a gauge's in base units per second of holding.
    Value(Quantity),
    /// The target was not scraped. Says nothing about the object.
    Stale,
    /// A number that cannot be used; goes to suspense.
    Refused(ReadingRefused),
}

/// What an object holds from an instant on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transition {
    /// The object.
    pub resource: ResourceUid,
    /// Counts from 1 without holes; the order of truth, whatever the order of arrival.
    pub number: u64,
    /// From when the amounts hold. Not before the previous number's.
    pub at: Instant,
    /// Amounts by SKU in **millionths** of their unit ([`crate::scale::held_from_text`]); nothing is held of what is
    /// absent.
    pub holds: BTreeMap<String, Quantity>,
    /// Nothing follows: the life is over, and nothing is held from `at` on.
    pub is_final: bool,
}

/// Whose a resource is over a range of time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegistryEntry {
    /// The resource.
    pub resource: ResourceUid,
    /// Who pays.
    pub tenant: AccountId,
    /// The tenant's project.
    pub project: String,
    /// The object's kind, such as `VirtualMachine`.
    pub kind: String,
    /// The object's name.
    pub name: String,
    /// When the object was created.
    pub created_at: Instant,
    /// From when the entry holds.
    pub valid_from: Instant,
    /// Until when; open while absent. Sent again with an end when the object goes or moves to another tenant.
    pub valid_to: Option<Instant>,
}

/// Which plan an account is on from an instant on, until a later subscription's instant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subscription {
    /// The account.
    pub tenant: AccountId,
    /// The subscription's identity in line keys.
    pub id: Uuid,
    /// The plan.
    pub plan: PlanUid,
    /// From when.
    pub from: Instant,
    /// Until when, if it ends before another begins; open while absent. Sent again with an end when the account goes.
    pub to: Option<Instant>,
    /// How the account's billing periods are laid out.
    pub periods: Periods,
}

/// UID of a `PricePlan` object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PlanUid(pub Uuid);

/// One immutable version of a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct VersionKey {
    /// The plan.
    pub plan: PlanUid,
    /// The generation that made the version.
    pub generation: i64,
}

/// From when a version applies: until a version of the same plan with a later start, a higher generation winning
/// among equal starts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanVersionStart {
    /// The version.
    pub version: VersionKey,
    /// From when.
    pub effective_from: Instant,
}

/// How a meter counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MeterRule {
    /// The meter.
    pub name: MeterName,
    /// What kind of number it reads.
    pub kind: MeterKind,
    /// Base units in one unit, at least 1.
    pub base_units_per_unit: i64,
    /// How far apart samples are expected, in microseconds, at least 1.
    pub interval_microseconds: i64,
    /// The most base units that can arise in one second; no bound when absent.
    pub base_units_per_second_max: Option<Quantity>,
    /// What becomes of time nobody can vouch for.
    pub gap_policy: GapPolicy,
    /// Kinds of object whose life without any sample is a gap. Empty: silence from birth is not noticed.
    pub expected_of_kinds: BTreeSet<String>,
}

/// What kind of number a meter reads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum MeterKind {
    /// An amount held, from transitions: amount × time, a unit being one of the SKU for one second.
    Allocation {
        /// The SKU in [`Transition::holds`].
        sku: String,
    },
    /// The growth of a counter.
    Counter,
    /// A sampled value × the time it held.
    Gauge,
}

/// What becomes of time nobody can vouch for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum GapPolicy {
    /// The period cannot close until data comes or a person decides.
    Hold,
    /// The last known rate is charged, flagged, and replaced by real data.
    Estimate,
    /// Nothing is charged; the forgone amount is recorded.
    Waive,
}
