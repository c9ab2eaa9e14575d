//! Hosts: one object per host, an inventory that adds up, and none goes with machines on it.

use super::Change;
use crate::finding::{Verdict, named};
use crate::world::World;
use crds::PhysicalMachine;
use kube::ResourceExt;
use std::collections::BTreeSet;

/// What stands against a change of a host.
pub fn check(change: &Change<PhysicalMachine>, world: &World) -> Verdict {
    let mut verdict = Verdict::default();
    if let Some(host) = change.declared() {
        inventory(host, &mut verdict);
        once(&change.name, host, world, &mut verdict);
        let cluster = &host.spec.cluster_ref.name;
        if World::named(&world.clusters, cluster).is_none() {
            verdict
                .warn(format!("spec.clusterRef.name: there is no ComputeCluster `{cluster}` yet"));
        }
    }
    if let Some(host) = change.deleted() {
        let allocations = host.status.iter().flat_map(|status| &status.allocations);
        let machines: Vec<String> = allocations.map(|entry| entry.machine.clone()).collect();
        if !machines.is_empty() {
            verdict.forbid(
                "status.allocations",
                format!(
                    "machines are on this host: {}; set spec.maintenance to Draining and move or delete them first",
                    named(machines)
                ),
            );
        }
    }
    verdict
}

fn inventory(host: &PhysicalMachine, verdict: &mut Verdict) {
    let mut seen = BTreeSet::new();
    for (index, entry) in host.spec.inventory.iter().enumerate() {
        if !seen.insert(&entry.resource) {
            verdict.duplicate(
                format!("spec.inventory[{index}].resource"),
                format!("`{}` is listed before; give each resource one entry", entry.resource),
            );
        }
        let least = entry.min_unit.unwrap_or(1);
        if entry.max_unit.is_some_and(|most| most < least) {
            verdict.invalid(
                format!("spec.inventory[{index}].maxUnit"),
                format!("is below minUnit {least}, so nothing would ever fit; raise it"),
            );
        }
        let ratio = entry.ratio_thousandths.unwrap_or(1000);
        if entry.total.checked_mul(ratio).is_none() {
            verdict.invalid(
                format!("spec.inventory[{index}].total"),
                "times ratioThousandths is beyond 64 bits; lower one of them",
            );
        }
    }
}

fn once(name: &str, host: &PhysicalMachine, world: &World, verdict: &mut Verdict) {
    let twin = world.hosts.state().into_iter().find(|other| {
        other.name_any() != name
            && other.spec.cluster_ref == host.spec.cluster_ref
            && other.spec.provider_host == host.spec.provider_host
    });
    if let Some(twin) = twin {
        verdict.duplicate(
            "spec.providerHost",
            format!(
                "host `{}` of this cluster is PhysicalMachine `{}` already; change that one",
                host.spec.provider_host,
                twin.name_any()
            ),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::super::scene::{Scene, change, refused_fields};
    use super::*;
    use serde_json::{Value, json};

    fn host(name: &str, provider_host: &str, inventory: &Value) -> Value {
        json!({ "metadata": { "name": name }, "spec": {
            "clusterRef": { "name": "c" }, "providerHost": provider_host, "inventory": inventory } })
    }

    fn vcpus(extra: &Value) -> Value {
        let mut entry = json!({ "resource": "compute/vcpu", "total": 8 });
        for (key, value) in extra.as_object().unwrap() {
            entry[key] = value.clone();
        }
        entry
    }

    #[test]
    fn an_inventory_adds_up() {
        let of = |inventory: Value| {
            let new = host("h", "h", &inventory);
            refused_fields(&check(&change("CREATE", json!(null), new), &Scene::default().world()))
        };
        assert!(of(json!([vcpus(&json!({ "minUnit": 1, "maxUnit": 8 }))])).is_empty());
        let twice = json!([vcpus(&json!({})), vcpus(&json!({}))]);
        assert_eq!(of(twice), ["spec.inventory[1].resource"]);
        let narrow = json!([vcpus(&json!({ "minUnit": 4, "maxUnit": 2 }))]);
        assert_eq!(of(narrow), ["spec.inventory[0].maxUnit"]);
        let huge = json!([vcpus(&json!({ "total": i64::MAX, "ratioThousandths": 2000 }))]);
        assert_eq!(of(huge), ["spec.inventory[0].total"]);
    }

    #[test]
    fn a_host_is_one_object_and_stays_while_in_use() {
        let scene = || Scene::default().host(host("h", "node-1", &json!([vcpus(&json!({}))])));
        let twin = host("other", "node-1", &json!([vcpus(&json!({}))]));
        let verdict = check(&change("CREATE", json!(null), twin), &scene().world());
        assert_eq!(refused_fields(&verdict), ["spec.providerHost"]);
        let mut busy = host("h", "node-1", &json!([vcpus(&json!({}))]));
        assert!(check(&change("DELETE", busy.clone(), json!(null)), &scene().world()).allows());
        busy["status"] = json!({ "allocations": [
            { "uid": "u", "machine": "n/m", "amounts": {}, "sequence": 1 }] });
        let verdict = check(&change("DELETE", busy, json!(null)), &scene().world());
        assert_eq!(refused_fields(&verdict), ["status.allocations"]);
    }
}
