//! Serving one claim.

use super::waiting::Order;
use super::{Bound, Refusal, Verdict, Withheld};
use crate::address::{Address, AddressSet, BlockId, Family};
use crate::block::{Slot, SlotState};
use crate::pool::{Pool, Strategy};
use crate::space::{SideKey, Space};
use crate::strategy::{self, Ask, NoChoice, PassedOver, Rule, Seed, Why};
use calendar::Instant;
use ids::{AccountId, ResourceUid};
use std::sync::Arc;

/// The most addresses of a family that one claim may ask for: four blocks' worth.
pub const COUNT_MAX: u16 = 1_024;

/// Which families a claim asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Families {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
    /// Both, or nothing.
    Dual,
}

impl Families {
    /// As a list, IPv4 first.
    pub const fn list(self) -> &'static [Family] {
        match self {
            Self::V4 => &[Family::V4],
            Self::V6 => &[Family::V6],
            Self::Dual => &[Family::V4, Family::V6],
        }
    }
}

/// A claim as declared, parsed and resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// UID of the object: who owns what it gets.
    pub uid: ResourceUid,
    /// When the object was made: its place in the line.
    pub created: Instant,
    /// Namespace and name, for people.
    pub reference: Arc<str>,
    /// Whose it is, by its namespace.
    pub tenant: AccountId,
    /// UIDs of the pools it may be served from, the preferred one first. All addresses of a family come from one.
    pub pools: Vec<ResourceUid>,
    /// Which families.
    pub families: Families,
    /// How many addresses of each family, 1 to [`COUNT_MAX`].
    pub count: u16,
    /// The only address that will do.
    pub address: Option<Address>,
    /// Brings an address back from quarantine for the same tenant.
    pub sticky_key: Option<Arc<str>>,
    /// Since when it waits, if it does: the time of its condition.
    pub waiting_since: Option<Instant>,
}

impl Claim {
    /// The order among claims.
    pub(super) const fn order(&self) -> Order {
        (self.created, self.uid)
    }
}

/// What an attempt has done, to be undone if the whole does not fit. One is used again for all claims of a batch.
#[derive(Default)]
pub(super) struct Attempt {
    bound: Vec<Bound>,
    /// New addresses, and what was there before (a resting slot that came back).
    taken: Vec<(Address, Option<Slot>)>,
    /// Blocks that were not noted as changed before.
    touched: Vec<BlockId>,
    /// Blocks that did not exist before.
    begun: Vec<BlockId>,
}

/// How far an attempt was.
struct Mark {
    bound: usize,
    taken: usize,
    touched: usize,
    begun: usize,
    /// The number of the last change.
    sequence: u64,
}

impl Attempt {
    fn clear(&mut self) {
        self.bound.clear();
        self.taken.clear();
        self.touched.clear();
        self.begun.clear();
    }

    const fn mark(&self, sequence: u64) -> Mark {
        Mark {
            bound: self.bound.len(),
            taken: self.taken.len(),
            touched: self.touched.len(),
            begun: self.begun.len(),
            sequence,
        }
    }
}

impl Space {
    pub(super) fn serve(&mut self, claim: &Claim, attempt: &mut Attempt, now: Instant) -> Verdict {
        if let Err(refusal) = check(claim) {
            return Verdict::Refused(refusal);
        }
        attempt.clear();
        let start = attempt.mark(self.sequence);
        for family in claim.families.list() {
            if let Err(mut refusals) = self.serve_family(claim, *family, attempt, now) {
                self.undo(attempt, &start);
                self.wait(claim.order(), claim.waiting_since, &refusals, now);
                let first = refusals.iter().position(Refusal::waits).unwrap_or(0);
                let refusal = if first < refusals.len() {
                    refusals.swap_remove(first)
                } else {
                    Refusal::NoPool
                };
                return Verdict::Refused(refusal);
            }
        }
        self.waiting.leave(claim.uid);
        self.settle(attempt);
        Verdict::Bound(std::mem::take(&mut attempt.bound))
    }

    /// One family of a claim: all of it, or why each pool cannot.
    fn serve_family(
        &mut self,
        claim: &Claim,
        family: Family,
        attempt: &mut Attempt,
        now: Instant,
    ) -> Result<(), Vec<Refusal>> {
        let own: Vec<Bound> = self
            .addresses_of(claim.uid)
            .filter(|address| address.family() == family)
            .filter_map(|address| self.slot(address).map(|slot| bound_before(address, slot)))
            .take(usize::from(claim.count))
            .collect();
        let held = own.len();
        let begun_in = own.first().map(|bound| bound.pool);
        attempt.bound.extend(own);
        let missing = usize::from(claim.count).saturating_sub(held);
        let Some(missing) = u16::try_from(missing).ok().filter(|missing| *missing > 0) else {
            return Ok(());
        };
        let first = claim.count.saturating_sub(missing);
        let pools = match &begun_in {
            Some(pool) => std::slice::from_ref(pool),
            None => claim.pools.as_slice(),
        };
        let mut refusals = Vec::new();
        for pool in pools {
            let start = attempt.mark(self.sequence);
            match self.serve_from(claim, (*pool, family), first, attempt, now) {
                Ok(()) => return Ok(()),
                Err(refusal) => {
                    self.undo(attempt, &start);
                    refusals.push(refusal);
                }
            }
        }
        Err(refusals)
    }

    /// The addresses from number `first` on, of one pool.
    fn serve_from(
        &mut self,
        claim: &Claim,
        key: SideKey,
        first: u16,
        attempt: &mut Attempt,
        now: Instant,
    ) -> Result<(), Refusal> {
        let (pool, family) = key;
        self.check_pool_for(claim, key)?;
        if let Some(address) = claim.address {
            let rule = self.check_address(claim, pool, address)?;
            self.check_kept(claim, key, u16::from(rule == Rule::Explicit), now)?;
            let why = self.why_named(key, address, rule);
            self.take(claim, key, address, why, attempt, now);
            return Ok(());
        }
        let mut number = first;
        while number < claim.count {
            let remaining = claim.count.saturating_sub(number);
            let sticky = self.sticky_address(claim, key);
            let (address, why) = if let Some(address) = sticky {
                (address, self.why_named(key, address, Rule::Sticky))
            } else {
                // Asked once more for each address; what was taken for this claim is no longer free by then.
                self.check_kept(claim, key, remaining, now)?;
                let Some(side) = self.sides.get(&key) else {
                    return Err(Refusal::NoSuchFamily { pool, family });
                };
                let seed = match side.pool.strategy {
                    Strategy::Dispersed { .. } => Seed::of(claim.uid, pool, number),
                    Strategy::Sequential
                    | Strategy::TenantRun
                    | Strategy::ExclusiveBlock
                    | Strategy::LeastRecentlyUsed => Seed(0),
                };
                let ask = Ask { tenant: claim.tenant, seed, remaining };
                match strategy::choose(self, side, &ask) {
                    Ok(choice) => (choice.address, choice.why),
                    Err(NoChoice::NotIsolated) => {
                        return Err(Refusal::NoIsolatedSlot { pool, family });
                    }
                    Err(NoChoice::Full) => {
                        let taken = u128::from(number.saturating_sub(first));
                        return Err(Refusal::PoolExhausted {
                            pool,
                            family,
                            wanted: claim.count.saturating_sub(first),
                            free: taken,
                        });
                    }
                }
            };
            self.take(claim, key, address, why, attempt, now);
            number = number.saturating_add(1);
        }
        Ok(())
    }

    fn check_pool_for(&self, claim: &Claim, key: SideKey) -> Result<(), Refusal> {
        let (pool, family) = key;
        let Some(found) = self.pools.get(&pool) else { return Err(Refusal::PoolUnknown { pool }) };
        if !found.allowed.includes(claim.tenant) {
            return Err(Refusal::NotAllowed { pool });
        }
        if !self.sides.contains_key(&key) {
            return Err(Refusal::NoSuchFamily { pool, family });
        }
        if found.disabled {
            return Err(Refusal::PoolDisabled { pool });
        }
        Ok(())
    }

    /// Whether `wanted` addresses are free beside what older claims are to get.
    fn check_kept(
        &self,
        claim: &Claim,
        key: SideKey,
        wanted: u16,
        now: Instant,
    ) -> Result<(), Refusal> {
        let (pool, family) = key;
        let free = self.sides.get(&key).map_or(0, crate::space::Side::free);
        if u128::from(wanted) > free {
            return Err(Refusal::PoolExhausted { pool, family, wanted, free });
        }
        let kept = self.waiting.kept_from(key, claim.order(), free, now);
        if u128::from(wanted) > free.saturating_sub(kept) {
            return Err(Refusal::KeptForOlder { pool, family, wanted });
        }
        Ok(())
    }

    /// Whether the claim may have the address it names.
    fn check_address(
        &self,
        claim: &Claim,
        pool: ResourceUid,
        address: Address,
    ) -> Result<Rule, Refusal> {
        let Some(side) = self.sides.get(&(pool, address.family())) else {
            return Err(Refusal::NoSuchFamily { pool, family: address.family() });
        };
        if !side.pool.ranges.iter().any(|range| range.contains(address)) {
            return Err(Refusal::OutOfRange { address });
        }
        if !side.territory.contains(address) {
            return Err(Refusal::Excluded { address, reason: withheld(&side.pool, address) });
        }
        let mut rule = Rule::Explicit;
        if let Some(slot) = self.slot(address) {
            let comes_back = side.pool.sticky
                && claim.sticky_key.is_some()
                && slot.sticky_key == claim.sticky_key
                && slot.tenant == claim.tenant;
            match slot.state {
                SlotState::Held | SlotState::Allocated => return Err(Refusal::InUse { address }),
                SlotState::Quarantined { .. } if comes_back => rule = Rule::Sticky,
                SlotState::Quarantined { until } => {
                    return Err(Refusal::Quarantined { address, until });
                }
            }
        }
        let (id, _) = BlockId::of(address);
        if side.pool.is_exclusive() {
            let others = |entry: &crate::space::Entry| {
                entry.block.tenant().is_some_and(|tenant| tenant != claim.tenant)
                    || entry.tenants.keys().any(|tenant| *tenant != claim.tenant)
            };
            if self.blocks.get(&id).is_some_and(others) {
                return Err(Refusal::BlockTaken { address });
            }
        }
        if side.pool.strategy == (Strategy::Dispersed { strict: true })
            && !strategy::is_isolated(self, side, claim.tenant, address)
        {
            return Err(Refusal::NoIsolatedSlot { pool, family: address.family() });
        }
        Ok(rule)
    }

    /// The lowest address that the claim's sticky key brings back.
    fn sticky_address(&self, claim: &Claim, key: SideKey) -> Option<Address> {
        let sticky_key = claim.sticky_key.as_ref()?;
        let side = self.sides.get(&key).filter(|side| side.pool.sticky)?;
        let least = BlockId::new(Family::V4, 0)?.address(0);
        let from = (claim.tenant, Arc::clone(sticky_key), least);
        self.sticky
            .range(from..)
            .take_while(|(tenant, key, _)| *tenant == claim.tenant && key == sticky_key)
            .map(|(_, _, address)| *address)
            .find(|address| address.family() == key.1 && side.territory.contains(*address))
    }

    fn why_named(&self, key: SideKey, address: Address, rule: Rule) -> Why {
        let (id, _) = BlockId::of(address);
        let strategy = self.pools.get(&key.0).map_or(Strategy::Sequential, |pool| pool.strategy);
        let taken_before = self.blocks.get(&id).map_or(0, |entry| entry.taken.count());
        Why { strategy, rule, taken_before, passed_over: PassedOver::default() }
    }

    /// Takes an address for a claim.
    fn take(
        &mut self,
        claim: &Claim,
        key: SideKey,
        address: Address,
        why: Why,
        attempt: &mut Attempt,
        now: Instant,
    ) {
        let (id, _) = BlockId::of(address);
        if !self.blocks.contains_key(&id) {
            attempt.begun.push(id);
        }
        if self.pools.get(&key.0).is_some_and(|pool| pool.is_exclusive()) {
            self.set_block_tenant(id, Some(claim.tenant));
        }
        let seq = self.next_seq();
        // One address is in one object; more are held until it is known where they lie.
        let is_held = claim.count > 1 || claim.families == Families::Dual;
        let slot = Slot {
            state: if is_held { SlotState::Held } else { SlotState::Allocated },
            pool: key.0,
            owner: claim.uid,
            reference: Arc::clone(&claim.reference),
            tenant: claim.tenant,
            sticky_key: claim.sticky_key.clone(),
            since: now,
            seq,
        };
        let former = self.put(address, Some(slot));
        if self.touch(address) {
            attempt.touched.push(id);
        }
        attempt.taken.push((address, former));
        attempt.bound.push(Bound { address, pool: key.0, seq, is_held, why: Some(why) });
    }

    /// Puts everything back as it was before the attempt, so that a view that tried and one that did not go on alike.
    fn undo(&mut self, attempt: &mut Attempt, start: &Mark) {
        while attempt.taken.len() > start.taken {
            if let Some((address, former)) = attempt.taken.pop() {
                self.put(address, former);
            }
        }
        while attempt.touched.len() > start.touched {
            let Some(id) = attempt.touched.pop() else { continue };
            if let Some(entry) = self.blocks.get_mut(&id) {
                entry.is_changed = false;
            }
            self.changed.retain(|changed| *changed != id);
        }
        while attempt.begun.len() > start.begun {
            let Some(id) = attempt.begun.pop() else { continue };
            self.unload(id);
        }
        attempt.bound.truncate(start.bound);
        self.sequence = start.sequence;
    }

    /// What lies in one block is allocated by the write of that block; the rest stays held.
    fn settle(&mut self, attempt: &mut Attempt) {
        let mut blocks = attempt.bound.iter().map(|bound| BlockId::of(bound.address).0);
        let first = blocks.next();
        if blocks.any(|block| Some(block) != first) {
            return;
        }
        for bound in attempt.bound.iter_mut().filter(|bound| bound.is_held) {
            if bound.why.is_none() {
                // Held since an earlier attempt, when the rest lay elsewhere: nobody would publish it.
                self.next_seq();
                self.touch(bound.address);
            }
            let (id, index) = BlockId::of(bound.address);
            if let Some(entry) = self.blocks.get_mut(&id) {
                // Held and allocated are the same to every index.
                entry.block.allocate(index);
                bound.is_held = false;
            }
        }
    }
}

fn check(claim: &Claim) -> Result<(), Refusal> {
    if claim.count == 0 || claim.count > COUNT_MAX {
        return Err(Refusal::Count { count: claim.count, most: COUNT_MAX });
    }
    match claim.address {
        Some(address) if claim.count > 1 || claim.families.list() != [address.family()] => {
            Err(Refusal::AddressIsOne { address })
        }
        Some(_) | None => Ok(()),
    }
}

fn bound_before(address: Address, slot: &Slot) -> Bound {
    let is_held = slot.state == SlotState::Held;
    Bound { address, pool: slot.pool, seq: slot.seq, is_held, why: None }
}

/// Why an address in the pool's ranges is not handed out.
fn withheld(pool: &Pool, address: Address) -> Withheld {
    if pool.gateways.contains(&address) {
        Withheld::Gateway
    } else if AddressSet::union_of(pool.excluded.iter().copied()).contains(address) {
        Withheld::Excluded
    } else if pool.withheld().contains(address) {
        Withheld::Edge
    } else {
        Withheld::ZeroOr255
    }
}
