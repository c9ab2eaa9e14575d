//! Compute clusters: one cluster per daemon, and nothing is taken from under a machine.

use super::Change;
use crate::finding::{Verdict, named};
use crate::world::World;
use crds::ComputeCluster;
use crds::compute::VirtualMachine;
use kube::ResourceExt;
use operator_kit::cache::key_of;
use std::collections::BTreeSet;
use std::sync::Arc;

/// What stands against a change of a cluster.
pub fn check(change: &Change<ComputeCluster>, world: &World) -> Verdict {
    let mut verdict = Verdict::default();
    if let Some(cluster) = change.declared() {
        socket_is_its_own(&change.name, cluster, world, &mut verdict);
        images_in_use_stay(&change.name, cluster, world, &mut verdict);
    }
    if change.deleted().is_some() {
        let machines = placed(&change.name, world);
        if !machines.is_empty() {
            let names = machines.iter().map(|machine| key_of(machine.as_ref()));
            verdict.forbid(
                "metadata.name",
                format!("machines are placed here: {}; delete them first", named(names)),
            );
        }
    }
    verdict
}

fn placed(name: &str, world: &World) -> Vec<Arc<VirtualMachine>> {
    let here = |machine: &Arc<VirtualMachine>| {
        machine.status.as_ref().and_then(|status| status.cluster.as_deref()) == Some(name)
    };
    world.machines.state().into_iter().filter(here).collect()
}

/// Two clusters over one daemon would each sell the whole host.
fn socket_is_its_own(name: &str, cluster: &ComputeCluster, world: &World, verdict: &mut Verdict) {
    let Some(libvirt) = &cluster.spec.provider.libvirt else { return };
    let twin = world.clusters.state().into_iter().find(|other| {
        other.name_any() != name
            && other.spec.provider.libvirt.as_ref().is_some_and(|it| it.socket == libvirt.socket)
    });
    if let Some(twin) = twin {
        verdict.duplicate(
            "spec.provider.libvirt.socket",
            format!(
                "{} is cluster `{}` already, its host would be sold twice; name another daemon",
                libvirt.socket,
                twin.name_any()
            ),
        );
    }
}

fn images_in_use_stay(name: &str, cluster: &ComputeCluster, world: &World, verdict: &mut Verdict) {
    let Some(libvirt) = &cluster.spec.provider.libvirt else { return };
    let offered: BTreeSet<&str> = libvirt.images.iter().map(|image| image.name.as_str()).collect();
    let missing: Vec<String> = placed(name, world)
        .iter()
        .map(|machine| machine.spec.image.clone())
        .filter(|image| !offered.contains(image.as_str()))
        .collect();
    if !missing.is_empty() {
        verdict.forbid(
            "spec.provider.libvirt.images",
            format!("machines of this cluster boot {}; keep these images", named(missing)),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::super::scene::{Scene, change, refused_fields};
    use super::*;
    use serde_json::{Value, json};

    fn cluster(name: &str, socket: &str, image: &str) -> Value {
        let images = json!([{ "name": image, "kernelPath": "/k" }]);
        json!({ "metadata": { "name": name }, "spec": { "provider": {
            "kind": "Libvirt", "libvirt": { "socket": socket, "images": images } } } })
    }

    fn fields(scene: Scene, operation: &str, old: Value, new: Value) -> Vec<String> {
        refused_fields(&check(&change(operation, old, new), &scene.world()))
    }

    #[test]
    fn a_daemon_is_in_one_cluster() {
        let scene = || Scene::default().cluster(cluster("one", "/run/a", "linux"));
        let of =
            |socket: &str| fields(scene(), "CREATE", json!(null), cluster("two", socket, "linux"));
        assert!(of("/run/b").is_empty());
        assert_eq!(of("/run/a"), ["spec.provider.libvirt.socket"]);
        let same = cluster("one", "/run/a", "linux");
        assert!(fields(scene(), "UPDATE", same.clone(), same).is_empty());
    }

    #[test]
    fn nothing_is_taken_from_under_a_machine() {
        let placed = || Scene::default().placed_machine("n", "m", "one", "linux");
        let old = || cluster("one", "/run/a", "linux");
        let changed = fields(placed(), "UPDATE", old(), cluster("one", "/run/a", "other"));
        assert_eq!(changed, ["spec.provider.libvirt.images"]);
        assert_eq!(fields(placed(), "DELETE", old(), json!(null)), ["metadata.name"]);
        assert!(fields(Scene::default(), "DELETE", old(), json!(null)).is_empty());
    }
}
