//! Suspense: facts that cannot be attributed or believed.
//!
//! A fact about a resource nobody has registered, or for a meter nobody has declared, is kept as it came and folded
//! again, in the order of arrival, as soon as the registry or the meter arrives. If the owner turns out to live in
//! another shard, the facts are forwarded to its log. Refused readings and implausible steps are not kept: they need a
//! person, and the log has them.

use crate::changes::{SuspenseCause, SuspenseEntry, SuspenseKey};
use crate::key::{MeterName, Part};
use crate::record::Record;
use crate::state::ItemKey;
use crate::step::Fold;
use calendar::Interval;
use ids::ResourceUid;
use money::Quantity;

/// How many facts of one resource wait at most: a day of four meters every fifteen seconds. Later ones are counted as
/// overflowed and stay in the log only; for a counter the total is exact again with the first sample after release.
const WAITING_MAX: u64 = 23_040;

impl Fold<'_> {
    /// Counts `facts` (negative: taken back) into a suspense entry.
    pub(crate) fn suspend(
        &mut self,
        key: SuspenseKey,
        during: Interval,
        quantity: Quantity,
        facts: i64,
    ) {
        let entry = self.state.suspense.get_or_insert_with(&key, || SuspenseEntry {
            facts: 0,
            quantity: Quantity::ZERO,
            during,
            overflowed: 0,
        });
        entry.facts = entry.facts.saturating_add_signed(facts);
        entry.quantity = Quantity(entry.quantity.0.saturating_add(quantity.0));
        entry.during =
            Interval::new(entry.during.from.min(during.from), entry.during.to.max(during.to));
        self.changes.suspense.insert(key, entry.clone());
        if facts > 0 {
            self.changes.counts.suspended = self.changes.counts.suspended.saturating_add(1);
        }
    }

    /// Keeps a fact until its resource or meter is known.
    pub(crate) fn wait(
        &mut self,
        record: &Record,
        item: &ItemKey,
        during: Interval,
        cause: SuspenseCause,
    ) {
        let resource = item.resource;
        let key =
            SuspenseKey { resource, meter: item.meter.clone(), part: item.part.clone(), cause };
        self.suspend(key.clone(), during, Quantity::ZERO, 1);
        let last = self.state.waiting.range((resource, 0)..=(resource, u64::MAX)).last();
        let place = last.map_or(0, |((_, place), _)| place.saturating_add(1));
        if place < WAITING_MAX {
            self.state.waiting.insert((resource, place), record.clone());
        } else if let Some(entry) = self.state.suspense.get_mut(&key) {
            entry.overflowed = entry.overflowed.saturating_add(1);
            self.changes.suspense.insert(key, entry.clone());
        }
    }

    /// Folds again whatever waits for `resource`.
    pub(crate) fn release(&mut self, resource: ResourceUid) {
        let keys: Vec<(ResourceUid, u64)> = self
            .state
            .waiting
            .range((resource, 0)..=(resource, u64::MAX))
            .map(|(key, _)| *key)
            .collect();
        if keys.is_empty() {
            return;
        }
        let facts: Vec<Record> =
            keys.iter().filter_map(|key| self.state.waiting.remove(key)).collect();
        self.settle(resource);
        for fact in &facts {
            self.fold(fact);
        }
    }

    /// Folds again whatever waits for a meter of resources that are known.
    pub(crate) fn release_known(&mut self) {
        let mut resources: Vec<ResourceUid> =
            self.state.waiting.iter().map(|((resource, _), _)| *resource).collect();
        resources.dedup();
        resources.retain(|resource| self.state.resources.get(resource).is_some());
        for resource in resources {
            self.release(resource);
        }
    }

    /// Sets the entries of facts that waited to nothing.
    fn settle(&mut self, resource: ResourceUid) {
        let least = SuspenseKey {
            resource,
            meter: MeterName::from(""),
            part: Part::whole(),
            cause: SuspenseCause::UnknownResource,
        };
        let settled: Vec<SuspenseKey> = self
            .state
            .suspense
            .range(least..)
            .take_while(|(key, _)| key.resource == resource)
            .filter(|(key, _)| match key.cause {
                SuspenseCause::UnknownResource | SuspenseCause::UnknownMeter => true,
                SuspenseCause::Unreadable
                | SuspenseCause::Implausible
                | SuspenseCause::AfterClose => false,
            })
            .map(|(key, _)| key.clone())
            .collect();
        for key in settled {
            if let Some(mut entry) = self.state.suspense.remove(&key) {
                entry.facts = 0;
                self.changes.suspense.insert(key, entry);
            }
        }
    }
}
