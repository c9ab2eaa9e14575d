//! Tenant → home namespace with its policy; suspension; closing.
//!
//! A tenant's namespaces are known by the tenant's UID on their label. A namespace of the right name that carries another
//! UID, or none, is somebody else's: it is refused and left alone. Closing is a phase with an order of its own: machines
//! first (their last usage has to be durable), then projects, then the home namespace.

use super::isolation::{self, Reach};
use crate::report::{TellError, Verdict, tell};
use crate::world::World;
use crds::tenancy::{DeletionPolicy, TenantPhase, TenantStatus};
use crds::{Tenant, VirtualMachine};
use ids::{TenantName, well_known};
use k8s_openapi::api::core::v1::Namespace;
use kube::ResourceExt;
use kube::api::ObjectMeta;
use operator_kit::apply::ApplyError;
use operator_kit::controller::Outcome;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Why a pass failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An object could not be written.
    #[error("apply resources of Tenant")]
    Apply(#[from] ApplyError),
    /// The status could not be written.
    #[error("report on Tenant")]
    Tell(#[from] TellError),
    /// A declaration could not be built.
    #[error("build resources of Tenant")]
    Build(#[from] serde_json::Error),
}

/// One pass.
pub async fn reconcile(tenant: Arc<Tenant>, world: Arc<World>) -> Result<Outcome, Error> {
    if tenant.metadata.deletion_timestamp.is_some() {
        return close(&tenant, &world).await;
    }
    if world.applier.add_finalizers(tenant.as_ref(), &[well_known::TENANT_FINALIZER]).await? {
        // The write is an event, and the pass it brings sees the object as it is now.
        return Ok(Outcome::Converged);
    }
    let verdict = match check(&tenant, &world) {
        Err(refusal) => refusal,
        Ok(name) => {
            let home = home_namespace(&tenant, &name);
            world.applier.apply(&home).await?;
            world.applier.apply(&isolation::policy(&home, Reach::Tenant)?).await?;
            Verdict::Ready("Reconciled", "the home namespace is in place".to_owned())
        }
    };
    let phase = match (&verdict, tenant.spec.suspended) {
        (Verdict::Ready(..), Some(true)) => TenantPhase::Suspended,
        (Verdict::Ready(..), _) => TenantPhase::Active,
        (Verdict::Waiting(..) | Verdict::Refused(..), _) => TenantPhase::Pending,
    };
    report(&tenant, &world, phase, &verdict).await
}

/// What has to hold before anything is made.
fn check(tenant: &Tenant, world: &World) -> Result<TenantName, Verdict> {
    let name: TenantName = tenant
        .name_any()
        .parse()
        .map_err(|error: ids::InvalidName| Verdict::Refused("InvalidName", error.to_string()))?;
    check_parents(tenant, world)?;
    let home = name.home_namespace();
    if let Some(existing) = world.namespaces.get(&home, None)
        && existing.labels().get(well_known::TENANT_UID_LABEL) != tenant.uid().as_ref()
    {
        let message = format!(
            "namespace {home} exists and is not this tenant's; choose another name for the tenant"
        );
        return Err(Verdict::Refused("NamespaceTaken", message));
    }
    Ok(name)
}

/// Parents must exist and must not lead back.
fn check_parents(tenant: &Tenant, world: &World) -> Result<(), Verdict> {
    let mut path = vec![tenant.name_any()];
    let mut next = tenant.spec.parent_ref.as_ref().map(|parent| parent.name.clone());
    while let Some(parent) = next {
        let is_known = path.contains(&parent);
        path.push(parent.clone());
        if is_known {
            let message = format!("spec.parentRef: leads back to itself ({})", path.join(" → "));
            return Err(Verdict::Refused("ParentCycle", message));
        }
        let Some(found) = world.tenants.get(&parent, None) else {
            let message = format!("spec.parentRef.name: there is no tenant {parent}");
            return Err(Verdict::Refused("ParentNotFound", message));
        };
        next = found.spec.parent_ref.as_ref().map(|parent| parent.name.clone());
    }
    Ok(())
}

/// The home namespace as declared.
fn home_namespace(tenant: &Tenant, name: &TenantName) -> Namespace {
    Namespace {
        metadata: ObjectMeta {
            name: Some(name.home_namespace()),
            labels: Some(namespace_labels(tenant, well_known::ROLE_HOME)),
            ..ObjectMeta::default()
        },
        ..Namespace::default()
    }
}

/// The labels that bind a namespace to its tenant.
pub fn namespace_labels(tenant: &Tenant, role: &str) -> BTreeMap<String, String> {
    [
        (well_known::TENANT_LABEL, tenant.name_any()),
        (well_known::TENANT_UID_LABEL, tenant.uid().unwrap_or_default()),
        (well_known::ROLE_LABEL, role.to_owned()),
        (well_known::MANAGED_BY_LABEL, well_known::OPERATOR_MANAGER.to_owned()),
        ("pod-security.kubernetes.io/enforce", "restricted".to_owned()),
    ]
    .into_iter()
    .map(|(key, value)| (key.to_owned(), value))
    .collect()
}

async fn report(
    tenant: &Tenant,
    world: &World,
    phase: TenantPhase,
    verdict: &Verdict,
) -> Result<Outcome, Error> {
    let namespaces = world.namespaces_of(tenant);
    let home =
        namespaces.iter().find(|namespace| role_of(namespace) == Some(well_known::ROLE_HOME));
    let home = home.map(|namespace| namespace.name_any());
    let is_member = |namespace: Option<String>| namespace.is_some() && namespace == home;
    let members = world.members.store().state_filter(|member| is_member(member.namespace())).len();
    let status = TenantStatus {
        phase: Some(phase),
        account_id: tenant.account_id().map(str::to_owned),
        home_namespace: home.clone(),
        namespaces: namespaces.iter().map(|namespace| namespace.name_any()).collect(),
        members: i64::try_from(members).ok(),
        ..tenant.status.clone().unwrap_or_default()
    };
    Ok(tell(world, tenant, tenant.status.as_ref(), status, verdict).await?)
}

fn role_of(namespace: &Namespace) -> Option<&str> {
    namespace.labels().get(well_known::ROLE_LABEL).map(String::as_str)
}

/// One step of closing; it is called again until nothing is left.
async fn close(tenant: &Tenant, world: &World) -> Result<Outcome, Error> {
    let Some(verdict) = close_step(tenant, world).await? else {
        world.applier.remove_finalizer(tenant, well_known::TENANT_FINALIZER).await?;
        return Ok(Outcome::Converged);
    };
    report(tenant, world, TenantPhase::Closing, &verdict).await
}

/// Does the next thing and says what is being waited for; `None` when nothing is left.
async fn close_step(tenant: &Tenant, world: &World) -> Result<Option<Verdict>, Error> {
    if tenant.spec.protected == Some(true) {
        let message = "spec.protected: is true; set it to false to let the tenant close".to_owned();
        return Ok(Some(Verdict::Refused("Protected", message)));
    }
    let name = tenant.name_any();
    let is_child =
        |other: &Tenant| other.spec.parent_ref.as_ref().is_some_and(|parent| parent.name == name);
    if let Some(child) = world.tenants.store().find(is_child) {
        let message =
            format!("tenant {} is below this one; close or move it first", child.name_any());
        return Ok(Some(Verdict::Waiting("ChildrenRemain", message)));
    }
    let namespaces = world.namespaces_of(tenant);
    let names: Vec<String> = namespaces.iter().map(|namespace| namespace.name_any()).collect();
    let is_in =
        |namespace: Option<String>| namespace.is_some_and(|namespace| names.contains(&namespace));
    let machines =
        world.machines.store().state_filter(|machine: &VirtualMachine| is_in(machine.namespace()));
    if !machines.is_empty() {
        if tenant.spec.deletion_policy == Some(DeletionPolicy::Retain) {
            let message =
                "spec.deletionPolicy is Retain and machines are left; delete them first".to_owned();
            return Ok(Some(Verdict::Waiting("MachinesRemain", message)));
        }
        for machine in
            machines.iter().filter(|machine| machine.metadata.deletion_timestamp.is_none())
        {
            world.applier.delete(machine.as_ref()).await?;
        }
        return Ok(Some(Verdict::Waiting(
            "ClosingMachines",
            "machines are being removed".to_owned(),
        )));
    }
    let projects = world.projects.store().state_filter(|project| is_in(project.namespace()));
    let members = world.members.store().state_filter(|member| is_in(member.namespace()));
    if !projects.is_empty() || !members.is_empty() {
        for project in
            projects.iter().filter(|project| project.metadata.deletion_timestamp.is_none())
        {
            world.applier.delete(project.as_ref()).await?;
        }
        for member in members.iter().filter(|member| member.metadata.deletion_timestamp.is_none()) {
            world.applier.delete(member.as_ref()).await?;
        }
        return Ok(Some(Verdict::Waiting(
            "ClosingProjects",
            "projects and members are being removed".to_owned(),
        )));
    }
    if namespaces.is_empty() {
        return Ok(None);
    }
    for namespace in
        namespaces.iter().filter(|namespace| namespace.metadata.deletion_timestamp.is_none())
    {
        world.applier.delete(namespace.as_ref()).await?;
    }
    Ok(Some(Verdict::Waiting("ClosingNamespaces", "namespaces are being removed".to_owned())))
}
