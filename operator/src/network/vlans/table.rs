//! The rules of a pool's table of ids: stored in its status, decided by `ipam`.

use crate::network::text::seconds;
use calendar::Instant;
use crds::network::{VLANPool, VLANPoolStatus, VlanOwner, VlanState};
use ids::ResourceUid;
use ipam::block::SlotState;
use ipam::pool::{Allowed, QUARANTINE_SECONDS_DEFAULT};
use ipam::vlan::{
    Table, Tag, VlanBatch, VlanClaim, VlanId, VlanPool, VlanRange, VlanRefused, VlanRelease,
    VlanVerdict,
};
use k8s_openapi::ByteString;
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
        object.status.as_ref().and_then(|status| status.sequence).unwrap_or(0)
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

/// The pool as declared; tenants are judged by name where the claim is resolved.
pub fn pool_of(object: &VLANPool) -> Result<VlanPool, VlanRefused> {
    let spec = &object.spec;
    let ranges: Result<Vec<VlanRange>, VlanRefused> =
        spec.ranges.iter().map(|text| text.as_str().parse()).collect();
    Ok(VlanPool {
        ranges: ranges?,
        quarantine_seconds: spec
            .quarantine_seconds
            .and_then(|seconds| seconds.try_into().ok())
            .unwrap_or(QUARANTINE_SECONDS_DEFAULT),
        allowed: Allowed::Everybody,
        disabled: spec.disabled.unwrap_or(false),
    })
}

fn read(object: &VLANPool) -> Option<Table> {
    let generation = u64::try_from(Tables::sequence(object)).ok()?;
    let owners = object.status.iter().flat_map(|status| &status.owners);
    let tags: Option<Vec<(VlanId, Tag)>> = owners.map(tag).collect();
    Table::from_parts(generation, tags?).ok()
}

fn tag(owner: &VlanOwner) -> Option<(VlanId, Tag)> {
    let id = VlanId::new(u16::try_from(owner.id).ok()?).ok()?;
    let state = match owner.state {
        VlanState::Allocated => SlotState::Allocated,
        VlanState::Quarantined => {
            SlotState::Quarantined { until: Instant::from_timestamp(owner.until.as_ref()?.0) }
        }
    };
    let tag = Tag {
        state,
        owner: owner.uid.parse().ok()?,
        reference: Arc::from(owner.reference.as_str()),
        tenant: owner.tenant.parse().ok()?,
        since: Instant::from_timestamp(owner.since.0),
        seq: owner.seq.try_into().ok()?,
    };
    Some((id, tag))
}

fn write(object: &VLANPool, table: &Table) -> VLANPool {
    let mut next = object.clone();
    let owner = |(id, tag): (&VlanId, &Tag)| {
        let (state, until) = match tag.state {
            SlotState::Held | SlotState::Allocated => (VlanState::Allocated, None),
            SlotState::Quarantined { until } => (VlanState::Quarantined, Some(until)),
        };
        VlanOwner {
            id: i64::from(id.number()),
            state,
            uid: tag.owner.to_string(),
            reference: tag.reference.to_string(),
            tenant: tag.tenant.to_string(),
            since: seconds(tag.since, false),
            until: until.map(|until| seconds(until, true)),
            seq: i64::try_from(tag.seq).unwrap_or(i64::MAX),
        }
    };
    let status = next.status.get_or_insert_with(VLANPoolStatus::default);
    status.owners = table.tags().iter().map(owner).collect();
    let bitmap = serde_json::to_value(ByteString(table.bitmap().to_vec()));
    status.bitmap = bitmap.ok().and_then(|value| value.as_str().map(str::to_owned));
    status.sequence = i64::try_from(table.generation()).ok();
    next
}
