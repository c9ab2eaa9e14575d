//! A small world around the planner: objects that change by compare-and-swap, two writers of which one is usually
//! behind, claims with a status, answers that are lost, crashes between any two writes, and a clock.

mod checks;

use crate::plain::{Live, Plain, Resting, spanned, usable};
use calendar::Instant;
use ids::{AccountId, ResourceUid};
use ipam::address::{Address, BlockId, Family};
use ipam::block::{Block, Holding};
use ipam::plan::{Batch, Claim, Families, Outcome, Refusal, Release, Released, Verdict};
use ipam::pool::Pool;
use ipam::space::Space;
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

/// `SplitMix64`: small, and the same for ever.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, count: usize) -> usize {
        (self.next() % count as u64) as usize
    }

    pub fn percent(&mut self, chance: usize) -> bool {
        self.below(100) < chance
    }
}

pub fn tenant(number: u64) -> AccountId {
    AccountId(Uuid::from_u64_pair(7, number))
}

struct Writer {
    view: Space,
    /// The version on which each block of the view rests.
    versions: BTreeMap<BlockId, u64>,
}

struct Object {
    claim: Claim,
    status: Option<BTreeSet<Address>>,
    deleting: bool,
}

/// How a batch ended.
enum End {
    Done(Vec<Outcome>),
    Crashed,
}

pub struct World {
    random: Random,
    now: Instant,
    pools: Vec<Pool>,
    usable: BTreeMap<ResourceUid, BTreeSet<Address>>,
    store: BTreeMap<BlockId, (u64, Block)>,
    writers: Vec<Writer>,
    objects: BTreeMap<ResourceUid, Object>,
    plain: Plain,
    /// Claims whose status is written, and whose slots may still be held.
    to_publish: BTreeSet<ResourceUid>,
    /// Whether pools are given up under live addresses, which bends what may be asserted of neighbours.
    pools_change: bool,
    pub counts: BTreeMap<&'static str, u64>,
}

impl World {
    pub fn new(seed: u64, pools: Vec<Pool>, pools_change: bool) -> Self {
        let usable = pools.iter().map(|pool| (pool.uid, usable(pool))).collect();
        let mut world = Self {
            random: Random(seed),
            now: Instant::EPOCH,
            pools,
            usable,
            store: BTreeMap::new(),
            writers: Vec::new(),
            objects: BTreeMap::new(),
            plain: Plain::default(),
            to_publish: BTreeSet::new(),
            pools_change,
            counts: BTreeMap::new(),
        };
        world.writers = vec![world.fresh_writer(), world.fresh_writer()];
        world
    }

    fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    fn fresh_writer(&self) -> Writer {
        let blocks = self.store.values().map(|(_, block)| block.clone());
        Writer {
            view: Space::new(self.pools.clone(), blocks).unwrap(),
            versions: self.store.iter().map(|(id, (version, _))| (*id, *version)).collect(),
        }
    }

    pub fn step(&mut self) {
        let writer = usize::from(self.random.percent(15));
        match self.random.below(100) {
            0..45 => {
                let count = 1 + self.random.below(3);
                let claims = (0..count).map(|_| self.new_claim()).collect();
                self.run(writer, Batch { claims, ..Batch::default() });
            }
            45..70 => self.delete_some(writer),
            70..80 => {
                let seconds = self.random.below(200) as i64;
                self.now = self.now.plus_microseconds(seconds * 1_000_000);
            }
            80..85 => {
                self.count("restarts");
                self.writers[writer] = self.fresh_writer();
            }
            85..90 if self.pools_change => self.change_pool(),
            _ => self.retry(writer),
        }
    }

    fn new_claim(&mut self) -> Claim {
        let uid = ResourceUid(Uuid::from_u64_pair(self.random.next(), self.random.next()));
        let number = self.random.below(4) as u64;
        let pool = self.random.below(self.pools.len());
        let (pool_uid, has) = (self.pools[pool].uid, self.families(pool));
        let families = if has.len() == 2 && self.random.percent(50) {
            Families::Dual
        } else if has[self.random.below(has.len())] == Family::V4 {
            Families::V4
        } else {
            Families::V6
        };
        let mut count = 1;
        if self.random.percent(20) {
            count = if self.random.percent(1) { 300 } else { 2 + self.random.below(12) as u16 };
        }
        let mut address = None;
        if count == 1 && families != Families::Dual && self.random.percent(15) {
            let all: Vec<Address> = spanned(&self.pools[pool])
                .into_iter()
                .filter(|one| families.list() == [one.family()])
                .collect();
            address = Some(all[self.random.below(all.len())]);
        }
        let sticky =
            self.random.percent(30).then(|| format!("web-{}", self.random.below(4)).into());
        let mut pools = vec![pool_uid];
        if self.random.percent(20) {
            pools.push(self.pools[self.random.below(self.pools.len())].uid);
        }
        let claim = Claim {
            uid,
            created: self.now,
            reference: "tn-acme/web".into(),
            tenant: tenant(number),
            pools,
            families,
            count,
            address,
            sticky_key: sticky,
            waiting_since: None,
        };
        let object = Object { claim: claim.clone(), status: None, deleting: false };
        self.objects.insert(uid, object);
        claim
    }

    fn families(&self, pool: usize) -> Vec<Family> {
        let ranges = self.pools[pool].ranges.iter();
        let families: BTreeSet<Family> = ranges.map(ipam::address::AddressRange::family).collect();
        families.into_iter().collect()
    }

    fn delete_some(&mut self, writer: usize) {
        for _ in 0..=self.random.below(2) {
            if self.objects.is_empty() {
                return;
            }
            let number = self.random.below(self.objects.len());
            let uid = *self.objects.keys().nth(number).unwrap();
            self.objects.get_mut(&uid).unwrap().deleting = true;
        }
        self.collect(writer);
    }

    /// Gives back what deleted claims have, as the object says, never as a lagging view does.
    fn collect(&mut self, writer: usize) {
        let deleting: BTreeSet<ResourceUid> =
            self.objects.iter().filter(|(_, one)| one.deleting).map(|(uid, _)| *uid).collect();
        let mut releases = Vec::new();
        for (_, block) in self.store.values() {
            for Holding { address, slot } in block.holdings() {
                if slot.state.is_live() && deleting.contains(&slot.owner) {
                    releases.push(Release { address, owner: slot.owner, seq: slot.seq });
                }
            }
        }
        // A late or repeated release must do nothing.
        if let Some(first) = releases.first().copied() {
            releases.push(Release { seq: first.seq.wrapping_sub(1), ..first });
            releases.push(Release { owner: ResourceUid(Uuid::nil()), ..first });
        }
        for uid in &deleting {
            for writer in &mut self.writers {
                writer.view.withdraw(*uid);
            }
        }
        self.run(writer, Batch { releases, ..Batch::default() });
        let held: BTreeSet<ResourceUid> = self.plain.live.values().map(|live| live.owner).collect();
        self.objects.retain(|uid, object| !object.deleting || held.contains(uid));
    }

    /// Hands in again what is not bound, and publishes what may still be held.
    pub fn retry(&mut self, writer: usize) {
        let unbound = self.objects.values().filter(|one| one.status.is_none() && !one.deleting);
        let claims: Vec<Claim> = unbound.map(|one| one.claim.clone()).collect();
        let publishes = self.to_publish.iter().copied().collect();
        self.run(writer, Batch { claims, publishes, ..Batch::default() });
        self.to_publish
            .retain(|uid| self.plain.live.values().any(|live| live.owner == *uid && live.is_held));
    }

    fn change_pool(&mut self) {
        let number = self.random.below(self.pools.len());
        let mut pool = self.pools[number].clone();
        let all: Vec<Address> = spanned(&pool).into_iter().collect();
        if pool.excluded.len() > 3 || self.random.percent(40) {
            pool.excluded.pop();
        } else {
            let at = all[self.random.below(all.len())];
            let end =
                Address::new(at.family(), at.value() + self.random.below(20) as u128).unwrap();
            pool.excluded.push(ipam::address::AddressRange::new(at, end).unwrap());
        }
        let after = usable(&pool);
        let exact = self.fresh_writer().view;
        let in_the_way: BTreeSet<Address> =
            exact.in_the_way(&pool).into_iter().map(|holding| holding.address).collect();
        let expected: BTreeSet<Address> = self
            .plain
            .live
            .iter()
            .filter(|(address, live)| live.pool == pool.uid && !after.contains(*address))
            .map(|(address, _)| *address)
            .collect();
        assert_eq!(in_the_way, expected);
        // One that slipped in between check and commit stays.
        if !in_the_way.is_empty() && !self.random.percent(20) {
            self.count("shrinks refused");
            return;
        }
        self.count("pool changes");
        for writer in &mut self.writers {
            writer.view.set_pool(pool.clone()).unwrap();
        }
        self.usable.insert(pool.uid, after);
        self.pools[number] = pool;
    }

    fn run(&mut self, writer: usize, batch: Batch) {
        let End::Done(outcomes) = self.commit(writer, &batch) else {
            self.count("crashes");
            self.writers[writer] = self.fresh_writer();
            return;
        };
        let Some(last) = outcomes.last() else { return };
        for (uid, verdict) in &last.verdicts {
            match verdict {
                Verdict::Bound(bound) => {
                    self.count("bound");
                    if self.random.percent(5) {
                        self.count("crashes before the status");
                        continue;
                    }
                    let object = self.objects.get_mut(uid).unwrap();
                    object.status = Some(bound.iter().map(|one| one.address).collect());
                    if bound.iter().any(|one| one.is_held) {
                        self.to_publish.insert(*uid);
                    }
                }
                Verdict::Refused(refusal) => self.count(refusal.reason()),
            }
        }
    }

    /// Plans and writes until nothing conflicts.
    fn commit(&mut self, number: usize, batch: &Batch) -> End {
        let mut outcomes = Vec::new();
        for _ in 0..9 {
            let in_sync = self.writers[number].versions.len() == self.store.len()
                && self.store.iter().all(|(id, (version, _))| {
                    self.writers[number].versions.get(id) == Some(version)
                });
            let before = self.writers[number].view.clone();
            let outcome = self.writers[number].view.plan(batch, self.now);
            if in_sync {
                self.check_rules(&before, batch, &outcome);
                // Who waits is remembered in memory alone, and the numbers of conflicts are not written.
                if self.writers[number].view.waiting().is_empty() && self.random.percent(30) {
                    let again = self.fresh_writer().view.plan(batch, self.now);
                    let (mine, theirs) = (addresses(&outcome), addresses(&again));
                    assert_eq!(mine, theirs, "a view read afresh decides otherwise");
                }
            }
            let mut conflicts = Vec::new();
            for id in &outcome.changed {
                let block = self.writers[number].view.block(*id).unwrap().clone();
                let base = self.writers[number].versions.get(id).copied();
                if self.store.get(id).map(|(version, _)| *version) != base {
                    conflicts.push(*id);
                    continue;
                }
                let version = base.unwrap_or(0) + 1;
                let known = self.store.get(id).map_or(0, |(_, block)| block.generation());
                assert!(block.generation() > known, "{id} changed without counting");
                self.store.insert(*id, (version, block));
                self.follow(batch, &outcome, *id);
                self.writers[number].versions.insert(*id, version);
                if self.random.percent(3) {
                    self.count("answers lost");
                    conflicts.push(*id);
                }
                if self.random.percent(2) {
                    return End::Crashed;
                }
            }
            let is_done = conflicts.is_empty();
            outcomes.push(outcome);
            if is_done {
                return End::Done(outcomes);
            }
            self.count("conflicts");
            for id in conflicts {
                let writer = &mut self.writers[number];
                if let Some((version, block)) = self.store.get(&id) {
                    writer.view.replace_block(block.clone());
                    writer.versions.insert(id, *version);
                } else {
                    writer.view.forget_block(id);
                    writer.versions.remove(&id);
                }
            }
        }
        // Never reached by a writer alone: each round brings at least one block up to date.
        outcomes.clear();
        End::Done(outcomes)
    }

    /// Tells the plain book what the write of one block has made true.
    fn follow(&mut self, batch: &Batch, outcome: &Outcome, id: BlockId) {
        let now = self.now;
        self.plain.resting.retain(|_, resting| resting.until > now);
        for owner in &batch.publishes {
            for (address, live) in &mut self.plain.live {
                if live.owner == *owner && BlockId::of(*address).0 == id {
                    live.is_held = false;
                }
            }
        }
        for (release, released) in batch.releases.iter().zip(&outcome.releases) {
            if BlockId::of(release.address).0 != id || *released == Released::NoMatch {
                continue;
            }
            let live = self.plain.live.remove(&release.address).expect("released twice");
            assert_eq!(live.owner, release.owner);
            let rests =
                self.pools.iter().any(|pool| pool.uid == live.pool && pool.quarantine_seconds > 0);
            match released {
                Released::Quarantined(until) => {
                    assert!(!live.is_held && rests && *until > now);
                    let Live { tenant, sticky_key, .. } = live;
                    let resting = Resting { tenant, sticky_key, until: *until };
                    self.plain.resting.insert(release.address, resting);
                }
                Released::Freed => assert!(live.is_held || !rests),
                Released::NoMatch => {}
            }
        }
        let claims: BTreeMap<ResourceUid, &Claim> =
            batch.claims.iter().map(|claim| (claim.uid, claim)).collect();
        for (uid, verdict) in &outcome.verdicts {
            let Verdict::Bound(bound) = verdict else { continue };
            for one in bound.iter().filter(|one| BlockId::of(one.address).0 == id) {
                if one.why.is_some() {
                    self.plain.take(claims[uid], one.pool, one.address, one.is_held);
                } else if let Some(live) = self.plain.live.get_mut(&one.address) {
                    live.is_held = one.is_held;
                }
            }
        }
    }

    /// Deletes everything, lets it rest, and looks whether anything is left.
    pub fn end(&mut self) {
        self.writers = vec![self.fresh_writer(), self.fresh_writer()];
        for object in self.objects.values_mut() {
            object.deleting = true;
        }
        for _ in 0..200 {
            if self.objects.is_empty() {
                break;
            }
            self.collect(0);
        }
        assert!(self.objects.is_empty() && self.plain.live.is_empty());
        self.now = self.now.plus_microseconds(1_000_000_000);
        for _ in 0..20 {
            self.run(0, Batch::default());
        }
        self.check();
        let left: usize = self.store.values().map(|(_, block)| block.slots().len()).sum();
        assert_eq!(left, 0, "slots outlived their claims");
        assert!(self.store.values().all(|(_, block)| block.tenant().is_none()));
    }
}

/// What a plan decided, without numbers.
fn addresses(outcome: &Outcome) -> Vec<(ResourceUid, Result<Vec<Address>, Refusal>)> {
    let of = |verdict: &Verdict| match verdict {
        Verdict::Bound(bound) => Ok(bound.iter().map(|one| one.address).collect()),
        Verdict::Refused(refusal) => Err(refusal.clone()),
    };
    outcome.verdicts.iter().map(|(uid, verdict)| (*uid, of(verdict))).collect()
}

impl Plain {
    fn take(&mut self, claim: &Claim, pool: ResourceUid, address: Address, is_held: bool) {
        let sticky_key = claim.sticky_key.as_deref().map(str::to_owned);
        if let Some(resting) = self.resting.remove(&address) {
            assert!(sticky_key.is_some(), "{address} was resting");
            assert_eq!((resting.sticky_key, resting.tenant), (sticky_key.clone(), claim.tenant));
        }
        let live = Live { owner: claim.uid, tenant: claim.tenant, pool, sticky_key, is_held };
        let former = self.live.insert(address, live);
        assert_eq!(former, None, "{address} has two owners");
    }
}
