//! What is done at the provider, one thing at a time, each written down before the next.

use super::{Conclusion, Error, Wanted, connection, record, report};
use crate::world::World;
use crds::compute::{MachinePhase, TransitionReason, VirtualMachineStatus};
use crds::{ComputeCluster, VirtualMachine};
use ids::{ResourceUid, well_known};
use kube::ResourceExt;
use operator_kit::controller::Outcome;
use providers::{Instance, Machine, Power, Provider, ProviderError};

/// Makes the machine what it should be; notes every change of what it holds in `status`.
pub(super) async fn converge(
    object: &VirtualMachine,
    world: &World,
    wanted: &Wanted,
    cluster: &ComputeCluster,
    provider: &dyn Provider,
    status: &mut VirtualMachineStatus,
) -> Result<Conclusion, Error> {
    let found = provider.machine(wanted.uid).await?;
    note_what_happened_meanwhile(found.as_ref(), world, status);
    let machine = match found {
        Some(machine) => machine,
        None => match create(object, world, wanted, cluster, provider, status).await? {
            Ok(machine) => machine,
            Err(conclusion) => return Ok(conclusion),
        },
    };
    status.provider_id = Some(machine.provider_id.clone());
    let suspended = wanted.tenant.spec.suspended == Some(true);
    let should_run = object.spec.running.unwrap_or(true) && !suspended;
    if !should_run && machine.power == Power::On {
        provider.stop(wanted.uid).await?;
        record::note(status, record::holds(None), TransitionReason::Stopped, world.clock.now());
    }
    let is_on = should_run && machine.power == Power::On;
    if machine.size != wanted.size {
        if is_on && !provider.capabilities().live_resize {
            let message = "spec.instanceTypeRef: the size can change only while the machine is off; set spec.running \
                           to false, wait for phase Stopped, then set it to true again";
            return Ok(Conclusion::refused(
                MachinePhase::Running,
                "ResizeNeedsStop",
                message.to_owned(),
            ));
        }
        if let Some(conclusion) = resize(object, world, wanted, provider, status).await? {
            return Ok(conclusion);
        }
    }
    if should_run && machine.power != Power::On {
        match provider.start(wanted.uid).await {
            Err(ProviderError::Refused(reason)) => {
                return Ok(Conclusion::refused(MachinePhase::Failed, "StartRefused", reason));
            }
            other => other?,
        }
    }
    // What is held is what the provider says, not what was asked of it.
    let now = provider.machine(wanted.uid).await?;
    record::note(status, record::holds(now.as_ref()), TransitionReason::Started, world.clock.now());
    Ok(match now.map(|machine| machine.power) {
        Some(Power::On) if should_run => {
            Conclusion::ready(MachinePhase::Running, "Running", "the machine is on")
        }
        Some(Power::Off) if suspended => Conclusion::ready(
            MachinePhase::Frozen,
            "TenantSuspended",
            "the machine is off while its tenant is suspended",
        ),
        Some(Power::Off) if !should_run => {
            Conclusion::ready(MachinePhase::Stopped, "Stopped", "the machine is off")
        }
        _ => {
            let message =
                "the machine did not reach the power it should have; trying again".to_owned();
            Conclusion::waiting(MachinePhase::Provisioning, "PowerChanging", message)
        }
    })
}

/// A machine that stopped or vanished by itself ended holding what it held.
fn note_what_happened_meanwhile(
    found: Option<&Machine>,
    world: &World,
    status: &mut VirtualMachineStatus,
) {
    if record::is_open(status) {
        let reason = match found.map(|machine| machine.power) {
            Some(Power::On) => TransitionReason::Started,
            Some(Power::Off) => TransitionReason::Stopped,
            Some(Power::Crashed) | None => TransitionReason::Failed,
        };
        record::note(status, record::holds(found), reason, world.clock.now());
    }
}

async fn create(
    object: &VirtualMachine,
    world: &World,
    wanted: &Wanted,
    cluster: &ComputeCluster,
    provider: &dyn Provider,
    status: &VirtualMachineStatus,
) -> Result<Result<Machine, Conclusion>, Error> {
    let Some(image) = connection::image(cluster, &object.spec.image) else {
        let message = format!(
            "spec.image: cluster {} has no image {}",
            cluster.name_any(),
            object.spec.image
        );
        return Ok(Err(Conclusion::refused(MachinePhase::Pending, "ImageNotFound", message)));
    };
    let host = status.host.clone().unwrap_or_default();
    let Some(host) = world.hosts.get(&host, None) else {
        let message = format!("PhysicalMachine {host} is gone; restore it or delete the machine");
        return Ok(Err(Conclusion::waiting(MachinePhase::Failed, "HostGone", message)));
    };
    let instance = Instance {
        uid: wanted.uid,
        name: operator_kit::cache::key_of(object),
        host: host.spec.provider_host.clone(),
        size: wanted.size,
        image,
    };
    match provider.create(&instance).await {
        Ok(machine) => Ok(Ok(machine)),
        Err(ProviderError::Refused(reason)) => {
            Ok(Err(Conclusion::waiting(MachinePhase::Provisioning, "CreateRefused", reason)))
        }
        Err(error) => Err(error.into()),
    }
}

/// Books the new size, then gives it to the machine; a conclusion when that cannot be.
async fn resize(
    object: &VirtualMachine,
    world: &World,
    wanted: &Wanted,
    provider: &dyn Provider,
    status: &VirtualMachineStatus,
) -> Result<Option<Conclusion>, Error> {
    let host = status.host.clone().unwrap_or_default();
    if !world.bookings.resize(object, &host, &wanted.request).await? {
        let message = format!(
            "spec.instanceTypeRef: host {host} has no room for the new size; choose a smaller one"
        );
        return Ok(Some(Conclusion::refused(MachinePhase::Stopped, "NoRoomToResize", message)));
    }
    match provider.resize(wanted.uid, wanted.size).await {
        Err(ProviderError::Refused(reason)) => {
            Ok(Some(Conclusion::refused(MachinePhase::Stopped, "ResizeRefused", reason)))
        }
        other => Ok(other.map(|()| None)?),
    }
}

/// Removes the machine: the guest, then the record's end, then the share, then the hold on the object.
pub(super) async fn remove(
    object: &VirtualMachine,
    world: &World,
    uid: ResourceUid,
) -> Result<Outcome, Error> {
    if !object.finalizers().iter().any(|finalizer| finalizer == well_known::MACHINE_FINALIZER) {
        // Billing still holds the object until its last transition is durable.
        return Ok(Outcome::Converged);
    }
    let mut status = object.status.clone().unwrap_or_default();
    record::trim(&mut status);
    if let Some(name) = status.cluster.clone() {
        let cluster = world.clusters.get(&name, None);
        let Some(provider) = cluster.and_then(|cluster| world.providers.of(&cluster)) else {
            let message = format!(
                "ComputeCluster {name} is gone, so the guest cannot be removed; restore it"
            );
            let conclusion =
                Conclusion::waiting(MachinePhase::Deleting, "ClusterUnavailable", message);
            report(object, world, status, &conclusion).await?;
            return Ok(conclusion.outcome);
        };
        provider.delete(uid).await?;
    }
    if record::is_open(&status) {
        record::end(&mut status, world.clock.now());
        let message = "the guest is gone; its last usage is being recorded".to_owned();
        let conclusion = Conclusion::waiting(MachinePhase::Deleting, "Recording", message);
        // The write is an event, and the next pass goes on from it.
        report(object, world, status, &conclusion).await?;
        return Ok(conclusion.outcome);
    }
    world.bookings.release(object).await?;
    world.applier.remove_finalizer(object, well_known::MACHINE_FINALIZER).await?;
    Ok(Outcome::Converged)
}
