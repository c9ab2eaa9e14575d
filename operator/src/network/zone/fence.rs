//! Namespace → the NetworkPolicy that its zones make: written where it differs, removed with the last address and id.

use super::policy::{self, SOURCE_ANNOTATION};
use crate::world::World;
use ids::well_known;
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::ResourceExt;
use operator_kit::apply::ApplyError;
use operator_kit::controller::Outcome;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

/// Why a pass failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The policy could not be written.
    #[error("fence Namespace")]
    Apply(#[from] ApplyError),
    /// The policy could not be built.
    #[error("build policy of Namespace")]
    Build(#[from] serde_json::Error),
}

/// How often somebody else's change of a policy was put right, by zone, until the zone has told it.
#[derive(Default)]
pub struct Repairs(Mutex<BTreeMap<String, i64>>);

impl Repairs {
    fn note(&self, zones: &BTreeSet<String>) {
        let mut repairs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for zone in zones {
            let count = repairs.entry(zone.clone()).or_insert(0);
            *count = count.saturating_add(1);
        }
    }

    /// Those of a zone that were not told yet.
    pub fn take(&self, zone: &str) -> i64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(zone).unwrap_or(0)
    }
}

/// One pass.
pub async fn reconcile(namespace: Arc<Namespace>, world: Arc<World>) -> Result<Outcome, Error> {
    let name = namespace.name_any();
    // A namespace of nobody's is nobody's to fence, and one that goes takes no policy any more.
    if namespace.metadata.deletion_timestamp.is_some() || world.tenant_of_namespace(&name).is_none()
    {
        return Ok(Outcome::Converged);
    }
    let used = used_in(&world, &name);
    let known = world.policies.get(policy::NAME, Some(&name));
    if used.is_empty() {
        if let Some(known) = known.filter(|known| is_ours(known)) {
            world.applier.delete(known.as_ref()).await?;
        }
        return Ok(Outcome::Converged);
    }
    let wanted = policy::policy(&name, &used, &super::zones(&world))?;
    let source = |policy: &NetworkPolicy| policy.annotations().get(SOURCE_ANNOTATION).cloned();
    let Some(known) = known else {
        world.applier.apply(&wanted).await?;
        return Ok(Outcome::Converged);
    };
    let is_of_the_same = source(&known) == source(&wanted);
    if !(is_of_the_same && policy::is_same(&known, &wanted)) {
        world.applier.apply(&wanted).await?;
        if is_of_the_same {
            world.repairs.note(&used);
        }
    }
    Ok(Outcome::Converged)
}

fn is_ours(policy: &NetworkPolicy) -> bool {
    policy.labels().get(well_known::MANAGED_BY_LABEL).map(String::as_str)
        == Some(well_known::OPERATOR_MANAGER)
}

/// The zones in which a namespace holds addresses or ids.
fn used_in(world: &World, namespace: &str) -> BTreeSet<String> {
    let is_here = |place: Option<&String>| place.is_some_and(|place| place == namespace);
    let claims =
        world.claims.store().state_filter(|claim| is_here(claim.metadata.namespace.as_ref()));
    let pools: BTreeSet<&str> = claims
        .iter()
        .flat_map(|claim| claim.status.iter().flat_map(|status| &status.addresses))
        .map(|address| address.pool.as_str())
        .collect();
    let by_pool = |pool: &&str| world.pools.get(pool, None)?.status.as_ref()?.zone.clone();
    let vlans =
        world.vlan_claims.store().state_filter(|vlan| is_here(vlan.metadata.namespace.as_ref()));
    let by_vlan = vlans.iter().filter_map(|vlan| vlan.status.as_ref()?.zone.clone());
    pools.iter().filter_map(by_pool).chain(by_vlan).collect()
}

/// The namespaces whose policy was made with this zone.
pub fn users_of(world: &World, zone: &str) -> BTreeSet<String> {
    let uses = |policy: &NetworkPolicy| {
        policy.name_any() == policy::NAME
            && is_ours(policy)
            && policy::used_by(policy).contains(zone)
    };
    let policies = world.policies.store().state_filter(uses);
    policies.iter().filter_map(|policy| policy.namespace()).collect()
}
