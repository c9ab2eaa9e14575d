//! Which free address a claim gets.
//!
//! Each strategy is one exact rule over a pool's blocks, so that the same view and claim give the same answer in a
//! replay, after a crash and in the simulator. In an exclusive pool the rule is first asked within the tenant's own
//! blocks, then among blocks that are nobody's.

mod dispersed;
mod least_recently_used;
mod passed;
mod seed;
mod sequential;
mod tenant_run;
mod why;

pub use passed::PassedOver;
pub use seed::Seed;
pub use why::{Rule, Why};

use crate::address::{Address, BlockId};
use crate::block::SlotSet;
use crate::pool::Strategy;
use crate::space::{Group, Side, Space};
use ids::AccountId;

/// What is asked of a strategy.
pub(crate) struct Ask {
    pub(crate) tenant: AccountId,
    pub(crate) seed: Seed,
    /// How many addresses the claim still needs of this pool, this one included.
    pub(crate) remaining: u16,
}

/// An answer.
pub(crate) struct Choice {
    pub(crate) address: Address,
    pub(crate) why: Why,
}

/// Why there is none.
pub(crate) enum NoChoice {
    /// Nothing is free that the tenant may have.
    Full,
    /// Something is, and each has a foreign neighbour.
    NotIsolated,
}

/// Where to look.
#[derive(Clone, Copy)]
pub(crate) struct Scope<'a> {
    pub(crate) space: &'a Space,
    pub(crate) side: &'a Side,
    tenant: AccountId,
    own: Option<&'a Group>,
    common: Option<&'a Group>,
}

impl<'a> Scope<'a> {
    /// The groups of blocks to look at, the tenant's own first.
    fn groups(&self) -> impl Iterator<Item = &'a Group> + use<'a> {
        self.own.into_iter().chain(self.common)
    }

    /// Whether a block that does not exist may be begun.
    fn may_begin(&self) -> bool {
        self.common.is_some()
    }

    /// The lowest block that does not exist, if one may be begun.
    fn fresh(&self) -> Option<BlockId> {
        self.side.fresh_block().filter(|_| self.may_begin())
    }

    /// The slots of a block that could be handed out now.
    fn free(&self, id: BlockId) -> SlotSet {
        match self.space.blocks.get(&id) {
            Some(entry) => entry
                .share(self.side.pool.uid)
                .map_or(SlotSet::EMPTY, |share| share.usable.without(entry.taken)),
            None => self.side.territory.slots(id),
        }
    }

    /// The slots of a block that could be handed out now and have no foreign neighbour; resting slots are their tenant's.
    fn isolated(&self, id: BlockId) -> SlotSet {
        let Some(entry) = self.space.blocks.get(&id) else { return self.side.territory.slots(id) };
        let usable = entry.share(self.side.pool.uid).map_or(SlotSet::EMPTY, |share| share.usable);
        let foreign = entry.taken.without(entry.slots_of(self.tenant));
        usable.without(entry.taken).without(foreign.neighbours())
    }

    /// The slots of a block that are another tenant's, resting ones included.
    fn foreign(&self, id: BlockId) -> SlotSet {
        let entry = self.space.blocks.get(&id);
        entry.map_or(SlotSet::EMPTY, |entry| entry.taken.without(entry.slots_of(self.tenant)))
    }

    /// The slots of a block that are the tenant's own and live, in this pool.
    fn own_live(&self, id: BlockId) -> SlotSet {
        let Some(entry) = self.space.blocks.get(&id) else { return SlotSet::EMPTY };
        let usable = entry.share(self.side.pool.uid).map_or(SlotSet::EMPTY, |share| share.usable);
        entry.slots_of(self.tenant).without(entry.resting).and(usable)
    }

    /// Whether an address is free and in a block that may be used.
    fn is_available(&self, address: Address) -> bool {
        let (id, index) = BlockId::of(address);
        let Some(entry) = self.space.blocks.get(&id) else {
            return self.may_begin() && self.side.territory.contains(address);
        };
        entry.share(self.side.pool.uid).is_some_and(|share| {
            let may = share.standing.is_some_and(|standing| match standing.group {
                Some(tenant) => tenant == self.tenant && self.own.is_some(),
                None => self.common.is_some(),
            });
            may && share.usable.contains(index) && !entry.taken.contains(index)
        })
    }

    fn choice(&self, id: BlockId, index: u8, rule: Rule, looked_at: SlotSet) -> Choice {
        let address = id.address(index);
        let strategy = self.side.pool.strategy;
        let entry = self.space.blocks.get(&id);
        let passed_over = passed::over(self.side, id, entry, looked_at);
        let taken_before = entry.map_or(0, |entry| entry.taken.count());
        Choice { address, why: Why { strategy, rule, taken_before, passed_over } }
    }
}

/// Asks the strategy of a pool for one address.
pub(crate) fn choose(space: &Space, side: &Side, ask: &Ask) -> Result<Choice, NoChoice> {
    let (own, common) = (side.groups.get(&Some(ask.tenant)), side.groups.get(&None));
    // Also where no block exists yet, one may be begun.
    let common = Some(common.unwrap_or(&EMPTY));
    let whole = Scope { space, side, tenant: ask.tenant, own, common };
    if !side.pool.is_exclusive() {
        return choose_in(&whole, ask);
    }
    match choose_in(&Scope { common: None, ..whole }, ask) {
        Ok(choice) => Ok(choice),
        Err(_) => choose_in(&Scope { own: None, ..whole }, ask),
    }
}

/// What a pool has before its first block exists.
static EMPTY: Group = Group::EMPTY;

fn choose_in(scope: &Scope<'_>, ask: &Ask) -> Result<Choice, NoChoice> {
    match scope.side.pool.strategy {
        Strategy::Sequential | Strategy::ExclusiveBlock => {
            sequential::choose(scope).ok_or(NoChoice::Full)
        }
        Strategy::TenantRun => tenant_run::choose(scope, ask).ok_or(NoChoice::Full),
        Strategy::Dispersed { strict } => dispersed::choose(scope, ask, strict),
        Strategy::LeastRecentlyUsed => least_recently_used::choose(scope).ok_or(NoChoice::Full),
    }
}

/// Whether an address has no foreign neighbour in its block.
pub(crate) fn is_isolated(space: &Space, side: &Side, tenant: AccountId, address: Address) -> bool {
    let scope = Scope { space, side, tenant, own: None, common: None };
    let (id, index) = BlockId::of(address);
    !scope.foreign(id).neighbours().contains(index)
}
