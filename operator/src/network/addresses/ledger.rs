//! The rules of blocks: what is asked goes to the allocator of its address space, and what changed goes to the objects.

use super::super::audit::Told;
use super::Wake;
use calendar::Instant;
use crds::network::IPBlock;
use ids::ResourceUid;
use ipam::address::{Address, BlockId, Family};
use ipam::audit::{self, Owners, Report};
use ipam::plan::{Batch, Claim, Outcome, Refusal, Release, Verdict};
use ipam::pool::{Counts, Pool, PoolRefused};
use ipam::space::{Scores, Space};
use kube::ResourceExt;
use network_objects::block::{self, block_name};
use operator_kit::group_commit::{Decision, Ledger, Objects, Plan};
use operator_kit::{Clock, ErrorChain};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What is asked.
#[derive(Debug)]
pub(super) enum Ask {
    Claim {
        space: String,
        claim: Box<Claim>,
    },
    Publish {
        owner: ResourceUid,
    },
    /// `pools`: those that exist, whether declared here yet or not.
    Release {
        owner: ResourceUid,
        pools: BTreeSet<ResourceUid>,
    },
    Pool {
        space: String,
        pool: Box<Pool>,
    },
    DropPool {
        pool: ResourceUid,
    },
    Audit {
        told: Told,
    },
    Tick,
}

/// What is answered.
#[derive(Debug)]
pub(super) enum Answer {
    Verdict(Verdict),
    Pool(Box<Result<Standing, PoolRefused>>),
    Audited(BTreeMap<String, Report<Address>>),
    Done,
    NotYet,
}

/// How a pool stands.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Standing {
    /// Its addresses by what became of them.
    pub counts: Counts,
    /// How well they lie.
    pub scores: Scores,
    /// Claims that wait for it.
    pub waiting: usize,
    /// The highest number that any of its blocks has counted to.
    pub generation: u64,
}

impl Standing {
    /// Addresses that somebody has, inside its ranges or no longer.
    pub const fn live(&self) -> u128 {
        self.counts.allocated.saturating_add(self.counts.out_of_range)
    }
}

/// See the module.
pub(super) struct Blocks {
    clock: Arc<dyn Clock>,
    wake: Wake,
    spaces: BTreeMap<String, Space>,
    /// By the name of the object.
    loaded: BTreeMap<String, Loaded>,
    /// `namespace/name` of claims that wait.
    waiting: BTreeMap<ResourceUid, Arc<str>>,
    /// The same of claims that came before their pool was declared here, by the pool: after a start they all may.
    early: BTreeMap<ResourceUid, BTreeSet<Arc<str>>>,
}

/// Where a block went, and which version of it; none when a plan has changed it since.
struct Loaded {
    version: Option<String>,
    place: Option<(String, BlockId)>,
}

impl Blocks {
    pub(super) fn new(clock: Arc<dyn Clock>, wake: Wake) -> Self {
        let (spaces, loaded) = (BTreeMap::new(), BTreeMap::new());
        Self { clock, wake, spaces, loaded, waiting: BTreeMap::new(), early: BTreeMap::new() }
    }

    /// Makes the allocators agree with the objects.
    fn load(&mut self, objects: &Objects<IPBlock>) {
        let Self { spaces, loaded, .. } = self;
        loaded.retain(|name, loaded| {
            let is_there = objects.contains_key(name);
            if let Some((space, id)) = loaded.place.as_ref().filter(|_| !is_there)
                && let Some(space) = spaces.get_mut(space)
            {
                space.forget_block(*id);
            }
            is_there
        });
        for (name, object) in objects {
            let version = object.resource_version();
            if loaded.get(name).is_some_and(|known| known.version == version && version.is_some()) {
                continue;
            }
            let place = match block::read(object) {
                Ok(block) => {
                    let place = (object.spec.space_ref.name.clone(), block.id());
                    spaces.entry(place.0.clone()).or_default().replace_block(block);
                    Some(place)
                }
                Err(error) => {
                    // No address of it is handed out: whoever plans one meets the object that is there.
                    tracing::error!(block = %name, error = %ErrorChain(&error), "a block cannot be read; restore or delete the object");
                    None
                }
            };
            loaded.insert(name.clone(), Loaded { version, place });
        }
    }

    /// Where a claim holds something.
    fn holders(&self, owner: ResourceUid) -> Vec<String> {
        let holds = |space: &&String| {
            self.spaces.get(*space).is_some_and(|space| !space.holdings_of(owner).is_empty())
        };
        self.spaces.keys().filter(holds).cloned().collect()
    }

    /// Takes note of a request; what can be said before the plan is said.
    fn admit(&mut self, ask: &Ask, batches: &mut BTreeMap<String, Batch>) -> Pending {
        match ask {
            Ask::Claim { space, claim } => {
                self.spaces.entry(space.clone()).or_default();
                batches.entry(space.clone()).or_default().claims.push(Claim::clone(claim));
                Pending::Claim { space: space.clone(), claim: claim.uid }
            }
            Ask::Publish { owner } => {
                let mut rests_on = BTreeSet::new();
                for name in self.holders(*owner) {
                    rests_on.extend(self.blocks_of(&name, *owner));
                    batches.entry(name).or_default().publishes.push(*owner);
                }
                Pending::Done(rests_on)
            }
            Ask::Release { owner, pools } if self.is_early(*owner, pools) => Pending::NotYet,
            Ask::Release { owner, .. } => Pending::Done(self.admit_release(*owner, batches)),
            Ask::Pool { space, pool } => {
                let allocator = self.spaces.entry(space.clone()).or_default();
                let is_known = allocator.pools().any(|known| known == pool.as_ref());
                if !is_known && let Err(refused) = allocator.set_pool(Pool::clone(pool)) {
                    return Pending::Refused(refused);
                }
                for key in self.early.remove(&pool.uid).into_iter().flatten() {
                    (self.wake)(&key);
                }
                batches.entry(space.clone()).or_default();
                Pending::Standing { space: space.clone(), pool: pool.uid }
            }
            Ask::DropPool { pool } => self.admit_drop(*pool),
            Ask::Audit { told } => Pending::Audited(self.audit(told)),
            Ask::Tick => {
                for name in self.spaces.keys() {
                    batches.entry(name.clone()).or_default();
                }
                Pending::Done(BTreeSet::new())
            }
        }
    }

    /// Whether a claim holds something of a pool that exists and is not declared here yet, as after a start.
    fn is_early(&self, owner: ResourceUid, pools: &BTreeSet<ResourceUid>) -> bool {
        self.spaces.values().any(|space| {
            let undeclared = |pool| !space.pools().any(|known| known.uid == pool);
            let held = space.holdings_of(owner);
            held.iter().any(|one| pools.contains(&one.slot.pool) && undeclared(one.slot.pool))
        })
    }

    fn admit_release(
        &mut self,
        owner: ResourceUid,
        batches: &mut BTreeMap<String, Batch>,
    ) -> BTreeSet<String> {
        self.waiting.remove(&owner);
        let mut rests_on = BTreeSet::new();
        for name in self.holders(owner) {
            rests_on.extend(self.blocks_of(&name, owner));
            let holdings = self.spaces.get(&name).map(|space| space.holdings_of(owner));
            let releases = holdings.into_iter().flatten().map(|holding| Release {
                address: holding.address,
                owner,
                seq: holding.slot.seq,
            });
            batches.entry(name).or_default().releases.extend(releases);
        }
        for (name, space) in &mut self.spaces {
            space.withdraw(owner);
            batches.entry(name.clone()).or_default();
        }
        rests_on
    }

    fn admit_drop(&mut self, pool: ResourceUid) -> Pending {
        for (name, space) in &mut self.spaces {
            if space.pools().any(|known| known.uid == pool) {
                let standing = standing(space, pool);
                if standing.live() == 0 {
                    space.remove_pool(pool);
                    return Pending::Done(BTreeSet::new());
                }
                return Pending::Standing { space: name.clone(), pool };
            }
        }
        Pending::Done(BTreeSet::new())
    }

    /// Names of the blocks in which a claim holds something.
    fn blocks_of(&self, space: &str, owner: ResourceUid) -> BTreeSet<String> {
        let holdings = self.spaces.get(space).map(|space| space.holdings_of(owner));
        let holdings = holdings.into_iter().flatten();
        holdings.map(|one| block_name(space, BlockId::of(one.address).0)).collect()
    }

    /// Compares each space with all claims, and with their addresses in that space.
    fn audit(&self, told: &Told) -> BTreeMap<String, Report<Address>> {
        let now = Instant::from_timestamp(self.clock.now());
        let report = |(name, space): (&String, &Space)| {
            let claims = told.iter().map(|(claim, addresses)| {
                let here = addresses.iter().filter(|(space, _)| space == name);
                (*claim, here.map(|(_, address)| *address).collect())
            });
            let owners = Owners { claims: claims.collect(), is_complete: true };
            (name.clone(), audit::examine(space, &BTreeMap::new(), &owners, now))
        };
        self.spaces.iter().map(report).collect()
    }

    /// Writes down what a plan changed, and wakes whom it freed something for.
    fn carry_out(
        &mut self,
        name: &str,
        outcome: &Outcome,
        objects: &Objects<IPBlock>,
        next: &mut BTreeMap<String, IPBlock>,
    ) {
        let Some(space) = self.spaces.get(name) else { return };
        for id in &outcome.changed {
            let Some(block) = space.block(*id) else { continue };
            let object = block_name(name, *id);
            let before = objects.get(&object).map(AsRef::as_ref);
            next.insert(object.clone(), block::write(name, block, before));
            // Whatever comes of the write, the object is read again.
            let place = Some((name.to_owned(), *id));
            self.loaded.insert(object, Loaded { version: None, place });
        }
        for claim in &outcome.wake {
            if let Some(key) = self.waiting.get(claim) {
                (self.wake)(key);
            }
        }
    }

    /// Remembers how to wake a claim that has nothing yet.
    fn note(&mut self, refusal: &Refusal, claim: &Claim) {
        let key = Arc::clone(&claim.reference);
        match refusal {
            Refusal::PoolUnknown { pool } => {
                self.early.entry(*pool).or_default().insert(key);
            }
            refusal if refusal.waits() => {
                self.waiting.insert(claim.uid, key);
            }
            _ => {}
        }
    }

    fn decide(&self, pending: Pending, verdicts: &Verdicts) -> Decision<Answer> {
        match pending {
            Pending::Claim { space, claim } => {
                let verdict = verdicts.get(&(space.clone(), claim)).cloned();
                let verdict = verdict.unwrap_or(Verdict::Refused(Refusal::NoPool));
                let rests_on = self.blocks_of(&space, claim);
                Decision { answer: Answer::Verdict(verdict), rests_on }
            }
            Pending::Audited(reports) => {
                Decision { answer: Answer::Audited(reports), rests_on: BTreeSet::new() }
            }
            Pending::NotYet => Decision { answer: Answer::NotYet, rests_on: BTreeSet::new() },
            Pending::Done(rests_on) => Decision { answer: Answer::Done, rests_on },
            Pending::Refused(refused) => {
                Decision { answer: Answer::Pool(Box::new(Err(refused))), rests_on: BTreeSet::new() }
            }
            Pending::Standing { space, pool } => {
                let standing =
                    self.spaces.get(&space).map(|space| standing(space, pool)).unwrap_or_default();
                Decision { answer: Answer::Pool(Box::new(Ok(standing))), rests_on: BTreeSet::new() }
            }
        }
    }
}

type Verdicts = BTreeMap<(String, ResourceUid), Verdict>;

/// A request that was taken note of.
enum Pending {
    Claim { space: String, claim: ResourceUid },
    Standing { space: String, pool: ResourceUid },
    Refused(PoolRefused),
    Audited(BTreeMap<String, Report<Address>>),
    Done(BTreeSet<String>),
    NotYet,
}

impl Ledger for Blocks {
    type Object = IPBlock;
    type Request = Ask;
    type Answer = Answer;

    fn sequence(object: &IPBlock) -> i64 {
        object.status.as_ref().and_then(|status| status.sequence).unwrap_or(0)
    }

    fn plan(&mut self, objects: &Objects<IPBlock>, requests: &[&Ask]) -> Plan<IPBlock, Answer> {
        self.load(objects);
        let now = Instant::from_timestamp(self.clock.now());
        let mut batches = BTreeMap::new();
        let pending: Vec<Pending> =
            requests.iter().map(|ask| self.admit(ask, &mut batches)).collect();
        let (mut next, mut verdicts) = (BTreeMap::new(), Verdicts::new());
        for (name, batch) in batches {
            let Some(space) = self.spaces.get_mut(&name) else { continue };
            let outcome = space.plan(&batch, now);
            for claim in &batch.claims {
                self.waiting.remove(&claim.uid);
            }
            for (owner, verdict) in &outcome.verdicts {
                let claim = batch.claims.iter().find(|claim| claim.uid == *owner);
                if let (Verdict::Refused(refusal), Some(claim)) = (verdict, claim) {
                    self.note(refusal, claim);
                }
                verdicts.insert((name.clone(), *owner), verdict.clone());
            }
            self.carry_out(&name, &outcome, objects, &mut next);
        }
        let decisions = pending.into_iter().map(|one| self.decide(one, &verdicts)).collect();
        Plan { next, decisions }
    }
}

fn standing(space: &Space, pool: ResourceUid) -> Standing {
    let family = [Family::V4, Family::V6]
        .into_iter()
        .find(|family| space.counts(pool, *family).total > 0)
        .unwrap_or(Family::V4);
    let generation = space
        .blocks()
        .filter(|block| block.slots().values().any(|slot| slot.pool == pool))
        .map(ipam::block::Block::generation)
        .max();
    Standing {
        counts: space.counts(pool, family),
        scores: space.scores(pool, family),
        waiting: space.waiting().line(pool, family).count(),
        generation: generation.unwrap_or(0),
    }
}
