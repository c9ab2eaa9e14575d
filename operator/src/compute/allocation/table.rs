//! A host's allocation table: what it says, and the next one with a share more or less.

use crds::PhysicalMachine;
use crds::compute::{Allocation, Maintenance};
use ids::well_known;
use kube::ResourceExt;
use placement::{Amounts, Host, InventoryLine};
use std::collections::BTreeMap;

/// A host as placement sees it.
pub fn view(host: &PhysicalMachine) -> Host {
    let line = |entry: &crds::compute::InventoryEntry| InventoryLine {
        total: entry.total,
        reserved: entry.reserved.unwrap_or(0),
        ratio_thousandths: entry.ratio_thousandths.unwrap_or(1000),
        min_unit: entry.min_unit.unwrap_or(1),
        max_unit: entry.max_unit,
        step: entry.step.unwrap_or(1),
    };
    let mut allocated = Amounts::new();
    for allocation in table(host) {
        promise(&mut allocated, &allocation.amounts);
    }
    Host {
        name: host.name_any(),
        cluster: host.spec.cluster_ref.name.clone(),
        healthy: host.metadata.deletion_timestamp.is_none(),
        cordoned: host.spec.maintenance.unwrap_or_default() != Maintenance::Active,
        inventory: host
            .spec
            .inventory
            .iter()
            .map(|entry| (entry.resource.clone(), line(entry)))
            .collect(),
        allocated,
    }
}

/// Adds a share to what is promised.
fn promise(allocated: &mut Amounts, share: &Amounts) {
    for (resource, amount) in share {
        match allocated.get_mut(resource) {
            Some(sum) => *sum = sum.saturating_add(*amount),
            None => drop(allocated.insert(resource.clone(), *amount)),
        }
    }
}

/// Everything promised on the host.
pub fn table(host: &PhysicalMachine) -> &[Allocation] {
    host.status.as_ref().map_or(&[], |status| status.allocations.as_slice())
}

/// What the machine of this UID holds on the host.
pub fn share_of<'a>(host: &'a PhysicalMachine, uid: &str) -> Option<&'a Allocation> {
    table(host).iter().find(|allocation| allocation.uid == uid)
}

/// Counts the changes of the table.
pub fn generation(host: &PhysicalMachine) -> i64 {
    host.status.as_ref().and_then(|status| status.allocation_generation).unwrap_or(0)
}

/// Sets the share of `uid`, which had none or another.
pub fn put(host: &mut PhysicalMachine, uid: &str, machine: &str, amounts: &Amounts) {
    let sequence = generation(host).saturating_add(1);
    let status = host.status.get_or_insert_default();
    status.allocations.retain(|allocation| allocation.uid != uid);
    status.allocations.push(Allocation {
        uid: uid.to_owned(),
        machine: machine.to_owned(),
        amounts: amounts.clone(),
        sequence,
    });
    status.allocations.sort_by(|a, b| a.uid.cmp(&b.uid));
    status.allocation_generation = Some(sequence);
}

/// Takes the share of `uid` away.
pub fn take(host: &mut PhysicalMachine, uid: &str) {
    let next = generation(host).saturating_add(1);
    if let Some(status) = host.status.as_mut() {
        status.allocations.retain(|allocation| allocation.uid != uid);
        status.allocation_generation = Some(next);
    }
}

/// Promised of capacity as people read it, by resource.
pub fn summary(view: &Host) -> BTreeMap<String, String> {
    [("vcpus", well_known::VCPU), ("memory", well_known::MEMORY_MIB)]
        .into_iter()
        .filter_map(|(name, resource)| {
            let capacity = view.inventory.get(resource)?.capacity();
            Some((name.to_owned(), format!("{}/{capacity}", view.allocated_of(resource))))
        })
        .collect()
}
