//! Whether a change of a host can help a machine that waits: more room, or a host that takes machines again.

use super::table;
use crds::PhysicalMachine;
use kube::ResourceExt;
use placement::{Amounts, Host};
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// What was free on each host when it was last looked at.
#[derive(Default)]
pub struct Rooms(Mutex<BTreeMap<String, Amounts>>);

impl Rooms {
    /// True when the host has more of anything to give than it had; a new host has.
    pub fn has_grown(&self, host: &PhysicalMachine) -> bool {
        let free = free(&table::view(host));
        let mut rooms = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = rooms.insert(host.name_any(), free.clone()).unwrap_or_default();
        let had = |resource: &String| before.get(resource).copied().unwrap_or(0);
        free.iter().any(|(resource, amount)| *amount > had(resource))
    }
}

/// What a new machine could take; nothing of a host that takes none.
fn free(host: &Host) -> Amounts {
    if host.cordoned || !host.healthy {
        return Amounts::new();
    }
    host.inventory
        .iter()
        .map(|(resource, line)| {
            let left = line.capacity().saturating_sub(host.allocated_of(resource));
            (resource.clone(), left.max(0))
        })
        .collect()
}
