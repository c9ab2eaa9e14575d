//! The free list of a buddy allocator.

use crate::address::Cidr;
use std::collections::{BTreeMap, BTreeSet};

/// Free blocks, each as large as can be, by prefix length and address.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct FreeList {
    blocks: BTreeMap<u8, BTreeSet<Cidr>>,
}

impl FreeList {
    /// Everything is free.
    pub(super) fn whole(cidr: Cidr) -> Self {
        let mut list = Self::default();
        list.insert(cidr);
        list
    }

    /// The smallest block that holds a prefix of this length, ties to the lowest.
    pub(super) fn smallest_with(&self, length: u8) -> Option<Cidr> {
        self.blocks.range(..=length).next_back().and_then(|(_, blocks)| blocks.first().copied())
    }

    /// The lowest block that holds a prefix of this length.
    pub(super) fn lowest_with(&self, length: u8) -> Option<Cidr> {
        self.blocks.range(..=length).filter_map(|(_, blocks)| blocks.first().copied()).min()
    }

    /// The largest block, ties to the lowest.
    pub(super) fn largest(&self) -> Option<Cidr> {
        self.blocks.first_key_value().and_then(|(_, blocks)| blocks.first().copied())
    }

    pub(super) fn by_size(&self) -> BTreeMap<u8, u128> {
        let count = |blocks: &BTreeSet<Cidr>| u128::try_from(blocks.len()).unwrap_or(u128::MAX);
        self.blocks.iter().map(|(length, blocks)| (*length, count(blocks))).collect()
    }

    pub(super) fn count(&self) -> u128 {
        let blocks = self.blocks.values().flatten();
        blocks.fold(0, |sum, block| sum.saturating_add(block.count()))
    }

    /// Takes a free prefix: the block around it is split, and what is not asked for stays. What is not free is left alone.
    pub(super) fn take(&mut self, cidr: Cidr) {
        let around = (0..=cidr.length())
            .rev()
            .filter_map(|length| Cidr::containing(cidr.first(), length))
            .find(|block| self.remove(block));
        let mut rest = around;
        while let Some(block) = rest.filter(|block| *block != cidr) {
            rest = block.halves().map(|(low, high)| {
                let (keep, give) = if low.contains_cidr(&cidr) { (low, high) } else { (high, low) };
                self.insert(give);
                keep
            });
        }
    }

    /// Gives a prefix back: as long as its buddy is free too, both become one block, up to `top`.
    pub(super) fn give_back(&mut self, cidr: Cidr, top: Cidr) {
        let mut block = cidr;
        while block.length() > top.length() {
            let joined = block.buddy().filter(|buddy| self.remove(buddy)).and(block.parent());
            let Some(parent) = joined else { break };
            block = parent;
        }
        self.insert(block);
    }

    fn insert(&mut self, block: Cidr) {
        self.blocks.entry(block.length()).or_default().insert(block);
    }

    fn remove(&mut self, block: &Cidr) -> bool {
        let Some(blocks) = self.blocks.get_mut(&block.length()) else { return false };
        let removed = blocks.remove(block);
        if blocks.is_empty() {
            self.blocks.remove(&block.length());
        }
        removed
    }
}
