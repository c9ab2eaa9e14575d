//! SecurityZone → the NetworkPolicies of the namespaces that use it, and what is in it.

pub mod policy;

use crate::report::Verdict;
use crate::world::World;
use crds::network::{
    ClaimPhase, IPClaim, IPPool, Prefix, SecurityZone, SecurityZoneStatus, VLAN, VLANPool,
    ZoneMembers, ZonePolicies,
};
use ids::well_known;
use ipam::address::{AddressRange, AddressSet, Cidr};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::ResourceExt;
use operator_kit::apply::ApplyError;
use operator_kit::controller::Outcome;
use operator_kit::status::{self, Change, ReportError, Truth};
use policy::{SOURCE_ANNOTATION, Zone};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// Why a pass failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A policy could not be written.
    #[error("write policies of SecurityZone")]
    Apply(#[from] ApplyError),
    /// The status could not be written.
    #[error("report on SecurityZone")]
    Report(#[from] ReportError),
    /// A policy or the status could not be built.
    #[error("build policies or status of SecurityZone")]
    Build(#[from] serde_json::Error),
}

/// How often namespaces are looked at without any event.
const INTERVAL: Duration = Duration::from_secs(30);
/// The most namespaces named in a status.
const NAMESPACES_MAX: usize = 20;
/// The condition that says whether the network does what the policies say.
const POLICY_ENFORCED: &str = "PolicyEnforced";

/// One pass.
pub async fn reconcile(object: Arc<SecurityZone>, world: Arc<World>) -> Result<Outcome, Error> {
    let name = object.name_any();
    let is_going = object.metadata.deletion_timestamp.is_some();
    let zones = zones(&world);
    let used = used_by_namespace(&world);
    let mut status = object.status.clone().unwrap_or_default();
    let users: BTreeSet<&String> =
        used.iter().filter(|(_, zones)| zones.contains(&name)).map(|(one, _)| one).collect();
    let mut repaired = 0;
    for namespace in users.iter().copied().chain(left_behind(&world, &used).iter()) {
        repaired += write(&world, namespace, used.get(namespace), &zones).await?;
    }
    if is_going {
        // Nothing of the zone's is held by it: its policies go with what uses it.
        return Ok(Outcome::Converged);
    }
    status.cidrs = zones.get(&name).map(|zone| zone.cidrs.clone()).unwrap_or_default();
    status.members = Some(members(&world, &name, &users));
    let before = status.policies.as_ref().map_or(0, |policies| policies.repaired);
    status.policies = Some(ZonePolicies {
        generated: i64::try_from(users.len()).unwrap_or(i64::MAX),
        repaired: before.saturating_add(repaired),
        namespaces: users.iter().take(NAMESPACES_MAX).map(|name| (*name).clone()).collect(),
    });
    let message = format!("{} namespaces use the zone", users.len());
    report(&object, &world, status, &Verdict::Ready("Fenced", message)).await?;
    Ok(Outcome::Waiting(INTERVAL))
}

/// Removes the policies that are left when no zone is.
///
/// # Errors
/// One could not be removed; the next call finds it again.
pub async fn sweep(world: &World) -> Result<(), Error> {
    if world.zones.store().is_empty() {
        for namespace in left_behind(world, &BTreeMap::new()) {
            write(world, &namespace, None, &BTreeMap::new()).await?;
        }
    }
    Ok(())
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

/// The zone of a pool as it tells itself.
pub fn zone_of(world: &World, pool: &str) -> Option<String> {
    world.pools.get(pool, None)?.status.as_ref()?.zone.clone()
}

/// Which zones each namespace holds addresses or ids in.
fn used_by_namespace(world: &World) -> BTreeMap<String, BTreeSet<String>> {
    let mut used: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let by_pool: BTreeMap<String, String> = world
        .pools
        .store()
        .state()
        .iter()
        .filter_map(|pool| Some((pool.name_any(), pool.status.as_ref()?.zone.clone()?)))
        .collect();
    for claim in world.claims.store().state() {
        let addresses = claim.status.iter().flat_map(|status| &status.addresses);
        let zones = addresses.filter_map(|address| by_pool.get(&address.pool));
        for zone in zones {
            let own = used.entry(claim.namespace().unwrap_or_default()).or_default();
            if !own.contains(zone) {
                own.insert(zone.clone());
            }
        }
    }
    for vlan in world.vlan_claims.store().state() {
        if let Some(zone) = vlan.status.as_ref().and_then(|status| status.zone.clone()) {
            used.entry(vlan.namespace().unwrap_or_default()).or_default().insert(zone);
        }
    }
    used
}

/// Namespaces with a policy that use no zone any more.
fn left_behind(world: &World, used: &BTreeMap<String, BTreeSet<String>>) -> Vec<String> {
    let is_ours = |policy: &NetworkPolicy| {
        policy.name_any() == policy::NAME
            && policy.labels().get(well_known::MANAGED_BY_LABEL).map(String::as_str)
                == Some(well_known::OPERATOR_MANAGER)
    };
    let policies = world.policies.store().state_filter(is_ours);
    let names = policies.iter().filter_map(|policy| policy.namespace());
    names.filter(|namespace| !used.contains_key(namespace)).collect()
}

/// Writes or removes the policy of one namespace; 1 when somebody else had changed it.
async fn write(
    world: &World,
    namespace: &str,
    used: Option<&BTreeSet<String>>,
    zones: &BTreeMap<String, Zone>,
) -> Result<i64, Error> {
    // A namespace of nobody's is nobody's to fence, and one that goes takes no policy any more.
    let is_going = world
        .namespaces
        .get(namespace, None)
        .is_none_or(|namespace| namespace.metadata.deletion_timestamp.is_some());
    if is_going || world.tenant_of_namespace(namespace).is_none() {
        return Ok(0);
    }
    let known = world.policies.get(policy::NAME, Some(namespace));
    let Some(used) = used else {
        if let Some(known) = known {
            world.applier.delete(known.as_ref()).await?;
        }
        return Ok(0);
    };
    let wanted = policy::policy(namespace, used, zones)?;
    let source = |policy: &NetworkPolicy| policy.annotations().get(SOURCE_ANNOTATION).cloned();
    let Some(known) = known else {
        world.applier.apply(&wanted).await?;
        return Ok(0);
    };
    if policy::is_same(&known, &wanted) && source(&known) == source(&wanted) {
        return Ok(0);
    }
    world.applier.apply(&wanted).await?;
    Ok(i64::from(source(&known) == source(&wanted)))
}

fn members(world: &World, name: &str, users: &BTreeSet<&String>) -> ZoneMembers {
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

async fn report(
    object: &SecurityZone,
    world: &World,
    mut status: SecurityZoneStatus,
    verdict: &Verdict,
) -> Result<(), Error> {
    let (generation, now) = (object.metadata.generation, world.clock.now());
    status.observed_generation = generation;
    verdict.write(&mut status.conditions, generation, now);
    if !status.conditions.iter().any(|condition| condition.type_ == POLICY_ENFORCED) {
        let message =
            "no probe has shown whether the cluster's network enforces NetworkPolicies; a plain bridge does not"
                .to_owned();
        let (type_, status_, reason) = (POLICY_ENFORCED, Truth::Unknown, "NotProbed");
        let change = Change { type_, status: status_, reason, message };
        status::set(&mut status.conditions, &change, generation, now);
    }
    let before = serde_json::to_value(object.status.clone().unwrap_or_default())?;
    world.reporter.report(object, &before, &serde_json::to_value(status)?).await?;
    Ok(())
}

/// Whether the tenant of these namespaces has a VLAN of its own in the zone.
pub fn has_vlan(world: &World, namespaces: &BTreeSet<String>, zone: &str) -> bool {
    let is_it = |vlan: &VLAN| {
        let status = vlan.status.clone().unwrap_or_default();
        status.phase == Some(ClaimPhase::Bound)
            && status.zone.as_deref() == Some(zone)
            && namespaces.contains(&vlan.namespace().unwrap_or_default())
    };
    !world.vlan_claims.store().state_filter(is_it).is_empty()
}

/// Whether a claim's addresses are the first of a zone in its namespace: what makes a new policy.
pub fn first_uses(seen: &mut BTreeSet<(String, String)>, claim: &IPClaim) -> Vec<String> {
    let namespace = claim.namespace().unwrap_or_default();
    let addresses = claim.status.iter().flat_map(|status| &status.addresses);
    addresses
        .map(|address| address.pool.clone())
        .filter(|pool| seen.insert((namespace.clone(), pool.clone())))
        .collect()
}
