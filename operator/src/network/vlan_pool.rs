//! VLANPool → ranges of its fabric's register, and what has become of its ids.

use crate::report::{TellError, Verdict, tell};
use crate::world::World;
use crds::network::{VLANPool, VLANPoolStatus, VlanState};
use ids::{ResourceUid, well_known};
use ipam::vlan::{VlanId, VlanPool, VlanRange};
use kube::ResourceExt;
use network_objects::vlan::pool_of;
use operator_kit::apply::ApplyError;
use operator_kit::controller::Outcome;
use operator_kit::group_commit::CommitError;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Why a pass failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The object has no usable UID; the API server gives every object one.
    #[error("VLANPool has no UID")]
    NoUid,
    /// The register could not be written.
    #[error("register VLANPool")]
    Commit(#[from] CommitError),
    /// The table could not be written.
    #[error("open the ranges of VLANPool")]
    Open(#[from] super::vlans::Error),
    /// A finalizer could not be written.
    #[error("hold VLANPool")]
    Apply(#[from] ApplyError),
    /// The status could not be told.
    #[error("report on VLANPool")]
    Tell(#[from] TellError),
}

/// One pass.
pub async fn reconcile(object: Arc<VLANPool>, world: Arc<World>) -> Result<Outcome, Error> {
    let uid: ResourceUid = object.uid().and_then(|uid| uid.parse().ok()).ok_or(Error::NoUid)?;
    let mut status = object.status.clone().unwrap_or_default();
    if object.metadata.deletion_timestamp.is_some() {
        return remove(&object, &world, uid, status).await;
    }
    if world.applier.add_finalizers(object.as_ref(), &[well_known::VLAN_POOL_FINALIZER]).await? {
        return Ok(Outcome::Converged);
    }
    let verdict = match pool_of(&object) {
        Err(refusal) => Verdict::Refused("InvalidPool", format!("spec.ranges: {refusal}")),
        Ok(pool) => match register(&object, &world, uid, kept(&status, &pool)).await? {
            Err(why) => Verdict::Waiting("NotRegistered", format!("spec.ranges: {why}")),
            Ok(()) => {
                world.vlans.registered(&object.name_any(), pool.ranges.clone()).await?;
                describe(&mut status, &pool);
                ready(&object, &status)
            }
        },
    };
    Ok(tell(&world, object.as_ref(), object.status.as_ref(), status, &verdict).await?)
}

/// Books these ranges on the fabric, in place of those the pool had.
async fn register(
    object: &VLANPool,
    world: &World,
    uid: ResourceUid,
    ranges: Vec<VlanRange>,
) -> Result<Result<(), String>, Error> {
    Ok(world.vlans.register(&object.spec.fabric, &object.name_any(), uid, ranges).await?)
}

async fn remove(
    object: &VLANPool,
    world: &World,
    uid: ResourceUid,
    status: VLANPoolStatus,
) -> Result<Outcome, Error> {
    let before = object.status.as_ref();
    if status.owners.iter().any(|owner| owner.state == VlanState::Allocated) {
        let message = "VLANs hold ids of it; delete those first".to_owned();
        let verdict = Verdict::Waiting("InUse", message);
        return Ok(tell(world, object, before, status, &verdict).await?);
    }
    // Nothing more is handed out before the ranges go to others; an id that came meanwhile is seen by the next pass.
    let is_closed = status.registered.is_empty();
    world.vlans.registered(&object.name_any(), Vec::new()).await?;
    if !is_closed {
        return Ok(Outcome::Converged);
    }
    if let Err(why) = register(object, world, uid, Vec::new()).await? {
        let verdict = Verdict::Waiting("NotReleased", why);
        return Ok(tell(world, object, before, status, &verdict).await?);
    }
    world.applier.remove_finalizer(object, well_known::VLAN_POOL_FINALIZER).await?;
    Ok(Outcome::Converged)
}

/// The declared ranges, and ids outside of them that are held or rest: nobody else may have those yet.
fn kept(status: &VLANPoolStatus, pool: &VlanPool) -> Vec<VlanRange> {
    let ids = status
        .owners
        .iter()
        .filter_map(|owner| u16::try_from(owner.id).ok().and_then(|id| VlanId::new(id).ok()));
    let is_outside = |id: &VlanId| !pool.ranges.iter().any(|range| range.contains(*id));
    let outside: BTreeSet<VlanId> = ids.filter(is_outside).collect();
    let mut kept = pool.ranges.clone();
    let mut run: Option<(VlanId, VlanId)> = None;
    for id in outside {
        run = match run {
            Some((first, last)) if last.number().saturating_add(1) == id.number() => {
                Some((first, id))
            }
            ended => {
                kept.extend(ended.and_then(|(first, last)| VlanRange::new(first, last).ok()));
                Some((id, id))
            }
        };
    }
    kept.extend(run.and_then(|(first, last)| VlanRange::new(first, last).ok()));
    kept
}

fn describe(status: &mut VLANPoolStatus, pool: &VlanPool) {
    let is_inside = |id: i64| {
        let id = u16::try_from(id).ok().and_then(|id| VlanId::new(id).ok());
        id.is_some_and(|id| pool.ranges.iter().any(|range| range.contains(id)))
    };
    let total: u64 = pool.ranges.iter().map(|range| u64::from(range.count())).sum();
    let count = |state, inside: bool| {
        let owners = status.owners.iter();
        let count = owners.filter(|one| one.state == state && is_inside(one.id) == inside).count();
        u64::try_from(count).unwrap_or(u64::MAX)
    };
    let (used, rest) = (count(VlanState::Allocated, true), count(VlanState::Quarantined, true));
    let out = count(VlanState::Allocated, false);
    status.total = Some(total.to_string());
    status.free = Some(total.saturating_sub(used).saturating_sub(rest).to_string());
    status.used = Some(used.to_string());
    status.quarantined = Some(rest.to_string());
    status.out_of_range = (out > 0).then(|| out.to_string());
}

fn ready(object: &VLANPool, status: &VLANPoolStatus) -> Verdict {
    if object.spec.disabled == Some(true) {
        return Verdict::Ready("Disabled", "spec.disabled: nothing new is handed out".to_owned());
    }
    if status.free.as_deref() == Some("0") {
        return Verdict::Ready("Exhausted", "every id is taken; VLANs wait".to_owned());
    }
    Verdict::Ready("HandsOut", "takes VLANs".to_owned())
}
