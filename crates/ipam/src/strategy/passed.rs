//! What a choice passed over, counted for the person who asks why.

use crate::address::BlockId;
use crate::block::SlotSet;
use crate::space::{Entry, Side};

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

/// Counts `slots` of a block that exists, or not yet.
pub(super) fn over(side: &Side, id: BlockId, entry: Option<&Entry>, slots: SlotSet) -> PassedOver {
    if slots.is_empty() {
        return PassedOver::default();
    }
    let Some(entry) = entry else {
        let usable = side.territory.slots(id);
        let free = slots.and(usable).count();
        let not_handed_out = slots.without(usable).count();
        return PassedOver { not_handed_out, free, ..PassedOver::default() };
    };
    let usable = entry.share(side.pool.uid).map_or(SlotSet::EMPTY, |share| share.usable);
    PassedOver {
        in_use: slots.and(entry.taken).without(entry.resting).count(),
        quarantined: slots.and(entry.resting).count(),
        not_handed_out: slots.without(entry.taken).without(usable).count(),
        free: slots.and(usable).without(entry.taken).count(),
    }
}
