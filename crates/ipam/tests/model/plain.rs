//! The dullest address book that is obviously right: plain sets of addresses, every rule by going through all of them.

use ipam::address::{Address, AddressRange, BlockId, Cidr, Family};
use ipam::block::Block;
use ipam::plan::Claim;
use ipam::pool::{Pool, Strategy};
use ipam::strategy::Seed;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use calendar::Instant;
use ids::{AccountId, ResourceUid};

/// Who has an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Live {
    pub owner: ResourceUid,
    pub tenant: AccountId,
    pub pool: ResourceUid,
    pub sticky_key: Option<String>,
    pub is_held: bool,
}

/// Who had it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resting {
    pub tenant: AccountId,
    pub sticky_key: Option<String>,
    pub until: Instant,
}

/// All addresses that are not free.
#[derive(Debug, Clone, Default)]
pub struct Plain {
    pub live: BTreeMap<Address, Live>,
    pub resting: BTreeMap<Address, Resting>,
}

/// Every address of a pool that may be handed out, by going through its ranges.
pub fn usable(pool: &Pool) -> BTreeSet<Address> {
    let is_edge = |address: Address| {
        pool.on_link.iter().any(|on: &Cidr| {
            let host_bits = on.family().bits() - on.length();
            let is_last = on.family() == Family::V4 && address == on.last();
            host_bits > 1 && (address == on.first() || is_last)
        })
    };
    let withheld = |address: Address| {
        let low = address.value() % 256;
        pool.excluded.iter().any(|range| range.contains(address))
            || pool.gateways.contains(&address)
            || (!pool.allow_edges && is_edge(address))
            || (pool.avoid_zero_and_255
                && address.family() == Family::V4
                && (low == 0 || low == 255))
    };
    spanned(pool).into_iter().filter(|address| !withheld(*address)).collect()
}

/// Every address of a pool's ranges.
pub fn spanned(pool: &Pool) -> BTreeSet<Address> {
    let all = |range: &AddressRange| {
        let (family, values) = (range.family(), range.first().value()..=range.last().value());
        values.map(move |value| Address::new(family, value).unwrap())
    };
    pool.ranges.iter().flat_map(all).collect()
}

fn block(address: Address) -> BlockId {
    BlockId::of(address).0
}

fn index(address: Address) -> u8 {
    BlockId::of(address).1
}

/// What a prediction is made from.
pub struct Question<'a> {
    pub plain: &'a Plain,
    pub pool: &'a Pool,
    pub usable: &'a BTreeSet<Address>,
    /// Blocks that exist.
    pub known: &'a BTreeSet<BlockId>,
    /// Of those, the stored form, for the order of releases.
    pub stored: &'a BTreeMap<BlockId, Block>,
    pub claim: &'a Claim,
    pub family: Family,
    /// Which address of the claim, from 0.
    pub number: u16,
}

impl Question<'_> {
    fn tenant_at(&self, address: Address) -> Option<AccountId> {
        let live = self.plain.live.get(&address).map(|live| live.tenant);
        live.or_else(|| self.plain.resting.get(&address).map(|resting| resting.tenant))
    }

    fn free(&self) -> BTreeSet<Address> {
        let of_family = self.usable.iter().filter(|address| address.family() == self.family);
        of_family.copied().filter(|address| self.tenant_at(*address).is_none()).collect()
    }

    fn tenants_by_block(&self) -> BTreeMap<BlockId, BTreeSet<AccountId>> {
        let mut tenants: BTreeMap<BlockId, BTreeSet<AccountId>> = BTreeMap::new();
        let live = self.plain.live.iter().map(|(address, live)| (*address, live.tenant));
        let resting = self.plain.resting.iter().map(|(address, one)| (*address, one.tenant));
        for (address, tenant) in live.chain(resting) {
            tenants.entry(block(address)).or_default().insert(tenant);
        }
        tenants
    }

    fn is_isolated(&self, address: Address) -> bool {
        [index(address).checked_sub(1), index(address).checked_add(1)].into_iter().flatten().all(
            |beside| {
                let tenant = self.tenant_at(block(address).address(beside));
                tenant.is_none_or(|tenant| tenant == self.claim.tenant)
            },
        )
    }

    /// The address that the pool's rule gives; none if it refuses.
    pub fn answer(&self) -> Option<Address> {
        let sticky = self.claim.sticky_key.as_deref().filter(|_| self.pool.sticky);
        let comes_back = self.plain.resting.iter().find(|(address, resting)| {
            address.family() == self.family
                && self.usable.contains(*address)
                && sticky.is_some()
                && resting.sticky_key.as_deref() == sticky
                && resting.tenant == self.claim.tenant
        });
        if let Some((address, _)) = comes_back {
            return Some(*address);
        }
        let free = self.free();
        if !self.pool.is_exclusive() {
            return self.by_strategy(&free, true);
        }
        let tenants = self.tenants_by_block();
        let among = |wanted: Option<BTreeSet<AccountId>>| -> BTreeSet<Address> {
            let fits = |one: &Address| tenants.get(&block(*one)) == wanted.as_ref();
            free.iter().copied().filter(fits).collect()
        };
        self.by_strategy(&among(Some([self.claim.tenant].into())), false)
            .or_else(|| self.by_strategy(&among(None), true))
    }

    fn by_strategy(&self, free: &BTreeSet<Address>, may_begin: bool) -> Option<Address> {
        match self.pool.strategy {
            Strategy::Sequential | Strategy::ExclusiveBlock => free.first().copied(),
            Strategy::LeastRecentlyUsed => {
                let release = |address: &Address| {
                    self.stored.get(&block(*address))?.released().get(&index(*address)).copied()
                };
                free.iter().copied().min_by_key(|address| (release(address), *address))
            }
            Strategy::TenantRun => self.tenant_run(free, may_begin),
            Strategy::Dispersed { strict } => self.dispersed(free, may_begin, strict),
        }
    }

    fn own(&self) -> BTreeSet<Address> {
        let mine = self.plain.live.iter().filter(|(_, live)| live.tenant == self.claim.tenant);
        mine.map(|(address, _)| *address)
            .filter(|one| one.family() == self.family && self.usable.contains(one))
            .collect()
    }

    fn tenant_run(&self, free: &BTreeSet<Address>, may_begin: bool) -> Option<Address> {
        let own = self.own();
        let mut runs = runs_of(&own);
        runs.sort_by_key(|run| (Reverse(run.len()), run[0]));
        for run in &runs {
            let below = run[0].previous().filter(|one| free.contains(one));
            let above = run[run.len() - 1].next().filter(|one| free.contains(one));
            if below.or(above).is_some() {
                return below.or(above);
            }
        }
        let mut blocks: Vec<BlockId> = own.iter().map(|one| block(*one)).collect();
        blocks.dedup();
        let own_in = |id: BlockId| -> BTreeSet<Address> {
            own.range(id.address(0)..=id.address(255)).copied().collect()
        };
        blocks.sort_by_key(|id| (Reverse(own_in(*id).len()), *id));
        let free_in = |id: BlockId| -> BTreeSet<Address> {
            free.range(id.address(0)..=id.address(255)).copied().collect()
        };
        for id in blocks {
            let mut inside = runs_of(&own_in(id));
            inside.sort_by_key(|run| (Reverse(run.len()), run[0]));
            let run = &inside[0];
            let distance = |one: &Address| {
                let to = |end: Address| one.value().abs_diff(end.value());
                to(run[0]).min(to(run[run.len() - 1]))
            };
            if let Some(nearest) = free_in(id).into_iter().min_by_key(|one| (distance(one), *one)) {
                return Some(nearest);
            }
        }
        let remaining = usize::from(self.claim.count - self.number);
        let with_room: Vec<(usize, BlockId)> = self
            .known
            .iter()
            .map(|id| (free_in(*id).len(), *id))
            .filter(|(count, _)| *count > 0)
            .collect();
        if let Some((_, id)) = with_room.iter().filter(|(count, _)| *count >= remaining).min() {
            return gap(&free_in(*id), remaining);
        }
        let fresh = free.iter().find(|one| !self.known.contains(&block(**one)));
        if let Some(fresh) = fresh.filter(|_| may_begin) {
            return Some(*fresh);
        }
        let (_, id) = with_room.iter().min_by_key(|(count, id)| (Reverse(*count), *id))?;
        gap(&free_in(*id), usize::MAX)
    }

    /// Blocks with addresses of the tenant, ascending.
    fn own_blocks(&self) -> Vec<BlockId> {
        let own = self.own();
        let mut blocks: Vec<BlockId> = own.iter().map(|one| block(*one)).collect();
        blocks.dedup();
        blocks
    }

    /// How far others are, the nearer first.
    fn room(&self, address: Address) -> (u16, u16) {
        let foreign = |one: u8| {
            let tenant = self.tenant_at(block(address).address(one));
            tenant.is_some_and(|tenant| tenant != self.claim.tenant)
        };
        let at = index(address);
        let below = (0..at).rev().find(|one| foreign(*one)).map_or(256, |one| u16::from(at - one));
        let above = (at..=255).find(|one| foreign(*one)).map_or(256, |one| u16::from(one - at));
        (below.min(above), below.max(above))
    }

    fn dispersed(
        &self,
        free: &BTreeSet<Address>,
        may_begin: bool,
        strict: bool,
    ) -> Option<Address> {
        let Seed(seed) = Seed::of(self.claim.uid, self.pool.uid, self.number);
        let start = (seed % 256) as u8;
        let pick = |count: usize| (u128::from(seed >> 8) % count as u128) as usize;
        let of_family = self.usable.iter().filter(|one| one.family() == self.family);
        let blocks: BTreeSet<BlockId> = of_family.map(|one| block(*one)).collect();
        let filled = |id: BlockId| {
            let usable =
                (0..=255).map(|index| id.address(index)).filter(|one| self.usable.contains(one));
            usable.filter(|one| self.tenant_at(*one).is_some()).count()
        };
        let probe = |id: BlockId| {
            let slots = (0..=255_u8).map(|step| id.address(start.wrapping_add(step)));
            slots.into_iter().find(|one| free.contains(one) && self.is_isolated(*one))
        };
        let vacant: Vec<BlockId> = blocks.iter().copied().filter(|id| filled(*id) == 0).collect();
        if may_begin && !vacant.is_empty() {
            let from = pick(vacant.len());
            let mut tried =
                (0..vacant.len().min(16)).map(|step| vacant[(from + step) % vacant.len()]);
            if let Some(found) = tried.find_map(probe) {
                return Some(found);
            }
        }
        let beside_nobody = |one: &Address| {
            let at = index(*one);
            let beside = [at.checked_sub(1), at.checked_add(1)].into_iter().flatten();
            let id = block(*one);
            beside.into_iter().all(|beside| self.tenant_at(id.address(beside)).is_none())
        };
        let free_in = |id: &BlockId| free.range(id.address(0)..=id.address(255));
        let in_order = |eligible: bool| -> Vec<BlockId> {
            let mut levels: BTreeMap<usize, Vec<BlockId>> = BTreeMap::new();
            let fits = |id: &&BlockId| {
                free_in(id).next().is_some() && free_in(id).any(beside_nobody) == eligible
            };
            for id in self.known.iter().filter(fits) {
                levels.entry(filled(*id)).or_default().push(*id);
            }
            let turned = |level: Vec<BlockId>| {
                let from = pick(level.len());
                (0..level.len()).map(move |step| level[(from + step) % level.len()])
            };
            levels.into_values().flat_map(turned).collect()
        };
        if let Some(found) = in_order(true).into_iter().find_map(probe) {
            return Some(found);
        }
        if let Some(found) = self.own_blocks().into_iter().find_map(probe) {
            return Some(found);
        }
        if strict {
            return None;
        }
        let compared = in_order(false).into_iter().take(4).enumerate().flat_map(|(place, id)| {
            free.iter().filter(move |one| block(**one) == id).map(move |one| (place, *one))
        });
        let best = compared.min_by_key(|(place, one)| {
            (Reverse(self.room(*one)), *place, index(*one).wrapping_sub(start))
        });
        best.map(|(_, one)| one)
    }
}

/// Maximal runs of consecutive addresses.
pub fn runs_of(addresses: &BTreeSet<Address>) -> Vec<Vec<Address>> {
    let mut runs: Vec<Vec<Address>> = Vec::new();
    for address in addresses {
        match runs.last_mut() {
            Some(run) if run[run.len() - 1].next() == Some(*address) => run.push(*address),
            _ => runs.push(vec![*address]),
        }
    }
    runs
}

/// The first address of the smallest run that fits, or else of the longest.
fn gap(free: &BTreeSet<Address>, count: usize) -> Option<Address> {
    let runs = runs_of(free);
    let fitting =
        runs.iter().filter(|run| run.len() >= count).min_by_key(|run| (run.len(), run[0]));
    let longest = runs.iter().min_by_key(|run| (Reverse(run.len()), run[0]));
    fitting.or(longest).map(|run| run[0])
}
