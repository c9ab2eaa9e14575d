//! The addresses of one tenant in one pool, as runs: what `TenantRun` extends.

use crate::address::{Address, BlockId};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

/// Live addresses of a tenant, as maximal runs of consecutive numbers of one family.
#[derive(Debug, Clone, Default)]
pub(crate) struct Presence {
    /// Last number by first number.
    runs: BTreeMap<u128, u128>,
    /// Longest first, ties to the lowest.
    by_length: BTreeSet<(Reverse<u128>, u128)>,
    counts: BTreeMap<BlockId, u16>,
    /// Blocks with most addresses first, ties to the lowest.
    by_count: BTreeSet<(Reverse<u16>, BlockId)>,
}

impl Presence {
    pub(crate) fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// First and last numbers, longest run first.
    pub(crate) fn runs_by_length(&self) -> impl Iterator<Item = (u128, u128)> {
        self.by_length.iter().map(|(Reverse(more), first)| (*first, first.saturating_add(*more)))
    }

    /// Blocks in which the tenant has addresses, most first.
    pub(crate) fn blocks_by_count(&self) -> impl Iterator<Item = BlockId> {
        self.by_count.iter().map(|(_, block)| *block)
    }

    /// The longest run within a block, ties to the lowest: first and last numbers, cut to the block.
    pub(crate) fn longest_run_in(&self, block: BlockId) -> Option<(u128, u128)> {
        let (low, high) = (block.range().first().value(), block.range().last().value());
        let before = self.runs.range(..low).next_back();
        let within = before.into_iter().chain(self.runs.range(low..=high));
        let cut = within
            .filter(|(_, last)| **last >= low)
            .map(|(first, last)| ((*first).max(low), (*last).min(high)));
        cut.min_by_key(|(first, last)| (Reverse(last.saturating_sub(*first)), *first))
    }

    pub(crate) fn insert(&mut self, address: Address) {
        let value = address.value();
        let (mut first, mut last) = (value, value);
        let below = self.runs.range(..value).next_back().map(|(first, last)| (*first, *last));
        if let Some((start, end)) = below.filter(|(_, end)| end.checked_add(1) == Some(value)) {
            self.forget_run(start, end);
            first = start;
        }
        let after = value.checked_add(1);
        let above = after.and_then(|after| Some((after, *self.runs.get(&after)?)));
        if let Some((start, end)) = above {
            self.forget_run(start, end);
            last = end;
        }
        self.keep_run(first, last);
        self.count(BlockId::of(address).0, true);
    }

    pub(crate) fn remove(&mut self, address: Address) {
        let value = address.value();
        let found = self.runs.range(..=value).next_back().map(|(first, last)| (*first, *last));
        let Some((first, last)) = found.filter(|(_, last)| *last >= value) else { return };
        self.forget_run(first, last);
        if let Some(before) = value.checked_sub(1).filter(|before| *before >= first) {
            self.keep_run(first, before);
        }
        if let Some(after) = value.checked_add(1).filter(|after| *after <= last) {
            self.keep_run(after, last);
        }
        self.count(BlockId::of(address).0, false);
    }

    fn keep_run(&mut self, first: u128, last: u128) {
        self.runs.insert(first, last);
        self.by_length.insert((Reverse(last.saturating_sub(first)), first));
    }

    fn forget_run(&mut self, first: u128, last: u128) {
        self.runs.remove(&first);
        self.by_length.remove(&(Reverse(last.saturating_sub(first)), first));
    }

    fn count(&mut self, block: BlockId, more: bool) {
        let before = self.counts.get(&block).copied().unwrap_or(0);
        let after = if more { before.saturating_add(1) } else { before.saturating_sub(1) };
        self.by_count.remove(&(Reverse(before), block));
        if after == 0 {
            self.counts.remove(&block);
        } else {
            self.counts.insert(block, after);
            self.by_count.insert((Reverse(after), block));
        }
    }
}
