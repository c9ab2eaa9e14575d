//! Sets of addresses, as few ranges as possible.

use super::{Address, AddressRange};

/// Disjoint ranges, ascending, with a gap between any two. Both families may be in it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AddressSet {
    ranges: Vec<AddressRange>,
}

impl AddressSet {
    /// The union of ranges in any order.
    pub fn union_of(ranges: impl IntoIterator<Item = AddressRange>) -> Self {
        let mut sorted: Vec<AddressRange> = ranges.into_iter().collect();
        sorted.sort_unstable();
        let mut merged: Vec<AddressRange> = Vec::with_capacity(sorted.len());
        for range in sorted {
            match merged.last_mut() {
                Some(last) if touches(last, &range) => {
                    *last = AddressRange::constant(last.first(), last.last().max(range.last()));
                }
                Some(_) | None => merged.push(range),
            }
        }
        Self { ranges: merged }
    }

    /// What is in `self` and not in `other`.
    #[must_use]
    pub fn without(&self, other: &Self) -> Self {
        let mut kept = Vec::new();
        let mut taken = other.ranges.iter().peekable();
        for range in &self.ranges {
            let mut from = Some(range.first());
            while taken.next_if(|out| out.last() < range.first()).is_some() {}
            // The last one may reach into the next range too, so it is looked at again there.
            let mut rest = taken.clone();
            while let (Some(first), Some(out)) =
                (from, rest.next_if(|out| out.first() <= range.last()))
            {
                if let Some(before) = out.first().previous().filter(|before| *before >= first) {
                    kept.push(AddressRange::constant(first, before));
                }
                from = out.last().next().filter(|next| *next <= range.last());
            }
            if let Some(first) = from {
                kept.push(AddressRange::constant(first, range.last()));
            }
        }
        Self { ranges: kept }
    }

    /// Its ranges, ascending.
    pub fn ranges(&self) -> &[AddressRange] {
        &self.ranges
    }

    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// The number of addresses, saturating.
    pub fn count(&self) -> u128 {
        self.ranges.iter().fold(0, |sum, range| sum.saturating_add(range.count()))
    }

    /// Whether the address is in it.
    pub fn contains(&self, address: Address) -> bool {
        self.range_of(address).is_some()
    }

    /// The range an address is in.
    pub fn range_of(&self, address: Address) -> Option<&AddressRange> {
        let after = self.ranges.partition_point(|range| range.first() <= address);
        self.ranges.get(after.checked_sub(1)?).filter(|range| range.contains(address))
    }

    /// Some address that both contain.
    pub fn common_with(&self, other: &Self) -> Option<AddressRange> {
        let (mut mine, mut theirs) = (self.ranges.iter(), other.ranges.iter());
        let (mut left, mut right) = (mine.next()?, theirs.next()?);
        loop {
            if let Some(both) = left.intersection(right) {
                return Some(both);
            }
            if left.last() < right.last() {
                left = mine.next()?;
            } else {
                right = theirs.next()?;
            }
        }
    }
}

/// Whether two ranges, the lower one first, leave no address between them.
fn touches(low: &AddressRange, high: &AddressRange) -> bool {
    low.family() == high.family() && low.last().next().is_none_or(|after| high.first() <= after)
}
