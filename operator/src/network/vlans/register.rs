//! The rules of a fabric's register: which pool has which ids.

use crds::network::{RegisteredPool, VLANFabric, VLANFabricSpec};
use ids::ResourceUid;
use ipam::vlan::{Fabric, FabricRefused, VlanRange};
use operator_kit::group_commit::{Decision, Ledger, Objects, Plan};
use std::collections::{BTreeMap, BTreeSet};

/// What a pool wants of its fabric.
#[derive(Debug)]
pub(super) struct Ask {
    pub(super) fabric: String,
    /// The pool's name, for people.
    pub(super) name: String,
    pub(super) pool: ResourceUid,
    /// None gives everything back.
    pub(super) ranges: Vec<VlanRange>,
}

/// See the module.
pub(super) struct Registers;

impl Ledger for Registers {
    type Object = VLANFabric;
    type Request = Ask;
    type Answer = Result<(), String>;

    fn sequence(object: &VLANFabric) -> i64 {
        object.status.as_ref().and_then(|status| status.sequence).unwrap_or(0)
    }

    fn plan(
        &mut self,
        objects: &Objects<VLANFabric>,
        requests: &[&Ask],
    ) -> Plan<VLANFabric, Self::Answer> {
        let mut next: BTreeMap<String, VLANFabric> = BTreeMap::new();
        let decisions = requests
            .iter()
            .map(|ask| {
                let stored = objects.get(&ask.fabric).map(|object| VLANFabric::clone(object));
                let is_new = stored.is_none();
                let current = next.remove(&ask.fabric).or(stored);
                if current.is_none() && ask.ranges.is_empty() {
                    return Decision { answer: Ok(()), rests_on: BTreeSet::new() };
                }
                let mut fabric =
                    current.unwrap_or_else(|| VLANFabric::new(&ask.fabric, VLANFabricSpec {}));
                let answer = book(&mut fabric, ask);
                let was = objects.get(&ask.fabric).map(|object| Self::sequence(object));
                let is_changed = was != Some(Self::sequence(&fabric));
                if is_changed && (!is_new || Self::sequence(&fabric) > 0) {
                    next.insert(ask.fabric.clone(), fabric);
                }
                Decision { answer, rests_on: BTreeSet::from([ask.fabric.clone()]) }
            })
            .collect();
        Plan { next, decisions }
    }
}

fn book(fabric: &mut VLANFabric, ask: &Ask) -> Result<(), String> {
    let uid = ask.pool.to_string();
    let texts: Vec<String> = ask.ranges.iter().map(ToString::to_string).collect();
    let status = fabric.status.get_or_insert_default();
    let known = status.pools.iter().find(|pool| pool.uid == uid);
    if known.map_or(texts.is_empty(), |known| known.ranges == texts) {
        return Ok(());
    }
    let rows = status.pools.iter().filter(|pool| pool.uid != uid);
    let parts = rows.clone().flat_map(|pool| {
        let owner = pool.uid.parse::<ResourceUid>().ok();
        let ranges = pool.ranges.iter().filter_map(|text| text.parse::<VlanRange>().ok());
        ranges.filter_map(move |range| Some((range, owner?)))
    });
    let mut register = Fabric::from_parts(parts).map_err(|refused| {
        format!("the register of fabric {} cannot be read: {refused}", ask.fabric)
    })?;
    if !ask.ranges.is_empty() {
        register.book(ask.pool, &ask.ranges).map_err(|refused| named(&refused, &status.pools))?;
    }
    let sequence = status.sequence.unwrap_or(0).saturating_add(1);
    let mut pools: Vec<RegisteredPool> = rows.cloned().collect();
    if !texts.is_empty() {
        let name = ask.name.clone();
        pools.push(RegisteredPool { name, uid, ranges: texts, seq: sequence });
    }
    pools.sort_by(|a, b| a.name.cmp(&b.name));
    (status.pools, status.sequence) = (pools, Some(sequence));
    Ok(())
}

/// The refusal with the other pool by its name.
fn named(refused: &FabricRefused, pools: &[RegisteredPool]) -> String {
    pools.iter().fold(refused.to_string(), |text, pool| text.replace(&pool.uid, &pool.name))
}
