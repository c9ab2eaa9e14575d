//! Claims that wait for room.
//!
//! What becomes free goes to the oldest, as far as it fits; a small claim may pass a large one that does not fit, but only
//! until the large one has waited [`PASSED_SECONDS_MAX`]. From then on freed addresses are kept for it.
//!
//! Only claims that are short of *any* free address keep younger ones away. One that waits for an address by name, for an
//! isolated slot or for a block of its own is woken too, and is in nobody's way.
//!
//! The lines live in memory. After a restart every unbound claim is handed in again, with the time since which it waits
//! from its condition, and stands where it stood.

use crate::address::{Address, Family};
use crate::plan::Refusal;
use crate::space::{SideKey, Space};
use calendar::Instant;
use ids::ResourceUid;
use std::collections::{BTreeMap, BTreeSet};

/// How long smaller claims may pass a larger one.
pub const PASSED_SECONDS_MAX: i64 = 300;
/// Waiting claims of a pool that are looked at for one decision, oldest first.
const LOOKED_AT_MAX: usize = 1_024;

/// The order among claims: creation, then UID.
pub(super) type Order = (Instant, ResourceUid);

/// What a waiting claim needs of a pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Want {
    /// How many addresses; 0 if only one by name.
    pub count: u16,
    /// The one by name.
    pub address: Option<Address>,
    /// Since when it waits.
    pub since: Instant,
    /// Whether it lacks free addresses as such, so that others may have to leave it some.
    pub keeps: bool,
}

impl Want {
    fn is_passed_too_long(&self, now: Instant) -> bool {
        let waited = now.microseconds_since(self.since);
        self.keeps && waited >= PASSED_SECONDS_MAX.saturating_mul(1_000_000)
    }
}

/// See the module.
#[derive(Debug, Clone, Default)]
pub struct Waiting {
    lines: BTreeMap<SideKey, BTreeMap<Order, Want>>,
    places: BTreeMap<ResourceUid, BTreeSet<(SideKey, Instant)>>,
}

impl Waiting {
    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// How many claims wait.
    pub fn count(&self) -> usize {
        self.places.len()
    }

    /// The claims that wait for a pool in a family, oldest first.
    pub fn line(
        &self,
        pool: ResourceUid,
        family: Family,
    ) -> impl Iterator<Item = (ResourceUid, &Want)> {
        let line = self.lines.get(&(pool, family));
        line.into_iter().flatten().map(|((_, uid), want)| (*uid, want))
    }

    fn keys_of(&self, claim: ResourceUid) -> impl Iterator<Item = SideKey> {
        self.places.get(&claim).into_iter().flatten().map(|(key, _)| *key)
    }

    /// Takes a claim out of every line: it is bound, gone, or waits no more.
    pub(super) fn leave(&mut self, claim: ResourceUid) {
        for (key, created) in self.places.remove(&claim).unwrap_or_default() {
            if let Some(line) = self.lines.get_mut(&key) {
                line.remove(&(created, claim));
                if line.is_empty() {
                    self.lines.remove(&key);
                }
            }
        }
    }

    /// Since when a claim waits.
    pub(super) fn since(&self, claim: ResourceUid) -> Option<Instant> {
        let places = self.places.get(&claim)?;
        let wants = places.iter().filter_map(|(key, created)| {
            self.lines.get(key)?.get(&(*created, claim)).map(|want| want.since)
        });
        wants.min()
    }

    pub(super) fn join(&mut self, key: SideKey, order: Order, want: Want) {
        self.lines.entry(key).or_default().insert(order, want);
        self.places.entry(order.1).or_default().insert((key, order.0));
    }

    /// How many of `free` addresses a claim has to leave to older ones: to those that fit, and to those that were passed
    /// for too long.
    pub(super) fn kept_from(&self, key: SideKey, order: Order, free: u128, now: Instant) -> u128 {
        let Some(line) = self.lines.get(&key) else { return 0 };
        let mut kept = 0_u128;
        for (_, want) in line.range(..order).take(LOOKED_AT_MAX).filter(|(_, want)| want.keeps) {
            let with = kept.saturating_add(u128::from(want.count));
            if with <= free || want.is_passed_too_long(now) {
                kept = with;
            }
            if kept >= free {
                break;
            }
        }
        kept
    }

    /// The claims to try again, oldest first.
    fn wake(
        &self,
        key: SideKey,
        free: u128,
        now: Instant,
        is_free: impl Fn(Address) -> bool,
    ) -> Vec<(Order, ResourceUid)> {
        let mut left = free;
        let mut woken = Vec::new();
        for (order, want) in self.lines.get(&key).into_iter().flatten().take(LOOKED_AT_MAX) {
            let fits = match want.address {
                Some(address) => is_free(address),
                None => u128::from(want.count) <= left,
            };
            if fits {
                left = left.saturating_sub(u128::from(want.count.max(1)));
                woken.push((*order, order.1));
            } else if want.is_passed_too_long(now) {
                break;
            }
        }
        woken
    }
}

impl Space {
    /// Notes what a refused claim waits for.
    pub(super) fn wait(
        &mut self,
        order: Order,
        since: Option<Instant>,
        refusals: &[Refusal],
        now: Instant,
    ) {
        let earlier = self.waiting.since(order.1);
        let since = earlier.into_iter().chain(since).min().unwrap_or(now).min(now);
        self.waiting.leave(order.1);
        for refusal in refusals {
            let (key, count, address, keeps) = match refusal {
                Refusal::PoolExhausted { pool, family, wanted, .. } => {
                    let side = self.sides.get(&(*pool, *family));
                    // What the pool could never give is not kept for anybody.
                    let is_short = side.is_some_and(|side| {
                        let wanted = u128::from(*wanted);
                        wanted > side.free() && wanted <= side.territory.usable_count()
                    });
                    ((*pool, *family), *wanted, None, is_short)
                }
                Refusal::KeptForOlder { pool, family, wanted } => {
                    ((*pool, *family), *wanted, None, true)
                }
                Refusal::NoIsolatedSlot { pool, family } => ((*pool, *family), 1, None, false),
                Refusal::PoolDisabled { pool } => {
                    for family in [Family::V4, Family::V6] {
                        let want = Want { count: 1, address: None, since, keeps: false };
                        self.waiting.join((*pool, family), order, want);
                    }
                    continue;
                }
                Refusal::InUse { address }
                | Refusal::Quarantined { address, .. }
                | Refusal::BlockTaken { address } => {
                    let home =
                        self.sides.iter().find(|(_, side)| side.territory.contains(*address));
                    let Some((key, _)) = home else { continue };
                    (*key, 0, Some(*address), false)
                }
                Refusal::Count { .. }
                | Refusal::AddressIsOne { .. }
                | Refusal::NoPool
                | Refusal::PoolUnknown { .. }
                | Refusal::NotAllowed { .. }
                | Refusal::NoSuchFamily { .. }
                | Refusal::OutOfRange { .. }
                | Refusal::Excluded { .. } => continue,
            };
            self.waiting.join(key, order, Want { count, address, since, keeps });
        }
    }

    /// Takes a claim out of every line, because it is gone or changed. What was kept for it goes to others with the next plan.
    pub fn withdraw(&mut self, claim: ResourceUid) {
        self.returned.extend(self.waiting.keys_of(claim));
        self.waiting.leave(claim);
    }

    /// The waiting claims that what was returned since the last call is for.
    pub(super) fn wake_returned(&mut self, now: Instant) -> Vec<ResourceUid> {
        let mut woken = BTreeSet::new();
        for key in std::mem::take(&mut self.returned) {
            let Some(side) = self.sides.get(&key).filter(|side| !side.pool.disabled) else {
                continue;
            };
            let is_free =
                |address| side.territory.contains(address) && self.slot(address).is_none();
            woken.extend(self.waiting.wake(key, side.free(), now, is_free));
        }
        woken.into_iter().map(|(_, uid)| uid).collect()
    }
}
