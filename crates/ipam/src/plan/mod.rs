//! One batch of requests against a space: what changes, and a verdict for each.
//!
//! The order within a batch does not depend on the order in which requests came: what has rested long enough is freed,
//! then claims are published, then addresses given back, then claims are served, the oldest first (creation, then UID).
//! A claim is decided by the first of these that applies: its own UID is in a slot already; it names an address; its
//! sticky key brings one back; the pool's strategy. It gets all it asks for or nothing.
//!
//! What one object can hold is allocated by the write of that object. What needs several is *held* until the claim's
//! own status says all of it, which is the moment of truth; [`Batch::publishes`] then turns held into allocated.

mod claim;
mod refusal;
mod release;
#[cfg(test)]
mod tests;
mod waiting;

pub use claim::{COUNT_MAX, Claim, Families};
pub use refusal::{Refusal, Withheld};
pub use release::{Release, Released};
pub use waiting::{PASSED_SECONDS_MAX, Waiting, Want};

use crate::address::{Address, BlockId};
use crate::space::Space;
use crate::strategy::Why;
use calendar::Instant;
use ids::ResourceUid;

/// What came while the last write was under way; at most a few hundred of each.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    /// Claims whose status now names everything they hold.
    pub publishes: Vec<ResourceUid>,
    /// Addresses given back.
    pub releases: Vec<Release>,
    /// Resting addresses that a person has freed early; the same match as a release.
    pub unquarantines: Vec<Release>,
    /// Claims to serve.
    pub claims: Vec<Claim>,
}

/// An address of a claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bound {
    /// Which.
    pub address: Address,
    /// UID of its pool.
    pub pool: ResourceUid,
    /// The slot's number: give it back with the release.
    pub seq: u64,
    /// Whether the claim has to be published to keep it.
    pub is_held: bool,
    /// Why this one; none if the claim had it before.
    pub why: Option<Why>,
}

/// What became of a claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It has these, IPv4 first, each family in the order of allocation.
    Bound(Vec<Bound>),
    /// It has nothing.
    Refused(Refusal),
}

/// What a plan did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Outcome {
    /// Blocks to write, in order of their first change; [`Space::block`] has the content.
    pub changed: Vec<BlockId>,
    /// In the order of decision.
    pub verdicts: Vec<(ResourceUid, Verdict)>,
    /// What became of each release, in the batch's order.
    pub releases: Vec<Released>,
    /// The same for addresses freed early.
    pub unquarantines: Vec<Released>,
    /// Waiting claims to hand in again: the oldest first, as many as fit into what became free.
    pub wake: Vec<ResourceUid>,
}

impl Space {
    /// Carries out a batch on this view. `now`: the writer's clock; an earlier `now` than before only frees less.
    pub fn plan(&mut self, batch: &Batch, now: Instant) -> Outcome {
        let mut outcome = Outcome::default();
        self.expire(now);
        for owner in &batch.publishes {
            self.publish(*owner, now);
        }
        outcome.releases = batch.releases.iter().map(|one| self.release(one, now)).collect();
        outcome.unquarantines =
            batch.unquarantines.iter().map(|one| self.unquarantine(one)).collect();
        let mut claims: Vec<&Claim> = batch.claims.iter().collect();
        claims.sort_unstable_by_key(|claim| claim.order());
        for claim in claims {
            outcome.verdicts.push((claim.uid, self.serve(claim, now)));
        }
        outcome.changed = self.finish();
        outcome.wake = self.wake_returned(now);
        outcome
    }

    /// Waiting claims to hand in again whatever happened: a safety net for a lost event, to be cast once a minute.
    pub fn sweep(&mut self, now: Instant) -> Vec<ResourceUid> {
        self.returned.extend(self.sides.keys().copied());
        self.wake_returned(now)
    }

    /// Numbers the changed blocks and forgets that they are changed.
    fn finish(&mut self) -> Vec<BlockId> {
        let changed = std::mem::take(&mut self.changed);
        for id in &changed {
            if let Some(entry) = self.blocks.get_mut(id) {
                entry.is_changed = false;
                entry.block.raise(self.sequence);
            }
        }
        changed
    }

    /// Notes that the block of an address is to be written; true if it was not noted before.
    fn touch(&mut self, address: Address) -> bool {
        let (id, _) = BlockId::of(address);
        let Some(entry) = self.blocks.get_mut(&id).filter(|entry| !entry.is_changed) else {
            return false;
        };
        entry.is_changed = true;
        self.changed.push(id);
        true
    }

    /// The number of the next change.
    fn next_seq(&mut self) -> u64 {
        self.sequence = self.sequence.saturating_add(1);
        self.sequence
    }
}
