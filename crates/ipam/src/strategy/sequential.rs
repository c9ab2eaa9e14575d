//! The lowest free address of the lowest eligible block.

use super::{Choice, Rule, Scope};
use crate::block::SlotSet;

pub(super) fn choose(scope: &Scope<'_>) -> Option<Choice> {
    let known = scope.groups().filter_map(|group| group.lowest.first().copied()).min();
    let block = known.into_iter().chain(scope.fresh()).min()?;
    let index = scope.free(block).lowest()?;
    let below = index.checked_sub(1).map_or(SlotSet::EMPTY, SlotSet::up_to);
    Some(scope.choice(block, index, Rule::Lowest, below))
}
