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

/// How many open runs of a tenant are looked at, longest first: only where a run ends with its block can an open run turn
/// out closed.
const LOOKED_AT_MAX: usize = 64;

pub(super) fn choose(scope: &Scope<'_>, ask: &Ask) -> Option<Choice> {
    let presence = scope.side.runs.of(ask.tenant);
    presence
        .and_then(|presence| neighbour(scope, presence))
        .or_else(|| presence.and_then(|presence| near(scope, presence)))
        .or_else(|| fullest(scope, ask))
        .or_else(|| fresh(scope))
        .or_else(|| any(scope))
}

fn neighbour(scope: &Scope<'_>, presence: &Presence) -> Option<Choice> {
    let family = scope.side.territory.family();
    presence.open_runs().take(LOOKED_AT_MAX).find_map(|(first, last)| {
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
    let open = scope.groups().fold(0_usize, |sum, group| sum.saturating_add(group.fullest.len()));
    let most = |(id, count): (BlockId, u16)| (Reverse(count), id);
    // Blocks that are the tenant's and have room, met from the shorter of both lists.
    let best = if open < presence.blocks().len() {
        let with_room = scope.groups().flat_map(|group| group.fullest.iter().map(|(_, id)| *id));
        with_room.filter_map(|id| Some((id, presence.count_in(id)?))).map(most).min()
    } else {
        let has_room = |id: BlockId| {
            let index = scope.free(id).lowest();
            index.is_some_and(|index| scope.is_available(id.address(index)))
        };
        presence.blocks().filter(|(id, _)| has_room(*id)).map(most).min()
    };
    let (_, id) = best?;
    let (free, own) = (scope.free(id), longest(scope.own_live(id))?);
    let (first, last) = (own.lowest()?, own.highest()?);
    let below = free.and(SlotSet::up_to(first)).highest().map(|at| (first.saturating_sub(at), at));
    let above = free.and(SlotSet::from(last)).lowest().map(|at| (at.saturating_sub(last), at));
    let (distance, index) = below.into_iter().chain(above).min()?;
    let rule = Rule::NearRun { distance: u16::from(distance) };
    Some(scope.choice(id, index, rule, SlotSet::EMPTY))
}

/// The longest run of a set; ties to the lowest.
fn longest(slots: SlotSet) -> Option<SlotSet> {
    runs(slots).min_by_key(|run| Reverse(run.count()))
}

/// Maximal runs, ascending.
fn runs(slots: SlotSet) -> impl Iterator<Item = SlotSet> {
    let mut rest = slots;
    std::iter::from_fn(move || {
        let first = rest.lowest()?;
        let after = SlotSet::from(first).without(rest).lowest();
        let run = match after.and_then(|after| after.checked_sub(1)) {
            Some(last) => SlotSet::span(first, last),
            None => SlotSet::from(first),
        };
        rest = rest.without(run);
        Some(run)
    })
}

fn fullest(scope: &Scope<'_>, ask: &Ask) -> Option<Choice> {
    let least = BlockId::new(scope.side.territory.family(), 0)?;
    let fitting = scope
        .groups()
        .filter_map(|group| group.fullest.range((ask.remaining, least)..).next().copied());
    let (free, id) = fitting.min()?;
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
        let (free, _) = group.fullest.last()?;
        let first = group.fullest.iter().rev().take_while(|(other, _)| other == free).last();
        first.map(|(free, id)| (Reverse(*free), *id))
    });
    let (Reverse(free), id) = emptiest.min()?;
    let index = gap(scope.free(id), u16::MAX)?;
    Some(scope.choice(id, index, Rule::FullestBlock { free }, SlotSet::EMPTY))
}

/// Where the smallest gap that fits `count` begins, or else the largest; ties to the lowest.
fn gap(free: SlotSet, count: u16) -> Option<u8> {
    let key = |run: &SlotSet| {
        let length = run.count();
        let is_short = length < count;
        // Among those that are too short, the longest is the least.
        (is_short, if is_short { u16::MAX.saturating_sub(length) } else { length })
    };
    runs(free).min_by_key(key)?.lowest()
}
