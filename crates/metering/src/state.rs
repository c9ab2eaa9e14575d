//! The state of one shard: what the fold has to remember of the log it has read.
//!
//! Kept as tables of small entries, so that an epoch stores the entries it changed and not the whole. Usage windows
//! stay here until the period after theirs is closed: rating reads them from here and never asks a table, and a late
//! sample still finds the sum it belongs to.

use crate::changes::{StateDelta, SuspenseEntry, SuspenseKey, UsageWindow, WindowKey};
use crate::key::{MeterName, Part, SeriesHash, ShardNumber};
use crate::record::{
    MeterRule, PlanUid, Record, RegistryEntry, Subscription, Transition, VersionKey,
};
use crate::table::Table;
use crate::timeline::SegmentCache;
use calendar::Instant;
use ids::{AccountId, ResourceUid};
use money::Quantity;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ops::Bound;

/// Everything one shard remembers. Serialises canonically: equal states have equal bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardState {
    pub(crate) shard: ShardNumber,
    pub(crate) clock: Option<Instant>,
    pub(crate) meters: Table<MeterName, MeterRule>,
    pub(crate) plans: Table<PlanUid, PlanState>,
    pub(crate) tenants: Table<AccountId, TenantState>,
    pub(crate) resources: Table<ResourceUid, ResourceState>,
    pub(crate) items: Table<ItemKey, ItemState>,
    pub(crate) windows: Table<WindowKey, UsageWindow>,
    pub(crate) suspense: Table<SuspenseKey, SuspenseEntry>,
    pub(crate) waiting: Table<(ResourceUid, u64), Record>,
    #[serde(skip)]
    pub(crate) segments: SegmentCache,
}

/// From when each version of a plan applies, by generation.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PlanState {
    pub(crate) starts: BTreeMap<i64, Instant>,
}

/// What is known of an account.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TenantState {
    /// Ascending by `from`.
    pub(crate) subscriptions: Vec<Subscription>,
    pub(crate) closed_through: Option<Instant>,
    /// Windows that begin before are no longer here.
    pub(crate) released_before: Option<Instant>,
}

/// What is known of a resource.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ResourceState {
    /// Ascending by `valid_from`; never empty.
    pub(crate) entries: Vec<RegistryEntry>,
    pub(crate) life: Life,
    /// Meters that expect samples of this kind of resource and have none, with the start of the recorded gap.
    pub(crate) unsampled: BTreeMap<MeterName, Instant>,
}

/// How far the transitions of a resource have been followed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Life {
    /// The last transition followed; 0 before the first.
    pub(crate) number: u64,
    /// When the first transition was.
    pub(crate) began_at: Option<Instant>,
    /// When the last followed transition was; earlier ones are history.
    pub(crate) changed_at: Option<Instant>,
    /// Set by the final transition.
    pub(crate) ended_at: Option<Instant>,
    /// Open spans have been counted up to here.
    pub(crate) counted_to: Option<Instant>,
    /// Open spans by SKU.
    pub(crate) open: BTreeMap<String, OpenSpan>,
    /// Transitions that came before an earlier number.
    pub(crate) early: BTreeMap<u64, Transition>,
}

/// An amount that is being held.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct OpenSpan {
    pub(crate) number: u64,
    pub(crate) from: Instant,
    /// Millionths.
    pub(crate) quantity: Quantity,
}

/// Identity of what is sampled, whatever series it appears under.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct ItemKey {
    pub(crate) resource: ResourceUid,
    pub(crate) meter: MeterName,
    pub(crate) part: Part,
}

/// How far the samples of an item have been followed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ItemState {
    /// The replica that is followed.
    pub(crate) replica: SeriesHash,
    /// The watermark: the latest sample.
    pub(crate) last: Point,
    /// Steps that a late sample could still split, ascending: the latest few, and every one with a hole in it.
    pub(crate) steps: Vec<Step>,
    /// An open gap has been recorded since the last sample.
    pub(crate) silent: bool,
}

/// One accepted sample.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Point {
    pub(crate) at: Instant,
    pub(crate) value: Quantity,
    pub(crate) started_at: Option<Instant>,
}

/// From one sample to the next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Step {
    /// Absent: nothing is known before `to`, which is a baseline and charges nothing.
    pub(crate) from: Option<Point>,
    pub(crate) to: Point,
}

impl ShardState {
    /// The state before the first record of `shard`.
    pub fn new(shard: ShardNumber) -> Self {
        Self {
            shard,
            clock: None,
            meters: Table::default(),
            plans: Table::default(),
            tenants: Table::default(),
            resources: Table::default(),
            items: Table::default(),
            windows: Table::default(),
            suspense: Table::default(),
            waiting: Table::default(),
            segments: SegmentCache::default(),
        }
    }

    /// The shard.
    pub const fn shard(&self) -> ShardNumber {
        self.shard
    }

    /// The latest tick.
    pub const fn clock(&self) -> Option<Instant> {
        self.clock
    }

    /// Brings a stored state forward by a delta that [`crate::step`] gave; in order, none left out.
    pub fn apply(&mut self, delta: StateDelta) {
        self.clock = delta.clock.or(self.clock);
        self.meters.apply(delta.meters);
        self.plans.apply(delta.plans);
        self.tenants.apply(delta.tenants);
        self.resources.apply(delta.resources);
        self.items.apply(delta.items);
        self.windows.apply(delta.windows);
        self.suspense.apply(delta.suspense);
        self.waiting.apply(delta.waiting);
        self.segments.clear();
    }

    /// What changed since the last call; the clock goes with every delta.
    pub(crate) fn take_delta(&mut self) -> StateDelta {
        StateDelta {
            clock: self.clock,
            meters: self.meters.take_delta(),
            plans: self.plans.take_delta(),
            tenants: self.tenants.take_delta(),
            resources: self.resources.take_delta(),
            items: self.items.take_delta(),
            windows: self.windows.take_delta(),
            suspense: self.suspense.take_delta(),
            waiting: self.waiting.take_delta(),
        }
    }

    /// All live windows of an account, ascending by resource, meter, part and start. What rating reads.
    pub fn windows_of(
        &self,
        tenant: AccountId,
    ) -> impl Iterator<Item = (&WindowKey, &UsageWindow)> {
        let least = WindowKey {
            tenant,
            resource: ResourceUid(uuid::Uuid::nil()),
            meter: MeterName::from(""),
            part: Part::whole(),
            start: Instant::MIN,
            version: None,
        };
        self.windows
            .range((Bound::Included(least), Bound::Unbounded))
            .take_while(move |(key, _)| key.tenant == tenant)
    }

    /// The live windows of one resource's meter, ascending by part and start.
    pub fn windows_of_item(
        &self,
        tenant: AccountId,
        resource: ResourceUid,
        meter: &MeterName,
    ) -> impl Iterator<Item = (&WindowKey, &UsageWindow)> {
        let least = WindowKey {
            tenant,
            resource,
            meter: meter.clone(),
            part: Part::whole(),
            start: Instant::MIN,
            version: None,
        };
        let meter = meter.clone();
        self.windows.range((Bound::Included(least), Bound::Unbounded)).take_while(
            move |(key, _)| key.tenant == tenant && key.resource == resource && key.meter == meter,
        )
    }

    /// One live window.
    pub fn window(&self, key: &WindowKey) -> Option<&UsageWindow> {
        self.windows.get(key)
    }

    /// All live windows of the shard.
    pub fn windows(&self) -> impl Iterator<Item = (&WindowKey, &UsageWindow)> {
        self.windows.iter()
    }

    /// The accounts with a subscription, ascending.
    pub fn tenants(&self) -> impl Iterator<Item = AccountId> {
        self.tenants.iter().map(|(tenant, _)| *tenant)
    }

    /// The subscriptions of an account, ascending by start.
    pub fn subscriptions_of(&self, tenant: AccountId) -> &[Subscription] {
        self.tenants.get(&tenant).map_or(&[], |state| state.subscriptions.as_slice())
    }

    /// The registry entries of a resource, ascending by start.
    pub fn entries_of(&self, resource: ResourceUid) -> &[RegistryEntry] {
        self.resources.get(&resource).map_or(&[], |state| state.entries.as_slice())
    }

    /// The number of the last transition of `resource` that was followed; 0 before the first.
    pub fn transition_number(&self, resource: ResourceUid) -> u64 {
        self.resources.get(&resource).map_or(0, |state| state.life.number)
    }

    /// The rule of a meter.
    pub fn meter(&self, name: &MeterName) -> Option<&MeterRule> {
        self.meters.get(name)
    }

    /// The plan versions that have been announced.
    pub fn versions(&self) -> impl Iterator<Item = VersionKey> {
        self.plans.iter().flat_map(|(plan, known)| {
            let plan = *plan;
            known.starts.keys().map(move |generation| VersionKey { plan, generation: *generation })
        })
    }

    /// How many items (resource, meter, part) are sampled, how many windows are live.
    pub fn sizes(&self) -> (usize, usize) {
        (self.items.len(), self.windows.len())
    }
}
