//! What is below a prefix, and has to stay where it is when the prefix changes or goes.

use super::super::ground::{Ground, Kept};
use super::super::tree;
use crate::finding::{Verdict, named};
use crate::world::World;
use crds::network::{Prefix, PrefixRole};
use ipam::address::Cidr;
use kube::ResourceExt;

/// The names of what is directly below, with their kinds: declared or still booked.
fn names(name: &str, prefix: &Prefix, world: &World) -> Vec<String> {
    let status = prefix.status.as_ref();
    let declared = tree::children(name, world).into_iter().map(|child| child.name_any());
    let booked = status.into_iter().flat_map(|status| &status.children);
    let children = declared.chain(booked.map(|child| child.name.clone()));
    let declared = tree::pools(name, world).into_iter().map(|pool| pool.name_any());
    let booked = status.into_iter().flat_map(|status| &status.pools);
    let pools = declared.chain(booked.map(|pool| pool.name.clone()));
    children
        .map(|child| format!("Prefix `{child}`"))
        .chain(pools.map(|pool| format!("IPPool `{pool}`")))
        .collect()
}

/// A prefix goes when nothing is made of it.
pub fn nothing_is_left(name: &str, prefix: &Prefix, world: &World, verdict: &mut Verdict) {
    let mut left = names(name, prefix, world);
    let by_vlan = world.vlans.state_filter(|vlan| {
        vlan.spec.prefix_ref.as_ref().is_some_and(|prefix| prefix.name == name)
    });
    left.extend(by_vlan.iter().map(|vlan| {
        format!("VLAN `{}/{}`", vlan.namespace().unwrap_or_default(), vlan.name_any())
    }));
    if !left.is_empty() {
        verdict.forbid(
            "metadata.name",
            format!("this prefix is in use by {}; delete them first", named(left)),
        );
    }
}

/// What a change would take away from those below.
pub fn keeps_what_is_there(
    name: &str,
    old: &Prefix,
    new: &Prefix,
    world: &World,
    verdict: &mut Verdict,
) {
    let left = names(name, old, world);
    if left.is_empty() {
        return;
    }
    role_stays(name, new, old, world, verdict);
    let (before, after) = (tree::standing(name, old, world), tree::standing(name, new, world));
    let said = |said: &Option<tree::Said>| said.as_ref().map(|said| said.name.clone());
    if said(&before.zone) != said(&after.zone) {
        verdict.forbid(
            "spec.zoneRef",
            format!(
                "would move {} to another zone, and nothing crosses a zone; delete them first",
                named(left.clone())
            ),
        );
    }
    if said(&before.tenant) != said(&after.tenant) {
        verdict.forbid(
            "spec.tenantRef",
            format!("would give {} to another tenant; delete them first", named(left)),
        );
    }
    if let (Some(was), Some(network)) = (tree::network_of(old), tree::network_of(new))
        && was != network
    {
        let mut lost = children_outside(name, old, &network, world);
        lost.extend(pools_outside(name, old, &network, world));
        if !lost.is_empty() {
            verdict.forbid(
                "spec.cidr",
                format!(
                    "{network} would no longer hold {}; keep it or delete them first",
                    named(lost)
                ),
            );
        }
    }
}

fn role_stays(name: &str, new: &Prefix, old: &Prefix, world: &World, verdict: &mut Verdict) {
    if new.role() == old.role() {
        return;
    }
    let takes = |kind: &str| match new.role() {
        PrefixRole::Container => kind == "Prefix",
        PrefixRole::Pool => kind == "IPPool",
        PrefixRole::Reserved => false,
    };
    let left = names(name, old, world);
    let lost: Vec<String> =
        left.into_iter().filter(|it| !it.split(' ').next().is_some_and(takes)).collect();
    if !lost.is_empty() {
        verdict.forbid(
            "spec.role",
            format!(
                "a prefix of role {:?} cannot hold {}; delete them first",
                new.role(),
                named(lost)
            ),
        );
    }
}

fn children_outside(name: &str, old: &Prefix, network: &Cidr, world: &World) -> Vec<String> {
    let declared = tree::children(name, world)
        .into_iter()
        .map(|child| (child.name_any(), tree::network_of(&child)));
    let booked = old.status.iter().flat_map(|status| &status.children);
    let booked = booked.map(|child| (child.name.clone(), child.cidr.parse().ok()));
    declared
        .chain(booked)
        .filter_map(|(child, held)| Some((child, held?)))
        .filter(|(_, held): &(String, Cidr)| !network.contains_cidr(held))
        .map(|(child, held)| format!("{held} of Prefix `{child}`"))
        .collect()
}

/// Ranges outside, and where a pool has none of its own, addresses in use outside.
fn pools_outside(name: &str, old: &Prefix, network: &Cidr, world: &World) -> Vec<String> {
    let mut lost = Vec::new();
    for pool in tree::pools(name, world) {
        let pool_name = pool.name_any();
        let ground = Ground::of(&pool.spec, tree::network_of(old));
        if !pool.spec.ranges.is_empty() {
            let is_outside = |range: &&ipam::address::AddressRange| {
                !network.contains(range.first()) || !network.contains(range.last())
            };
            let outside = ground.all.ranges().iter().filter(is_outside);
            lost.extend(outside.map(|range| format!("{range} of IPPool `{pool_name}`")));
            continue;
        }
        if let Some(gateway) = ground.gateway().filter(|gateway| !network.contains(*gateway)) {
            lost.push(format!("gateway {gateway} of IPPool `{pool_name}`"));
        }
        let after = Ground::of(&pool.spec, Some(*network));
        let held = world.held(pool.metadata.uid.as_deref()).into_iter();
        lost.extend(
            held.filter(|(address, _)| after.keeps(*address) == Some(Kept::OutOfRange))
                .map(|(address, claim)| format!("{address} of {claim}")),
        );
    }
    lost
}
