//! What a choice passed over, counted for the person who asks why.

use super::Scope;
use crate::address::BlockId;
use crate::block::{SlotSet, SlotState};

/// Slots that came before the chosen one and did not do, by the first reason that holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PassedOver {
    /// Another claim's.
    pub in_use: u16,
    /// Given back and still resting.
    pub quarantined: u16,
    /// Excluded, a gateway, an edge, skipped, or not of this pool.
    pub not_handed_out: u16,
    /// Free, and not chosen by the strategy: beside another tenant's, or used more recently.
    pub free: u16,
}

/// Counts `slots` of a block.
pub(super) fn over(scope: &Scope<'_>, id: BlockId, slots: SlotSet) -> PassedOver {
    if slots.is_empty() {
        return PassedOver::default();
    }
    let usable = scope.side.territory.slots(id);
    let Some(entry) = scope.space.blocks.get(&id) else {
        let free = slots.and(usable).count();
        return PassedOver {
            not_handed_out: slots.without(usable).count(),
            free,
            ..PassedOver::default()
        };
    };
    let resting = resting(entry.block.slots(), slots.and(entry.taken));
    PassedOver {
        in_use: slots.and(entry.taken).count().saturating_sub(resting),
        quarantined: resting,
        not_handed_out: slots.without(entry.taken).without(usable).count(),
        free: slots.and(usable).without(entry.taken).count(),
    }
}

fn resting(slots: &std::collections::BTreeMap<u8, crate::block::Slot>, among: SlotSet) -> u16 {
    let is_resting = |index: &u8| {
        slots.get(index).is_some_and(|slot| matches!(slot.state, SlotState::Quarantined { .. }))
    };
    among.iter().filter(is_resting).fold(0, |count: u16, _| count.saturating_add(1))
}
