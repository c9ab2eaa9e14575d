//! 256 bits, one for each slot of a block.

/// A set of slots. Two halves of 128 bits, so that every question is a few instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SlotSet {
    low: u128,
    high: u128,
}

impl SlotSet {
    /// No slot.
    pub const EMPTY: Self = Self { low: 0, high: 0 };
    /// Every slot.
    pub const ALL: Self = Self { low: u128::MAX, high: u128::MAX };

    /// The mask of a slot within its half.
    const fn bit(index: u8) -> u128 {
        1 << (index & 0x7f)
    }

    /// Slots `first` to `last`, both included; none when reversed.
    pub const fn span(first: u8, last: u8) -> Self {
        if first > last { Self::EMPTY } else { Self::from(first).and(Self::up_to(last)) }
    }

    /// Slot `first` and those above.
    pub const fn from(first: u8) -> Self {
        if first < 128 {
            Self { low: u128::MAX << (first & 0x7f), high: u128::MAX }
        } else {
            Self { low: 0, high: u128::MAX << (first & 0x7f) }
        }
    }

    /// Slot `last` and those below.
    pub const fn up_to(last: u8) -> Self {
        let shift = 127_u8.saturating_sub(last & 0x7f);
        if last < 128 {
            Self { low: u128::MAX >> shift, high: 0 }
        } else {
            Self { low: u128::MAX, high: u128::MAX >> shift }
        }
    }

    /// Whether the slot is in it.
    pub const fn contains(self, index: u8) -> bool {
        let half = if index < 128 { self.low } else { self.high };
        half & Self::bit(index) != 0
    }

    /// Puts a slot in.
    pub const fn insert(&mut self, index: u8) {
        if index < 128 {
            self.low |= Self::bit(index);
        } else {
            self.high |= Self::bit(index);
        }
    }

    /// Takes a slot out.
    pub const fn remove(&mut self, index: u8) {
        if index < 128 {
            self.low &= !Self::bit(index);
        } else {
            self.high &= !Self::bit(index);
        }
    }

    /// Slots in both.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self { low: self.low & other.low, high: self.high & other.high }
    }

    /// Slots in either.
    #[must_use]
    pub const fn or(self, other: Self) -> Self {
        Self { low: self.low | other.low, high: self.high | other.high }
    }

    /// Slots that are not in the other.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self { low: self.low & !other.low, high: self.high & !other.high }
    }

    /// The slots just above and just below those in it; nothing wraps around the ends of the block.
    #[must_use]
    pub const fn neighbours(self) -> Self {
        let up = Self { low: self.low << 1, high: (self.high << 1) | (self.low >> 127) };
        let down = Self { low: (self.low >> 1) | (self.high << 127), high: self.high >> 1 };
        up.or(down)
    }

    /// How many.
    pub const fn count(self) -> u16 {
        // At most 256.
        let count = self.low.count_ones().saturating_add(self.high.count_ones());
        let [low, high, ..] = count.to_le_bytes();
        u16::from_le_bytes([low, high])
    }

    /// Whether there is none.
    pub const fn is_empty(self) -> bool {
        self.low == 0 && self.high == 0
    }

    /// The lowest.
    pub fn lowest(self) -> Option<u8> {
        if self.low != 0 {
            u8::try_from(self.low.trailing_zeros()).ok()
        } else if self.high != 0 {
            u8::try_from(self.high.trailing_zeros()).ok().map(|index| index | 0x80)
        } else {
            None
        }
    }

    /// The highest.
    pub fn highest(self) -> Option<u8> {
        if self.high != 0 {
            u8::try_from(127_u32.saturating_sub(self.high.leading_zeros())).ok().map(|at| at | 0x80)
        } else if self.low != 0 {
            u8::try_from(127_u32.saturating_sub(self.low.leading_zeros())).ok()
        } else {
            None
        }
    }

    /// The first one met from `start` upward, and from 0 again at the end.
    pub fn first_from(self, start: u8) -> Option<u8> {
        self.and(Self::from(start)).lowest().or_else(|| self.lowest())
    }

    /// Ascending.
    pub fn iter(self) -> impl Iterator<Item = u8> {
        let mut rest = self;
        std::iter::from_fn(move || {
            let index = rest.lowest()?;
            rest.remove(index);
            Some(index)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn made_of(slots: &BTreeSet<u8>) -> SlotSet {
        let mut set = SlotSet::EMPTY;
        for index in slots {
            set.insert(*index);
        }
        set
    }

    proptest! {
        #[test]
        fn it_agrees_with_a_plain_set(
            some in prop::collection::btree_set(any::<u8>(), 0..40),
            other in prop::collection::btree_set(any::<u8>(), 0..40),
            at in any::<u8>(), to in any::<u8>(),
        ) {
            let (left, right) = (made_of(&some), made_of(&other));
            prop_assert_eq!(left.iter().collect::<BTreeSet<_>>(), some.clone());
            prop_assert_eq!(left.and(right), made_of(&(&some & &other)));
            prop_assert_eq!(left.or(right), made_of(&(&some | &other)));
            prop_assert_eq!(left.without(right), made_of(&(&some - &other)));
            prop_assert_eq!(usize::from(left.count()), some.len());
            prop_assert_eq!(left.lowest(), some.first().copied());
            prop_assert_eq!(left.highest(), some.last().copied());
            prop_assert_eq!(left.contains(at), some.contains(&at));
            let around: BTreeSet<u8> =
                some.iter().flat_map(|index| [index.checked_add(1), index.checked_sub(1)]).flatten().collect();
            prop_assert_eq!(left.neighbours(), made_of(&around));
            prop_assert_eq!(SlotSet::span(at, to), made_of(&(at..=to).collect()));
            let wrapped = some.range(at..).next().or_else(|| some.first()).copied();
            prop_assert_eq!(left.first_from(at), wrapped);
            let mut rest = left;
            rest.remove(at);
            prop_assert_eq!(rest.or(SlotSet::span(at, at)).contains(at), true);
            prop_assert!(!rest.contains(at));
        }
    }
}
