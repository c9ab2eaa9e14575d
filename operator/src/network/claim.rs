//! IPClaim → addresses, all of them or none, told in one write of its status.
//!
//! The block is written before the claim says what it got, and gives back before the claim goes; a crash in between is
//! repaired by the claim's UID in the slot. What several blocks hold for one claim is held until the claim's own status
//! names all of it.

use super::claimant::{claimant, created, not_allowed};
use crate::report::{TellError, Verdict, tell};
use crate::world::World;
use calendar::Instant;
use crds::Tenant;
use crds::network::{
    AddressFamily, ClaimExplanation, ClaimPhase, ClaimedAddress, IPClaim, IPClaimStatus, IPPool,
    Isolation, PassedOver,
};
use ids::{ResourceUid, well_known};
use ipam::address::{Address, BlockId, Cidr, Family};
use ipam::plan::{Bound, Claim, Families, Refusal};
use ipam::strategy::Why;
use kube::{Resource, ResourceExt};
use network_objects::block::block_name;
use network_objects::text::{Unreadable, address};
use operator_kit::apply::ApplyError;
use operator_kit::cache::key_of;
use operator_kit::controller::Outcome;
use operator_kit::group_commit::CommitError;
use operator_kit::status;
use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// Why a pass failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The object has no usable UID; the API server gives every object one.
    #[error("IPClaim has no UID")]
    NoUid,
    /// Blocks could not be written.
    #[error("book addresses for IPClaim")]
    Commit(#[from] CommitError),
    /// A finalizer could not be written.
    #[error("hold IPClaim")]
    Apply(#[from] ApplyError),
    /// The status could not be told.
    #[error("report on IPClaim")]
    Tell(#[from] TellError),
}

/// How often a claim that waits asks again, should nobody wake it.
const SWEEP: Duration = Duration::from_mins(1);

/// How long a claim that goes waits for its pool to be declared after a start.
const POOL_WAIT: Duration = Duration::from_secs(1);

/// One pass.
pub async fn reconcile(object: Arc<IPClaim>, world: Arc<World>) -> Result<Outcome, Error> {
    let uid: ResourceUid = object.uid().and_then(|uid| uid.parse().ok()).ok_or(Error::NoUid)?;
    if object.metadata.deletion_timestamp.is_some() {
        if object.finalizers().iter().any(|held| held == well_known::CLAIM_FINALIZER) {
            if object.status.as_ref().is_some_and(is_spread) {
                // Told and perhaps not published: an address that somebody was told of rests like any other.
                world.addresses.publish(uid).await?;
            }
            // A pool that is not ready will not be declared, and is not waited for.
            let pools = world.pools.store().state_filter(is_ready);
            let pools = pools.iter().filter_map(|pool| pool.uid()?.parse().ok()).collect();
            if !world.addresses.release(uid, pools).await? {
                return Ok(Outcome::Waiting(POOL_WAIT));
            }
            world.applier.remove_finalizer(object.as_ref(), well_known::CLAIM_FINALIZER).await?;
        }
        return Ok(Outcome::Converged);
    }
    if world.applier.add_finalizers(object.as_ref(), &[well_known::CLAIM_FINALIZER]).await? {
        // The write is an event, and the pass it brings sees the object as it is now.
        return Ok(Outcome::Converged);
    }
    let mut status = object.status.clone().unwrap_or_default();
    if status.phase == Some(ClaimPhase::Bound) {
        if is_spread(&status) {
            // Told already; a crash may have come before its addresses were told to be more than held.
            world.addresses.publish(uid).await?;
        }
        return Ok(Outcome::Converged);
    }
    let (verdict, outcome) = match resolve(&object, &world, uid) {
        Err(verdict) => {
            world.addresses.withdraw(uid).await?;
            let outcome = verdict.outcome();
            (verdict, outcome)
        }
        Ok(wanted) => serve(&object, &world, wanted, &mut status).await?,
    };
    let is_bound = matches!(verdict, Verdict::Ready(..));
    status.phase = Some(if is_bound { ClaimPhase::Bound } else { ClaimPhase::Pending });
    tell(&world, object.as_ref(), object.status.as_ref(), status.clone(), &verdict).await?;
    if is_spread(&status) {
        world.addresses.publish(uid).await?;
    }
    Ok(outcome)
}

fn is_ready(pool: &IPPool) -> bool {
    pool.metadata.deletion_timestamp.is_none()
        && pool.status.as_ref().is_some_and(|status| status::is_ready(&status.conditions))
}

/// Whether more than one object says what the claim has.
fn is_spread(status: &IPClaimStatus) -> bool {
    let blocks: BTreeSet<&str> =
        status.addresses.iter().map(|address| address.block.as_str()).collect();
    blocks.len() > 1
}

/// A claim with all that it depends on.
struct Wanted {
    space: String,
    pools: Vec<Arc<IPPool>>,
    claim: Claim,
}

/// The claim as declared, and the pools it may be served from; or what is missing.
fn resolve(object: &IPClaim, world: &World, uid: ResourceUid) -> Result<Wanted, Verdict> {
    let (tenant, account) = claimant(object, world)?;
    let (space, pools) = pools(object, world, &tenant)?;
    has_its_vlan(world, &pools, &tenant)?;
    let refused = |error: Unreadable| Verdict::Refused("InvalidClaim", error.to_string());
    let named = object.spec.address.as_ref();
    let named = named.map(|text| address("spec.address", text.as_str())).transpose();
    let named = named.map_err(refused)?;
    let families = families(object, &pools, named.map(Address::family));
    let uids = pools.iter().filter_map(|pool| pool.uid()?.parse().ok()).collect();
    let claim = Claim {
        uid,
        created: created(object),
        reference: Arc::from(key_of(object)),
        tenant: account,
        pools: uids,
        families,
        count: object.spec.count.and_then(|count| count.try_into().ok()).unwrap_or(1),
        address: named,
        sticky_key: object.spec.sticky_key.as_deref().map(Arc::from),
        waiting_since: waiting_since(object),
    };
    Ok(Wanted { space, pools, claim })
}

/// Since when the claim says that it waits.
fn waiting_since(object: &IPClaim) -> Option<Instant> {
    let ready = status::find(&object.status.as_ref()?.conditions, status::READY)?;
    (ready.status == "False").then(|| Instant::from_timestamp(ready.last_transition_time.0))
}

/// The pools that are named or chosen, ready and open to the tenant, the preferred one first; all of one space.
fn pools(
    object: &IPClaim,
    world: &World,
    tenant: &Tenant,
) -> Result<(String, Vec<Arc<IPPool>>), Verdict> {
    let mut pools = match (&object.spec.pool_ref, &object.spec.pool_selector) {
        (Some(name), _) => {
            let Some(pool) = world.pools.get(&name.name, None) else {
                let message = format!("spec.poolRef.name: there is no IPPool {}", name.name);
                return Err(Verdict::Waiting("PoolNotFound", message));
            };
            vec![pool]
        }
        (None, Some(selector)) => {
            world.pools.store().state_filter(|pool| selector.matches(pool.labels()))
        }
        (None, None) => {
            let message = "spec: needs exactly one of poolRef and poolSelector".to_owned();
            return Err(Verdict::Refused("InvalidClaim", message));
        }
    };
    if pools.is_empty() {
        let message = "spec.poolSelector: no IPPool has all these labels".to_owned();
        return Err(Verdict::Waiting("PoolNotFound", message));
    }
    let name = tenant.name_any();
    pools.retain(|pool| pool.spec.allows(&name) && is_kept_for(world, pool, &name));
    if pools.is_empty() {
        return Err(not_allowed(tenant));
    }
    pools.retain(|pool| pool.meta().deletion_timestamp.is_none());
    pools.sort_by_cached_key(|pool| (Reverse(pool.spec.priority.unwrap_or(0)), pool.name_any()));
    let space_of = |pool: &IPPool| pool.status.as_ref().and_then(|status| status.space.clone());
    let Some(space) = pools.iter().find_map(|pool| space_of(pool)) else {
        let message = "the pool is not ready yet; its own status says why".to_owned();
        return Err(Verdict::Waiting("PoolNotReady", message));
    };
    pools.retain(|pool| space_of(pool).as_ref() == Some(&space));
    Ok((space, pools))
}

/// Whether the pool's prefix is kept for this tenant, or for nobody.
fn is_kept_for(world: &World, pool: &IPPool, tenant: &str) -> bool {
    let prefix = world.prefixes.get(&pool.spec.prefix_ref.name, None);
    let kept = prefix.and_then(|prefix| prefix.status.as_ref()?.tenant.clone());
    kept.is_none_or(|kept| kept == tenant)
}

/// In a zone with a VLAN for each tenant, addresses come after the VLAN.
fn has_its_vlan(world: &World, pools: &[Arc<IPPool>], tenant: &Tenant) -> Result<(), Verdict> {
    let zones: Vec<&String> =
        pools.iter().filter_map(|pool| pool.status.as_ref()?.zone.as_ref()).collect();
    if let Some(missing) = zones.iter().find(|zone| world.zones.get(zone, None).is_none()) {
        let message = format!("the pool is in zone {missing}, which is not there; restore it");
        return Err(Verdict::Waiting("ZoneNotFound", message));
    }
    let per_tenant = |zone: &&String| {
        let zone = world.zones.get(zone, None);
        zone.is_some_and(|zone| zone.spec.isolation() == Isolation::PerTenantVlan)
    };
    let Some(zone) = zones.into_iter().find(per_tenant) else { return Ok(()) };
    let namespaces: BTreeSet<String> =
        world.namespaces_of(tenant).iter().map(|namespace| namespace.name_any()).collect();
    if super::zone::has_vlan(world, &namespaces, zone) {
        return Ok(());
    }
    let message = format!(
        "zone {zone} gives each tenant a VLAN of its own; create a VLAN from a VLANPool of that zone first"
    );
    Err(Verdict::Waiting("VLANRequired", message))
}

/// The families as declared; else the named address's, the named pool's, or IPv4.
fn families(object: &IPClaim, pools: &[Arc<IPPool>], named: Option<Family>) -> Families {
    let asked = |family| object.spec.families.contains(&family);
    let pool = pools.first().filter(|_| object.spec.pool_ref.is_some());
    let pool_family = pool.and_then(|pool| pool.status.as_ref()?.family);
    let is_v6 = match named {
        Some(family) => family == Family::V6,
        None => pool_family == Some(AddressFamily::IPv6),
    };
    match (asked(AddressFamily::IPv4), asked(AddressFamily::IPv6)) {
        (true, true) => Families::Dual,
        (true, false) => Families::V4,
        (false, true) => Families::V6,
        (false, false) => {
            if is_v6 {
                Families::V6
            } else {
                Families::V4
            }
        }
    }
}

async fn serve(
    object: &IPClaim,
    world: &World,
    wanted: Wanted,
    status: &mut IPClaimStatus,
) -> Result<(Verdict, Outcome), Error> {
    let Wanted { space, pools, claim } = wanted;
    Ok(match world.addresses.claim(&space, claim).await? {
        ipam::plan::Verdict::Bound(bound) => {
            status.addresses =
                bound.iter().map(|one| claimed(world, &space, &pools, one)).collect();
            status.dns = pools
                .iter()
                .filter(|pool| bound.iter().any(|one| is_of(pool, one)))
                .flat_map(|pool| pool.spec.dns.iter().map(ToString::to_string))
                .collect();
            if let Some(why) = bound.iter().find_map(|one| one.why.as_ref()) {
                status.explanation = Some(explanation(why));
            }
            let count = object.spec.count.unwrap_or(1);
            let noun = if count == 1 { "the address is" } else { "the addresses are" };
            let message = format!("{noun} the claim's until it is deleted");
            (Verdict::Ready("Bound", message), Outcome::Converged)
        }
        ipam::plan::Verdict::Refused(refusal) => {
            let message = worded(&refusal, &pools);
            if refusal.waits() || matches!(refusal, Refusal::PoolUnknown { .. }) {
                (Verdict::Waiting(refusal.reason(), message), Outcome::Waiting(SWEEP))
            } else {
                (Verdict::Refused(refusal.reason(), message), Outcome::Refused)
            }
        }
    })
}

fn is_of(pool: &IPPool, bound: &Bound) -> bool {
    pool.uid().as_deref() == Some(bound.pool.to_string().as_str())
}

/// The refusal with pools by their names.
fn worded(refusal: &Refusal, pools: &[Arc<IPPool>]) -> String {
    pools.iter().fold(refusal.to_string(), |message, pool| {
        message.replace(&pool.uid().unwrap_or_default(), &pool.name_any())
    })
}

fn claimed(world: &World, space: &str, pools: &[Arc<IPPool>], bound: &Bound) -> ClaimedAddress {
    let (id, index) = BlockId::of(bound.address);
    let pool = pools.iter().find(|pool| is_of(pool, bound));
    let prefix = pool.and_then(|pool| world.prefixes.get(&pool.spec.prefix_ref.name, None));
    let cidr: Option<Cidr> =
        prefix.and_then(|prefix| prefix.status.as_ref()?.cidr.as_ref()?.parse().ok());
    let length = cidr.map_or_else(|| bound.address.family().bits(), |cidr| cidr.length());
    ClaimedAddress {
        address: bound.address.to_string(),
        prefix_length: i64::from(length),
        gateway: pool.and_then(|pool| pool.spec.gateway.as_ref().map(ToString::to_string)),
        family: match bound.address.family() {
            Family::V4 => AddressFamily::IPv4,
            Family::V6 => AddressFamily::IPv6,
        },
        pool: pool.map(|pool| pool.name_any()).unwrap_or_default(),
        block: block_name(space, id),
        index: i64::from(index),
        seq: i64::try_from(bound.seq).unwrap_or(i64::MAX),
    }
}

/// The rule in the words of the kind, and what came before the chosen address and did not do.
fn explanation(why: &Why) -> ClaimExplanation {
    let passed = &why.passed_over;
    let passed_over = [
        (passed.in_use, "InUse"),
        (passed.quarantined, "Quarantined"),
        (passed.not_handed_out, "NotHandedOut"),
        (passed.free, "NotChosen"),
    ];
    let passed_over = passed_over.into_iter().filter(|(count, _)| *count > 0);
    ClaimExplanation {
        strategy: format!("{:?}: {}", why.strategy, why.rule),
        passed_over: passed_over
            .map(|(count, reason)| PassedOver {
                candidate: format!("{count} addresses"),
                reason: reason.to_owned(),
            })
            .collect(),
    }
}
