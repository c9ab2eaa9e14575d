//! The rules of a pool's table of ids: stored in its status, decided by `ipam`.

use calendar::Instant;
use crds::network::VLANPool;
use ids::ResourceUid;
use ipam::vlan::{Table, VlanBatch, VlanClaim, VlanRange, VlanRelease, VlanVerdict};
use network_objects::vlan::{pool_of, read, sequence, write};
use operator_kit::Clock;
use operator_kit::group_commit::{Decision, Ledger, Objects, Plan};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What is asked.
#[derive(Debug)]
pub(super) enum Ask {
    /// An id of the pool of this name.
    Claim { pool: String, claim: VlanClaim },
    /// The pool's ranges stand in the fabric's register: ids of these may be handed out.
    Registered { pool: String, ranges: Vec<VlanRange> },
    /// Whatever this owner has, in whatever pool.
    Release { owner: ResourceUid },
    /// What has rested long enough in the pool of this name.
    Tick { pool: String },
}

/// Why nothing was done: the table in this pool's status cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the table of ids of VLANPool {0} cannot be read; restore the object")]
pub struct Unreadable(String);

/// See the module.
pub(super) struct Tables {
    clock: Arc<dyn Clock>,
}

impl Tables {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock }
    }
}

impl Ledger for Tables {
    type Object = VLANPool;
    type Request = Ask;
    type Answer = Result<Option<VlanVerdict>, Unreadable>;

    fn sequence(object: &VLANPool) -> i64 {
        sequence(object)
    }

    fn plan(
        &mut self,
        objects: &Objects<VLANPool>,
        requests: &[&Ask],
    ) -> Plan<VLANPool, Self::Answer> {
        let now = Instant::from_timestamp(self.clock.now());
        let concerned: BTreeMap<&String, Vec<&Ask>> = objects
            .iter()
            .map(|(name, object)| {
                let asks = requests.iter().filter(|ask| concerns(ask, name, object));
                (name, asks.copied().collect())
            })
            .filter(|(_, asks): &(&String, Vec<&Ask>)| !asks.is_empty())
            .collect();
        let (mut next, mut unreadable) = (BTreeMap::new(), BTreeSet::new());
        let mut verdicts: BTreeMap<ResourceUid, VlanVerdict> = BTreeMap::new();
        for (name, asks) in &concerned {
            let Some(object) = objects.get(*name) else { continue };
            match serve(object, asks, now) {
                Some((more, changed)) => {
                    verdicts.extend(more);
                    next.extend(changed.map(|changed| ((*name).clone(), changed)));
                }
                None => {
                    unreadable.insert((*name).clone());
                }
            }
        }
        let decisions = requests.iter().map(|ask| {
            let of_ask = concerned
                .iter()
                .filter(|(_, asks)| asks.iter().any(|one| std::ptr::eq(*one, *ask)));
            let rests_on: BTreeSet<String> = of_ask.map(|(name, _)| (*name).clone()).collect();
            let answer = match (rests_on.intersection(&unreadable).next(), ask) {
                (Some(name), _) => Err(Unreadable(name.clone())),
                (None, Ask::Claim { claim, .. }) => Ok(verdicts.get(&claim.uid).cloned()),
                (None, Ask::Registered { .. } | Ask::Release { .. } | Ask::Tick { .. }) => Ok(None),
            };
            Decision { answer, rests_on }
        });
        Plan { decisions: decisions.collect(), next }
    }
}

/// Whether a request is for this pool. A release is for every pool that names its owner, readable or not.
fn concerns(ask: &Ask, name: &str, object: &VLANPool) -> bool {
    match ask {
        Ask::Claim { pool, .. } | Ask::Registered { pool, .. } | Ask::Tick { pool } => pool == name,
        Ask::Release { owner } => {
            let uid = owner.to_string();
            object.status.iter().flat_map(|status| &status.owners).any(|one| one.uid == uid)
        }
    }
}

type Served = (Vec<(ResourceUid, VlanVerdict)>, Option<VLANPool>);

/// Serves one pool; nothing where its table cannot be read.
fn serve(object: &VLANPool, asks: &[&Ask], now: Instant) -> Option<Served> {
    let mut table = read(object)?;
    let mut object = object.clone();
    let mut is_changed = false;
    for ask in asks {
        if let Ask::Registered { ranges, .. } = ask {
            let texts: Vec<String> = ranges.iter().map(ToString::to_string).collect();
            let status = object.status.get_or_insert_default();
            if status.registered != texts {
                status.registered = texts;
                status.sequence = Some(status.sequence.unwrap_or(0).saturating_add(1));
                is_changed = true;
            }
        }
    }
    if is_changed {
        table = read(&object)?;
    }
    let mut pool = pool_of(&object).ok()?;
    let registered: Vec<VlanRange> = object
        .status
        .iter()
        .flat_map(|status| &status.registered)
        .filter_map(|text| text.parse().ok())
        .collect();
    // What the register has not given is another pool's for all that is known here.
    pool.ranges = pool.ranges.iter().flat_map(|range| common(*range, &registered)).collect();
    let batch = batch(asks, &table);
    let mut outcome = table.plan(&pool, &batch, now);
    if outcome.is_changed {
        object = write(&object, &table);
    }
    let changed = (is_changed || outcome.is_changed).then_some(object);
    Some((std::mem::take(&mut outcome.verdicts), changed))
}

/// The parts of a range that are in others.
fn common(range: VlanRange, others: &[VlanRange]) -> Vec<VlanRange> {
    let overlap = |other: &VlanRange| {
        let first = range.first().max(other.first());
        let last = range.last().min(other.last());
        VlanRange::new(first, last).ok()
    };
    others.iter().filter_map(overlap).collect()
}

fn batch(asks: &[&Ask], table: &Table) -> VlanBatch {
    let mut batch = VlanBatch::default();
    for ask in asks {
        match ask {
            Ask::Claim { claim, .. } => batch.claims.push(claim.clone()),
            Ask::Release { owner } => {
                let tags = table.tags().iter();
                let held = tags.filter(|(_, tag)| tag.owner == *owner && tag.state.is_live());
                batch.releases.extend(held.map(|(id, tag)| VlanRelease {
                    id: *id,
                    owner: *owner,
                    seq: tag.seq,
                }));
            }
            Ask::Registered { .. } | Ask::Tick { .. } => {}
        }
    }
    batch
}

#[cfg(test)]
mod tests;
