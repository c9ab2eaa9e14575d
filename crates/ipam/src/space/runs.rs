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

/// A run with its first number.
type Beside = (u128, Run);

/// One tenant.
#[derive(Debug, Clone, Default)]
pub(crate) struct Presence {
    /// Runs that may grow, longest first, ties to the lowest: one less than the length, and the first number.
    open: BTreeSet<(Reverse<u128>, u128)>,
    /// How many addresses in which block.
    counts: BTreeMap<BlockId, u16>,
}

impl Presence {
    /// First and last numbers of runs that may grow, the longest first.
    pub(crate) fn open_runs(&self) -> impl Iterator<Item = (u128, u128)> {
        self.open.iter().map(|(Reverse(more), first)| (*first, first.saturating_add(*more)))
    }

    /// Blocks in which the tenant has addresses, ascending, and how many.
    pub(crate) fn blocks(&self) -> impl ExactSizeIterator<Item = (BlockId, u16)> {
        self.counts.iter().map(|(block, count)| (*block, *count))
    }

    /// How many addresses it has in a block, if any.
    pub(crate) fn count_in(&self, block: BlockId) -> Option<u16> {
        self.counts.get(&block).copied()
    }

    fn note(&mut self, first: u128, run: &Run) {
        if run.may_grow_down || run.may_grow_up {
            self.open.insert((Reverse(run.last.saturating_sub(first)), first));
        }
    }

    fn forget(&mut self, first: u128, run: &Run) {
        if run.may_grow_down || run.may_grow_up {
            self.open.remove(&(Reverse(run.last.saturating_sub(first)), first));
        }
    }
}

impl Runs {
    /// A tenant, if it has addresses here.
    pub(crate) fn of(&self, tenant: AccountId) -> Option<&Presence> {
        self.tenants.get(&tenant)
    }

    /// Notes that an address went from one tenant (or nobody) to another. `is_free`: whether it can be handed out now;
    /// `beside`: the same of its neighbours below and above, as far as is known.
    pub(crate) fn change(
        &mut self,
        address: Address,
        was: Option<AccountId>,
        is: Option<AccountId>,
        is_free: bool,
        beside: (bool, bool),
    ) {
        let block = BlockId::of(address).0;
        let value = address.value();
        if let Some(tenant) = was.filter(|_| was != is) {
            self.take_out(value, tenant);
            self.count_out(block, tenant);
        }
        let low = self.runs.range(..value).next_back().map(|(first, run)| (*first, *run));
        let low = low.filter(|(_, run)| run.last.checked_add(1) == Some(value));
        let next = value.checked_add(1);
        let high = next.and_then(|next| Some((next, *self.runs.get(&next)?)));
        match is.filter(|_| was != is) {
            Some(tenant) => {
                let is_own = |(_, run): &Beside| run.tenant == tenant;
                self.put_in(value, tenant, beside, (low.filter(is_own), high.filter(is_own)));
                self.count_in(block, tenant);
                self.open_up(low.filter(|low| !is_own(low)), is_free);
                self.open_down(high.filter(|high| !is_own(high)), is_free);
            }
            None => {
                self.open_up(low, is_free);
                self.open_down(high, is_free);
            }
        }
    }

    /// Notes the same where only blocks are asked for.
    pub(crate) fn count(&mut self, block: BlockId, was: Option<AccountId>, is: Option<AccountId>) {
        if let Some(tenant) = was.filter(|_| was != is) {
            self.count_out(block, tenant);
        }
        if let Some(tenant) = is.filter(|_| was != is) {
            self.count_in(block, tenant);
        }
    }

    fn count_in(&mut self, block: BlockId, tenant: AccountId) {
        let count = self.tenants.entry(tenant).or_default().counts.entry(block).or_default();
        *count = count.saturating_add(1);
    }

    fn count_out(&mut self, block: BlockId, tenant: AccountId) {
        let Some(presence) = self.tenants.get_mut(&tenant) else { return };
        let Some(count) = presence.counts.get_mut(&block) else { return };
        *count = count.saturating_sub(1);
        if *count == 0 {
            presence.counts.remove(&block);
        }
        if presence.counts.is_empty() {
            self.tenants.remove(&tenant);
        }
    }

    /// Whether a run may grow up, said anew.
    fn open_up(&mut self, run: Option<Beside>, is_free: bool) {
        if let Some((first, run)) = run.filter(|(_, run)| run.may_grow_up != is_free) {
            self.replace(first, &run, Run { may_grow_up: is_free, ..run });
        }
    }

    /// Whether a run may grow down, said anew.
    fn open_down(&mut self, run: Option<Beside>, is_free: bool) {
        if let Some((first, run)) = run.filter(|(_, run)| run.may_grow_down != is_free) {
            self.replace(first, &run, Run { may_grow_down: is_free, ..run });
        }
    }

    /// `own`: the tenant's runs that end just below and begin just above.
    fn put_in(
        &mut self,
        value: u128,
        tenant: AccountId,
        (below, above): (bool, bool),
        own: (Option<Beside>, Option<Beside>),
    ) {
        let mut first = value;
        let mut run = Run { last: value, tenant, may_grow_down: below, may_grow_up: above };
        let presence = self.tenants.entry(tenant).or_default();
        if let Some((start, low)) = own.0 {
            presence.forget(start, &low);
            (first, run.may_grow_down) = (start, low.may_grow_down);
        }
        if let Some((start, high)) = own.1 {
            presence.forget(start, &high);
            self.runs.remove(&start);
            (run.last, run.may_grow_up) = (high.last, high.may_grow_up);
        }
        presence.note(first, &run);
        self.runs.insert(first, run);
    }

    /// What is left of the run grows towards the hole only once that is free, which [`Runs::change`] says next.
    fn take_out(&mut self, value: u128, tenant: AccountId) {
        let found = self.runs.range(..=value).next_back().map(|(first, run)| (*first, *run));
        let Some((first, run)) = found.filter(|(_, run)| run.last >= value) else { return };
        let presence = self.tenants.entry(tenant).or_default();
        presence.forget(first, &run);
        self.runs.remove(&first);
        if let Some(last) = value.checked_sub(1).filter(|last| *last >= first) {
            let low = Run { last, may_grow_up: false, ..run };
            presence.note(first, &low);
            self.runs.insert(first, low);
        }
        if let Some(after) = value.checked_add(1).filter(|after| *after <= run.last) {
            let high = Run { may_grow_down: false, ..run };
            presence.note(after, &high);
            self.runs.insert(after, high);
        }
    }

    fn replace(&mut self, first: u128, former: &Run, run: Run) {
        let presence = self.tenants.entry(run.tenant).or_default();
        presence.forget(first, former);
        presence.note(first, &run);
        self.runs.insert(first, run);
    }
}
