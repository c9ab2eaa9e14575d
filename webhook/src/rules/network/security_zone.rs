//! Zones: peers that are there, an isolation that holds for what is in it, and none goes while something is in it.

use super::ground::Ground;
use super::tree;
use crate::finding::{Verdict, named};
use crate::review::Operation;
use crate::rules::Change;
use crate::world::World;
use crds::network::{IPPool, Isolation, SecurityZone};
use ipam::address::BlockId;
use kube::ResourceExt;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What stands against a change of a zone.
pub fn check(change: &Change<SecurityZone>, world: &World) -> Verdict {
    let mut verdict = Verdict::default();
    if let Some(zone) = change.declared() {
        peers(&change.name, zone, world, &mut verdict);
        if change.operation == Operation::Update {
            isolation(change, zone, world, &mut verdict);
        }
    }
    if change.deleted().is_some() {
        let users = users(&change.name, world);
        if !users.is_empty() {
            verdict.forbid(
                "metadata.name",
                format!("this zone is named by {}; delete or change them first", named(users)),
            );
        }
    }
    verdict
}

/// A peer that is not there would open nothing, silently.
fn peers(name: &str, zone: &SecurityZone, world: &World, verdict: &mut Verdict) {
    for (index, peer) in zone.spec.peers.iter().enumerate() {
        let field = format!("spec.peers[{index}].name");
        if peer.name == name {
            verdict.invalid(
                field,
                format!("`{name}` is this zone itself, which needs no leave; remove it"),
            );
            continue;
        }
        let Some(found) = World::named(&world.zones, &peer.name) else {
            verdict.invalid(
                field,
                format!(
                    "there is no SecurityZone `{}`, so this would open nothing; create it first",
                    peer.name
                ),
            );
            continue;
        };
        if found.spec.trust <= zone.spec.trust {
            verdict.warn(format!(
                "{field}: `{}` is of trust {}, which zone `{name}` of trust {} may reach without leave",
                peer.name, found.spec.trust, zone.spec.trust
            ));
        }
    }
}

fn pools_in(zone: &str, world: &World) -> Vec<Arc<IPPool>> {
    let mut pools =
        world.pools.state_filter(|pool| tree::zone_of_pool(pool, world).as_deref() == Some(zone));
    pools.sort_by_key(|pool| pool.name_any());
    pools
}

/// Tenants are kept apart from now on only where they are apart already.
fn isolation(
    change: &Change<SecurityZone>,
    zone: &SecurityZone,
    world: &World,
    verdict: &mut Verdict,
) {
    let before = change.old.as_ref().map(|old| old.spec.isolation());
    let after = zone.spec.isolation();
    if before == Some(after) || after == Isolation::Shared {
        return;
    }
    let pools = pools_in(&change.name, world);
    let ragged = pools.iter().find_map(|pool| {
        let prefix = World::named(&world.prefixes, &pool.spec.prefix_ref.name);
        let network = prefix.and_then(|prefix| tree::network_of(&prefix));
        Some((pool.name_any(), Ground::of(&pool.spec, network).refused(true)?.1))
    });
    if let Some((pool, refused)) = ragged {
        verdict.invalid(
            "spec.isolation",
            format!("{after:?} gives whole blocks to tenants, and of IPPool `{pool}`: {refused}"),
        );
    }
    if let Some((block, tenants)) = mixed_block(&pools, world) {
        verdict.forbid(
            "spec.isolation",
            format!("{after:?} keeps tenants in blocks of their own, and {block} is shared by {}; move them first", named(tenants)),
        );
    }
}

/// A block in which several tenants have addresses of these pools.
fn mixed_block(pools: &[Arc<IPPool>], world: &World) -> Option<(BlockId, BTreeSet<String>)> {
    let uids: BTreeSet<&str> =
        pools.iter().filter_map(|pool| pool.metadata.uid.as_deref()).collect();
    let mut mixed = BTreeMap::new();
    for block in world.blocks.state() {
        let Some(id) = block.id() else { continue };
        let held = block.held().filter(|slot| uids.contains(slot.pool.as_str()));
        let accounts: BTreeSet<&str> = held.map(|slot| slot.tenant.as_str()).collect();
        if accounts.len() > 1 {
            mixed.insert(
                id,
                accounts.into_iter().map(|account| world.tenant_name(account)).collect(),
            );
        }
    }
    mixed.pop_first()
}

/// Everything that names a zone, with its kind.
fn users(name: &str, world: &World) -> Vec<String> {
    let is_it =
        |zone: &Option<crds::ObjectName>| zone.as_ref().is_some_and(|zone| zone.name == name);
    let prefixes = world.prefixes.state_filter(|prefix| is_it(&prefix.spec.zone_ref));
    let pools = world.pools.state_filter(|pool| is_it(&pool.spec.zone_ref));
    let vlan_pools = world.vlan_pools.state_filter(|pool| is_it(&pool.spec.zone_ref));
    let zones = world.zones.state_filter(|zone| {
        zone.name_any() != name && zone.spec.peers.iter().any(|peer| peer.name == name)
    });
    let mut users = Vec::new();
    users.extend(prefixes.iter().map(|it| format!("Prefix `{}`", it.name_any())));
    users.extend(pools.iter().map(|it| format!("IPPool `{}`", it.name_any())));
    users.extend(vlan_pools.iter().map(|it| format!("VLANPool `{}`", it.name_any())));
    users.extend(zones.iter().map(|it| format!("SecurityZone `{}`", it.name_any())));
    users
}

#[cfg(test)]
mod tests {
    use super::super::scene::{below, block, estate, object};
    use super::*;
    use crate::rules::scene::{Scene, change, refused_fields};
    use serde_json::{Value, json};

    fn judged(scene: Scene, operation: &str, old: Value, new: Value) -> Verdict {
        check(&change(operation, old, new), &scene.world())
    }

    fn zone(name: &str, isolation: &str, peers: &[&str]) -> Value {
        let peers: Vec<Value> = peers.iter().map(|name| json!({ "name": name })).collect();
        object(name, json!({ "trust": 20, "isolation": isolation, "peers": peers }))
    }

    #[test]
    fn peers_are_there() {
        let of =
            |peers: &[&str]| judged(estate(), "CREATE", json!(null), zone("new", "Shared", peers));
        assert!(of(&["inside"]).allows());
        assert_eq!(refused_fields(&of(&["inside", "nowhere"])), ["spec.peers[1].name"]);
        assert_eq!(refused_fields(&of(&["new"])), ["spec.peers[0].name"]);
        assert_eq!(of(&["outside"]).warnings.len(), 1, "lower trust needs no leave");
    }

    #[test]
    fn tenants_are_kept_apart_only_where_they_are() {
        let update = |scene: Scene, isolation: &str| {
            judged(scene, "UPDATE", zone("inside", "Shared", &[]), zone("inside", isolation, &[]))
        };
        assert!(update(estate(), "Shared").allows());
        let verdict = update(estate(), "PerTenantBlock");
        assert_eq!(refused_fields(&verdict), ["spec.isolation"]);
        assert!(
            verdict.findings[0]
                .message
                .contains("of IPPool `beta-only`: range 10.1.0.128/28 is not made of whole blocks"),
            "{verdict:?}"
        );
        // Whole blocks only: then it is decided by who shares one.
        let safe = below(
            "safe",
            "top",
            "10.7.0.0/16",
            &json!({ "role": "Pool", "zoneRef": { "name": "outside" } }),
        );
        let pool = super::super::scene::pool("safe", "safe", &json!({ "ranges": ["10.7.1.0/24"] }));
        let scene = |slots: &[(u8, &str, &str)]| {
            estate()
                .network("prefixes", safe.clone())
                .network("pools", pool.clone())
                .network("blocks", block("10.7.1.0/24", "safe", slots))
        };
        let isolate = |slots: &[(u8, &str, &str)]| {
            judged(
                scene(slots),
                "UPDATE",
                zone("outside", "Shared", &[]),
                zone("outside", "PerTenantVlan", &[]),
            )
        };
        assert!(
            isolate(&[
                (1, "Allocated", "acme"),
                (2, "Allocated", "acme"),
                (3, "Quarantined", "beta")
            ])
            .allows()
        );
        let verdict = isolate(&[(1, "Allocated", "acme"), (2, "Held", "beta")]);
        assert_eq!(refused_fields(&verdict), ["spec.isolation"]);
        assert!(
            verdict.findings[0].message.contains("10.7.1.0/24 is shared by acme, beta"),
            "{verdict:?}"
        );
    }

    #[test]
    fn a_zone_goes_when_nothing_names_it() {
        let gone = |scene: Scene, name: &str| {
            judged(scene, "DELETE", zone(name, "Shared", &[]), json!(null))
        };
        assert!(gone(estate(), "vault").allows());
        let verdict = gone(estate(), "inside");
        assert!(verdict.findings[0].message.contains("Prefix `site`"), "{verdict:?}");
        assert!(verdict.findings[0].message.contains("VLANPool `hall-in`"), "{verdict:?}");
        let peered = estate().network("zones", zone("other", "Shared", &["vault"]));
        assert!(gone(peered, "vault").findings[0].message.contains("SecurityZone `other`"));
    }
}
