//! What one step of the fold changed, as absolute values.
//!
//! Nothing here is a difference: a window's quantity is the whole quantity of that window, so writing the same changes
//! twice, or those of a later step only, leaves the database right. Merging the changes of two steps is taking the
//! later value per key ([`Changes::merge`]).

use crate::key::{MeterName, Part};
use crate::record::{GapPolicy, Record, VersionKey};
use crate::state::{ItemKey, ItemState, PlanState, ResourceState, TenantState};
use crate::table::TableDelta;
use calendar::{Instant, Interval};
use ids::{AccountId, ResourceUid};
use money::Quantity;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Everything a step changed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// Quantities by window; zero where a quantity has moved away.
    pub windows: BTreeMap<WindowKey, UsageWindow>,
    /// Gap records, filled ones included.
    pub gaps: BTreeMap<GapKey, Gap>,
    /// When nobody received samples.
    pub receiver_gaps: BTreeSet<Interval>,
    /// Usage that cannot be attributed or believed yet.
    pub suspense: BTreeMap<SuspenseKey, SuspenseEntry>,
    /// What was held and when.
    pub spans: BTreeMap<SpanKey, Span>,
    /// Which lines have to be rated again.
    pub touched: BTreeSet<TouchedLine>,
    /// Facts that waited here and belong to another account's shard: to be appended to the log by the outbox, in this
    /// order, to the shard of the account given. Repeating them is harmless.
    pub forwards: Vec<(AccountId, Record)>,
    /// The state's own change, to be stored in the same transaction.
    pub state: StateDelta,
    /// What was seen, for metrics.
    pub counts: StepCounts,
}

impl Changes {
    /// Takes over what a later step changed.
    pub fn merge(&mut self, later: Self) {
        self.windows.extend(later.windows);
        self.gaps.extend(later.gaps);
        self.receiver_gaps.extend(later.receiver_gaps);
        self.suspense.extend(later.suspense);
        self.spans.extend(later.spans);
        self.touched.extend(later.touched);
        self.forwards.extend(later.forwards);
        self.state.merge(later.state);
        self.counts.add(&later.counts);
    }
}

/// One window of one part of one resource: a UTC hour, or the piece of it between cuts (a period boundary, a plan
/// version's start, a change of owner).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct WindowKey {
    /// Who pays.
    pub tenant: AccountId,
    /// The resource.
    pub resource: ResourceUid,
    /// The meter.
    pub meter: MeterName,
    /// The part; the line's cell.
    pub part: Part,
    /// Where the window begins.
    pub start: Instant,
    /// The version that prices it; none while the account has no plan in force then.
    pub version: Option<VersionKey>,
}

/// What a window holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsageWindow {
    /// Base units, the whole of the window.
    pub quantity: Quantity,
    /// Steps between samples that ended in the window; 0 for what is held.
    pub facts: u64,
    /// How many of the facts were steps so long that their distribution over windows is a guess. Their total is exact
    /// all the same.
    pub estimated_facts: u64,
}

/// Identity of a gap record.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct GapKey {
    /// The resource.
    pub resource: ResourceUid,
    /// The meter.
    pub meter: MeterName,
    /// The part.
    pub part: Part,
    /// Where the gap begins.
    pub from: Instant,
    /// Why.
    pub cause: GapCause,
}

/// Why nobody can vouch for a stretch of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum GapCause {
    /// Samples stopped and came back, have not come back yet, or never came.
    NoSeries,
    /// A counter began anew; what it counted after its last sample is lost.
    Unobserved,
}

/// Time that nobody can vouch for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// Who would pay, where that is known.
    pub tenant: Option<AccountId>,
    /// Its end; open while absent.
    pub to: Option<Instant>,
    /// The total is exact all the same: the gap blocks nothing.
    pub informational: bool,
    /// Data has come for all of it.
    pub filled: bool,
    /// The meter's policy.
    pub policy: GapPolicy,
}

/// Identity of a suspense entry: one per resource, meter, part and cause.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SuspenseKey {
    /// The resource as the sender named it.
    pub resource: ResourceUid,
    /// The meter; empty for transitions.
    pub meter: MeterName,
    /// The part.
    pub part: Part,
    /// Why.
    pub cause: SuspenseCause,
}

/// Why usage waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum SuspenseCause {
    /// Nobody is registered as owner at that time. Released by itself once the registry learns it.
    UnknownResource,
    /// No such meter. Released by itself once the meter is declared.
    UnknownMeter,
    /// The reading is no usable number. Needs a person; the log has the reading.
    Unreadable,
    /// More than the meter's bound allows. Needs a person.
    Implausible,
    /// For a period whose successor is closed too: its sums are no longer at hand. Needs a person.
    AfterClose,
}

/// Usage that waits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SuspenseEntry {
    /// How many facts wait; 0 once released.
    pub facts: u64,
    /// The usage known to be in them, in base units; 0 where it cannot be known before the release.
    pub quantity: Quantity,
    /// From the first of them to just after the last.
    pub during: Interval,
    /// Facts beyond the limit of what is kept; they are in the log only.
    pub overflowed: u64,
}

/// Identity of a span.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SpanKey {
    /// The resource.
    pub resource: ResourceUid,
    /// What is held.
    pub sku: String,
    /// Number of the transition that opened it.
    pub number: u64,
}

/// An amount held over a time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    /// Who held it when it began.
    pub tenant: AccountId,
    /// Millionths of the SKU's unit.
    pub quantity: Quantity,
    /// From when.
    pub from: Instant,
    /// Until when; open while absent.
    pub to: Option<Instant>,
}

/// A line that has to be rated again: everything of one meter and part of a resource in one billing period.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TouchedLine {
    /// Who pays.
    pub tenant: AccountId,
    /// Start of the billing period.
    pub period_start: Instant,
    /// The meter.
    pub meter: MeterName,
    /// The resource.
    pub resource: ResourceUid,
    /// The part.
    pub part: Part,
}

/// What a step saw.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepCounts {
    /// Records folded.
    pub records: u64,
    /// Samples that made a step.
    pub samples: u64,
    /// Facts known already, dropped.
    pub replays: u64,
    /// Other values for a known instant; the first won.
    pub conflicts: u64,
    /// Counters that began anew.
    pub resets: u64,
    /// Samples that came late and filled a hole.
    pub fillers: u64,
    /// Samples of a replica that is not followed.
    pub shadowed: u64,
    /// Facts put into suspense.
    pub suspended: u64,
}

impl StepCounts {
    fn add(&mut self, later: &Self) {
        let pairs = [
            (&mut self.records, later.records),
            (&mut self.samples, later.samples),
            (&mut self.replays, later.replays),
            (&mut self.conflicts, later.conflicts),
            (&mut self.resets, later.resets),
            (&mut self.fillers, later.fillers),
            (&mut self.shadowed, later.shadowed),
            (&mut self.suspended, later.suspended),
        ];
        for (sum, more) in pairs {
            *sum = sum.saturating_add(more);
        }
    }
}

/// What a step changed in the state: entries by key, `None` for a removed one. Small, and enough: a snapshot with the
/// deltas after it applied in order is the state ([`crate::ShardState::apply`]).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateDelta {
    /// The last tick, when it moved.
    pub(crate) clock: Option<Instant>,
    pub(crate) meters: TableDelta<MeterName, crate::record::MeterRule>,
    pub(crate) plans: TableDelta<crate::record::PlanUid, PlanState>,
    pub(crate) tenants: TableDelta<AccountId, TenantState>,
    pub(crate) resources: TableDelta<ResourceUid, ResourceState>,
    pub(crate) items: TableDelta<ItemKey, ItemState>,
    pub(crate) windows: TableDelta<WindowKey, UsageWindow>,
    pub(crate) suspense: TableDelta<SuspenseKey, SuspenseEntry>,
    pub(crate) waiting: TableDelta<(ResourceUid, u64), Record>,
}

impl StateDelta {
    /// Whether nothing changed.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The windows that were changed or moved away.
    pub fn window_keys(&self) -> impl Iterator<Item = &WindowKey> {
        self.windows.iter().map(|(key, _)| key)
    }

    /// Takes over what a later step changed.
    pub fn merge(&mut self, later: Self) {
        self.clock = later.clock.or(self.clock);
        self.meters.merge(later.meters);
        self.plans.merge(later.plans);
        self.tenants.merge(later.tenants);
        self.resources.merge(later.resources);
        self.items.merge(later.items);
        self.windows.merge(later.windows);
        self.suspense.merge(later.suspense);
        self.waiting.merge(later.waiting);
    }
}
