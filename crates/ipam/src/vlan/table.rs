//! The ids of one pool.

use super::{VlanId, VlanRange};
use crate::block::SlotState;
use crate::plan::Released;
use crate::pool::Allowed;
use calendar::Instant;
use ids::{AccountId, ResourceUid};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A bit for each of 4,096 ids; the first and the last stay clear.
pub const BITMAP_BYTES: usize = 512;

/// An id that is not free.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tag {
    /// What it is; ids are never held, since one object has all of a claim.
    pub state: SlotState,
    /// UID of the claim that has it, or had it.
    pub owner: ResourceUid,
    /// Namespace and name of that claim, for people; decides nothing.
    pub reference: Arc<str>,
    /// Whose claim.
    pub tenant: AccountId,
    /// When the state began.
    pub since: Instant,
    /// Number of the change that brought the state about.
    pub seq: u64,
}

/// A pool as declared, parsed; its ranges stand in the fabric's register.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VlanPool {
    /// What it hands out.
    pub ranges: Vec<VlanRange>,
    /// How long a released id rests; 0 for not at all.
    pub quarantine_seconds: u32,
    /// Who may claim.
    pub allowed: Allowed,
    /// Hands out nothing while set.
    pub disabled: bool,
}

impl VlanPool {
    fn contains(&self, id: VlanId) -> bool {
        self.ranges.iter().any(|range| range.contains(id))
    }
}

/// A claim for one id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VlanClaim {
    /// UID of the object.
    pub uid: ResourceUid,
    /// When the object was made: its place in the line.
    pub created: Instant,
    /// Namespace and name, for people.
    pub reference: Arc<str>,
    /// Whose it is.
    pub tenant: AccountId,
    /// The only id that will do.
    pub id: Option<VlanId>,
}

/// Which id is given back. Unless all of it matches, nothing happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VlanRelease {
    /// Which.
    pub id: VlanId,
    /// UID of the claim that has it.
    pub owner: ResourceUid,
    /// The number as last seen.
    pub seq: u64,
}

/// What came while the last write was under way.
#[derive(Debug, Clone, Default)]
pub struct VlanBatch {
    /// Ids given back.
    pub releases: Vec<VlanRelease>,
    /// Resting ids that a person has freed early.
    pub unquarantines: Vec<VlanRelease>,
    /// Claims to serve.
    pub claims: Vec<VlanClaim>,
}

/// Why a claim gets no id now.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VlanRefusal {
    /// Not in `allowedTenants`.
    #[error(
        "the pool is not open to this tenant; its operator has to add the tenant to allowedTenants"
    )]
    NotAllowed,
    /// The pool hands out nothing now.
    #[error("the pool is disabled")]
    PoolDisabled,
    /// Not in the pool's ranges.
    #[error("spec.id: {id} is out of the pool's ranges")]
    OutOfRange {
        /// As asked.
        id: VlanId,
    },
    /// Somebody has it.
    #[error("spec.id: {id} is in use")]
    InUse {
        /// As asked.
        id: VlanId,
    },
    /// Somebody had it until just now.
    #[error("spec.id: {id} was given back and rests until {until}")]
    Quarantined {
        /// As asked.
        id: VlanId,
        /// When it is free.
        until: Instant,
    },
    /// None is free.
    #[error("the pool has no free id")]
    PoolExhausted,
}

impl VlanRefusal {
    /// Whether the claim waits and is tried again when an id becomes free.
    pub const fn waits(&self) -> bool {
        match self {
            Self::PoolDisabled
            | Self::InUse { .. }
            | Self::Quarantined { .. }
            | Self::PoolExhausted => true,
            Self::NotAllowed | Self::OutOfRange { .. } => false,
        }
    }
}

/// What became of a claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VlanVerdict {
    /// It has this id under this number.
    Bound {
        /// Which.
        id: VlanId,
        /// Give it back with the release.
        seq: u64,
        /// Whether the claim had it before.
        had_before: bool,
    },
    /// It has none.
    Refused(VlanRefusal),
}

/// What a plan did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct VlanOutcome {
    /// Whether the table is to be written.
    pub is_changed: bool,
    /// In the order of decision.
    pub verdicts: Vec<(ResourceUid, VlanVerdict)>,
    /// What became of each release, in the batch's order.
    pub releases: Vec<Released>,
    /// The same for ids freed early.
    pub unquarantines: Vec<Released>,
    /// How many waiting claims to hand in again, the oldest first: as many as ids became free.
    pub freed: u16,
}

/// Why stored tags are no table.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TableRefused {
    /// One id twice.
    #[error("id {id} is listed twice; the object was not written by this program")]
    IdTwice {
        /// Which.
        id: VlanId,
    },
    /// A number that the table has not counted yet.
    #[error(
        "the table is at generation {generation} but id {id} says {seq}; the object was not written by this program"
    )]
    FromTheFuture {
        /// The table's.
        generation: u64,
        /// Which.
        id: VlanId,
        /// Its number.
        seq: u64,
    },
}

/// The ids of one pool that are not free: what one object stores, and the view of its writer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Table {
    generation: u64,
    tags: BTreeMap<VlanId, Tag>,
    owners: BTreeMap<ResourceUid, VlanId>,
    resting: BTreeSet<(Instant, VlanId)>,
}

impl Table {
    /// A table as read from its object.
    ///
    /// # Errors
    /// [`TableRefused`] where no writer of ours can have written this.
    pub fn from_parts(
        generation: u64,
        tags: impl IntoIterator<Item = (VlanId, Tag)>,
    ) -> Result<Self, TableRefused> {
        let mut table = Self { generation, ..Self::default() };
        for (id, tag) in tags {
            if tag.seq > generation {
                return Err(TableRefused::FromTheFuture { generation, id, seq: tag.seq });
            }
            if table.tags.contains_key(&id) {
                return Err(TableRefused::IdTwice { id });
            }
            table.put(id, Some(tag));
        }
        Ok(table)
    }

    /// The number of the last change.
    pub const fn generation(&self) -> u64 {
        self.generation
    }

    /// The ids that are not free.
    pub const fn tags(&self) -> &BTreeMap<VlanId, Tag> {
        &self.tags
    }

    /// Free ids of a pool.
    pub fn free_count(&self, pool: &VlanPool) -> u16 {
        let free =
            pool.ranges.iter().flat_map(VlanRange::ids).filter(|id| !self.tags.contains_key(id));
        free.fold(0, |count, _| count.saturating_add(1))
    }

    /// A bit for each id that is not free: id `n` is bit `n mod 8`, the lowest first, of byte `n / 8`.
    pub fn bitmap(&self) -> [u8; BITMAP_BYTES] {
        let mut bytes = [0_u8; BITMAP_BYTES];
        for id in self.tags.keys() {
            if let Some(byte) = bytes.get_mut(usize::from(id.number() >> 3)) {
                *byte |= 1 << (id.number() & 7);
            }
        }
        bytes
    }

    /// The next instant at which a resting id becomes free.
    pub fn next_expiry(&self) -> Option<Instant> {
        self.resting.first().map(|(until, _)| *until)
    }

    /// Ids in use that a pool would no longer hand out if it were declared like this: why a shrink is refused.
    pub fn in_the_way(&self, pool: &VlanPool) -> Vec<VlanId> {
        let live = self.tags.iter().filter(|(_, tag)| tag.state.is_live());
        live.map(|(id, _)| *id).filter(|id| !pool.contains(*id)).collect()
    }

    /// Carries out a batch on this view; the table itself is what is to be written.
    pub fn plan(&mut self, pool: &VlanPool, batch: &VlanBatch, now: Instant) -> VlanOutcome {
        let mut outcome = VlanOutcome::default();
        let before = self.generation;
        while let Some((until, id)) = self.resting.first().copied() {
            if until > now {
                break;
            }
            self.free(id, &mut outcome);
        }
        for release in &batch.releases {
            let released = self.release(pool, release, now, &mut outcome);
            outcome.releases.push(released);
        }
        for release in &batch.unquarantines {
            let released = self.unquarantine(release, &mut outcome);
            outcome.unquarantines.push(released);
        }
        let mut claims: Vec<&VlanClaim> = batch.claims.iter().collect();
        claims.sort_unstable_by_key(|claim| (claim.created, claim.uid));
        for claim in claims {
            let verdict = self.serve(pool, claim, now);
            outcome.verdicts.push((claim.uid, verdict));
        }
        outcome.is_changed = self.generation != before;
        outcome
    }

    fn serve(&mut self, pool: &VlanPool, claim: &VlanClaim, now: Instant) -> VlanVerdict {
        if let Some((id, tag)) =
            self.owners.get(&claim.uid).and_then(|id| Some((*id, self.tags.get(id)?)))
        {
            return VlanVerdict::Bound { id, seq: tag.seq, had_before: true };
        }
        let id = match self.choose(pool, claim) {
            Ok(id) => id,
            Err(refusal) => return VlanVerdict::Refused(refusal),
        };
        let seq = self.next_seq();
        let tag = Tag {
            state: SlotState::Allocated,
            owner: claim.uid,
            reference: Arc::clone(&claim.reference),
            tenant: claim.tenant,
            since: now,
            seq,
        };
        self.put(id, Some(tag));
        VlanVerdict::Bound { id, seq, had_before: false }
    }

    fn choose(&self, pool: &VlanPool, claim: &VlanClaim) -> Result<VlanId, VlanRefusal> {
        if !pool.allowed.includes(claim.tenant) {
            return Err(VlanRefusal::NotAllowed);
        }
        if pool.disabled {
            return Err(VlanRefusal::PoolDisabled);
        }
        let Some(id) = claim.id else {
            let mut ranges = pool.ranges.clone();
            ranges.sort_unstable();
            let lowest =
                ranges.iter().flat_map(VlanRange::ids).find(|id| !self.tags.contains_key(id));
            return lowest.ok_or(VlanRefusal::PoolExhausted);
        };
        if !pool.contains(id) {
            return Err(VlanRefusal::OutOfRange { id });
        }
        match self.tags.get(&id).map(|tag| tag.state) {
            None => Ok(id),
            Some(SlotState::Held | SlotState::Allocated) => Err(VlanRefusal::InUse { id }),
            Some(SlotState::Quarantined { until }) => Err(VlanRefusal::Quarantined { id, until }),
        }
    }

    fn release(
        &mut self,
        pool: &VlanPool,
        release: &VlanRelease,
        now: Instant,
        outcome: &mut VlanOutcome,
    ) -> Released {
        let VlanRelease { id, owner, seq } = *release;
        let matches = |tag: &&Tag| tag.owner == owner && tag.seq == seq && tag.state.is_live();
        let Some(tag) = self.tags.get(&id).filter(matches).cloned() else {
            return Released::NoMatch;
        };
        if pool.quarantine_seconds == 0 {
            self.free(id, outcome);
            return Released::Freed;
        }
        let seconds = i64::from(pool.quarantine_seconds);
        let until = now.plus_microseconds(seconds.saturating_mul(1_000_000));
        let seq = self.next_seq();
        let state = SlotState::Quarantined { until };
        self.put(id, Some(Tag { state, since: now, seq, ..tag }));
        Released::Quarantined(until)
    }

    fn unquarantine(&mut self, release: &VlanRelease, outcome: &mut VlanOutcome) -> Released {
        let VlanRelease { id, owner, seq } = *release;
        let matches = |tag: &Tag| tag.owner == owner && tag.seq == seq && !tag.state.is_live();
        if !self.tags.get(&id).is_some_and(matches) {
            return Released::NoMatch;
        }
        self.free(id, outcome);
        Released::Freed
    }

    fn free(&mut self, id: VlanId, outcome: &mut VlanOutcome) {
        self.next_seq();
        self.put(id, None);
        outcome.freed = outcome.freed.saturating_add(1);
    }

    /// The one place where tags change and every index follows.
    fn put(&mut self, id: VlanId, tag: Option<Tag>) {
        let former = self.tags.remove(&id);
        match former.map(|former| (former.state, former.owner)) {
            Some((SlotState::Held | SlotState::Allocated, owner)) => {
                self.owners.remove(&owner);
            }
            Some((SlotState::Quarantined { until }, _)) => {
                self.resting.remove(&(until, id));
            }
            None => {}
        }
        let Some(tag) = tag else { return };
        match tag.state {
            SlotState::Held | SlotState::Allocated => {
                self.owners.insert(tag.owner, id);
            }
            SlotState::Quarantined { until } => {
                self.resting.insert((until, id));
            }
        }
        self.tags.insert(id, tag);
    }

    fn next_seq(&mut self) -> u64 {
        self.generation = self.generation.saturating_add(1);
        self.generation
    }
}
