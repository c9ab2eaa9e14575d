//! Pools of addresses: of a prefix that is there for it, apart from its other pools, never empty by its own word, and
//! never smaller than what is handed out.

#[cfg(test)]
mod tests;

use super::ground::{self, Ground, Kept};
use super::{not_there, prefix as prefixes, tree, vlan, zone_words};
use crate::finding::{Verdict, named};
use crate::review::Operation;
use crate::rules::Change;
use crate::world::World;
use crds::network::{IPPool, Isolation, Prefix, PrefixRole};
use ipam::address::{AddressSet, Cidr};
use ipam::plan::Withheld;
use kube::ResourceExt;
use std::sync::Arc;

/// What stands against a change of a pool.
pub fn check(change: &Change<IPPool>, world: &World) -> Verdict {
    let mut verdict = Verdict::default();
    if let Some(pool) = change.declared() {
        let name = &pool.spec.prefix_ref.name;
        let prefix = World::named(&world.prefixes, name);
        if prefix.is_none() {
            not_there("spec.prefixRef.name", "Prefix", name, &mut verdict);
        }
        let network = prefix.as_ref().and_then(|prefix| tree::network_of(prefix));
        let ground = Ground::new(&pool.spec, network, &mut verdict);
        let place = Place { change, pool, prefix, network, ground, world };
        place.check(&mut verdict);
    }
    if let Some(pool) = change.deleted() {
        let held = world.held(pool.metadata.uid.as_deref());
        if !held.is_empty() {
            let names = held.into_iter().map(|(address, claim)| format!("{address} ({claim})"));
            verdict.forbid(
                "metadata.name",
                format!(
                    "addresses of this pool are in use: {}; delete the claims first",
                    named(names)
                ),
            );
        }
    }
    verdict
}

/// A declared pool on its ground.
struct Place<'a> {
    change: &'a Change<IPPool>,
    pool: &'a IPPool,
    prefix: Option<Arc<Prefix>>,
    network: Option<Cidr>,
    ground: Ground,
    world: &'a World,
}

impl Place<'_> {
    fn check(&self, verdict: &mut Verdict) {
        if verdict.allows() {
            self.ranges(verdict);
            self.apart_from_pools(verdict);
        }
        if let Some(prefix) = &self.prefix {
            self.of_its_prefix(prefix, verdict);
        }
        self.zone_and_vlan(verdict);
        for (index, tenant) in self.pool.spec.allowed_tenants.iter().flatten().enumerate() {
            if tenant.0 != "*" && World::named(&self.world.tenants, &tenant.0).is_none() {
                not_there(&format!("spec.allowedTenants[{index}]"), "Tenant", &tenant.0, verdict);
            }
        }
        if self.change.operation == Operation::Update && verdict.allows() {
            self.keeps_what_is_held(verdict);
        }
    }

    fn prefix_name(&self) -> &str {
        &self.pool.spec.prefix_ref.name
    }

    /// Ranges of one family, apart from one another, in the prefix, and not all left out.
    fn ranges(&self, verdict: &mut Verdict) {
        let texts = &self.pool.spec.ranges;
        let ranges = ground::read(texts, "spec.ranges", verdict);
        for (index, range) in ranges.iter().enumerate() {
            let field = format!("spec.ranges[{index}]");
            if let Some(network) = self.network
                && !(network.contains(range.first()) && network.contains(range.last()))
            {
                verdict.invalid(
                    &field,
                    format!(
                        "{range} is not within {network} of Prefix `{}`; choose a part of that",
                        self.prefix_name()
                    ),
                );
            }
            let before = ranges.iter().take(index);
            if let Some(other) = before.clone().find(|other| other.overlaps(range)) {
                verdict.duplicate(
                    &field,
                    format!("{range} overlaps {other} of the same list; write each address once"),
                );
            }
            if let Some(other) = before.clone().find(|other| other.family() != range.family()) {
                verdict.invalid(
                    &field,
                    format!(
                        "{range} is {} and {other} is {}; a pool has one family, make two",
                        range.family(),
                        other.family()
                    ),
                );
            }
        }
        for (index, range) in
            ground::read(&self.pool.spec.exclude, "spec.exclude", verdict).iter().enumerate()
        {
            let left_out = AddressSet::union_of([*range]);
            if self.ground.family().is_some() && self.ground.all.common_with(&left_out).is_none() {
                verdict.warn(format!("spec.exclude[{index}]: {range} is in no range of the pool, so it leaves nothing out"));
            }
        }
        if let (Some(family), Some(gateway)) = (self.ground.family(), self.ground.gateway())
            && gateway.family() != family
        {
            verdict.invalid(
                "spec.gateway",
                format!(
                    "{gateway} is {}, and the pool is {family}; choose one of {family}",
                    gateway.family()
                ),
            );
        }
        if verdict.allows()
            && let Some((field, refused)) = self.ground.refused(self.exclusive_zone().is_some())
        {
            let why = self.exclusive_zone().filter(|_| field == "spec.ranges");
            let why = why.map(|zone| format!(" (zone `{zone}` gives whole blocks to tenants)"));
            verdict.invalid(field, format!("{refused}{}", why.unwrap_or_default()));
        }
    }

    /// The pool's zone, where that gives whole blocks to tenants.
    fn exclusive_zone(&self) -> Option<String> {
        let zone = tree::zone_of_pool(self.pool, self.world)?;
        let found = World::named(&self.world.zones, &zone)?;
        (found.spec.isolation() != Isolation::Shared).then_some(zone)
    }

    /// Two pools of one prefix never hand out the same address.
    fn apart_from_pools(&self, verdict: &mut Verdict) {
        let booked =
            self.prefix.iter().flat_map(|prefix| &prefix.status).flat_map(|status| &status.pools);
        let booked = booked.map(|pool| {
            let ranges = pool.ranges.iter().filter_map(|range| range.parse().ok());
            (pool.name.clone(), AddressSet::union_of(ranges))
        });
        let declared = tree::pools(self.prefix_name(), self.world)
            .into_iter()
            .map(|pool| (pool.name_any(), Ground::of(&pool.spec, self.network).all));
        let others = declared.chain(booked).filter(|(name, _)| *name != self.change.name);
        for (other, theirs) in others {
            if let Some(shared) = self.ground.all.common_with(&theirs) {
                verdict.duplicate(
                    "spec.ranges",
                    format!(
                        "{shared} is handed out by IPPool `{other}` of Prefix `{}` too; an address is in one pool: choose other ranges",
                        self.prefix_name()
                    ),
                );
                return;
            }
        }
    }

    fn of_its_prefix(&self, prefix: &Prefix, verdict: &mut Verdict) {
        let (name, spec) = (self.prefix_name(), &self.pool.spec);
        if prefix.role() != PrefixRole::Pool {
            verdict.invalid(
                "spec.prefixRef.name",
                format!(
                    "Prefix `{name}` is of role {:?} and hands out nothing; name one of role Pool",
                    prefix.role()
                ),
            );
        }
        let standing = tree::standing(name, prefix, self.world);
        if let Some(zone) = &spec.zone_ref
            && standing.zone() != Some(zone.name.as_str())
        {
            verdict.invalid(
                "spec.zoneRef.name",
                format!(
                    "zone `{}` is not that of Prefix `{name}`, which is {}; a pool is in the zone of its prefix: leave it out",
                    zone.name,
                    prefixes::zone_in_words(name, prefix, self.world)
                ),
            );
        }
        let Some(kept_for) = standing.tenant else { return };
        let is_foreign = |tenant: &&crds::network::TenantPattern| tenant.0 != kept_for.name;
        if let Some(foreign) = spec.allowed_tenants.iter().flatten().find(is_foreign) {
            verdict.invalid(
                "spec.allowedTenants",
                format!(
                    "`{foreign}` is let in, and Prefix `{}` is kept for tenant `{}`; name that tenant alone",
                    kept_for.by, kept_for.name
                ),
            );
        }
    }

    /// A VLAN joins pools of one zone and one fabric.
    fn zone_and_vlan(&self, verdict: &mut Verdict) {
        let zone = tree::zone_of_pool(self.pool, self.world);
        if let Some(zone) = &self.pool.spec.zone_ref
            && World::named(&self.world.zones, &zone.name).is_none()
        {
            not_there("spec.zoneRef.name", "SecurityZone", &zone.name, verdict);
        }
        let Some(named) = &self.pool.spec.vlan_ref else { return };
        let key = format!("{}/{}", named.namespace, named.name);
        let Some(reach) = vlan::reach(&named.namespace, &named.name, self.world) else {
            not_there("spec.vlanRef", "VLAN", &key, verdict);
            return;
        };
        if let Some(pool) = &reach.pool
            && self.prefix.is_some()
            && reach.zone != zone
        {
            verdict.invalid(
                "spec.vlanRef",
                format!(
                    "VLAN `{key}` is of VLANPool `{pool}` {}, and this pool is {}; a VLAN joins pools of its own zone",
                    zone_words(reach.zone.as_deref()),
                    zone_words(zone.as_deref())
                ),
            );
        }
        for other in vlan::of_prefix(self.prefix_name(), self.world) {
            let theirs = vlan::key(&other);
            let fabric = vlan::reach_of(&other, self.world).fabric;
            if let (Some(fabric), Some(own)) = (fabric, &reach.fabric)
                && fabric != *own
            {
                verdict.invalid(
                    "spec.vlanRef",
                    format!(
                        "VLAN `{key}` is on fabric `{own}`, and Prefix `{}` is reached by VLAN `{theirs}` on fabric `{fabric}`; name a VLAN of that fabric",
                        self.prefix_name()
                    ),
                );
                return;
            }
        }
    }

    /// What is handed out stays within, whatever changes.
    fn keeps_what_is_held(&self, verdict: &mut Verdict) {
        let mut lost: [(Kept, &str, Vec<String>); 4] = [
            (Kept::OutOfRange, "spec.ranges", Vec::new()),
            (Kept::Withheld(Withheld::Excluded), "spec.exclude", Vec::new()),
            (Kept::Withheld(Withheld::Gateway), "spec.gateway", Vec::new()),
            (Kept::Withheld(Withheld::Edge), "spec.allowReservedAddresses", Vec::new()),
        ];
        let before = self.change.old.as_ref().map(|old| Ground::of(&old.spec, self.network));
        for (address, claim) in self.world.held(self.pool.metadata.uid.as_deref()) {
            let Some(kept) = self.ground.keeps(address) else { continue };
            // What slipped out before is not this change's doing.
            if before.as_ref().is_some_and(|before| before.keeps(address) == Some(kept)) {
                continue;
            }
            if let Some((_, _, names)) = lost.iter_mut().find(|(reason, _, _)| *reason == kept) {
                names.push(format!("{address} ({claim})"));
            }
        }
        for (_, field, names) in lost.into_iter().filter(|(_, _, names)| !names.is_empty()) {
            verdict.forbid(
                field,
                format!(
                    "would take away addresses that are in use: {}; delete the claims first",
                    named(names)
                ),
            );
        }
    }
}
