//! VirtualMachine → a share of a host, a guest at the provider, the power it should have, and the record of what it held.
//!
//! Order is everything: the share is booked before the provider is asked, and given back after the provider has nothing
//! left; what changed at the provider is written down before the next thing is done. Each step is found again after a
//! crash by the machine's UID, so a step done twice is done once.

mod steps;

use super::connection::{self, uid_of};
use super::{allocation, record};
use crate::world::World;
use crds::compute::{MachinePhase, VirtualMachineStatus};
use crds::{ComputeCluster, InstanceType, Tenant, VirtualMachine};
use ids::{ResourceUid, well_known};
use kube::ResourceExt;
use operator_kit::apply::ApplyError;
use operator_kit::controller::Outcome;
use operator_kit::status::{self, Change, Progress, ReportError, Truth};
use placement::{Refusals, Request};
use providers::{Provider, ProviderError, Size};
use std::sync::Arc;
use std::time::Duration;

/// Why a pass failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The object has no usable UID; the API server gives every object one.
    #[error("VirtualMachine has no UID")]
    NoUid,
    /// A share could not be booked or given back.
    #[error("book a host for VirtualMachine")]
    Allocation(#[from] allocation::Error),
    /// The provider failed; the next pass asks before acting.
    #[error("ask the provider for VirtualMachine")]
    Provider(#[from] ProviderError),
    /// A finalizer could not be written.
    #[error("hold VirtualMachine")]
    Apply(#[from] ApplyError),
    /// The status could not be written.
    #[error("report on VirtualMachine")]
    Report(#[from] ReportError),
    /// The status could not be built.
    #[error("build status of VirtualMachine")]
    Build(#[from] serde_json::Error),
}

/// How long to wait for something that also announces itself by an event.
const WAIT: Duration = Duration::from_secs(15);

/// How a pass ends.
struct Conclusion {
    phase: MachinePhase,
    truth: Truth,
    reason: &'static str,
    message: String,
    progress: Progress,
    outcome: Outcome,
}

impl Conclusion {
    fn ready(phase: MachinePhase, reason: &'static str, message: &str) -> Self {
        let (progress, outcome) = (Progress::Done, Outcome::Converged);
        Self { phase, truth: Truth::True, reason, message: message.to_owned(), progress, outcome }
    }

    fn waiting(phase: MachinePhase, reason: &'static str, message: String) -> Self {
        let (progress, outcome) = (Progress::Working, Outcome::Waiting(WAIT));
        Self { phase, truth: Truth::False, reason, message, progress, outcome }
    }

    fn refused(phase: MachinePhase, reason: &'static str, message: String) -> Self {
        let (progress, outcome) = (Progress::Refused, Outcome::Refused);
        Self { phase, truth: Truth::False, reason, message, progress, outcome }
    }
}

/// All that the steps need, found before anything is done.
struct Wanted {
    uid: ResourceUid,
    tenant: Arc<Tenant>,
    size: Size,
    request: Request,
}

/// One pass.
pub async fn reconcile(machine: Arc<VirtualMachine>, world: Arc<World>) -> Result<Outcome, Error> {
    let uid = uid_of(&machine).ok_or(Error::NoUid)?;
    if machine.metadata.deletion_timestamp.is_some() {
        return steps::remove(&machine, &world, uid).await;
    }
    // Before anything is held: billing may be down when the machine goes.
    let holds: &[&str] = if world.is_metered {
        &[well_known::MACHINE_FINALIZER, well_known::METERING_FINALIZER]
    } else {
        &[well_known::MACHINE_FINALIZER]
    };
    if world.applier.add_finalizers(machine.as_ref(), holds).await? {
        // The write is an event, and the pass it brings sees the object as it is now.
        return Ok(Outcome::Converged);
    }
    let mut status = machine.status.clone().unwrap_or_default();
    record::trim(&mut status);
    let conclusion = match check(&machine, &world, uid) {
        Err(conclusion) => conclusion,
        Ok(wanted) => match place(&machine, &world, &wanted, &mut status).await? {
            Err(conclusion) => conclusion,
            Ok((cluster, provider)) => {
                steps::converge(&machine, &world, &wanted, &cluster, provider.as_ref(), &mut status)
                    .await?
            }
        },
    };
    let outcome = conclusion.outcome;
    report(&machine, &world, status, &conclusion).await?;
    Ok(outcome)
}

/// What has to hold before anything is made. Machines that run are not touched by a refusal here.
fn check(machine: &VirtualMachine, world: &World, uid: ResourceUid) -> Result<Wanted, Conclusion> {
    let phase =
        machine.status.as_ref().and_then(|status| status.phase).unwrap_or(MachinePhase::Pending);
    let namespace = machine.namespace().unwrap_or_default();
    let Some(tenant) = world.tenant_of_namespace(&namespace) else {
        let message = format!(
            "namespace {namespace} belongs to no tenant; create the machine in a project's namespace"
        );
        return Err(Conclusion::refused(phase, "NotATenantNamespace", message));
    };
    let name = &machine.spec.instance_type_ref.name;
    let Some(instance_type) = world.instance_types.get(name, None) else {
        let message = format!("spec.instanceTypeRef.name: there is no InstanceType {name}");
        return Err(Conclusion::waiting(phase, "InstanceTypeNotFound", message));
    };
    let Some(size) = size_of(&instance_type) else {
        let message =
            format!("spec.instanceTypeRef: InstanceType {name} has no readable memory; replace it");
        return Err(Conclusion::refused(phase, "InvalidInstanceType", message));
    };
    let cluster =
        machine.spec.placement.as_ref().and_then(|placement| placement.cluster_ref.clone());
    let amounts = [
        (well_known::VCPU.to_owned(), size.vcpus),
        (well_known::MEMORY_MIB.to_owned(), size.memory_mib),
    ]
    .into();
    Ok(Wanted {
        uid,
        tenant,
        size,
        request: Request { amounts, cluster: cluster.map(|cluster| cluster.name) },
    })
}

fn size_of(instance_type: &InstanceType) -> Option<Size> {
    Some(Size { vcpus: instance_type.spec.vcpus, memory_mib: instance_type.spec.memory_mib()? })
}

type Placed = Result<(Arc<ComputeCluster>, Arc<dyn Provider>), Conclusion>;

/// Finds or books the machine's host, and the connection to its provider.
///
/// A booking is written into the status before the provider is asked for anything, so that whoever removes the machine
/// knows where to look, whatever happened in between.
async fn place(
    machine: &VirtualMachine,
    world: &World,
    wanted: &Wanted,
    status: &mut VirtualMachineStatus,
) -> Result<Placed, Error> {
    if status.host.is_none() {
        let clusters = world.clusters.store().state();
        let policies =
            clusters.iter().map(|one| (one.name_any(), super::cluster::policy(one))).collect();
        return match world.bookings.book(machine, &wanted.request, policies).await {
            Ok(allocation::Place { host, cluster }) => {
                let message = format!("placed on {host}");
                status.host = Some(host);
                status.cluster = Some(cluster);
                status.refusals.clear();
                Ok(Err(Conclusion::waiting(MachinePhase::Provisioning, "Placed", message)))
            }
            Err(allocation::Error::NoRoom(refusals)) => {
                status.refusals = told(&refusals);
                Ok(Err(Conclusion::waiting(
                    MachinePhase::Placing,
                    "NoHostFits",
                    summary(&refusals),
                )))
            }
            Err(error) => Err(error.into()),
        };
    }
    let name = status.cluster.clone().unwrap_or_default();
    let cluster = world.clusters.get(&name, None);
    let provider = cluster.as_ref().and_then(|cluster| world.providers.of(cluster));
    Ok(match cluster.zip(provider) {
        Some(pair) => Ok(pair),
        None => {
            let message =
                format!("ComputeCluster {name} is gone or has no usable provider; restore it");
            Err(Conclusion::waiting(MachinePhase::Failed, "ClusterUnavailable", message))
        }
    })
}

/// The most hosts named for one reason.
const HOSTS_MAX: usize = 20;

fn told(refusals: &Refusals) -> Vec<crds::compute::Refusal> {
    refusals
        .iter()
        .map(|(reason, hosts)| crds::compute::Refusal {
            reason: reason.to_string(),
            count: i64::try_from(hosts.len()).unwrap_or(i64::MAX),
            hosts: hosts.iter().take(HOSTS_MAX).cloned().collect(),
        })
        .collect()
}

fn summary(refusals: &Refusals) -> String {
    if refusals.is_empty() {
        return "no host is known; declare a ComputeCluster".to_owned();
    }
    let reasons: Vec<String> =
        refusals.iter().map(|(reason, hosts)| format!("{} × {reason}", hosts.len())).collect();
    format!("no host fits: {}; the machine waits for room", reasons.join(", "))
}

/// Writes our part of the status; billing's part is not ours.
async fn report(
    machine: &VirtualMachine,
    world: &World,
    mut status: VirtualMachineStatus,
    conclusion: &Conclusion,
) -> Result<(), Error> {
    let generation = machine.metadata.generation;
    let change = Change {
        type_: status::READY,
        status: conclusion.truth,
        reason: conclusion.reason,
        message: conclusion.message.clone(),
    };
    status.phase = Some(conclusion.phase);
    status.observed_generation = generation;
    status::set_ready(
        &mut status.conditions,
        &change,
        generation,
        world.clock.now(),
        conclusion.progress,
    );
    status.metering = None;
    let before =
        VirtualMachineStatus { metering: None, ..machine.status.clone().unwrap_or_default() };
    let (before, after) = (serde_json::to_value(before)?, serde_json::to_value(status)?);
    world.reporter.report(machine, &before, &after).await?;
    Ok(())
}
