//! The addresses of a pool in one family, cut into blocks.

use crate::address::{Address, AddressRange, AddressSet, BlockId, Family};
use crate::block::SlotSet;

/// What a pool may hand out in one family. Blocks are numbered by *ordinal* across its ranges, so that one can be chosen
/// by number without listing them: a /64 has 2^56.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Territory {
    family: Family,
    usable: AddressSet,
    avoid: bool,
    total: u128,
    usable_count: u128,
    /// First and last block numbers with something usable, disjoint, ascending; and the ordinal of the first.
    blocks: Vec<(u128, u128, u128)>,
}

impl Territory {
    pub(super) fn new(family: Family, span: &AddressSet, usable: AddressSet, avoid: bool) -> Self {
        let avoid = avoid && family == Family::V4;
        let usable = if avoid { trimmed(&usable) } else { usable };
        let mut blocks: Vec<(u128, u128, u128)> = Vec::new();
        let mut skipped = 0_u128;
        let mut ordinal = 0_u128;
        for range in usable.ranges() {
            let (first, last) = (range.first().value() >> 8, range.last().value() >> 8);
            if avoid {
                skipped = skipped.saturating_add(ends_in(range.first(), range.last()));
            }
            let first = match blocks.last_mut() {
                Some((_, end, _)) if *end >= first => first.saturating_add(1),
                Some(_) | None => first,
            };
            if first <= last {
                blocks.push((first, last, ordinal));
                ordinal = ordinal.saturating_add(last.saturating_sub(first)).saturating_add(1);
            }
        }
        let usable_count = usable.count().saturating_sub(skipped);
        Self { family, usable, avoid, total: span.count(), usable_count, blocks }
    }

    /// Its family.
    pub const fn family(&self) -> Family {
        self.family
    }

    /// Addresses in its ranges.
    pub const fn total(&self) -> u128 {
        self.total
    }

    /// Addresses that can be handed out.
    pub const fn usable_count(&self) -> u128 {
        self.usable_count
    }

    /// Whether the address can be handed out.
    pub fn contains(&self, address: Address) -> bool {
        let skipped = self.avoid && matches!(address.value() & 0xff, 0 | 255);
        !skipped && self.usable.contains(address)
    }

    /// What is left without some addresses; what is skipped for its last digits is seen as there.
    pub(crate) fn without(&self, taken: &AddressSet) -> AddressSet {
        self.usable.without(taken)
    }

    /// The slots of a block that can be handed out.
    pub fn slots(&self, block: BlockId) -> SlotSet {
        if block.family() != self.family {
            return SlotSet::EMPTY;
        }
        let span = block.range();
        let ranges = self.usable.ranges();
        let from = ranges.partition_point(|range| range.last() < span.first());
        let mut slots = SlotSet::EMPTY;
        for range in ranges.iter().skip(from).take_while(|range| range.first() <= span.last()) {
            if let Some(common) = range.intersection(&span) {
                let ((_, first), (_, last)) =
                    (BlockId::of(common.first()), BlockId::of(common.last()));
                slots = slots.or(SlotSet::span(first, last));
            }
        }
        if self.avoid {
            slots.remove(0);
            slots.remove(255);
        }
        slots
    }

    /// How many blocks it touches.
    pub fn block_count(&self) -> u128 {
        self.blocks.last().map_or(0, |(first, last, ordinal)| {
            last.saturating_sub(*first).saturating_add(1).saturating_add(*ordinal)
        })
    }

    /// The block with an ordinal, from 0.
    pub fn block_at(&self, ordinal: u128) -> Option<BlockId> {
        let after = self.blocks.partition_point(|(_, _, start)| *start <= ordinal);
        let (first, last, start) = self.blocks.get(after.checked_sub(1)?)?;
        let number = first.checked_add(ordinal.checked_sub(*start)?)?;
        if number > *last { None } else { BlockId::new(self.family, number) }
    }

    /// The ordinal of a block.
    pub fn ordinal_of(&self, block: BlockId) -> Option<u128> {
        let after = self.blocks.partition_point(|(first, _, _)| *first <= block.number());
        let (first, last, start) = self.blocks.get(after.checked_sub(1)?)?;
        let inside = block.family() == self.family && block.number() <= *last;
        inside.then(|| start.saturating_add(block.number().saturating_sub(*first)))
    }
}

/// How many addresses from `first` to `last` end in .0 or .255.
fn ends_in(first: Address, last: Address) -> u128 {
    // Multiples of 256 up to `value`, 0 included, and numbers one below such a multiple.
    let zeros = |value: u128| (value >> 8).saturating_add(1);
    let tops = |value: u128| value.saturating_add(1) >> 8;
    let up_to = |value: u128| zeros(value).saturating_add(tops(value));
    let below = first.value().checked_sub(1).map_or(0, up_to);
    up_to(last.value()).saturating_sub(below)
}

/// The same without a .0 or .255 at the ends of a range, so that each block that is touched has something to give.
fn trimmed(set: &AddressSet) -> AddressSet {
    let skipped = |address: &Address| matches!(address.value() & 0xff, 0 | 255);
    AddressSet::union_of(set.ranges().iter().filter_map(|range| {
        let (mut first, mut last) = (range.first(), range.last());
        while skipped(&first) {
            first = first.next()?;
        }
        while skipped(&last) {
            last = last.previous()?;
        }
        AddressRange::new(first, last).ok()
    }))
}
