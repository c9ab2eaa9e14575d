//! Machines: only where somebody pays for them, and their record of what they held is never rewritten.
//!
//! Bills are computed from the transitions in the status, so the status is guarded like an account: a transition that
//! billing has not acknowledged can be neither changed nor dropped, and no number ever goes back.

use super::Change;
use super::network::interfaces;
use crate::finding::{Verdict, named};
use crate::review::Operation;
use crate::world::World;
use crds::VirtualMachine;
use crds::compute::{Transition, VirtualMachineStatus};
use ids::well_known::{MACHINE_FINALIZER, METERING_FINALIZER, ROLE_PROJECT};
use std::collections::BTreeMap;

/// What stands against a change of a machine.
pub fn check(change: &Change<VirtualMachine>, world: &World) -> Verdict {
    let mut verdict = Verdict::default();
    if let Some(machine) = change.declared() {
        let was_on = change.old.as_ref().is_some_and(wants_to_run);
        if change.operation == Operation::Create || (wants_to_run(machine) && !was_on) {
            payer(change, world, &mut verdict);
        }
        references(change, machine, world, &mut verdict);
        if change.operation == Operation::Create {
            let namespace = change.namespace.as_deref().unwrap_or_default();
            interfaces::check(namespace, &machine.spec.networks, world, &mut verdict);
        }
        place(change, machine, &mut verdict);
    }
    if let (Operation::Update, Some(old), Some(new)) = (change.operation, &change.old, &change.new)
    {
        // Also through doors that cannot change the status: there it is as it was, and nothing is found.
        let status = |machine: &VirtualMachine| machine.status.clone().unwrap_or_default();
        record_kept(&status(old), &status(new), &mut verdict);
    }
    verdict
}

/// The hold that a change takes off a machine: without it the machine would be forgotten before its guest is gone, or
/// before its last usage is durable. The programs that hold machines are not asked; everybody else has to answer.
pub fn lets_go(change: &Change<VirtualMachine>) -> Option<&'static str> {
    let (Operation::Update, Some(old), Some(new)) = (change.operation, &change.old, &change.new)
    else {
        return None;
    };
    let held = |machine: &VirtualMachine, hold: &str| {
        machine.metadata.finalizers.iter().flatten().any(|one| one == hold)
    };
    [MACHINE_FINALIZER, METERING_FINALIZER]
        .into_iter()
        .find(|hold| held(old, hold) && !held(new, hold))
}

/// Says why the hold stays.
pub fn refuse_letting_go(finalizer: &str, verdict: &mut Verdict) {
    verdict.forbid(
        "metadata.finalizers",
        format!(
            "`{finalizer}` is taken off by the program that holds the machine, once its guest is gone and its last usage is recorded; delete the machine and wait"
        ),
    );
}

fn wants_to_run(machine: &VirtualMachine) -> bool {
    machine.spec.running != Some(false)
}

/// A machine needs a tenant that may use more.
fn payer(change: &Change<VirtualMachine>, world: &World, verdict: &mut Verdict) {
    let namespace = change.namespace.as_deref().unwrap_or_default();
    let Some(room) = world.room(namespace).filter(|room| room.role == ROLE_PROJECT) else {
        verdict.invalid(
            "metadata.namespace",
            format!(
                "`{namespace}` is not a project's namespace, so nobody would pay; create the machine in tn-<tenant>-<project>"
            ),
        );
        return;
    };
    let Some(tenant) = world.tenant_of(&room) else {
        verdict.forbid(
            "metadata.namespace",
            format!(
                "tenant `{}` of this namespace is gone; nothing new can be made in it",
                room.tenant
            ),
        );
        return;
    };
    if tenant.metadata.deletion_timestamp.is_some() {
        verdict.forbid(
            "metadata.namespace",
            format!("tenant `{}` is closing; nothing new can be made in it", room.tenant),
        );
    } else if tenant.spec.suspended == Some(true) {
        let reason = tenant.spec.suspend_reason.as_deref().unwrap_or("no reason given");
        verdict.forbid(
            "spec.running",
            format!(
                "tenant `{}` is suspended ({reason}); machines cannot be made or switched on until it is resumed",
                room.tenant
            ),
        );
    }
}

fn references(
    change: &Change<VirtualMachine>,
    machine: &VirtualMachine,
    world: &World,
    verdict: &mut Verdict,
) {
    let size = &machine.spec.instance_type_ref.name;
    if World::named(&world.instance_types, size).is_none() {
        verdict.warn(format!("spec.instanceTypeRef.name: there is no InstanceType `{size}` yet"));
    }
    let wanted = machine.spec.placement.as_ref().and_then(|place| place.cluster_ref.as_ref());
    let Some(wanted) = wanted else { return };
    let Some(cluster) = World::named(&world.clusters, &wanted.name) else {
        verdict.warn(format!(
            "spec.placement.clusterRef.name: there is no ComputeCluster `{}` yet",
            wanted.name
        ));
        return;
    };
    let Some(libvirt) = &cluster.spec.provider.libvirt else { return };
    let image = &machine.spec.image;
    if change.operation == Operation::Create
        && !libvirt.images.iter().any(|offered| offered.name == *image)
    {
        let offered = named(libvirt.images.iter().map(|offered| offered.name.clone()));
        verdict.invalid(
            "spec.image",
            format!("cluster `{}` has no image `{image}`; it has: {offered}", wanted.name),
        );
    }
}

fn place(change: &Change<VirtualMachine>, machine: &VirtualMachine, verdict: &mut Verdict) {
    let Some(placed) = change.old.as_ref().and_then(|old| old.status.as_ref()?.cluster.clone())
    else {
        return;
    };
    let wanted = machine.spec.placement.as_ref().and_then(|place| place.cluster_ref.as_ref());
    if wanted.is_some_and(|wanted| wanted.name != placed) {
        verdict.invalid(
            "spec.placement.clusterRef.name",
            format!(
                "the machine lives in cluster `{placed}` and does not move; create another machine"
            ),
        );
    }
}

fn record_kept(old: &VirtualMachineStatus, new: &VirtualMachineStatus, verdict: &mut Verdict) {
    let acknowledged = |status: &VirtualMachineStatus| {
        status.metering.as_ref().and_then(|metering| metering.acknowledged_number).unwrap_or(0)
    };
    let last = |status: &VirtualMachineStatus| status.last_transition_number.unwrap_or(0);
    if acknowledged(new) < acknowledged(old) {
        verdict.invalid(
            "status.metering.acknowledgedNumber",
            format!("was {} and never falls; leave it or raise it", acknowledged(old)),
        );
    }
    if last(new) < last(old) {
        verdict.invalid(
            "status.lastTransitionNumber",
            format!("was {} and never falls; numbering goes on", last(old)),
        );
    }
    if acknowledged(new) > last(new) {
        verdict.invalid(
            "status.metering.acknowledgedNumber",
            format!(
                "is above the last transition {}; only what is recorded can be acknowledged",
                last(new)
            ),
        );
    }
    let kept: BTreeMap<i64, &Transition> =
        new.transitions.iter().map(|entry| (entry.number, entry)).collect();
    let unacknowledged = |entry: &&Transition| entry.number > acknowledged(old);
    for entry in old.transitions.iter().filter(unacknowledged) {
        if kept.get(&entry.number) != Some(&entry) {
            verdict.forbid(
                "status.transitions",
                format!(
                    "transition {} is not acknowledged by billing and can be neither changed nor dropped; keep it as it was",
                    entry.number
                ),
            );
        }
    }
    let gap = new.transitions.windows(2).find_map(|pair| match pair {
        [before, after] if before.number.checked_add(1) != Some(after.number) => {
            Some(before.number)
        }
        _ => None,
    });
    if let Some(number) = gap {
        verdict.invalid(
            "status.transitions",
            format!("after number {number} the numbering has a hole; numbers rise by one"),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::super::scene::{Scene, change_in, refused_fields, tenant};
    use super::*;
    use serde_json::{Value, json};

    const PROJECT: &str = "tn-acme-web";

    fn machine(spec: &Value, status: &Value) -> Value {
        let mut full = json!({ "instanceTypeRef": { "name": "small" }, "image": "linux" });
        for (key, value) in spec.as_object().unwrap() {
            full[key] = value.clone();
        }
        json!({ "metadata": { "name": "m", "namespace": PROJECT }, "spec": full, "status": status })
    }

    fn scene() -> Scene {
        let images = json!([{ "name": "linux", "kernelPath": "/k" }]);
        Scene::default()
            .tenant(tenant("acme"))
            .namespace("tn-acme", "acme", "uid-acme", "home")
            .namespace(PROJECT, "acme", "uid-acme", "project")
            .cluster(json!({ "metadata": { "name": "lab" }, "spec": { "provider": {
                "kind": "Libvirt", "libvirt": { "socket": "/s", "images": images } } } }))
    }

    fn suspended() -> Scene {
        let mut stopped = tenant("acme");
        stopped["spec"]["suspended"] = json!(true);
        stopped["spec"]["suspendReason"] = json!("arrears");
        scene().tenant(stopped)
    }

    fn fields(
        scene: Scene,
        namespace: &str,
        operation: &str,
        old: Value,
        new: Value,
    ) -> Vec<String> {
        refused_fields(&check(&change_in(namespace, operation, old, new), &scene.world()))
    }

    #[test]
    fn a_machine_needs_somebody_who_pays() {
        let new = || machine(&json!({}), &json!({}));
        let create = |scene, namespace| fields(scene, namespace, "CREATE", json!(null), new());
        assert!(create(scene(), PROJECT).is_empty());
        assert_eq!(create(scene(), "tn-acme"), ["metadata.namespace"]);
        assert_eq!(create(scene(), "default"), ["metadata.namespace"]);
        assert_eq!(create(suspended(), PROJECT), ["spec.running"]);
        let mut reborn = tenant("acme");
        reborn["metadata"]["uid"] = json!("another-uid");
        assert_eq!(create(scene().tenant(reborn), PROJECT), ["metadata.namespace"]);
    }

    #[test]
    fn a_hold_is_not_let_go() {
        let held = |finalizers: &[&str]| {
            let mut machine = machine(&json!({}), &json!({}));
            machine["metadata"]["finalizers"] = json!(finalizers);
            machine
        };
        let both = [MACHINE_FINALIZER, METERING_FINALIZER];
        let change =
            |old: Value, new: Value| change_in::<VirtualMachine>(PROJECT, "UPDATE", old, new);
        for (kept, let_go) in [
            (vec![METERING_FINALIZER], Some(MACHINE_FINALIZER)),
            (vec![MACHINE_FINALIZER], Some(METERING_FINALIZER)),
            (vec![], Some(MACHINE_FINALIZER)),
            (both.to_vec(), None),
            (vec![MACHINE_FINALIZER, METERING_FINALIZER, "example.com/backup"], None),
        ] {
            assert_eq!(lets_go(&change(held(&both), held(&kept))), let_go, "{kept:?}");
        }
        let mut verdict = Verdict::default();
        refuse_letting_go(METERING_FINALIZER, &mut verdict);
        assert_eq!(refused_fields(&verdict), ["metadata.finalizers"]);
    }

    #[test]
    fn a_suspended_tenant_may_switch_off_and_not_on() {
        let on = || machine(&json!({ "running": true }), &json!({}));
        let off = || machine(&json!({ "running": false }), &json!({}));
        assert_eq!(fields(suspended(), PROJECT, "UPDATE", off(), on()), ["spec.running"]);
        assert!(fields(suspended(), PROJECT, "UPDATE", on(), off()).is_empty());
        assert!(fields(suspended(), PROJECT, "DELETE", on(), json!(null)).is_empty());
    }

    #[test]
    fn an_image_has_to_be_in_the_named_cluster() {
        let of = |cluster: &str, image: &str| {
            let place =
                json!({ "placement": { "clusterRef": { "name": cluster } }, "image": image });
            fields(scene(), PROJECT, "CREATE", json!(null), machine(&place, &json!({})))
        };
        assert!(of("lab", "linux").is_empty());
        assert!(of("later", "beos").is_empty());
        assert_eq!(of("lab", "beos"), ["spec.image"]);
    }

    #[test]
    fn a_placed_machine_does_not_move() {
        let at = |name: &str| json!({ "placement": { "clusterRef": { "name": name } } });
        let placed = || machine(&json!({}), &json!({ "cluster": "lab" }));
        let update = |place: Value| {
            fields(
                scene(),
                PROJECT,
                "UPDATE",
                placed(),
                machine(&place, &json!({ "cluster": "lab" })),
            )
        };
        assert!(update(at("lab")).is_empty());
        assert_eq!(update(at("far")), ["spec.placement.clusterRef.name"]);
    }

    fn transition(number: i64, vcpus: &str) -> Value {
        json!({ "number": number, "at": "2026-06-01T00:00:00.000000Z", "reason": "Started",
            "holds": { "compute/vcpu": vcpus }, "final": false })
    }

    #[test]
    fn the_record_is_only_ever_extended() {
        let status = |numbers: &[i64], last: i64, acknowledged: i64| {
            let transitions: Vec<Value> = numbers.iter().map(|n| transition(*n, "1")).collect();
            json!({ "transitions": transitions, "lastTransitionNumber": last,
                "metering": { "acknowledgedNumber": acknowledged } })
        };
        let old = || status(&[1, 2, 3], 3, 1);
        let update = |new: Value| {
            let (old, new) = (machine(&json!({}), &old()), machine(&json!({}), &new));
            let mut change = change_in::<VirtualMachine>(PROJECT, "UPDATE", old, new);
            change.subresource = Some("status".to_owned());
            refused_fields(&check(&change, &scene().world()))
        };
        assert!(update(status(&[2, 3, 4], 4, 2)).is_empty());
        assert_eq!(update(status(&[3], 3, 1)), ["status.transitions"]);
        assert_eq!(update(status(&[1, 2, 3], 2, 1)), ["status.lastTransitionNumber"]);
        assert_eq!(update(status(&[1, 2, 3], 3, 0)), ["status.metering.acknowledgedNumber"]);
        assert_eq!(update(status(&[1, 2, 3, 5], 5, 1)), ["status.transitions"]);
        let mut forged = status(&[1, 2, 3], 3, 1);
        forged["transitions"][2] = transition(3, "0");
        assert_eq!(update(forged), ["status.transitions"]);
        assert_eq!(update(status(&[1, 2, 3], 3, 4)), ["status.metering.acknowledgedNumber"]);
        assert_eq!(update(json!({})).len(), 3, "an emptied status loses everything");
    }
}
