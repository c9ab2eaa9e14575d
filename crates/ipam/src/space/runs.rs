//! Where tenants are in a pool: runs of consecutive addresses, and blocks.
//!
//! `TenantRun` extends the longest run that has a free neighbour, so the runs of a tenant are kept in that order, and only
//! while a neighbour *may* be free. Whether it is, is noted when the neighbour changes; beyond the end of a block it is
//! supposed until then. So an open run may turn out closed, never the other way round.

use crate::address::{Address, BlockId};
use ids::AccountId;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

/// Live addresses of a pool in one family.
#[derive(Debug, Clone, Default)]
pub(crate) struct Runs {
    /// By first number.
    runs: BTreeMap<u128, Run>,
    tenants: BTreeMap<AccountId, Presence>,
}

/// Consecutive addresses of one tenant.
#[derive(Debug, Clone, Copy)]
struct Run {
    last: u128,
    tenant: AccountId,
    may_grow_down: bool,
    may_grow_up: bool,
}

/// One tenant.
#[derive(Debug, Clone, Default)]
pub(crate) struct Presence {
    /// Runs that may grow, longest first, ties to the lowest: one less than the length, and the first number.
    open: BTreeSet<(Reverse<u128>, u128)>,
    counts: BTreeMap<BlockId, u16>,
    /// Blocks with most addresses first, ties to the lowest.
    by_count: BTreeSet<(Reverse<u16>, BlockId)>,
}

impl Presence {
    /// First and last numbers of runs that may grow, the longest first.
    pub(crate) fn open_runs(&self) -> impl Iterator<Item = (u128, u128)> {
        self.open.iter().map(|(Reverse(more), first)| (*first, first.saturating_add(*more)))
    }

    /// Blocks in which the tenant has addresses, most first.
    pub(crate) fn blocks_by_count(&self) -> impl Iterator<Item = BlockId> {
        self.by_count.iter().map(|(_, block)| *block)
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

impl Runs {
    /// A tenant, if it has addresses here.
    pub(crate) fn of(&self, tenant: AccountId) -> Option<&Presence> {
        self.tenants.get(&tenant)
    }

    /// Notes that an address went from one tenant (or nobody) to another. `is_free`: whether it can be handed out now;
    /// `below` and `above`: the same of its neighbours, as far as is known.
    pub(crate) fn change(
        &mut self,
        address: Address,
        was: Option<AccountId>,
        is: Option<AccountId>,
        is_free: bool,
        (below, above): (bool, bool),
    ) {
        let value = address.value();
        if was != is {
            if let Some(tenant) = was {
                self.take_out(address, tenant, is_free);
            }
            if let Some(tenant) = is {
                self.put_in(address, tenant, (below, above));
            }
        }
        let touches = |(_, run): &(u128, Run)| run.last.checked_add(1) == Some(value);
        let low = self.run_below(value).filter(touches);
        if let Some((first, run)) = low.filter(|(_, run)| run.may_grow_up != is_free) {
            self.replace(first, run, Run { may_grow_up: is_free, ..run });
        }
        let high = value.checked_add(1).and_then(|next| Some((next, *self.runs.get(&next)?)));
        if let Some((first, run)) = high.filter(|(_, run)| run.may_grow_down != is_free) {
            self.replace(first, run, Run { may_grow_down: is_free, ..run });
        }
    }

    /// The run that begins at `value` or below, nearest.
    fn run_below(&self, value: u128) -> Option<(u128, Run)> {
        self.runs.range(..value).next_back().map(|(first, run)| (*first, *run))
    }

    fn put_in(&mut self, address: Address, tenant: AccountId, (below, above): (bool, bool)) {
        let value = address.value();
        let mut first = value;
        let mut run = Run { last: value, tenant, may_grow_down: below, may_grow_up: above };
        let low = self
            .run_below(value)
            .filter(|(_, low)| low.tenant == tenant && low.last.checked_add(1) == Some(value));
        if let Some((start, low)) = low {
            self.forget(start, low);
            (first, run.may_grow_down) = (start, low.may_grow_down);
        }
        let high = value.checked_add(1).and_then(|next| Some((next, *self.runs.get(&next)?)));
        if let Some((start, high)) = high.filter(|(_, high)| high.tenant == tenant) {
            self.forget(start, high);
            (run.last, run.may_grow_up) = (high.last, high.may_grow_up);
        }
        self.keep(first, run);
        self.tenants.entry(tenant).or_default().count(BlockId::of(address).0, true);
    }

    fn take_out(&mut self, address: Address, tenant: AccountId, is_free: bool) {
        let value = address.value();
        let found = self.runs.range(..=value).next_back().map(|(first, run)| (*first, *run));
        let Some((first, run)) = found.filter(|(_, run)| run.last >= value) else { return };
        self.forget(first, run);
        if let Some(last) = value.checked_sub(1).filter(|last| *last >= first) {
            self.keep(first, Run { last, may_grow_up: is_free, ..run });
        }
        if let Some(after) = value.checked_add(1).filter(|after| *after <= run.last) {
            self.keep(after, Run { may_grow_down: is_free, ..run });
        }
        let presence = self.tenants.entry(tenant).or_default();
        presence.count(BlockId::of(address).0, false);
        if presence.counts.is_empty() {
            self.tenants.remove(&tenant);
        }
    }

    fn replace(&mut self, first: u128, former: Run, run: Run) {
        self.forget(first, former);
        self.keep(first, run);
    }

    fn keep(&mut self, first: u128, run: Run) {
        self.runs.insert(first, run);
        if run.may_grow_down || run.may_grow_up {
            let open = &mut self.tenants.entry(run.tenant).or_default().open;
            open.insert((Reverse(run.last.saturating_sub(first)), first));
        }
    }

    fn forget(&mut self, first: u128, run: Run) {
        self.runs.remove(&first);
        if run.may_grow_down || run.may_grow_up {
            let open = &mut self.tenants.entry(run.tenant).or_default().open;
            open.remove(&(Reverse(run.last.saturating_sub(first)), first));
        }
    }
}
