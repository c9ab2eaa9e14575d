//! The one place where slots change and every index follows.

use super::entry::{Entry, Share, Standing};
use super::{Side, SideKey, Space};
use crate::address::{Address, BlockId};
use crate::block::{Block, Slot, SlotSet, SlotState};
use crate::pool::Strategy;
use ids::{AccountId, ResourceUid};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What indexes know of a slot.
#[derive(Clone, PartialEq, Eq)]
struct Known {
    state: SlotState,
    owner: ResourceUid,
    tenant: AccountId,
    pool: ResourceUid,
    sticky_key: Option<Arc<str>>,
}

impl Known {
    fn of(slot: &Slot) -> Self {
        let sticky_key = if slot.state.is_live() { None } else { slot.sticky_key.clone() };
        let Slot { state, owner, tenant, pool, .. } = *slot;
        Self { state, owner, tenant, pool, sticky_key }
    }
}

impl Space {
    /// Replaces what is at an address, block and indexes alike; a block that is not there yet is made. The former slot
    /// comes back.
    pub(crate) fn put(&mut self, address: Address, slot: Option<Slot>) -> Option<Slot> {
        let (id, index) = BlockId::of(address);
        let after = slot.as_ref().map(Known::of);
        let entry = match self.blocks.get_mut(&id) {
            Some(entry) => entry,
            None => {
                self.load(Block::new(id));
                self.blocks.get_mut(&id)?
            }
        };
        let rested: Vec<SlotSet> = if entry.remembered.is_empty() {
            Vec::new()
        } else {
            entry.shares.iter().map(|share| entry.rested(share.usable)).collect()
        };
        let former = entry.block.put(index, slot);
        let before = former.as_ref().map(Known::of);
        mark(entry, index, before.as_ref(), after.as_ref());
        count(&mut self.sides, entry, address, before.as_ref(), after.as_ref());
        restand(&mut self.sides, entry, &rested);
        if let Some(known) = &before {
            self.forget(address, known);
        }
        if let Some(known) = after {
            self.learn(address, known);
        }
        former
    }

    fn learn(&mut self, address: Address, known: Known) {
        match known.state {
            SlotState::Held | SlotState::Allocated => {
                self.owners.insert((known.owner, address));
            }
            SlotState::Quarantined { until } => {
                self.resting.insert((until, address));
                if let Some(key) = known.sticky_key {
                    self.sticky.insert((known.tenant, key, address));
                }
            }
        }
    }

    fn forget(&mut self, address: Address, known: &Known) {
        match known.state {
            SlotState::Held | SlotState::Allocated => {
                self.owners.remove(&(known.owner, address));
            }
            SlotState::Quarantined { until } => {
                self.resting.remove(&(until, address));
                if let Some(key) = &known.sticky_key {
                    self.sticky.remove(&(known.tenant, Arc::clone(key), address));
                }
            }
        }
    }

    /// Remembers the order of a release, for pools that hand out the least recently used. The slot must not be free.
    pub(crate) fn remember_release(&mut self, address: Address, seq: u64) {
        let (id, index) = BlockId::of(address);
        if let Some(entry) = self.blocks.get_mut(&id) {
            entry.block.remember_release(index, seq);
            entry.remembered.insert(index);
        }
    }

    /// Gives the block to one tenant, or to nobody in particular.
    pub(crate) fn set_block_tenant(&mut self, id: BlockId, tenant: Option<AccountId>) {
        if !self.blocks.contains_key(&id) {
            self.load(Block::new(id));
        }
        if let Some(entry) = self.blocks.get_mut(&id) {
            entry.block.set_tenant(tenant);
            let rested: Vec<SlotSet> =
                entry.shares.iter().map(|share| entry.rested(share.usable)).collect();
            restand(&mut self.sides, entry, &rested);
        }
    }

    /// Takes a block in.
    pub(crate) fn load(&mut self, block: Block) {
        let id = block.id();
        self.sequence = self.sequence.max(block.generation());
        let slots: Vec<(u8, Slot)> =
            block.slots().iter().map(|(index, slot)| (*index, slot.clone())).collect();
        let mut empty = block;
        for (index, _) in &slots {
            empty.put(*index, None);
        }
        // A tenant without a slot has given the block back.
        let tenant = empty.tenant().filter(|_| !slots.is_empty());
        empty.set_tenant(tenant);
        let mut entry = Entry::new(empty);
        for ((pool, family), side) in &mut self.sides {
            let usable = side.territory.slots(id);
            if *family != id.family() || usable.is_empty() {
                continue;
            }
            side.known_blocks = side.known_blocks.saturating_add(1);
            entry.shares.push(Share { pool: *pool, usable, standing: None, is_busy: false });
        }
        let nothing: Vec<SlotSet> = entry.shares.iter().map(|_| SlotSet::EMPTY).collect();
        restand(&mut self.sides, &mut entry, &nothing);
        self.blocks.insert(id, entry);
        self.move_fresh(id);
        for (index, slot) in slots {
            self.put(id.address(index), Some(slot));
            // `put` lifts an exclusive tenant only from an empty block, which this was until now.
        }
    }

    /// Changes a block to what was read of it, slot by slot; false if more than slots differs, and then it has to be loaded
    /// anew.
    pub(crate) fn adopt(&mut self, read: &Block) -> bool {
        let id = read.id();
        let tenant = read.tenant().filter(|_| !read.slots().is_empty());
        let Some(entry) = self.blocks.get_mut(&id) else { return false };
        // Indexes know the last releases of free slots alone; an object may leave the others out.
        let known = entry.block.released();
        let differs = |index: &u8| {
            !entry.taken.contains(*index) && known.get(index) != read.released().get(index)
        };
        if entry.block.tenant() != tenant || known.keys().chain(read.released().keys()).any(differs)
        {
            return false;
        }
        entry.remember(read.released().clone());
        let mut differing: Vec<(u8, Option<Slot>)> = Vec::new();
        for (index, slot) in read.slots() {
            match entry.block.slots().get(index) {
                Some(known) if known == slot => {}
                // Nothing that an index knows of: in place.
                Some(known) if Known::of(known) == Known::of(slot) => {
                    entry.block.put(*index, Some(slot.clone()));
                }
                Some(_) | None => differing.push((*index, Some(slot.clone()))),
            }
        }
        let is_gone = |index: &&u8| !read.slots().contains_key(index);
        // Last, so that the block is not empty in between and given back.
        differing.extend(entry.block.slots().keys().filter(is_gone).map(|index| (*index, None)));
        entry.is_changed = false;
        entry.block.set_generation(read.generation());
        self.sequence = self.sequence.max(read.generation());
        for (index, slot) in differing {
            self.put(id.address(index), slot);
        }
        true
    }

    /// Takes a block out, with everything that follows from it.
    pub(crate) fn unload(&mut self, id: BlockId) {
        let Some(entry) = self.blocks.get(&id) else { return };
        let indexes: Vec<u8> = entry.block.slots().keys().copied().collect();
        for index in indexes {
            self.put(id.address(index), None);
        }
        let Some(mut entry) = self.blocks.remove(&id) else { return };
        let shares = std::mem::take(&mut entry.shares);
        for share in shares {
            let Some(side) = self.sides.get_mut(&(share.pool, id.family())) else { continue };
            let rested = entry.rested(share.usable);
            if let Some(standing) = share.standing {
                move_rested(side, &entry, Some(&standing), None, rested, SlotSet::EMPTY);
                leave(side, id, &standing);
            }
            side.known_blocks = side.known_blocks.saturating_sub(1);
            if let Some(ordinal) = side.territory.ordinal_of(id) {
                side.fresh_from = side.fresh_from.min(ordinal);
            }
        }
    }

    /// Moves the mark of the lowest block that does not exist past those that do.
    fn move_fresh(&mut self, created: BlockId) {
        let Self { sides, blocks, .. } = self;
        let Some(entry) = blocks.get(&created) else { return };
        for share in &entry.shares {
            let Some(side) = sides.get_mut(&(share.pool, created.family())) else { continue };
            while side.fresh_block().is_some_and(|fresh| blocks.contains_key(&fresh)) {
                side.fresh_from = side.fresh_from.saturating_add(1);
            }
        }
    }
}

/// The bits of the block.
fn mark(entry: &mut Entry, index: u8, before: Option<&Known>, after: Option<&Known>) {
    let is_left = |known: &&Known| after.is_none_or(|after| after.tenant != known.tenant);
    if let Some(known) = before.filter(is_left) {
        let slots = entry.tenants.entry(known.tenant).or_default();
        slots.remove(index);
        if slots.is_empty() {
            entry.tenants.remove(&known.tenant);
        }
    }
    match after {
        Some(known) => {
            entry.taken.insert(index);
            if known.state.is_live() {
                entry.resting.remove(index);
            } else {
                entry.resting.insert(index);
            }
            entry.tenants.entry(known.tenant).or_default().insert(index);
        }
        None => {
            entry.taken.remove(index);
            entry.resting.remove(index);
            if entry.taken.is_empty() {
                entry.block.set_tenant(None);
            }
        }
    }
}

/// The counters and runs of the pool that the address belongs to, or belonged to.
fn count(
    sides: &mut BTreeMap<SideKey, Side>,
    entry: &Entry,
    address: Address,
    before: Option<&Known>,
    after: Option<&Known>,
) {
    let (_, index) = BlockId::of(address);
    let home = entry.shares.iter().find(|share| share.usable.contains(index));
    if let Some(side) = home.and_then(|share| sides.get_mut(&(share.pool, address.family()))) {
        let tally = |known: Option<&Known>| match known.map(|known| known.state) {
            Some(SlotState::Held | SlotState::Allocated) => (1, 0),
            Some(SlotState::Quarantined { .. }) => (0, 1),
            None => (0, 0),
        };
        let (was, is) = (tally(before), tally(after));
        side.allocated = side.allocated.saturating_add(is.0).saturating_sub(was.0);
        side.quarantined = side.quarantined.saturating_add(is.1).saturating_sub(was.1);
        let live = |known: Option<&Known>| {
            known.filter(|known| known.state.is_live()).map(|known| known.tenant)
        };
        let (was, is) = (live(before), live(after));
        if matches!(side.pool.strategy, Strategy::Dispersed { .. }) {
            side.runs.count(entry.block.id(), was, is);
        } else if side.pool.strategy == Strategy::TenantRun {
            // Beyond the end of the block anything may be.
            let free = home.map_or(SlotSet::EMPTY, |share| share.usable.without(entry.taken));
            let open = |beside: Option<u8>| beside.is_none_or(|beside| free.contains(beside));
            let beside = (open(index.checked_sub(1)), open(index.checked_add(1)));
            side.runs.change(address, was, is, after.is_none(), beside);
        }
    }
    for (known, is_new) in [(before, false), (after, true)] {
        let Some(known) = known else { continue };
        if home.is_some_and(|share| share.pool == known.pool) {
            continue;
        }
        if let Some(side) = sides.get_mut(&(known.pool, address.family())) {
            let outside = side.out_of_range;
            side.out_of_range =
                if is_new { outside.saturating_add(1) } else { outside.saturating_sub(1) };
        }
    }
}

/// Finds the block's place in the index of each of its pools again. `rested`: for each share what it was, or nothing if
/// no slot had rested.
fn restand(sides: &mut BTreeMap<SideKey, Side>, entry: &mut Entry, rested: &[SlotSet]) {
    let id = entry.block.id();
    let mut shares = std::mem::take(&mut entry.shares);
    for (number, share) in shares.iter_mut().enumerate() {
        let Some(side) = sides.get_mut(&(share.pool, id.family())) else { continue };
        let standing = entry.standing(&side.pool, share.usable);
        if side.pool.strategy == Strategy::LeastRecentlyUsed {
            let was = rested.get(number).copied().unwrap_or_default();
            let is = entry.rested(share.usable);
            move_rested(side, entry, share.standing.as_ref(), standing.as_ref(), was, is);
        }
        if standing != share.standing {
            if let Some(former) = &share.standing {
                leave(side, id, former);
            }
            if let Some(standing) = &standing {
                let strategy = side.pool.strategy;
                side.groups.entry(standing.group).or_default().add(strategy, id, standing);
            }
            share.standing = standing;
        }
        if matches!(side.pool.strategy, Strategy::Dispersed { .. }) {
            let is_busy = !share.usable.and(entry.taken).is_empty();
            if is_busy != share.is_busy {
                share.is_busy = is_busy;
                mark_busy(side, id, is_busy);
            }
        }
    }
    entry.shares = shares;
}

fn leave(side: &mut Side, id: BlockId, standing: &Standing) {
    if let Some(group) = side.groups.get_mut(&standing.group) {
        group.remove(side.pool.strategy, id, standing);
        // A tenant that is gone leaves nothing; the group of whoever comes is always there.
        if standing.group.is_some() && group.is_empty() {
            side.groups.remove(&standing.group);
        }
    }
}

fn mark_busy(side: &mut Side, id: BlockId, is_busy: bool) {
    let Some(ordinal) = side.territory.ordinal_of(id) else { return };
    match (side.busy.binary_search(&ordinal), is_busy) {
        (Err(place), true) => side.busy.insert(place, ordinal),
        (Ok(place), false) => {
            side.busy.remove(place);
        }
        (Ok(_), true) | (Err(_), false) => {}
    }
}

fn move_rested(
    side: &mut Side,
    entry: &Entry,
    before: Option<&Standing>,
    after: Option<&Standing>,
    was: SlotSet,
    is: SlotSet,
) {
    let (from, to) = (before.map(|one| one.group), after.map(|one| one.group));
    let (gone, new) = if from == to { (was.without(is), is.without(was)) } else { (was, is) };
    let key =
        |index: u8| entry.block.released().get(&index).map(|seq| (*seq, entry.block.id(), index));
    if let Some(group) = from.and_then(|from| side.groups.get_mut(&from)) {
        for key in gone.iter().filter_map(key) {
            group.rested.remove(&key);
        }
    }
    if let Some(to) = to {
        let group = side.groups.entry(to).or_default();
        group.rested.extend(new.iter().filter_map(key));
    }
}
