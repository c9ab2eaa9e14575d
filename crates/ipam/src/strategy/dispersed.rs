//! Addresses far from other tenants', in an order nobody can guess.
//!
//! A block is eligible while it has a free slot with nobody beside it. Among the least-filled of those the seed chooses one;
//! within it slots are probed from one that the seed gives, upward and around, and a slot beside another tenant's is
//! skipped. When no block is eligible, the blocks in which the tenant is already are probed, since its own addresses are
//! no foreign ones. If every free slot has a foreign neighbour, a strict pool refuses, and another gives the slot that is
//! farthest from foreign ones.
//!
//! Blocks in which nothing is taken are the least filled, also those that do not exist yet: a whole /16 is opened by
//! the first 256 claims. Since IPv6 has blocks without end, a pool begins new ones by this rule only up to
//! [`BLOCKS_BEGUN_MAX`]; later it begins one when the known ones have no isolated slot left.

use super::{Ask, Choice, NoChoice, Rule, Scope};
use crate::address::BlockId;
use crate::block::SlotSet;
use crate::space::Group;
use std::cmp::Reverse;
use std::collections::BTreeMap;

/// Blocks of a pool that are begun because emptier is better: as many as a /16 has, which is the largest pool in common
/// use. Each is an object.
const BLOCKS_BEGUN_MAX: u128 = 256;
/// Crowded blocks that are compared for the slot farthest from others, least-filled first.
const BLOCKS_COMPARED_MAX: usize = 4;
/// Blocks of the tenant that are probed, ascending.
const OWN_BLOCKS_MAX: usize = 8;
/// Vacant blocks that are tried: more than one only where pools share a block.
const VACANT_TRIED_MAX: u128 = 16;

pub(super) fn choose(scope: &Scope<'_>, ask: &Ask, strict: bool) -> Result<Choice, NoChoice> {
    let begins = scope.may_begin() && scope.side.known_blocks < BLOCKS_BEGUN_MAX;
    let vacant = begins.then(|| vacant(scope, ask)).flatten();
    let chosen = vacant
        .or_else(|| {
            in_order(scope, ask, |group| &group.shelves).find_map(|id| isolated(scope, ask, id))
        })
        .or_else(|| own(scope, ask))
        .or_else(|| (scope.may_begin() && !begins).then(|| vacant_unknown(scope, ask)).flatten());
    match chosen {
        Some(choice) => Ok(choice),
        None if strict => {
            let has_room = in_order(scope, ask, |group| &group.crowded).next().is_some();
            Err(if has_room { NoChoice::NotIsolated } else { NoChoice::Full })
        }
        None => farthest(scope, ask).ok_or(NoChoice::Full),
    }
}

/// In a block in which the tenant is already.
fn own(scope: &Scope<'_>, ask: &Ask) -> Option<Choice> {
    let presence = scope.side.runs.of(ask.tenant)?;
    presence.blocks().take(OWN_BLOCKS_MAX).find_map(|(id, _)| {
        isolated(scope, ask, id).filter(|choice| scope.is_available(choice.address))
    })
}

/// The isolated slot of a block that probing meets first.
fn isolated(scope: &Scope<'_>, ask: &Ask, id: BlockId) -> Option<Choice> {
    let start = ask.seed.slot();
    let index = scope.isolated(id).first_from(start)?;
    Some(scope.choice(id, index, Rule::Seeded { start }, probed(start, index)))
}

/// The slots that probing looked at before the one it took.
fn probed(start: u8, index: u8) -> SlotSet {
    match index.checked_sub(1) {
        Some(before) if index >= start => SlotSet::span(start, before),
        Some(before) => SlotSet::from(start).or(SlotSet::up_to(before)),
        None if start == 0 => SlotSet::EMPTY,
        None => SlotSet::from(start),
    }
}

/// In a block in which nothing of the pool is taken, existing or not.
fn vacant(scope: &Scope<'_>, ask: &Ask) -> Option<Choice> {
    let count = scope.side.vacant_count();
    let first = ask.seed.pick(count)?;
    (0..count.min(VACANT_TRIED_MAX)).find_map(|step| {
        let number = first.checked_add(step)?.checked_rem(count)?;
        let choice = isolated(scope, ask, scope.side.vacant_block(number)?)?;
        // Another pool may have a share of the block, and a tenant of its own there.
        scope.is_available(choice.address).then_some(choice)
    })
}

/// In a block that does not exist: by seed, and if that one exists the lowest.
fn vacant_unknown(scope: &Scope<'_>, ask: &Ask) -> Option<Choice> {
    let fresh = scope.fresh()?;
    let number = ask.seed.pick(scope.side.vacant_count())?;
    let seeded = scope.side.vacant_block(number);
    let id = seeded.filter(|id| !scope.space.blocks.contains_key(id)).unwrap_or(fresh);
    isolated(scope, ask, id)
}

/// Blocks of an index, least-filled first; equal ones from the one that the seed gives, ascending and around.
fn in_order<'a>(
    scope: &Scope<'a>,
    ask: &Ask,
    index: fn(&'a Group) -> &'a BTreeMap<u16, Vec<BlockId>>,
) -> impl Iterator<Item = BlockId> + use<'a> {
    let (scope, seed) = (*scope, ask.seed);
    let mut rows = scope.groups().map(index);
    // At most two: the tenant's own and the common one.
    let rows = [rows.next(), rows.next()];
    let mut least = Some(0_u16);
    let levels = std::iter::from_fn(move || {
        let above = |row: &'a BTreeMap<u16, Vec<BlockId>>| row.range(least?..).next();
        let level =
            *rows.iter().flatten().filter_map(|row| above(row)).map(|(level, _)| level).min()?;
        least = level.checked_add(1);
        Some(rows.map(|row| row.and_then(|row| row.get(&level)).map_or(&[][..], Vec::as_slice)))
    });
    levels.flat_map(move |[own, common]| {
        let count = own.len().saturating_add(common.len());
        let wide = u128::try_from(count).unwrap_or(u128::MAX);
        let first = seed.pick(wide).and_then(|first| usize::try_from(first).ok()).unwrap_or(0);
        (0..count).filter_map(move |step| {
            let number = first.checked_add(step)?.checked_rem(count)?;
            let further = number.checked_sub(own.len());
            further.map_or_else(|| own.get(number), |further| common.get(further)).copied()
        })
    })
}

/// The free slot with most room to both sides; ties to the order of probing.
fn farthest(scope: &Scope<'_>, ask: &Ask) -> Option<Choice> {
    let start = ask.seed.slot();
    let blocks = in_order(scope, ask, |group| &group.crowded).take(BLOCKS_COMPARED_MAX).enumerate();
    let slots = blocks.flat_map(|(place, id)| {
        let foreign = scope.foreign(id);
        scope.free(id).iter().map(move |index| {
            let (near, far) = distances(foreign, index);
            (Reverse((near, far)), place, index.wrapping_sub(start), id, index)
        })
    });
    let (Reverse((distance, _)), _, _, id, index) = slots.min()?;
    Some(scope.choice(id, index, Rule::Farthest { distance }, SlotSet::EMPTY))
}

/// How far the nearest foreign slots below and above are, the nearer first; 256 for none in the block.
fn distances(foreign: SlotSet, index: u8) -> (u16, u16) {
    let below = foreign.and(SlotSet::up_to(index)).highest();
    let above = foreign.and(SlotSet::from(index)).lowest();
    let below = below.map_or(256, |at| u16::from(index.saturating_sub(at)));
    let above = above.map_or(256, |at| u16::from(at.saturating_sub(index)));
    (below.min(above), below.max(above))
}
