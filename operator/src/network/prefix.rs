//! Prefix → its place in its parent, then what it says about itself and what is below it.

use super::tree::{Parent, Want, booked};
use crate::report::{TellError, Verdict, tell};
use crate::world::World;
use crds::network::{IPPool, NetworkClass, Prefix, PrefixRole, PrefixStatus};
use ids::{ResourceUid, well_known};
use ipam::address::{AddressSet, Cidr, Class};
use ipam::pool::PerMille;
use ipam::space::{fragmentation, free_by_size};
use kube::ResourceExt;
use operator_kit::apply::ApplyError;
use operator_kit::controller::Outcome;
use operator_kit::group_commit::CommitError;
use operator_kit::words::named;
use std::sync::Arc;

/// Why a pass failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The object has no usable UID; the API server gives every object one.
    #[error("Prefix has no UID")]
    NoUid,
    /// The parent's table could not be written.
    #[error("book a place for Prefix")]
    Commit(#[from] CommitError),
    /// A finalizer could not be written.
    #[error("hold Prefix")]
    Apply(#[from] ApplyError),
    /// The status could not be told.
    #[error("report on Prefix")]
    Tell(#[from] TellError),
}

/// One pass.
pub async fn reconcile(object: Arc<Prefix>, world: Arc<World>) -> Result<Outcome, Error> {
    let uid: ResourceUid = object.uid().and_then(|uid| uid.parse().ok()).ok_or(Error::NoUid)?;
    let mut status = object.status.clone().unwrap_or_default();
    if object.metadata.deletion_timestamp.is_some() {
        return remove(&object, &world, uid, status).await;
    }
    if world.applier.add_finalizers(object.as_ref(), &[well_known::TREE_FINALIZER]).await? {
        return Ok(Outcome::Converged);
    }
    let verdict = match settle(&object, &world, uid, &mut status).await? {
        Ok(cidr) => {
            describe(&object, &world, &cidr, &mut status);
            let parent = status.parent.as_deref().unwrap_or_default();
            Verdict::Ready("Booked", format!("{cidr} is booked in {parent}"))
        }
        Err(verdict) => verdict,
    };
    Ok(tell(&world, object.as_ref(), object.status.as_ref(), status, &verdict).await?)
}

/// What a prefix has of its parent.
struct Inherited {
    parent: Parent,
    parent_uid: Option<String>,
    space: String,
    zone: Option<String>,
    tenant: Option<String>,
}

/// Finds the parent and books the place in it.
async fn settle(
    object: &Prefix,
    world: &World,
    uid: ResourceUid,
    status: &mut PrefixStatus,
) -> Result<Result<Cidr, Verdict>, Error> {
    // What a parent without room says goes before what one says that will not do.
    let (mut refused, mut is_full) = (None, None);
    let is_free = object.spec.parent_selector.is_some() && object.parent().is_none();
    let booked = if is_free { world.tree.parent_of(uid).await? } else { None };
    for inherited in parents(object, world, booked.as_deref()) {
        let inherited = match inherited.and_then(|inherited| agree(object, inherited)) {
            Ok(inherited) => inherited,
            Err(verdict) => {
                refused.get_or_insert(verdict);
                continue;
            }
        };
        let want = match want(object, status) {
            Ok(want) => want,
            Err(verdict) => return Ok(Err(verdict)),
        };
        match world.tree.book(&inherited.parent, object, uid, want).await? {
            Ok(Some(place)) => {
                let cidr = place.cidr;
                status.space = Some(inherited.space);
                status.zone = inherited.zone;
                status.tenant = inherited.tenant;
                status.parent_uid = inherited.parent_uid;
                status.parent = Some(match inherited.parent {
                    Parent::Prefix(name) => name,
                    Parent::Space(name) => format!("vrf/{name}"),
                });
                status.cidr = Some(cidr.to_string());
                return Ok(Ok(cidr));
            }
            Ok(None) => {}
            // What others give back later is seen by the next pass; it is an event of the parent too.
            Err(why) => {
                is_full = Some(Verdict::Waiting("NotBooked", format!("spec: {why}")));
            }
        }
    }
    let nobody = || {
        let message = "spec.parentSelector: no Container has all these labels".to_owned();
        Verdict::Waiting("ParentNotFound", message)
    };
    Ok(Err(is_full.or(refused).unwrap_or_else(nobody)))
}

/// The parent that is named or was chosen, or those that may be chosen; the one with the best fit first.
///
/// One in which a place is booked already goes before all others.
fn parents(
    object: &Prefix,
    world: &World,
    booked: Option<&str>,
) -> Vec<Result<Inherited, Verdict>> {
    if let Some(space) = &object.spec.space_ref {
        return vec![space_of(&space.name, world)];
    }
    if let Some(name) = booked.or(object.parent()) {
        return vec![prefix_of(name, world)];
    }
    let Some(selector) = &object.spec.parent_selector else { return Vec::new() };
    let length = length(object).unwrap_or(0);
    let fit = |prefix: &Arc<Prefix>| {
        let sizes = prefix.status.iter().flat_map(|status| status.free_by_size.keys());
        let sizes = sizes.filter_map(|size| size.trim_start_matches('/').parse::<u8>().ok());
        (sizes.filter(|size| *size <= length).max().map(std::cmp::Reverse), prefix.name_any())
    };
    let mut candidates = world.prefixes.store().state_filter(|prefix| {
        selector.matches(prefix.labels())
            && prefix.role() == PrefixRole::Container
            && prefix.metadata.uid != object.metadata.uid
    });
    candidates.sort_by_cached_key(|prefix| {
        let (fit, name) = fit(prefix);
        (fit.is_none(), fit, name)
    });
    candidates.iter().map(|prefix| prefix_of(&prefix.name_any(), world)).collect()
}

fn space_of(name: &str, world: &World) -> Result<Inherited, Verdict> {
    let Some(space) = world.spaces.get(name, None) else {
        let message = format!("spec.spaceRef.name: there is no AddressSpace {name}");
        return Err(Verdict::Waiting("SpaceNotFound", message));
    };
    Ok(Inherited {
        parent: Parent::Space(name.to_owned()),
        parent_uid: space.uid(),
        space: name.to_owned(),
        zone: None,
        tenant: None,
    })
}

fn prefix_of(name: &str, world: &World) -> Result<Inherited, Verdict> {
    let Some(parent) = world.prefixes.get(name, None) else {
        let message = format!("spec.parentRef.name: there is no Prefix {name}");
        return Err(Verdict::Waiting("ParentNotFound", message));
    };
    let status = parent.status.clone().unwrap_or_default();
    let Some(space) = status.space.filter(|_| status.cidr.is_some()) else {
        let message = format!("spec.parentRef.name: Prefix {name} has no network yet");
        return Err(Verdict::Waiting("ParentNotReady", message));
    };
    if parent.role() != PrefixRole::Container {
        let message = format!(
            "spec.parentRef.name: Prefix {name} is of role {:?}; only a Container has prefixes below it",
            parent.role()
        );
        return Err(Verdict::Refused("ParentIsNoContainer", message));
    }
    Ok(Inherited {
        parent: Parent::Prefix(name.to_owned()),
        parent_uid: parent.uid(),
        space,
        zone: status.zone,
        tenant: status.tenant,
    })
}

/// Zone and tenant are the parent's, or the prefix's own where the parent has none.
fn agree(object: &Prefix, mut inherited: Inherited) -> Result<Inherited, Verdict> {
    let named = |name: &Option<crds::ObjectName>| name.as_ref().map(|name| name.name.clone());
    let zone = named(&object.spec.zone_ref);
    let tenant = named(&object.spec.tenant_ref);
    for (field, own, theirs) in
        [("zoneRef", zone, &mut inherited.zone), ("tenantRef", tenant, &mut inherited.tenant)]
    {
        match (own, theirs.as_deref()) {
            (Some(own), Some(theirs)) if own != theirs => {
                let message = format!(
                    "spec.{field}.name: is {own}, but the parent's is {theirs}; leave it out or name that one"
                );
                return Err(Verdict::Refused("ParentMismatch", message));
            }
            (Some(own), None) => *theirs = Some(own),
            (Some(_) | None, _) => {}
        }
    }
    Ok(inherited)
}

fn length(object: &Prefix) -> Option<u8> {
    let by_class = object.spec.class.map(NetworkClass::length);
    by_class.or_else(|| object.spec.length.and_then(|length| length.try_into().ok()))
}

/// What to ask of the parent; refused while something would be cut off.
fn want(object: &Prefix, status: &PrefixStatus) -> Result<Want, Verdict> {
    let Some(text) = &object.spec.cidr else {
        let Some(length) = length(object) else {
            let message = "spec: needs exactly one of cidr, length and class".to_owned();
            return Err(Verdict::Refused("InvalidPrefix", message));
        };
        return Ok(Want::Carve(length));
    };
    let cidr: Cidr = text
        .as_str()
        .parse()
        .map_err(|refusal| Verdict::Refused("InvalidPrefix", format!("spec.cidr: {refusal}")))?;
    let outside: Vec<String> = booked(&status.children, &status.pools)
        .filter(|(range, _)| !(cidr.contains(range.first()) && cidr.contains(range.last())))
        .map(|(_, what)| what)
        .collect();
    if outside.is_empty() {
        return Ok(Want::Place(cidr));
    }
    let message = format!("spec.cidr: {cidr} leaves out {}", named(outside));
    Err(Verdict::Refused("InUse", message))
}

/// What people want to know of it: all of it follows from its table and the figures of what is below.
fn describe(object: &Prefix, world: &World, cidr: &Cidr, status: &mut PrefixStatus) {
    let taken =
        AddressSet::union_of(booked(&status.children, &status.pools).map(|(range, _)| range));
    let free = AddressSet::union_of([cidr.range()]).without(&taken);
    let free = if object.role() == PrefixRole::Reserved { AddressSet::default() } else { free };
    let by_size = free_by_size(&free);
    status.class = cidr.class().map(|class| match class {
        Class::A => NetworkClass::A,
        Class::B => NetworkClass::B,
        Class::C => NetworkClass::C,
    });
    status.total = Some(cidr.count().to_string());
    status.free = Some(free.count().to_string());
    status.free_by_size =
        by_size.iter().map(|(length, count)| (format!("/{length}"), count.to_string())).collect();
    status.fragmentation = Some(fragmentation(cidr.family(), free.count(), &by_size).to_string());
    let booked = cidr.count().saturating_sub(free.count());
    status.utilisation = Some(PerMille::of(booked, cidr.count()).to_string());
    status.used = Some(used_below(object, world).to_string());
}

/// Addresses that claims hold here and below.
fn used_below(object: &Prefix, world: &World) -> u128 {
    let name = object.name_any();
    let number = |text: Option<&String>| text.and_then(|text| text.parse::<u128>().ok());
    let is_here = |pool: &IPPool| pool.spec.prefix_ref.name == name;
    let pools = world.pools.store().state_filter(is_here);
    let pools = pools.iter().filter_map(|pool| number(pool.status.as_ref()?.used.as_ref()));
    let is_below = |prefix: &Prefix| prefix.parent() == Some(name.as_str());
    let children = world.prefixes.store().state_filter(is_below);
    let children = children.iter().filter_map(|child| number(child.status.as_ref()?.used.as_ref()));
    pools.chain(children).fold(0, u128::saturating_add)
}

async fn remove(
    object: &Prefix,
    world: &World,
    uid: ResourceUid,
    status: PrefixStatus,
) -> Result<Outcome, Error> {
    if !object.finalizers().iter().any(|held| held == well_known::TREE_FINALIZER) {
        return Ok(Outcome::Converged);
    }
    let held: Vec<String> = booked(&status.children, &status.pools).map(|(_, what)| what).collect();
    if !held.is_empty() {
        let message = format!("in it: {}; delete those first", named(held));
        let verdict = Verdict::Waiting("InUse", message);
        return Ok(tell(world, object, object.status.as_ref(), status, &verdict).await?);
    }
    world.tree.release(uid).await?;
    world.applier.remove_finalizer(object, well_known::TREE_FINALIZER).await?;
    Ok(Outcome::Converged)
}
