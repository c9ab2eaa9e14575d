//! The rules of a pool's table of ids: stored in its status, decided by `ipam`.

use calendar::Instant;
use crds::network::VLANPool;
use ids::ResourceUid;
use ipam::vlan::{Table, VlanBatch, VlanClaim, VlanRelease, VlanVerdict};
use network_objects::vlan::{pool_of, read, sequence, write};
use operator_kit::Clock;
use operator_kit::group_commit::{Decision, Ledger, Objects, Plan};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What is asked of a pool.
#[derive(Debug)]
pub(super) struct Ask {
    /// Its name.
    pub(super) pool: String,
    pub(super) what: What,
}

#[derive(Debug)]
pub(super) enum What {
    Claim(VlanClaim),
    Release(ResourceUid),
    Tick,
}

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
    type Answer = Option<VlanVerdict>;

    fn sequence(object: &VLANPool) -> i64 {
        sequence(object)
    }

    fn plan(
        &mut self,
        objects: &Objects<VLANPool>,
        requests: &[&Ask],
    ) -> Plan<VLANPool, Option<VlanVerdict>> {
        let now = Instant::from_timestamp(self.clock.now());
        let names: BTreeSet<&String> = requests.iter().map(|ask| &ask.pool).collect();
        let mut next = BTreeMap::new();
        let mut verdicts: BTreeMap<ResourceUid, VlanVerdict> = BTreeMap::new();
        for name in names {
            let Some(object) = objects.get(name) else { continue };
            let (Ok(pool), Some(mut table)) = (pool_of(object), read(object)) else {
                tracing::error!(pool = %name, "a table of VLAN ids cannot be read; restore the object");
                continue;
            };
            let asks = requests.iter().filter(|ask| ask.pool == *name);
            let batch = batch(asks.map(|ask| &ask.what), &table);
            let outcome = table.plan(&pool, &batch, now);
            verdicts.extend(outcome.verdicts);
            if outcome.is_changed {
                next.insert(name.clone(), write(object, &table));
            }
        }
        let decisions = requests.iter().map(|ask| {
            let answer = match &ask.what {
                What::Claim(claim) => verdicts.get(&claim.uid).cloned(),
                What::Release(_) | What::Tick => None,
            };
            Decision { answer, rests_on: BTreeSet::from([ask.pool.clone()]) }
        });
        Plan { decisions: decisions.collect(), next }
    }
}

fn batch<'a>(asks: impl Iterator<Item = &'a What>, table: &Table) -> VlanBatch {
    let mut batch = VlanBatch::default();
    for what in asks {
        match what {
            What::Claim(claim) => batch.claims.push(claim.clone()),
            What::Release(owner) => {
                let tags = table.tags().iter();
                let held = tags.filter(|(_, tag)| tag.owner == *owner && tag.state.is_live());
                batch.releases.extend(held.map(|(id, tag)| VlanRelease {
                    id: *id,
                    owner: *owner,
                    seq: tag.seq,
                }));
            }
            What::Tick => {}
        }
    }
    batch
}
