//! IPPool → a pool of the allocator, and what has become of its addresses.

use super::addresses::Standing;
use super::audit::Audited;
use super::tree::{Parent, Want};
use crate::report::{TellError, Verdict, tell};
use crate::world::World;
use crds::network::{
    AddressFamily, IPPool, IPPoolStatus, Isolation, PoolScores, Prefix, PrefixRole,
};
use ids::{ResourceUid, well_known};
use ipam::address::{Cidr, Family};
use ipam::pool::Pool;
use kube::ResourceExt;
use network_objects::pool::declared;
use network_objects::text::Unreadable;
use operator_kit::apply::ApplyError;
use operator_kit::controller::Outcome;
use operator_kit::group_commit::CommitError;
use operator_kit::status::{self, Change, Truth};
use std::sync::Arc;

/// Why a pass failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The object has no usable UID; the API server gives every object one.
    #[error("IPPool has no UID")]
    NoUid,
    /// Blocks could not be written.
    #[error("declare IPPool")]
    Commit(#[from] CommitError),
    /// A finalizer could not be written.
    #[error("hold IPPool")]
    Apply(#[from] ApplyError),
    /// The status could not be told.
    #[error("report on IPPool")]
    Tell(#[from] TellError),
}

/// The condition that says whether slots, claims and counters agree.
const AUDITED: &str = "Audited";

/// One pass.
pub async fn reconcile(object: Arc<IPPool>, world: Arc<World>) -> Result<Outcome, Error> {
    let uid: ResourceUid = object.uid().and_then(|uid| uid.parse().ok()).ok_or(Error::NoUid)?;
    let mut status = object.status.clone().unwrap_or_default();
    if object.metadata.deletion_timestamp.is_some() {
        return remove(&object, &world, uid, status).await;
    }
    if world.applier.add_finalizers(object.as_ref(), &[well_known::POOL_FINALIZER]).await? {
        return Ok(Outcome::Converged);
    }
    let verdict = match resolve(&object, &world, uid) {
        Err(verdict) => verdict,
        Ok(resolved) => match book(&object, &world, uid, &resolved).await? {
            Err(verdict) => verdict,
            Ok(()) => declare(&object, &world, resolved, &mut status).await?,
        },
    };
    Ok(tell(&world, object.as_ref(), object.status.as_ref(), status, &verdict).await?)
}

/// Keeps the pool's ranges apart from what else is in the prefix.
async fn book(
    object: &IPPool,
    world: &World,
    uid: ResourceUid,
    resolved: &Resolved,
) -> Result<Result<(), Verdict>, Error> {
    let parent = Parent::Prefix(object.spec.prefix_ref.name.clone());
    let want = Want::Pool(resolved.pool.ranges.clone());
    let booked = world.tree.book(&parent, object, uid, want).await?;
    Ok(booked
        .map(|_| ())
        .map_err(|refused| Verdict::Waiting("NotBooked", format!("spec.ranges: {refused}"))))
}

/// Lets the allocator know the pool, and tells how it stands.
async fn declare(
    object: &IPPool,
    world: &World,
    resolved: Resolved,
    status: &mut IPPoolStatus,
) -> Result<Verdict, Error> {
    Ok(match world.addresses.pool(&resolved.space, resolved.pool).await? {
        Err(refused) => Verdict::Refused("InvalidPool", format!("spec: {refused}")),
        Ok(standing) => {
            status.family = Some(match resolved.family {
                Family::V4 => AddressFamily::IPv4,
                Family::V6 => AddressFamily::IPv6,
            });
            let audited = world.audits.of(&resolved.space);
            status.space = Some(resolved.space);
            status.zone = resolved.zone;
            describe(status, &standing);
            tell_audit(object, world, status, audited);
            ready(object, &standing)
        }
    })
}

/// A pool with all that it depends on.
struct Resolved {
    space: String,
    zone: Option<String>,
    family: Family,
    pool: Pool,
}

/// The pool as declared, in its prefix; or what is missing.
fn resolve(object: &IPPool, world: &World, uid: ResourceUid) -> Result<Resolved, Verdict> {
    let name = &object.spec.prefix_ref.name;
    let Some(prefix) = world.prefixes.get(name, None) else {
        let message = format!("spec.prefixRef.name: there is no Prefix {name}");
        return Err(Verdict::Waiting("PrefixNotFound", message));
    };
    let known = prefix.status.as_ref().and_then(|status| {
        let cidr: Cidr = status.cidr.as_ref()?.parse().ok()?;
        Some((status.space.clone()?, status.zone.clone(), cidr))
    });
    let Some((space, zone, cidr)) = known else {
        let message = format!("spec.prefixRef.name: Prefix {name} has no network yet");
        return Err(Verdict::Waiting("PrefixNotReady", message));
    };
    if prefix.spec.role != Some(PrefixRole::Pool) {
        let message = format!("spec.prefixRef.name: Prefix {name} is not of role Pool");
        return Err(Verdict::Refused("PrefixNotForPools", message));
    }
    let zone = agreed_zone(object, &prefix, zone)?;
    let refused = |error: Unreadable| Verdict::Refused("InvalidPool", error.to_string());
    let mut pool = declared(object, uid, cidr).map_err(refused)?;
    if let Some(outside) = pool
        .ranges
        .iter()
        .find(|range| !(cidr.contains(range.first()) && cidr.contains(range.last())))
    {
        let message = format!("spec.ranges: {outside} is not within Prefix {name}, {cidr}");
        return Err(Verdict::Refused("OutsidePrefix", message));
    }
    if let Some(name) = &zone {
        let Some(zone) = world.zones.get(name, None) else {
            let message =
                format!("zone {name} is not there, so nobody knows what it keeps apart; create it");
            return Err(Verdict::Waiting("ZoneNotFound", message));
        };
        pool.exclusive = zone.spec.isolation() != Isolation::Shared;
    }
    Ok(Resolved { space, zone, family: cidr.family(), pool })
}

/// A pool is in its prefix's zone, with which its own word has to agree.
fn agreed_zone(
    object: &IPPool,
    prefix: &Prefix,
    zone: Option<String>,
) -> Result<Option<String>, Verdict> {
    let own = object.spec.zone_ref.as_ref().map(|zone| zone.name.as_str());
    match own {
        Some(own) if zone.as_deref() != Some(own) => {
            let place = zone.map_or_else(|| "no zone".to_owned(), |zone| format!("zone {zone}"));
            let message = format!(
                "spec.zoneRef.name: is {own}, but Prefix {} is in {place}; leave it out",
                prefix.name_any()
            );
            Err(Verdict::Refused("ZoneMismatch", message))
        }
        Some(_) | None => Ok(zone),
    }
}

fn ready(object: &IPPool, standing: &Standing) -> Verdict {
    let counts = &standing.counts;
    let (reason, message) = if object.spec.disabled == Some(true) {
        ("Disabled", "spec.disabled: nothing new is handed out".to_owned())
    } else if counts.out_of_range > 0 {
        let message = "claims hold addresses that are no longer in the pool's ranges; they stay until they are released";
        ("OutOfRange", message.to_owned())
    } else if counts.free == 0 {
        ("Exhausted", "every address is taken; claims wait".to_owned())
    } else {
        ("HandsOut", "takes claims".to_owned())
    };
    Verdict::Ready(reason, message)
}

fn describe(status: &mut IPPoolStatus, standing: &Standing) {
    let counts = &standing.counts;
    status.generation = status.generation.max(i64::try_from(standing.generation).ok());
    status.total = Some(counts.total.to_string());
    status.free = Some(counts.free.to_string());
    status.used = Some(counts.allocated.to_string());
    status.quarantined = Some(counts.quarantined.to_string());
    status.excluded = Some(counts.excluded.to_string());
    status.out_of_range = (counts.out_of_range > 0).then(|| counts.out_of_range.to_string());
    status.waiting = i64::try_from(standing.waiting).ok().filter(|count| *count > 0);
    let scores = &standing.scores;
    let prefixes: u64 = scores.prefixes_by_tenant.values().sum();
    status.scores = Some(PoolScores {
        fragmentation: Some(scores.fragmentation.to_string()),
        adjacency: Some(scores.adjacency.to_string()),
        foreign_neighbours: Some(scores.foreign_neighbours.to_string()),
        tenant_cidrs: Some(prefixes.to_string()),
        free_by_size: scores
            .free_by_size
            .iter()
            .map(|(length, count)| (format!("/{length}"), count.to_string()))
            .collect(),
    });
}

/// Says up to which change everything agreed, or that something did not.
fn tell_audit(object: &IPPool, world: &World, status: &mut IPPoolStatus, audited: Option<Audited>) {
    let Some(audited) = audited else { return };
    let (truth, reason, message) = if audited.findings == 0 {
        let generation = i64::try_from(audited.generation).ok();
        status.audited_generation = status.audited_generation.max(generation);
        (
            Truth::True,
            "Matches",
            "slots and claims agreed when last compared, and what is counted with a recount"
                .to_owned(),
        )
    } else {
        let message = "slots and claims of the address space do not agree; kubectl freehold network audit names them";
        (Truth::False, "Differs", message.to_owned())
    };
    let change = Change { type_: AUDITED, status: truth, reason, message };
    let (generation, now) = (object.metadata.generation, world.clock.now());
    status::set(&mut status.conditions, &change, generation, now);
}

async fn remove(
    object: &IPPool,
    world: &World,
    uid: ResourceUid,
    status: IPPoolStatus,
) -> Result<Outcome, Error> {
    let live = world.addresses.drop_pool(uid).await?;
    if live > 0 {
        let message = "claims hold addresses of it; delete those first".to_owned();
        let verdict = Verdict::Waiting("InUse", message);
        return Ok(tell(world, object, object.status.as_ref(), status, &verdict).await?);
    }
    world.tree.release(uid).await?;
    world.applier.remove_finalizer(object, well_known::POOL_FINALIZER).await?;
    Ok(Outcome::Converged)
}
