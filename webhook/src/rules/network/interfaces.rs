//! Interfaces of machines: of pools that let the tenant in, in one zone, on one fabric.

use super::choice::{self, Wish};
use super::{not_there, tree, vlan, zone_words};
use crate::finding::{Verdict, named};
use crate::world::World;
use crds::compute::MachineNetwork;
use crds::network::IPPool;
use kube::ResourceExt;
use std::sync::Arc;

/// What stands against a new machine's interfaces.
pub fn check(namespace: &str, networks: &[MachineNetwork], world: &World, verdict: &mut Verdict) {
    let Some(room) = world.room(namespace) else { return };
    for (index, network) in networks.iter().enumerate() {
        let path = format!("spec.networks[{index}]");
        let wish = Wish {
            path: &path,
            pool: network.pool_ref.as_ref(),
            selector: network.pool_selector.as_ref(),
            families: &network.families,
        };
        // Claims are not looked at here: there are as many as addresses. The operator does when it attaches one.
        let pools = if network.ip_claim_ref.is_some() {
            Vec::new()
        } else {
            wish.pools(&room.tenant, world, verdict)
        };
        one_zone(&wish, network, &pools, world, verdict);
        one_fabric(namespace, &wish, network, &pools, world, verdict);
    }
}

fn one_zone(
    wish: &Wish<'_>,
    network: &MachineNetwork,
    pools: &[Arc<IPPool>],
    world: &World,
    verdict: &mut Verdict,
) {
    let Some(zone) = &network.zone_ref else { return };
    let field = format!("{}.zoneRef.name", wish.path);
    if World::named(&world.zones, &zone.name).is_none() {
        not_there(&field, "SecurityZone", &zone.name, verdict);
    }
    let is_in = |pool: &Arc<IPPool>| tree::zone_of_pool(pool, world).as_ref() == Some(&zone.name);
    if !pools.is_empty() && !pools.iter().any(is_in) {
        let zones = pools.iter().map(|pool| {
            let zone = tree::zone_of_pool(pool, world);
            format!("IPPool `{}` is {}", pool.name_any(), zone_words(zone.as_deref()))
        });
        verdict.invalid(
            field,
            format!(
                "zone `{}` is asked for, and {}; choose a pool of the zone",
                zone.name,
                named(zones)
            ),
        );
    }
}

fn one_fabric(
    namespace: &str,
    wish: &Wish<'_>,
    network: &MachineNetwork,
    pools: &[Arc<IPPool>],
    world: &World,
    verdict: &mut Verdict,
) {
    let Some(name) = network.vlan_ref.as_ref().map(|vlan| &vlan.name) else { return };
    let field = format!("{}.vlanRef.name", wish.path);
    let Some(reach) = vlan::reach(namespace, name, world) else {
        not_there(&field, "VLAN", name, verdict);
        return;
    };
    let Some(vlan_pool) = &reach.pool else { return };
    if let Some(zone) = &network.zone_ref
        && reach.zone.as_ref() != Some(&zone.name)
    {
        verdict.invalid(
            field,
            format!("VLAN `{name}` is of VLANPool `{vlan_pool}` {}, and zone `{}` is asked for; choose a VLAN of the zone", zone_words(reach.zone.as_deref()), zone.name),
        );
        return;
    }
    let fits = |pool: &Arc<IPPool>| {
        let joined = pool
            .spec
            .vlan_ref
            .as_ref()
            .and_then(|vlan| vlan::reach(&vlan.namespace, &vlan.name, world));
        let fabric = joined.and_then(|joined| joined.fabric);
        tree::zone_of_pool(pool, world) == reach.zone
            && fabric.is_none_or(|fabric| Some(fabric) == reach.fabric)
    };
    if !pools.is_empty() && !pools.iter().any(fits) {
        verdict.invalid(
            field,
            format!(
                "VLAN `{name}` of VLANPool `{vlan_pool}` is {} on fabric `{}`, where {} is not; choose both of one zone and fabric",
                zone_words(reach.zone.as_deref()),
                reach.fabric.as_deref().unwrap_or_default(),
                choice::in_words(pools)
            ),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::super::scene::{PROJECT, estate, pool, vlan};
    use super::*;
    use crate::rules::scene::{Scene, refused_fields};
    use serde_json::{Value, json};

    fn judged(scene: Scene, networks: Value) -> Verdict {
        let networks: Vec<MachineNetwork> = serde_json::from_value(networks).unwrap();
        let mut verdict = Verdict::default();
        check(PROJECT, &networks, &scene.world(), &mut verdict);
        verdict
    }

    fn fields(networks: Value) -> Vec<String> {
        refused_fields(&judged(estate(), networks))
    }

    #[test]
    fn an_interface_is_of_a_pool_that_lets_the_tenant_in() {
        assert!(fields(json!([{ "name": "a", "poolRef": { "name": "web" } }])).is_empty());
        assert!(fields(json!([{ "name": "a", "ipClaimRef": { "name": "any" } }])).is_empty());
        let second = json!([{ "name": "a", "poolRef": { "name": "web" } }, { "name": "b", "poolRef": { "name": "beta-only" } }]);
        assert_eq!(fields(second), ["spec.networks[1].poolRef.name"]);
        let dual = json!([{ "name": "a", "poolSelector": { "matchLabels": { "tier": "four" } }, "families": ["IPv4", "IPv6"] }]);
        assert_eq!(fields(dual), ["spec.networks[0].families"]);
    }

    #[test]
    fn an_interface_is_in_one_zone() {
        let of = |zone: &str| {
            fields(
                json!([{ "name": "a", "poolRef": { "name": "web" }, "zoneRef": { "name": zone } }]),
            )
        };
        assert!(of("inside").is_empty());
        assert_eq!(of("outside"), ["spec.networks[0].zoneRef.name"]);
    }

    #[test]
    fn an_interface_is_on_one_fabric() {
        let joined = pool(
            "joined",
            "web",
            &json!({ "ranges": ["10.1.0.200"], "vlanRef": { "namespace": PROJECT, "name": "front" } }),
        );
        let scene = || {
            estate()
                .network("pools", joined.clone())
                .network("vlans", vlan("front", "hall-in", &json!({})))
                .network("vlans", vlan("edge", "hall-out", &json!({})))
                .network("vlans", vlan("yard", "yard-in", &json!({})))
        };
        let of = |vlan: &str, extra: &Value| {
            let mut network = json!({ "name": "a", "poolRef": { "name": "joined" }, "vlanRef": { "name": vlan } });
            for (key, value) in extra.as_object().unwrap() {
                network[key] = value.clone();
            }
            refused_fields(&judged(scene(), json!([network])))
        };
        assert!(of("front", &json!({})).is_empty());
        assert!(of("later", &json!({})).is_empty());
        assert_eq!(of("edge", &json!({})), ["spec.networks[0].vlanRef.name"]);
        assert_eq!(of("yard", &json!({})), ["spec.networks[0].vlanRef.name"]);
        assert_eq!(
            of("edge", &json!({ "zoneRef": { "name": "inside" } })),
            ["spec.networks[0].vlanRef.name"]
        );
    }
}
