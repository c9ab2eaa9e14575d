//! SecurityZone: what is in it, and who uses it. The policies of those who do are made in [`fence`].

pub mod fence;
pub mod policy;

use crate::report::{TellError, Verdict, tell};
use crate::world::World;
use crds::network::{
    ClaimPhase, IPPool, Prefix, SecurityZone, SecurityZoneStatus, VLAN, VLANPool, ZoneMembers,
    ZonePolicies,
};
use ipam::address::{AddressRange, AddressSet, Cidr};
use kube::ResourceExt;
use operator_kit::controller::Outcome;
use operator_kit::status::{self, Change, Truth};
use policy::Zone;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Why a pass failed.
#[derive(Debug, thiserror::Error)]
#[error("report on SecurityZone")]
pub struct Error(#[from] TellError);

/// The most namespaces named in a status.
const NAMESPACES_MAX: usize = 20;
/// The condition that says whether the network does what the policies say.
const POLICY_ENFORCED: &str = "PolicyEnforced";

/// One pass.
pub async fn reconcile(object: Arc<SecurityZone>, world: Arc<World>) -> Result<Outcome, Error> {
    let name = object.name_any();
    let users = fence::users_of(&world, &name);
    let mut status = object.status.clone().unwrap_or_default();
    status.cidrs = zones(&world).remove(&name).map(|zone| zone.cidrs).unwrap_or_default();
    status.members = Some(members(&world, &name, &users));
    let before = status.policies.as_ref().map_or(0, |policies| policies.repaired);
    status.policies = Some(ZonePolicies {
        generated: i64::try_from(users.len()).unwrap_or(i64::MAX),
        repaired: before.saturating_add(world.repairs.take(&name)),
        namespaces: users.iter().take(NAMESPACES_MAX).cloned().collect(),
    });
    say_whether_enforced(&object, &world, &mut status);
    let message = "the namespaces that use the zone are fenced".to_owned();
    let verdict = Verdict::Ready("Fenced", message);
    Ok(tell(&world, object.as_ref(), object.status.as_ref(), status, &verdict).await?)
}

/// All zones with the networks in them.
fn zones(world: &World) -> BTreeMap<String, Zone> {
    let mut ranges: BTreeMap<String, Vec<AddressRange>> = BTreeMap::new();
    for prefix in world.prefixes.store().state() {
        let Some(status) = &prefix.status else { continue };
        let cidr = status.cidr.as_ref().and_then(|text| text.parse::<Cidr>().ok());
        if let (Some(zone), Some(cidr)) = (&status.zone, cidr) {
            ranges.entry(zone.clone()).or_default().push(cidr.range());
        }
    }
    let zone = |object: &Arc<SecurityZone>| {
        let ranges = ranges.remove(&object.name_any()).unwrap_or_default();
        let set = AddressSet::union_of(ranges);
        let cidrs = set.ranges().iter().flat_map(AddressRange::cidrs).map(|cidr| cidr.to_string());
        (object.name_any(), Zone { spec: object.spec.clone(), cidrs: cidrs.collect() })
    };
    world.zones.store().state().iter().map(zone).collect()
}

fn members(world: &World, name: &str, users: &BTreeSet<String>) -> ZoneMembers {
    let count = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
    let is_zone = |zone: Option<&String>| zone.is_some_and(|zone| zone == name);
    let prefixes = world.prefixes.store().state_filter(|prefix: &Prefix| {
        is_zone(prefix.status.as_ref().and_then(|status| status.zone.as_ref()))
    });
    let pools = world.pools.store().state_filter(|pool: &IPPool| {
        is_zone(pool.status.as_ref().and_then(|status| status.zone.as_ref()))
    });
    let vlan_pools = world.vlan_pools.store().state_filter(|pool: &VLANPool| {
        is_zone(pool.spec.zone_ref.as_ref().map(|zone| &zone.name))
    });
    let tenants: BTreeSet<String> = users
        .iter()
        .filter_map(|namespace| world.tenant_of_namespace(namespace))
        .map(|tenant| tenant.name_any())
        .collect();
    ZoneMembers {
        prefixes: count(prefixes.len()),
        pools: count(pools.len()),
        vlan_pools: count(vlan_pools.len()),
        tenants: count(tenants.len()),
    }
}

/// Nobody knows whether the network does what the policies say until something has probed it.
fn say_whether_enforced(object: &SecurityZone, world: &World, status: &mut SecurityZoneStatus) {
    if status::find(&status.conditions, POLICY_ENFORCED).is_none() {
        let message =
            "no probe has shown whether the cluster's network enforces NetworkPolicies; a plain bridge does not"
                .to_owned();
        let (type_, truth, reason) = (POLICY_ENFORCED, Truth::Unknown, "NotProbed");
        let change = Change { type_, status: truth, reason, message };
        let (generation, now) = (object.metadata.generation, world.clock.now());
        status::set(&mut status.conditions, &change, generation, now);
    }
}

/// Whether the tenant of these namespaces has a VLAN of its own in the zone.
pub fn has_vlan(world: &World, namespaces: &BTreeSet<String>, zone: &str) -> bool {
    let is_it = |vlan: &VLAN| {
        let is_in = vlan.status.as_ref().is_some_and(|status| {
            status.phase == Some(ClaimPhase::Bound) && status.zone.as_deref() == Some(zone)
        });
        is_in && vlan.namespace().is_some_and(|namespace| namespaces.contains(&namespace))
    };
    world.vlan_claims.store().find(is_it).is_some()
}
