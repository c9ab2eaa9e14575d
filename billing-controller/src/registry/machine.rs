//! VirtualMachine → whose it is, and every transition of what it held.
//!
//! A transition is acknowledged only after it is durable in the usage log, and the object is held until its last one is.

use super::World;
use super::announce::{AnnounceError, Audience};
use calendar::Instant;
use crds::VirtualMachine;
use crds::compute::MeteringStatus;
use ids::{AccountId, ResourceUid, well_known};
use jiff::Timestamp;
use kube::ResourceExt;
use metering::{Record, RegistryEntry, Transition, scale};
use operator_kit::apply::ApplyError;
use operator_kit::controller::Outcome;
use operator_kit::status::ReportError;
use std::sync::Arc;
use std::time::Duration;
use store::registry::ResourceRow;

/// Why a pass failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The object has no usable UID; the API server gives every object one.
    #[error("VirtualMachine has no UID")]
    NoUid,
    /// A transition holds an amount that is no decimal.
    #[error("transition {number} of VirtualMachine: {sku}")]
    Holds {
        /// The transition.
        number: i64,
        /// What is held.
        sku: String,
        /// What is wrong.
        #[source]
        source: scale::DecimalRefused,
    },
    /// Rows could not be written.
    #[error("register VirtualMachine")]
    Store(#[from] store::Error),
    /// Facts are not in the usage log.
    #[error("record usage of VirtualMachine")]
    Announce(#[from] AnnounceError),
    /// The finalizer could not be written.
    #[error("hold VirtualMachine")]
    Apply(#[from] ApplyError),
    /// The acknowledgement could not be written.
    #[error("acknowledge transitions of VirtualMachine")]
    Report(#[from] ReportError),
    /// The acknowledgement could not be built.
    #[error("acknowledge transitions of VirtualMachine")]
    Build(#[from] serde_json::Error),
}

/// How long to wait for a namespace's owner, which also announces itself by an event.
const WAIT: Duration = Duration::from_secs(30);
/// The kind, as bills show it.
pub(super) const KIND: &str = "VirtualMachine";

/// One pass.
pub async fn reconcile(machine: Arc<VirtualMachine>, world: Arc<World>) -> Result<Outcome, Error> {
    let uid: ResourceUid = machine.uid().and_then(|uid| uid.parse().ok()).ok_or(Error::NoUid)?;
    let is_going = machine.metadata.deletion_timestamp.is_some();
    let is_held = machine.finalizers().iter().any(|held| held == well_known::METERING_FINALIZER);
    if is_going && !is_held {
        return Ok(Outcome::Converged);
    }
    if !is_going
        && world.applier.add_finalizers(machine.as_ref(), &[well_known::METERING_FINALIZER]).await?
    {
        // The write is an event, and the pass it brings sees the object as it is now.
        return Ok(Outcome::Converged);
    }
    let namespace = machine.namespace().unwrap_or_default();
    let Some(account) = world.owner_of(&namespace) else {
        // Nobody's namespace: the operator makes nothing there, so there is nothing to wait for when it goes.
        if is_going && last(&machine).is_none() {
            world
                .applier
                .remove_finalizer(machine.as_ref(), well_known::METERING_FINALIZER)
                .await?;
            return Ok(Outcome::Converged);
        }
        return Ok(Outcome::Waiting(WAIT));
    };
    let ended_at = if is_going { ended_at(&machine) } else { None };
    register(&machine, &world, uid, account, ended_at).await?;
    let is_acknowledged = record(&machine, &world, uid, account).await?;
    if !is_going {
        return Ok(Outcome::Converged);
    }
    if ended_at.is_none() || !is_acknowledged {
        // The operator ends the record first; its write, like our own, is an event.
        return Ok(Outcome::Waiting(WAIT));
    }
    // Everything it held is durable.
    world.applier.remove_finalizer(machine.as_ref(), well_known::METERING_FINALIZER).await?;
    world.announcer.forget(&key(uid));
    Ok(Outcome::Converged)
}

/// When the life of a machine that is being deleted was over; `None` while its record has not ended.
fn ended_at(machine: &VirtualMachine) -> Option<Instant> {
    let is_held_by_operator =
        machine.finalizers().iter().any(|held| held == well_known::MACHINE_FINALIZER);
    match last(machine) {
        Some(last) if last.is_final => Some(instant(last.at.0)),
        None if !is_held_by_operator => {
            machine.metadata.deletion_timestamp.as_ref().map(|time| instant(time.0))
        }
        Some(_) | None => None,
    }
}

fn last(machine: &VirtualMachine) -> Option<&crds::compute::Transition> {
    machine.status.as_ref()?.transitions.last()
}

fn instant(timestamp: Timestamp) -> Instant {
    Instant::from_timestamp(timestamp)
}

/// Says whose the machine is, open or until `valid_to`.
async fn register(
    machine: &VirtualMachine,
    world: &World,
    uid: ResourceUid,
    account: AccountId,
    valid_to: Option<Instant>,
) -> Result<(), Error> {
    let created = machine.metadata.creation_timestamp.as_ref();
    let created_at = created.map_or(Instant::EPOCH, |time| instant(time.0));
    let namespace = machine.namespace().unwrap_or_default();
    let labelled = world.namespaces.get(&namespace, None);
    let project = labelled
        .and_then(|namespace| namespace.labels().get(well_known::PROJECT_LABEL).cloned())
        .unwrap_or_default();
    let entry = RegistryEntry {
        resource: uid,
        tenant: account,
        project,
        kind: KIND.to_owned(),
        name: machine.name_any(),
        created_at,
        valid_from: created_at,
        valid_to,
    };
    let row = ResourceRow {
        tenant: account.0,
        resource_uid: uid.0,
        valid_from_microseconds: entry.valid_from.microseconds(),
        valid_to_microseconds: valid_to.map(Instant::microseconds),
        kind: entry.kind.clone(),
        project: entry.project.clone(),
        name: entry.name.clone(),
        created_at_microseconds: created_at.microseconds(),
    };
    let acquire = |source| store::Error::Database { act: "register a machine", source };
    let mut connection = world.pool.acquire().await.map_err(acquire)?;
    store::registry::resource_put(&mut connection, &row).await?;
    drop(connection);
    world.owners.set(uid, account);
    let audience = Audience::Resource(account, uid);
    world.announcer.announce(key(uid), audience, Record::Registry(entry)).await?;
    Ok(())
}

fn key(uid: ResourceUid) -> String {
    format!("resource/{uid}")
}

/// Appends transitions that are not acknowledged, then acknowledges them. True when none is left to acknowledge.
async fn record(
    machine: &VirtualMachine,
    world: &World,
    uid: ResourceUid,
    account: AccountId,
) -> Result<bool, Error> {
    let Some(status) = &machine.status else { return Ok(true) };
    let before = status.metering.as_ref().and_then(|metering| metering.acknowledged_number);
    let acknowledged = before.unwrap_or(0);
    let new: Vec<_> = status.transitions.iter().filter(|one| one.number > acknowledged).collect();
    let Some(through) = new.last().map(|one| one.number) else { return Ok(true) };
    let records = new.into_iter().map(|one| transition(uid, one)).collect::<Result<_, _>>()?;
    world.announcer.append(Audience::Account(account), records).await?;
    let metering = |acknowledged_number| {
        serde_json::to_value(MeteringStatus { acknowledged_number })
            .map(|metering| serde_json::json!({ "metering": metering }))
    };
    world.reporter.report(machine, &metering(before)?, &metering(Some(through))?).await?;
    // The write is an event; whoever asks for the end sees it then.
    Ok(false)
}

fn transition(uid: ResourceUid, one: &crds::compute::Transition) -> Result<Record, Error> {
    let holds = one.holds.iter().map(|(sku, amount)| {
        let refused = |source| Error::Holds { number: one.number, sku: sku.clone(), source };
        Ok((sku.clone(), scale::held_from_text(amount).map_err(refused)?))
    });
    Ok(Record::Transition(Transition {
        resource: uid,
        number: u64::try_from(one.number).unwrap_or(0),
        at: instant(one.at.0),
        holds: holds.collect::<Result<_, Error>>()?,
        is_final: one.is_final,
    }))
}
