//! Addresses of a tenant side by side, so that few prefixes describe it.
//!
//! 1. A free neighbour of the tenant's longest run that has one; ties to the lowest run, then to the lower side.
//! 2. The block with most addresses of the tenant that has room; there the slot nearest to its longest run.
//! 3. The fullest block that fits the whole count; there the smallest gap that fits it.
//! 4. A fresh block.

use super::{Ask, Choice, Rule, Scope};
use crate::address::{Address, BlockId};
use crate::block::SlotSet;
use crate::space::Presence;
use std::cmp::Reverse;

/// How many runs, and blocks, of a tenant are looked at, best first: a bound on the work for a tenant in tatters.
const LOOKED_AT_MAX: usize = 64;

pub(super) fn choose(scope: &Scope<'_>, ask: &Ask) -> Option<Choice> {
    let presence = scope.side.presences.get(&ask.tenant);
    presence
        .and_then(|presence| neighbour(scope, presence))
        .or_else(|| presence.and_then(|presence| near(scope, presence)))
        .or_else(|| fullest(scope, ask))
        .or_else(|| fresh(scope))
        .or_else(|| any(scope))
}

fn neighbour(scope: &Scope<'_>, presence: &Presence) -> Option<Choice> {
    let family = scope.side.territory.family();
    presence.runs_by_length().take(LOOKED_AT_MAX).find_map(|(first, last)| {
        let sides = [first.checked_sub(1), last.checked_add(1)].into_iter().flatten();
        let mut addresses = sides.filter_map(|value| Address::new(family, value));
        let address = addresses.find(|address| scope.is_available(*address))?;
        let run_first = Address::new(family, first)?;
        let run_length = last.saturating_sub(first).saturating_add(1);
        let (id, index) = BlockId::of(address);
        Some(scope.choice(
            id,
            index,
            Rule::NeighbourOfRun { run_first, run_length },
            SlotSet::EMPTY,
        ))
    })
}

fn near(scope: &Scope<'_>, presence: &Presence) -> Option<Choice> {
    presence.blocks_by_count().take(LOOKED_AT_MAX).find_map(|id| {
        let (first, last) = presence.longest_run_in(id)?;
        let distance = |index: &u8| {
            let value = id.address(*index).value();
            first.saturating_sub(value).max(value.saturating_sub(last))
        };
        let open = |index: &u8| scope.is_available(id.address(*index));
        // One look decides for the block, which is of one group as a whole.
        scope.free(id).lowest().filter(open)?;
        let index = scope.free(id).iter().min_by_key(|index| (distance(index), *index))?;
        let distance = u16::try_from(distance(&index)).unwrap_or(u16::MAX);
        Some(scope.choice(id, index, Rule::NearRun { distance }, SlotSet::EMPTY))
    })
}

fn fullest(scope: &Scope<'_>, ask: &Ask) -> Option<Choice> {
    let shelves = scope.groups().filter_map(|group| {
        let (free, shelf) = group.shelves.range(ask.remaining..).next()?;
        Some((*free, *shelf.first()?))
    });
    let (free, id) = shelves.min()?;
    let index = gap(scope.free(id), ask.remaining)?;
    Some(scope.choice(id, index, Rule::FullestBlock { free }, SlotSet::EMPTY))
}

fn fresh(scope: &Scope<'_>) -> Option<Choice> {
    let id = scope.fresh()?;
    let index = scope.free(id).lowest()?;
    Some(scope.choice(id, index, Rule::FreshBlock, SlotSet::EMPTY))
}

/// For more than any block has left: the emptiest.
fn any(scope: &Scope<'_>) -> Option<Choice> {
    let emptiest = scope.groups().filter_map(|group| {
        let (free, shelf) = group.shelves.last_key_value()?;
        Some((Reverse(*free), *shelf.first()?))
    });
    let (Reverse(free), id) = emptiest.min()?;
    let index = gap(scope.free(id), u16::MAX)?;
    Some(scope.choice(id, index, Rule::FullestBlock { free }, SlotSet::EMPTY))
}

/// Where the smallest gap that fits `count` begins, or else the largest; ties to the lowest.
fn gap(free: SlotSet, count: u16) -> Option<u8> {
    let mut best: Option<(bool, u16, u8)> = None;
    let mut rest = free;
    while let Some(first) = rest.lowest() {
        let after = SlotSet::from(first).without(rest).lowest();
        let run = match after.and_then(|after| after.checked_sub(1)) {
            Some(last) => SlotSet::span(first, last),
            None => SlotSet::from(first),
        };
        rest = rest.without(run);
        let length = run.count();
        let is_short = length < count;
        // Among those that are too short, the longest is the least.
        let key =
            (is_short, if is_short { u16::MAX.saturating_sub(length) } else { length }, first);
        best = Some(best.map_or(key, |best| best.min(key)));
    }
    best.map(|(_, _, first)| first)
}
