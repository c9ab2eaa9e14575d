//! VLAN → an id of a pool, told in its status; given back before the object goes.

use super::claimant::{claimant, created, not_allowed};
use crate::report::{TellError, Verdict, tell};
use crate::world::World;
use crds::Tenant;
use crds::network::{ClaimPhase, VLAN, VLANPool, VLANStatus};
use ids::{ResourceUid, well_known};
use ipam::vlan::{VlanClaim, VlanId, VlanRefusal, VlanVerdict};
use kube::{Resource, ResourceExt};
use operator_kit::apply::ApplyError;
use operator_kit::cache::key_of;
use operator_kit::controller::Outcome;
use std::sync::Arc;

/// Why a pass failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The object has no usable UID; the API server gives every object one.
    #[error("VLAN has no UID")]
    NoUid,
    /// The pool's table could not be written.
    #[error("book an id for VLAN")]
    Book(#[from] super::vlans::Error),
    /// A finalizer could not be written.
    #[error("hold VLAN")]
    Apply(#[from] ApplyError),
    /// The status could not be told.
    #[error("report on VLAN")]
    Tell(#[from] TellError),
}

/// One pass.
pub async fn reconcile(object: Arc<VLAN>, world: Arc<World>) -> Result<Outcome, Error> {
    let uid: ResourceUid = object.uid().and_then(|uid| uid.parse().ok()).ok_or(Error::NoUid)?;
    if object.metadata.deletion_timestamp.is_some() {
        if object.finalizers().iter().any(|held| held == well_known::VLAN_FINALIZER) {
            world.vlans.release(uid).await?;
            world.applier.remove_finalizer(object.as_ref(), well_known::VLAN_FINALIZER).await?;
        }
        return Ok(Outcome::Converged);
    }
    if world.applier.add_finalizers(object.as_ref(), &[well_known::VLAN_FINALIZER]).await? {
        return Ok(Outcome::Converged);
    }
    let mut status = object.status.clone().unwrap_or_default();
    if status.phase == Some(ClaimPhase::Bound) {
        return Ok(Outcome::Converged);
    }
    let verdict = match resolve(&object, &world, uid) {
        Err(verdict) => verdict,
        Ok((claim, pools)) => serve(&world, claim, &pools, &mut status).await?,
    };
    let is_bound = matches!(verdict, Verdict::Ready(..));
    status.phase = Some(if is_bound { ClaimPhase::Bound } else { ClaimPhase::Pending });
    Ok(tell(&world, object.as_ref(), object.status.as_ref(), status, &verdict).await?)
}

type Wanted = (VlanClaim, Vec<Arc<VLANPool>>);

/// The claim as declared, and the pools it may be served from, the preferred one first; or what is missing.
fn resolve(object: &VLAN, world: &World, uid: ResourceUid) -> Result<Wanted, Verdict> {
    let (tenant, account) = claimant(object, world)?;
    let id = match object.spec.id.map(|id| u16::try_from(id).map(VlanId::new)) {
        None => None,
        Some(Ok(Ok(id))) => Some(id),
        Some(_) => {
            let message = "spec.id: must be from 1 to 4094".to_owned();
            return Err(Verdict::Refused("InvalidId", message));
        }
    };
    let mut pools = world.vlan_pools.store().state_filter(|pool| {
        let named = object.spec.pool_ref.as_ref().is_some_and(|name| name.name == pool.name_any());
        let chosen =
            object.spec.pool_selector.as_ref().is_some_and(|one| one.matches(pool.labels()));
        (named || chosen) && pool.meta().deletion_timestamp.is_none()
    });
    if pools.is_empty() {
        let message = "spec: there is no such VLANPool".to_owned();
        return Err(Verdict::Waiting("PoolNotFound", message));
    }
    pools.retain(|pool| pool.spec.allows(&tenant.name_any()));
    if pools.is_empty() {
        return Err(not_allowed(&tenant));
    }
    agree(object, world, &tenant, &mut pools)?;
    pools.sort_by_cached_key(|pool| pool.name_any());
    let reference = Arc::from(key_of(object));
    Ok((VlanClaim { uid, created: created(object), reference, tenant: account, id }, pools))
}

/// A VLAN that reaches a prefix is in the prefix's zone, and of the tenant that the prefix is kept for.
fn agree(
    object: &VLAN,
    world: &World,
    tenant: &Tenant,
    pools: &mut Vec<Arc<VLANPool>>,
) -> Result<(), Verdict> {
    let Some(name) = object.spec.prefix_ref.as_ref().map(|prefix| &prefix.name) else {
        return Ok(());
    };
    let Some(prefix) = world.prefixes.get(name, None) else {
        let message = format!("spec.prefixRef.name: there is no Prefix {name}");
        return Err(Verdict::Waiting("PrefixNotFound", message));
    };
    let kept = prefix.status.as_ref().and_then(|status| status.tenant.as_deref());
    if kept.is_some_and(|kept| kept != tenant.name_any()) {
        // For whom it is kept is not this tenant's to know.
        let message = format!("spec.prefixRef.name: Prefix {name} is not for this tenant");
        return Err(Verdict::Refused("NotAllowed", message));
    }
    let zone = prefix.status.as_ref().and_then(|status| status.zone.clone());
    pools.retain(|pool| pool.spec.zone_ref.as_ref().map(|zone| zone.name.clone()) == zone);
    if pools.is_empty() {
        let zone = zone.unwrap_or_else(|| "no zone".to_owned());
        let message = format!(
            "spec.prefixRef.name: Prefix {name} is in {zone}, and the pool is in another; name a pool of that zone"
        );
        return Err(Verdict::Refused("ZoneMismatch", message));
    }
    Ok(())
}

async fn serve(
    world: &World,
    claim: VlanClaim,
    pools: &[Arc<VLANPool>],
    status: &mut VLANStatus,
) -> Result<Verdict, Error> {
    let mut refused = Verdict::Waiting("PoolNotReady", "the pool is not ready yet".to_owned());
    for pool in pools {
        let name = pool.name_any();
        match world.vlans.claim(&name, claim.clone()).await? {
            Some(VlanVerdict::Bound { id, seq, .. }) => {
                status.id = Some(i64::from(id.number()));
                status.seq = i64::try_from(seq).ok();
                status.fabric = Some(pool.spec.fabric.clone());
                status.zone = pool.spec.zone_ref.as_ref().map(|zone| zone.name.clone());
                status.pool = Some(name);
                let message = "the id is the VLAN's until it is deleted".to_owned();
                return Ok(Verdict::Ready("Bound", message));
            }
            Some(VlanVerdict::Refused(refusal)) => {
                let message = format!("VLANPool {name}: {refusal}");
                let reason = reason(&refusal);
                refused = if refusal.waits() {
                    Verdict::Waiting(reason, message)
                } else {
                    Verdict::Refused(reason, message)
                };
            }
            None => {}
        }
    }
    Ok(refused)
}

/// The constant word for a condition.
const fn reason(refusal: &VlanRefusal) -> &'static str {
    match refusal {
        VlanRefusal::NotAllowed => "NotAllowed",
        VlanRefusal::PoolDisabled => "PoolDisabled",
        VlanRefusal::OutOfRange { .. } => "OutOfRange",
        VlanRefusal::InUse { .. } => "InUse",
        VlanRefusal::Quarantined { .. } => "Quarantined",
        VlanRefusal::PoolExhausted => "PoolExhausted",
    }
}
