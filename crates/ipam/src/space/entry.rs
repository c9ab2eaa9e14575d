//! A block with what follows from its slots.

use crate::block::{Block, SlotSet};
use crate::pool::{Pool, Strategy};
use ids::{AccountId, ResourceUid};
use std::collections::BTreeMap;

/// See the module.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) block: Block,
    /// Slots that are not free.
    pub(crate) taken: SlotSet,
    /// Slots that rest.
    pub(crate) resting: SlotSet,
    /// Slots whose last release is remembered.
    pub(crate) remembered: SlotSet,
    /// Slots that are not free, by tenant; resting ones included, because a sticky key may bring them back.
    pub(crate) tenants: BTreeMap<AccountId, SlotSet>,
    /// The pools that hand out some of it: one, or a few small ones.
    pub(crate) shares: Vec<Share>,
    /// Whether the plan in progress has changed it.
    pub(crate) is_changed: bool,
}

/// What a pool has of a block.
#[derive(Debug, Clone)]
pub(crate) struct Share {
    pub(crate) pool: ResourceUid,
    pub(crate) usable: SlotSet,
    /// How it stands in the pool's index; none while it has nothing to give.
    pub(crate) standing: Option<Standing>,
    /// Whether a usable slot is taken.
    pub(crate) is_busy: bool,
}

/// What decides where a block is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Standing {
    /// For whom: one tenant, or whoever comes.
    pub(crate) group: Option<AccountId>,
    /// The shelf: how much is free, or how much is taken, as the strategy needs it.
    pub(crate) shelf: u16,
    /// Whether it has what the strategy looks for first: a free slot that was never used, or one beside nobody's.
    pub(crate) is_good: bool,
}

impl Entry {
    pub(crate) fn new(block: Block) -> Self {
        let remembered = indexes_of(block.released());
        Self {
            block,
            taken: SlotSet::EMPTY,
            resting: SlotSet::EMPTY,
            remembered,
            tenants: BTreeMap::new(),
            shares: Vec::new(),
            is_changed: false,
        }
    }

    /// Takes over what is remembered of releases; that of free slots must not differ from what was known.
    pub(crate) fn remember(&mut self, released: BTreeMap<u8, u64>) {
        self.remembered = indexes_of(&released);
        self.block.set_released(released);
    }

    /// The slots of a tenant.
    pub(crate) fn slots_of(&self, tenant: AccountId) -> SlotSet {
        self.tenants.get(&tenant).copied().unwrap_or_default()
    }

    /// The share of a pool.
    pub(crate) fn share(&self, pool: ResourceUid) -> Option<&Share> {
        self.shares.iter().find(|share| share.pool == pool)
    }

    /// Free slots of a share that have rested, so that the index orders them by release.
    pub(crate) fn rested(&self, usable: SlotSet) -> SlotSet {
        usable.without(self.taken).and(self.remembered)
    }

    /// How the block stands for a pool that may hand out `usable`.
    pub(crate) fn standing(&self, pool: &Pool, usable: SlotSet) -> Option<Standing> {
        let free = usable.without(self.taken);
        if free.is_empty() {
            return None;
        }
        let group =
            if pool.is_exclusive() { self.exclusive_tenant()? } else { self.block.tenant() };
        let row = match pool.strategy {
            Strategy::TenantRun => free.count(),
            Strategy::Dispersed { .. } => usable.and(self.taken).count(),
            Strategy::Sequential | Strategy::ExclusiveBlock | Strategy::LeastRecentlyUsed => 0,
        };
        let is_good = match pool.strategy {
            Strategy::LeastRecentlyUsed => !free.without(self.remembered).is_empty(),
            Strategy::Dispersed { .. } => !free.without(self.taken.neighbours()).is_empty(),
            Strategy::Sequential | Strategy::ExclusiveBlock | Strategy::TenantRun => true,
        };
        Some(Standing { group, shelf: row, is_good })
    }

    /// Whose block it is where blocks are exclusive: nobody's while empty; none if tenants share it, as before the pool
    /// became exclusive: then nothing more is handed out of it.
    #[expect(clippy::option_option, reason = "not offered at all, offered to anybody, or to one")]
    fn exclusive_tenant(&self) -> Option<Option<AccountId>> {
        if let Some(tenant) = self.block.tenant() {
            return Some(Some(tenant));
        }
        let mut tenants = self.tenants.keys();
        match (tenants.next(), tenants.next()) {
            (None, _) => Some(None),
            (Some(tenant), None) => Some(Some(*tenant)),
            (Some(_), Some(_)) => None,
        }
    }
}

fn indexes_of(released: &BTreeMap<u8, u64>) -> SlotSet {
    let mut indexes = SlotSet::EMPTY;
    for index in released.keys() {
        indexes.insert(*index);
    }
    indexes
}
