//! The fold: one record after the other.
//!
//! Batches are only a matter of how often changes are handed out. Nothing in here looks at where a batch begins or
//! ends, which is why any cut of a log gives the same state.

use crate::changes::{Changes, SuspenseCause, TouchedLine, UsageWindow, WindowKey};
use crate::key::{MeterName, Part, ShardNumber};
use crate::record::{PlanUid, PlanVersionStart, Record, RegistryEntry, Subscription};
use crate::state::{ItemKey, ShardState};
use calendar::{Instant, Interval};
use ids::AccountId;
use money::Quantity;
use std::collections::BTreeSet;

/// Folds `records`, in the log's order, into `state` and returns what changed. Never fails: whatever is wrong with a
/// record is itself a change (suspense, a gap, a count).
pub fn step<'a>(state: &mut ShardState, records: impl IntoIterator<Item = &'a Record>) -> Changes {
    let mut fold = Fold { state, changes: Changes::default(), touched_windows: BTreeSet::new() };
    for record in records {
        fold.changes.counts.records = fold.changes.counts.records.saturating_add(1);
        fold.fold(record);
    }
    fold.finish()
}

/// One step in progress.
pub(crate) struct Fold<'a> {
    pub(crate) state: &'a mut ShardState,
    pub(crate) changes: Changes,
    pub(crate) touched_windows: BTreeSet<WindowKey>,
}

impl Fold<'_> {
    pub(crate) fn fold(&mut self, record: &Record) {
        match record {
            Record::Sample(sample) => {
                let item = ItemKey {
                    resource: sample.resource,
                    meter: sample.meter.clone(),
                    part: sample.part.clone(),
                };
                if !self.is_ours(record, &item, sample.at) {
                    return;
                }
                match self.state.meters.get(&sample.meter).cloned() {
                    Some(rule) => self.sample(sample, &rule),
                    None => {
                        let during = Interval::new(sample.at, sample.at.plus_microseconds(1));
                        self.wait(record, &item, during, SuspenseCause::UnknownMeter);
                    }
                }
            }
            Record::Transition(transition) => {
                let resource = transition.resource;
                let item = ItemKey { resource, meter: MeterName::from(""), part: Part::whole() };
                if self.is_ours(record, &item, transition.at) {
                    self.transition(transition);
                }
            }
            Record::Registry(entry) => self.registry(entry),
            Record::Subscription(subscription) => self.subscription(subscription),
            Record::PlanVersion(start) => self.plan_version(start),
            Record::Meter(rule) => {
                let known = self.state.meters.get(&rule.name);
                if known == Some(rule) {
                    return;
                }
                let is_new = known.is_none();
                self.state.meters.insert(rule.name.clone(), rule.clone());
                // Steps were judged by the rule of their time and cannot be taken back by another.
                self.state.forget_steps(Instant::MIN, |key, _| key.meter == rule.name);
                if is_new {
                    self.count_for_new_meter(rule);
                    self.release_known();
                }
            }
            Record::Tick { at } => self.tick(*at),
            Record::PeriodClose { tenant, through } => self.period_close(*tenant, *through),
            Record::ReceiverGap { during } => {
                self.changes.receiver_gaps.insert(*during);
            }
            Record::Vanished { resource, at } => self.vanished(*resource, *at),
        }
    }

    /// Whether a fact's owner is known and lives in this shard; otherwise the fact waits or is forwarded.
    fn is_ours(&mut self, record: &Record, item: &ItemKey, at: Instant) -> bool {
        match self.state.owner(item.resource, at) {
            None => {
                let during = Interval::new(at, at.plus_microseconds(1));
                self.wait(record, item, during, SuspenseCause::UnknownResource);
                false
            }
            Some((tenant, _)) if ShardNumber::of(tenant) == self.state.shard => true,
            Some((tenant, _)) => {
                self.changes.forwards.push((tenant, record.clone()));
                false
            }
        }
    }

    fn registry(&mut self, entry: &RegistryEntry) {
        let known = self.state.resources.get_or_insert_with(&entry.resource, Default::default);
        match known.entries.binary_search_by_key(&entry.valid_from, |known| known.valid_from) {
            Ok(place) => {
                if let Some(same) = known.entries.get_mut(place) {
                    if same == entry {
                        return;
                    }
                    same.clone_from(entry);
                }
            }
            Err(place) => known.entries.insert(place, entry.clone()),
        }
        if known.entries.len() > 1 {
            self.state.forget_steps(entry.valid_from, |key, _| key.resource == entry.resource);
        }
        self.release(entry.resource);
    }

    fn subscription(&mut self, subscription: &Subscription) {
        let tenant = subscription.tenant;
        let known = self.state.tenants.get_or_insert_with(&tenant, Default::default);
        let place = known.subscriptions.binary_search_by_key(&subscription.from, |one| one.from);
        let mut changed_from = subscription.from;
        match place {
            Ok(place) => {
                if let Some(same) = known.subscriptions.get_mut(place) {
                    if same == subscription {
                        return;
                    }
                    let before = std::mem::replace(same, subscription.clone());
                    let is_end_alone = Subscription { to: subscription.to, ..before.clone() };
                    if is_end_alone == *subscription {
                        changed_from = [before.to, subscription.to]
                            .into_iter()
                            .flatten()
                            .min()
                            .unwrap_or(changed_from);
                    }
                }
            }
            Err(place) => known.subscriptions.insert(place, subscription.clone()),
        }
        self.retime(&[tenant], changed_from);
    }

    fn plan_version(&mut self, start: &PlanVersionStart) {
        let plan: PlanUid = start.version.plan;
        let known = self.state.plans.get_or_insert_with(&plan, Default::default);
        let before = known.starts.insert(start.version.generation, start.effective_from);
        if before == Some(start.effective_from) {
            return;
        }
        let on_plan = |tenant: &AccountId| {
            self.state.subscriptions_of(*tenant).iter().any(|one| one.plan == plan)
        };
        let tenants: Vec<AccountId> = self.state.tenants().filter(on_plan).collect();
        self.retime(&tenants, start.effective_from);
    }

    /// The timeline of `tenants` has changed from `from` on: windows that begin later are priced by another version.
    /// A window that straddles the change stays with the version it began under; only a change announced late can
    /// meet one. Under no version it had no price, and takes the one that begins within it.
    fn retime(&mut self, tenants: &[AccountId], from: Instant) {
        self.state.segments.clear();
        for tenant in tenants {
            let keys: Vec<WindowKey> = self
                .state
                .windows_of(*tenant)
                .map(|(key, _)| key)
                .filter(|key| key.start.next_hour() > from)
                .cloned()
                .collect();
            for key in keys {
                let start = if key.version.is_none() { key.start.max(from) } else { key.start };
                let version = self.state.version(*tenant, start);
                if version != key.version {
                    self.move_window(key, start, version);
                }
            }
            let shard_owner = *tenant;
            self.state.forget_steps(from, |_, owner| owner == Some(shard_owner));
        }
    }

    fn move_window(&mut self, key: WindowKey, start: Instant, version: Option<crate::VersionKey>) {
        let Some(moved) = self.state.windows.remove(&key) else { return };
        let target = WindowKey { start, version, ..key.clone() };
        self.touched_windows.insert(key);
        let window = self.state.windows.get_or_insert_with(&target, || UsageWindow {
            quantity: Quantity::ZERO,
            facts: 0,
            estimated_facts: 0,
        });
        window.quantity = Quantity(window.quantity.0.saturating_add(moved.quantity.0));
        window.facts = window.facts.saturating_add(moved.facts);
        window.estimated_facts = window.estimated_facts.saturating_add(moved.estimated_facts);
        self.touched_windows.insert(target);
    }

    fn tick(&mut self, at: Instant) {
        if self.state.clock.is_some_and(|clock| at <= clock) {
            return;
        }
        self.state.clock = Some(at);
        self.count_until(at);
        self.notice_silence(at);
        self.notice_unsampled(at);
    }

    /// Notes the close and lets go of the windows of the period before: late data may still come for the one closed
    /// now, and its correction needs the sums.
    fn period_close(&mut self, tenant: AccountId, through: Instant) {
        let known = self.state.tenants.get_or_insert_with(&tenant, Default::default);
        if known.closed_through.is_some_and(|before| through <= before) {
            return;
        }
        known.released_before = known.closed_through.replace(through);
        let Some(before) = known.released_before else { return };
        let old: Vec<WindowKey> = self
            .state
            .windows_of(tenant)
            .filter(|(key, _)| key.start < before)
            .map(|(key, _)| key.clone())
            .collect();
        for key in old {
            self.state.windows.remove(&key);
        }
    }

    /// Reads the touched windows once, at the end: a window touched a thousand times is one change.
    fn finish(mut self) -> Changes {
        let nothing = UsageWindow { quantity: Quantity::ZERO, facts: 0, estimated_facts: 0 };
        for key in std::mem::take(&mut self.touched_windows) {
            let segment = self.state.segment(key.tenant, key.start);
            self.changes.touched.insert(TouchedLine {
                tenant: key.tenant,
                period_start: segment.period_start,
                meter: key.meter.clone(),
                resource: key.resource,
                part: key.part.clone(),
            });
            let window = self.state.windows.get(&key).unwrap_or(&nothing).clone();
            self.changes.windows.insert(key, window);
        }
        self.changes.state = self.state.take_delta();
        self.changes
    }
}

impl ShardState {
    /// Closes the steps that reach past `from` to late samples, for the items that `concerns` picks by resource and
    /// owner: they were cut by a timeline that no longer holds and could not be taken back exactly.
    fn forget_steps(
        &mut self,
        from: Instant,
        concerns: impl Fn(&ItemKey, Option<AccountId>) -> bool,
    ) {
        let keys: Vec<ItemKey> = self
            .items
            .iter()
            .filter(|(_, item)| item.last.at > from)
            .filter(|(key, item)| {
                let owner = self.owner(key.resource, item.last.at).map(|(tenant, _)| tenant);
                concerns(key, owner)
            })
            .map(|(key, _)| key.clone())
            .collect();
        for key in keys {
            if let Some(item) = self.items.get_mut(&key) {
                item.steps.retain(|step| step.to.at <= from);
            }
        }
    }
}
