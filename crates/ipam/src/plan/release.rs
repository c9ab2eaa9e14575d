//! The way back: publish, release, quarantine, free.

use crate::address::{Address, BlockId};
use crate::block::{Slot, SlotState};
use crate::pool::{QUARANTINE_SECONDS_DEFAULT, Strategy};
use crate::space::Space;
use calendar::Instant;
use ids::ResourceUid;

/// Which slot is given back. Unless all of it matches, nothing happens: so a release may be late, or come twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Release {
    /// Block and index in one.
    pub address: Address,
    /// UID of the claim that has it.
    pub owner: ResourceUid,
    /// The slot's number as last seen.
    pub seq: u64,
}

/// What became of a release.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Released {
    /// The address rests until then.
    Quarantined(Instant),
    /// The address is free.
    Freed,
    /// The slot is not what the release speaks of: it was done before, or never was so.
    NoMatch,
}

impl Space {
    /// Frees what has rested long enough.
    pub(super) fn expire(&mut self, now: Instant) {
        while let Some((until, address)) = self.resting.first().copied() {
            if until > now {
                return;
            }
            self.free(address);
        }
    }

    /// Turns everything that a claim holds into its own.
    pub(super) fn publish(&mut self, owner: ResourceUid, now: Instant) {
        let addresses: Vec<Address> = self.addresses_of(owner).collect();
        for address in addresses {
            let Some(slot) = self.slot(address).filter(|slot| slot.state == SlotState::Held) else {
                continue;
            };
            // The number stays: it is that of the allocation, and the claim's status has it.
            let slot = Slot { state: SlotState::Allocated, since: now, ..slot.clone() };
            // Yet the block has changed, and its generation has to say so.
            self.next_seq();
            self.touch(address);
            self.put(address, Some(slot));
        }
    }

    pub(super) fn release(&mut self, release: &Release, now: Instant) -> Released {
        let Release { address, owner, seq } = *release;
        let matches = |slot: &&Slot| slot.owner == owner && slot.seq == seq && slot.state.is_live();
        let Some(slot) = self.slot(address).filter(matches).cloned() else {
            return Released::NoMatch;
        };
        if slot.state == SlotState::Held {
            // Nobody was told of it, so nobody can still use it.
            self.free(address);
            return Released::Freed;
        }
        let pool = self.pools.get(&slot.pool);
        let seconds = pool.map_or(QUARANTINE_SECONDS_DEFAULT, |pool| pool.quarantine_seconds);
        let is_remembered = pool.is_some_and(|pool| pool.strategy == Strategy::LeastRecentlyUsed);
        let seq = self.next_seq();
        if is_remembered {
            self.remember_release(address, seq);
        }
        if seconds == 0 {
            self.free(address);
            return Released::Freed;
        }
        let until = now.plus_microseconds(i64::from(seconds).saturating_mul(1_000_000));
        self.touch(address);
        let state = SlotState::Quarantined { until };
        self.put(address, Some(Slot { state, since: now, seq, ..slot }));
        Released::Quarantined(until)
    }

    pub(super) fn unquarantine(&mut self, release: &Release) -> Released {
        let Release { address, owner, seq } = *release;
        let matches =
            |slot: &&Slot| slot.owner == owner && slot.seq == seq && !slot.state.is_live();
        if self.slot(address).as_ref().is_some_and(matches) {
            self.free(address);
            Released::Freed
        } else {
            Released::NoMatch
        }
    }

    fn free(&mut self, address: Address) {
        self.next_seq();
        self.touch(address);
        self.put(address, None);
        let (id, _) = BlockId::of(address);
        let Some(entry) = self.blocks.get(&id) else { return };
        self.returned.extend(entry.shares.iter().map(|share| (share.pool, id.family())));
    }
}
