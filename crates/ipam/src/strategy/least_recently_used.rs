//! Addresses that were never used, ascending; then the one that was given back longest ago. Order is by the number of the
//! release, never by a clock.

use super::{Choice, Rule, Scope};
use crate::block::SlotSet;

pub(super) fn choose(scope: &Scope<'_>) -> Option<Choice> {
    let unused = scope.groups().filter_map(|group| group.unused.first().copied()).min();
    if let Some(block) = unused.into_iter().chain(scope.fresh()).min() {
        let remembered = scope.space.blocks.get(&block).map(|entry| entry.remembered);
        let index = scope.free(block).without(remembered.unwrap_or_default()).lowest()?;
        let below = index.checked_sub(1).map_or(SlotSet::EMPTY, SlotSet::up_to);
        return Some(scope.choice(block, index, Rule::NeverUsed, below));
    }
    let oldest = scope.groups().filter_map(|group| group.rested.first().copied()).min();
    let (seq, block, index) = oldest?;
    Some(scope.choice(block, index, Rule::OldestRelease { seq }, SlotSet::EMPTY))
}
