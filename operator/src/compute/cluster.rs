//! ComputeCluster → its hosts as `PhysicalMachine` objects with real capacity, and a look at what the provider really has.
//!
//! A host that is no longer listed is cordoned, not deleted: machines may still be on it. Machines that nobody declared
//! are reported as orphans; removing them is a person's act.

use super::connection::uid_of;
use crate::world::World;
use crds::compute::{
    ComputeClusterStatus, InventoryEntry, MachinePhase, PhysicalMachineSpec, PlacementPolicy,
};
use crds::{ComputeCluster, ObjectName, PhysicalMachine, VirtualMachine};
use ids::{ResourceUid, well_known};
use kube::api::ObjectMeta;
use kube::{Resource, ResourceExt};
use kube_runtime::reflector::ObjectRef;
use operator_kit::apply::ApplyError;
use operator_kit::controller::Outcome;
use operator_kit::status::{self, Change, Progress, ReportError, Truth};
use providers::{HostInventory, Machine, Power, Provider, ProviderError};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Why a pass failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An object could not be written.
    #[error("apply hosts of ComputeCluster")]
    Apply(#[from] ApplyError),
    /// The status could not be written.
    #[error("report on ComputeCluster")]
    Report(#[from] ReportError),
    /// The status could not be built.
    #[error("build status of ComputeCluster")]
    Build(#[from] serde_json::Error),
}

/// How often the provider is asked what it has.
const INTERVAL: Duration = Duration::from_secs(10);
/// The most orphans named in a status.
const ORPHANS_MAX: usize = 20;

/// One pass.
pub async fn reconcile(cluster: Arc<ComputeCluster>, world: Arc<World>) -> Result<Outcome, Error> {
    if cluster.metadata.deletion_timestamp.is_some() {
        return Ok(Outcome::Converged);
    }
    let Some(provider) = world.providers.of(&cluster) else {
        let message = "spec.provider: lacks the member that its kind needs".to_owned();
        report(&cluster, &world, Err(("InvalidProvider", message)), &[]).await?;
        return Ok(Outcome::Refused);
    };
    match survey(provider.as_ref()).await {
        Ok((hosts, machines)) => {
            for host in &hosts {
                let wanted = declaration(&cluster, host);
                let known = world.hosts.get(&wanted.name_any(), None);
                if !known.is_some_and(|known| says(&known, &wanted)) {
                    world.applier.apply(&wanted).await?;
                }
            }
            let orphans = compare(&cluster, &world, &machines);
            let found = format!("{} hosts discovered", hosts.len());
            report(&cluster, &world, Ok((found, hosts.len())), &orphans).await?;
        }
        Err(error) => {
            report(&cluster, &world, Err(("ProviderUnavailable", error.to_string())), &[]).await?;
        }
    }
    Ok(Outcome::Waiting(INTERVAL))
}

async fn survey(
    provider: &dyn Provider,
) -> Result<(Vec<HostInventory>, Vec<Machine>), ProviderError> {
    Ok((provider.hosts().await?, provider.machines().await?))
}

/// The host as an object; what a person sets on it (maintenance, an entry's reserve) is not ours and stays.
fn declaration(cluster: &ComputeCluster, host: &HostInventory) -> PhysicalMachine {
    let overcommit = cluster.spec.overcommit.clone();
    let entry = |resource: &str, total, ratio_thousandths| InventoryEntry {
        resource: resource.to_owned(),
        total,
        reserved: None,
        ratio_thousandths,
        min_unit: None,
        max_unit: None,
        step: None,
    };
    let (vcpu_ratio, memory_ratio) = overcommit.map_or((None, None), |overcommit| {
        (overcommit.vcpu_thousandths, overcommit.memory_thousandths)
    });
    PhysicalMachine {
        metadata: ObjectMeta {
            name: Some(object_name(cluster, &host.name)),
            labels: Some(
                [(
                    well_known::MANAGED_BY_LABEL.to_owned(),
                    well_known::OPERATOR_MANAGER.to_owned(),
                )]
                .into(),
            ),
            owner_references: cluster.controller_owner_ref(&()).map(|owner| vec![owner]),
            ..ObjectMeta::default()
        },
        spec: PhysicalMachineSpec {
            cluster_ref: ObjectName::new(cluster.name_any()),
            provider_host: host.name.clone(),
            inventory: vec![
                entry(well_known::VCPU, host.vcpus, vcpu_ratio),
                entry(well_known::MEMORY_MIB, host.memory_mib, memory_ratio),
            ],
            maintenance: None,
        },
        status: None,
    }
}

/// Whether the object says already what we declare; what others say beside it is theirs.
fn says(known: &PhysicalMachine, wanted: &PhysicalMachine) -> bool {
    let has_entry = |entry: &InventoryEntry| {
        known.spec.inventory.iter().any(|other| {
            (&other.resource, other.total, other.ratio_thousandths)
                == (&entry.resource, entry.total, entry.ratio_thousandths)
        })
    };
    known.spec.cluster_ref == wanted.spec.cluster_ref
        && known.spec.provider_host == wanted.spec.provider_host
        && wanted.spec.inventory.iter().all(has_entry)
        && wanted.labels().iter().all(|(name, value)| known.labels().get(name) == Some(value))
        && wanted.owner_references().iter().all(|owner| known.owner_references().contains(owner))
}

/// `cluster-host`, in the characters that names may have.
fn object_name(cluster: &ComputeCluster, host: &str) -> String {
    let plain = |character: char| {
        if character.is_ascii_alphanumeric() || character == '.' {
            character.to_ascii_lowercase()
        } else {
            '-'
        }
    };
    let host: String = host.chars().map(plain).collect();
    format!("{}-{}", cluster.name_any(), host.trim_matches(['-', '.']))
}

/// Machines that differ from what their objects report are looked at again; those without an object are returned.
fn compare(cluster: &ComputeCluster, world: &World, machines: &[Machine]) -> Vec<ResourceUid> {
    let name = cluster.name_any();
    let is_here = |machine: &VirtualMachine| {
        machine.status.as_ref().is_some_and(|status| status.cluster.as_deref() == Some(&name))
    };
    let declared: BTreeMap<ResourceUid, Arc<VirtualMachine>> = world
        .machines
        .store()
        .state()
        .into_iter()
        .filter_map(|machine| Some((uid_of(&machine)?, machine)))
        .collect();
    let real: BTreeMap<ResourceUid, &Machine> =
        machines.iter().map(|machine| (machine.uid, machine)).collect();
    for (uid, machine) in declared.iter().filter(|(_, machine)| is_here(machine)) {
        let phase = machine.status.as_ref().and_then(|status| status.phase);
        let agrees = match real.get(uid).map(|real| real.power) {
            Some(Power::On) => {
                phase != Some(MachinePhase::Stopped) && phase != Some(MachinePhase::Frozen)
            }
            Some(Power::Off | Power::Crashed) | None => phase != Some(MachinePhase::Running),
        };
        if !agrees {
            world.providers.drifted(&ObjectRef::from_obj(machine.as_ref()));
        }
    }
    real.keys().filter(|uid| !declared.contains_key(uid)).copied().collect()
}

type Survey = Result<(String, usize), (&'static str, String)>;

async fn report(
    cluster: &ComputeCluster,
    world: &World,
    survey: Survey,
    orphans: &[ResourceUid],
) -> Result<(), Error> {
    let before = cluster.status.clone().unwrap_or_default();
    let name = cluster.name_any();
    let is_placed = |machine: &VirtualMachine| {
        machine.status.as_ref().is_some_and(|status| status.cluster.as_deref() == Some(&name))
    };
    let machines = world.machines.store().state_filter(is_placed).len();
    let mut status = ComputeClusterStatus {
        observed_generation: cluster.metadata.generation,
        conditions: before.conditions.clone(),
        hosts: before.hosts,
        machines: i64::try_from(machines).ok(),
        orphans: orphans.iter().take(ORPHANS_MAX).map(ToString::to_string).collect(),
    };
    let (change, progress) = match survey {
        Ok((message, hosts)) => {
            status.hosts = i64::try_from(hosts).ok();
            (
                Change { type_: status::READY, status: Truth::True, reason: "Discovered", message },
                Progress::Done,
            )
        }
        Err((reason, message)) => (
            Change { type_: status::READY, status: Truth::False, reason, message },
            Progress::Working,
        ),
    };
    status::set_ready(
        &mut status.conditions,
        &change,
        cluster.metadata.generation,
        world.clock.now(),
        progress,
    );
    let (before, after) = (serde_json::to_value(before)?, serde_json::to_value(status)?);
    world.reporter.report(cluster, &before, &after).await?;
    Ok(())
}

/// The policy by which the cluster's hosts are filled.
pub fn policy(cluster: &ComputeCluster) -> placement::Policy {
    match cluster.spec.placement_policy {
        Some(PlacementPolicy::Spread) => placement::Policy::Spread,
        Some(PlacementPolicy::Pack) | None => placement::Policy::Pack,
    }
}
