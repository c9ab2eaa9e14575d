//! Project → a namespace of its own, with labels that bind it to the tenant and a policy that isolates it.

use super::isolation::{self, Reach};
use super::tenant::namespace_labels;
use crate::report::{TellError, Verdict, tell};
use crate::world::World;
use crds::tenancy::{NetworkIsolation, ProjectStatus};
use crds::{Project, Tenant, VirtualMachine};
use ids::{ProjectName, TenantName, well_known};
use k8s_openapi::api::core::v1::Namespace;
use kube::ResourceExt;
use kube::api::ObjectMeta;
use operator_kit::apply::ApplyError;
use operator_kit::controller::Outcome;
use std::sync::Arc;

/// Why a pass failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An object could not be written.
    #[error("apply resources of Project")]
    Apply(#[from] ApplyError),
    /// The status could not be written.
    #[error("report on Project")]
    Tell(#[from] TellError),
    /// A declaration could not be built.
    #[error("build resources of Project")]
    Build(#[from] serde_json::Error),
}

/// One pass.
pub async fn reconcile(project: Arc<Project>, world: Arc<World>) -> Result<Outcome, Error> {
    if project.metadata.deletion_timestamp.is_some() {
        return close(&project, &world).await;
    }
    if world.applier.add_finalizers(project.as_ref(), &[well_known::PROJECT_FINALIZER]).await? {
        // The write is an event, and the pass it brings sees the object as it is now.
        return Ok(Outcome::Converged);
    }
    let verdict = match check(&project, &world) {
        Err(refusal) => refusal,
        Ok(namespace) => {
            world.applier.apply(&namespace).await?;
            world.applier.apply(&isolation::policy(&namespace, reach(&project))?).await?;
            Verdict::Ready("Reconciled", format!("namespace {} is in place", namespace.name_any()))
        }
    };
    report(&project, &world, &verdict).await
}

fn reach(project: &Project) -> Reach {
    match project.spec.network_isolation {
        Some(NetworkIsolation::Project) => Reach::Namespace,
        Some(NetworkIsolation::Tenant) | None => Reach::Tenant,
    }
}

/// The namespace that the project is to have.
fn check(project: &Project, world: &World) -> Result<Namespace, Verdict> {
    let place = project.namespace().unwrap_or_default();
    let Some(tenant) = owner(project, world) else {
        let message = format!(
            "namespace {place} is no tenant's home; create the Project in a tenant's home namespace"
        );
        return Err(Verdict::Refused("NotATenantHome", message));
    };
    let invalid = |error: ids::InvalidName| Verdict::Refused("InvalidName", error.to_string());
    let tenant_name: TenantName = tenant.name_any().parse().map_err(invalid)?;
    let name: ProjectName = project.name_any().parse().map_err(invalid)?;
    let namespace = namespace(project, &tenant, &tenant_name, &name);
    if let Some(existing) = world.namespaces.get(&namespace.name_any(), None) {
        let labels = existing.labels();
        let is_ours = labels.get(well_known::TENANT_UID_LABEL) == tenant.uid().as_ref()
            && labels.get(well_known::PROJECT_LABEL).map(String::as_str) == Some(name.as_str());
        if !is_ours {
            let taken = namespace.name_any();
            let message =
                format!("namespace {taken} exists and is not this project's; choose another name");
            return Err(Verdict::Refused("NamespaceTaken", message));
        }
    }
    Ok(namespace)
}

/// The tenant in whose home namespace the project is.
fn owner(project: &Project, world: &World) -> Option<Arc<Tenant>> {
    let place = project.namespace()?;
    let home = world.namespaces.get(&place, None)?;
    let is_home = home.labels().get(well_known::ROLE_LABEL).map(String::as_str)
        == Some(well_known::ROLE_HOME);
    world.tenant_of_namespace(&place).filter(|_| is_home)
}

fn namespace(
    project: &Project,
    tenant: &Tenant,
    tenant_name: &TenantName,
    name: &ProjectName,
) -> Namespace {
    let mut labels = namespace_labels(tenant, well_known::ROLE_PROJECT);
    // The tenant's own labels cannot replace the guarded ones: the schema refuses those keys, and these come last.
    let mut all: std::collections::BTreeMap<String, String> =
        project.spec.labels.iter().map(|(key, value)| (key.clone(), value.0.clone())).collect();
    labels.insert(well_known::PROJECT_LABEL.to_owned(), name.to_string());
    all.extend(labels);
    Namespace {
        metadata: ObjectMeta {
            name: Some(tenant_name.project_namespace(name)),
            labels: Some(all),
            ..ObjectMeta::default()
        },
        ..Namespace::default()
    }
}

async fn report(project: &Project, world: &World, verdict: &Verdict) -> Result<Outcome, Error> {
    let status = ProjectStatus {
        namespace: made_namespace(project, world).map(|namespace| namespace.name_any()),
        ..project.status.clone().unwrap_or_default()
    };
    Ok(tell(world, project, project.status.as_ref(), status, verdict).await?)
}

/// The namespace that was made for the project, by the labels on it.
fn made_namespace(project: &Project, world: &World) -> Option<Arc<Namespace>> {
    let home = world.namespaces.get(&project.namespace()?, None)?;
    let uid = home.labels().get(well_known::TENANT_UID_LABEL)?.clone();
    let name = project.name_any();
    world.namespaces.store().find(|namespace| {
        namespace.labels().get(well_known::TENANT_UID_LABEL) == Some(&uid)
            && namespace.labels().get(well_known::PROJECT_LABEL) == Some(&name)
    })
}

/// Machines first, then the namespace; nothing of a tenant's is destroyed by deleting a project that still has some.
async fn close(project: &Project, world: &World) -> Result<Outcome, Error> {
    let Some(namespace) = made_namespace(project, world) else {
        world.applier.remove_finalizer(project, well_known::PROJECT_FINALIZER).await?;
        return Ok(Outcome::Converged);
    };
    let name = namespace.name_any();
    let is_in = |machine: &VirtualMachine| machine.namespace().as_deref() == Some(name.as_str());
    let verdict = if world.machines.store().find(is_in).is_some() {
        let message = format!("machines are left in {name}; delete them first");
        Verdict::Waiting("MachinesRemain", message)
    } else {
        if namespace.metadata.deletion_timestamp.is_none() {
            world.applier.delete(namespace.as_ref()).await?;
        }
        Verdict::Waiting("ClosingNamespace", format!("namespace {name} is being removed"))
    };
    report(project, world, &verdict).await
}
