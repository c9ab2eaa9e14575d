//! VLANPool → ranges of its fabric's register, and what has become of its ids.

use crate::report::Verdict;
use crate::world::World;
use crds::network::{VLANPool, VLANPoolStatus, VlanState};
use ids::{ResourceUid, well_known};
use ipam::vlan::{VlanId, VlanPool, VlanRange};
use kube::ResourceExt;
use network_objects::vlan::pool_of;
use operator_kit::apply::ApplyError;
use operator_kit::controller::Outcome;
use operator_kit::group_commit::CommitError;
use operator_kit::status::ReportError;
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
    /// The status could not be written.
    #[error("report on VLANPool")]
    Report(#[from] ReportError),
    /// The status could not be built.
    #[error("build status of VLANPool")]
    Build(#[from] serde_json::Error),
}

/// One pass.
pub async fn reconcile(object: Arc<VLANPool>, world: Arc<World>) -> Result<Outcome, Error> {
    let uid: ResourceUid = object.uid().and_then(|uid| uid.parse().ok()).ok_or(Error::NoUid)?;
    let mut status = object.status.clone().unwrap_or_default();
    let (name, fabric) = (object.name_any(), &object.spec.fabric);
    if object.metadata.deletion_timestamp.is_some() {
        let live = status.owners.iter().filter(|owner| owner.state == VlanState::Allocated).count();
        if live > 0 {
            let message = format!("{live} ids are held by VLANs; delete those first");
            return report(&object, &world, status, &Verdict::Waiting("InUse", message)).await;
        }
        // Nothing more is handed out before the ranges go to others; an id that came meanwhile is seen by the next pass.
        let is_closed = status.registered.is_empty();
        world.vlans.registered(&name, Vec::new()).await?;
        if !is_closed {
            return Ok(Outcome::Converged);
        }
        let released = world.vlans.register(fabric, &name, uid, Vec::new()).await?;
        if let Err(why) = released {
            return report(&object, &world, status, &Verdict::Waiting("NotReleased", why)).await;
        }
        world.applier.remove_finalizer(object.as_ref(), well_known::VLAN_POOL_FINALIZER).await?;
        return Ok(Outcome::Converged);
    }
    if world.applier.add_finalizers(object.as_ref(), &[well_known::VLAN_POOL_FINALIZER]).await? {
        return Ok(Outcome::Converged);
    }
    let verdict = match pool_of(&object) {
        Err(refusal) => Verdict::Refused("InvalidPool", format!("spec.ranges: {refusal}")),
        Ok(pool) => match world.vlans.register(fabric, &name, uid, kept(&status, &pool)).await? {
            Err(why) => Verdict::Waiting("NotRegistered", format!("spec.ranges: {why}")),
            Ok(()) => {
                world.vlans.registered(&name, pool.ranges.clone()).await?;
                tell(&mut status, &pool);
                ready(&object, &status)
            }
        },
    };
    report(&object, &world, status, &verdict).await
}

/// The declared ranges, and ids outside of them that are held or rest: nobody else may have those yet.
fn kept(status: &VLANPoolStatus, pool: &VlanPool) -> Vec<VlanRange> {
    let ids = status.owners.iter().filter_map(|owner| {
        let id = u16::try_from(owner.id).ok().and_then(|id| VlanId::new(id).ok())?;
        VlanRange::new(id, id).ok()
    });
    let outside = ids.filter(|id| !pool.ranges.iter().any(|range| range.overlaps(id)));
    pool.ranges.iter().copied().chain(outside).collect()
}

fn tell(status: &mut VLANPoolStatus, pool: &VlanPool) {
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

/// Writes all but the table, which another field manager writes.
async fn report(
    object: &VLANPool,
    world: &World,
    mut status: VLANPoolStatus,
    verdict: &Verdict,
) -> Result<Outcome, Error> {
    let generation = object.metadata.generation;
    status.observed_generation = generation;
    verdict.write(&mut status.conditions, generation, world.clock.now());
    let own = |status: VLANPoolStatus| {
        let (owners, registered) = (Vec::new(), Vec::new());
        let (bitmap, sequence) = (None, None);
        serde_json::to_value(VLANPoolStatus { owners, registered, bitmap, sequence, ..status })
    };
    let before = own(object.status.clone().unwrap_or_default())?;
    world.reporter.report(object, &before, &own(status)?).await?;
    Ok(verdict.outcome())
}
