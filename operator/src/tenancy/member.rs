//! TenantMember → role bindings in the tenant's namespaces.
//!
//! Bindings are known by the member's UID on their label. Every pass declares the wanted ones and removes the rest, so a
//! role taken away, a project left out, and an expiry all end the same way.

use super::roles;
use crate::report::{TellError, Verdict, tell};
use crate::world::World;
use crds::tenancy::{SubjectKind, TenantMemberStatus};
use crds::{Tenant, TenantMember};
use ids::well_known;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::api::rbac::v1::{RoleBinding, RoleRef, Subject};
use kube::ResourceExt;
use kube::api::{Api, ListParams, ObjectMeta};
use operator_kit::apply::ApplyError;
use operator_kit::controller::Outcome;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// Why a pass failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Bindings could not be listed.
    #[error("list role bindings of TenantMember")]
    List(#[source] Box<kube::Error>),
    /// An object could not be written.
    #[error("apply role bindings of TenantMember")]
    Apply(#[from] ApplyError),
    /// The status could not be written.
    #[error("report on TenantMember")]
    Tell(#[from] TellError),
}

/// One pass.
pub async fn reconcile(member: Arc<TenantMember>, world: Arc<World>) -> Result<Outcome, Error> {
    if member.metadata.deletion_timestamp.is_some() {
        prune(&member, &world, &BTreeSet::new()).await?;
        world.applier.remove_finalizer(member.as_ref(), well_known::MEMBER_FINALIZER).await?;
        return Ok(Outcome::Converged);
    }
    if world.applier.add_finalizers(member.as_ref(), &[well_known::MEMBER_FINALIZER]).await? {
        // The write is an event, and the pass it brings sees the object as it is now.
        return Ok(Outcome::Converged);
    }
    let now = world.clock.now();
    let (verdict, bindings) = match check(&member, &world, now) {
        Err(refusal) => (refusal, Vec::new()),
        Ok(namespaces) => {
            let count = namespaces.len();
            let bindings =
                namespaces.iter().flat_map(|namespace| bindings(&member, namespace)).collect();
            (Verdict::Ready("Reconciled", format!("bound in {count} namespaces")), bindings)
        }
    };
    for binding in &bindings {
        world.applier.apply(binding).await?;
    }
    let wanted = bindings.iter().map(key).collect();
    prune(&member, &world, &wanted).await?;
    let outcome = report(&member, &world, &verdict, &bindings).await?;
    Ok(match until_expiry(&member, now) {
        Some(left) if outcome == Outcome::Converged => Outcome::Waiting(left),
        _ => outcome,
    })
}

fn until_expiry(member: &TenantMember, now: Timestamp) -> Option<Duration> {
    let expires = member.spec.expires_at.as_ref()?.0;
    Duration::try_from(expires.duration_since(now)).ok().filter(|left| !left.is_zero())
}

/// The namespaces in which the member is to be bound.
fn check(
    member: &TenantMember,
    world: &World,
    now: Timestamp,
) -> Result<Vec<Arc<Namespace>>, Verdict> {
    let place = member.namespace().unwrap_or_default();
    let tenant =
        world.tenant_of_namespace(&place).filter(|_| is_home(&place, world)).ok_or_else(|| {
            let message =
                format!("namespace {place} is no tenant's home; create the TenantMember in one");
            Verdict::Refused("NotATenantHome", message)
        })?;
    if member.spec.expires_at.as_ref().is_some_and(|expires| expires.0 <= now) {
        return Err(Verdict::Refused(
            "Expired",
            "spec.expiresAt: has passed; the member has no rights".to_owned(),
        ));
    }
    check_subject(member, &tenant, world)?;
    let projects = &member.spec.projects;
    let applies = |namespace: &Namespace| match namespace.labels().get(well_known::PROJECT_LABEL) {
        Some(project) => projects.is_empty() || projects.contains(project),
        None => true,
    };
    let namespaces = world.namespaces_of(&tenant);
    let usable = namespaces
        .into_iter()
        .filter(|one| one.metadata.deletion_timestamp.is_none() && applies(one));
    Ok(usable.collect())
}

fn is_home(namespace: &str, world: &World) -> bool {
    world.namespaces.get(namespace, None).is_some_and(|namespace| {
        namespace.labels().get(well_known::ROLE_LABEL).map(String::as_str)
            == Some(well_known::ROLE_HOME)
    })
}

/// A service account of somebody else's namespace would act with this tenant's rights.
fn check_subject(member: &TenantMember, tenant: &Tenant, world: &World) -> Result<(), Verdict> {
    let Some(namespace) = &member.spec.subject.namespace else { return Ok(()) };
    let owner = world.tenant_of_namespace(namespace);
    if owner.and_then(|owner| owner.uid()) == tenant.uid() {
        return Ok(());
    }
    let message =
        format!("spec.subject.namespace: {namespace} is not one of this tenant's namespaces");
    Err(Verdict::Refused("ForeignServiceAccount", message))
}

fn bindings(member: &TenantMember, namespace: &Namespace) -> Vec<RoleBinding> {
    let group = "rbac.authorization.k8s.io";
    let subject = &member.spec.subject;
    let (kind, api_group) = match subject.kind {
        SubjectKind::User => ("User", Some(group.to_owned())),
        SubjectKind::Group => ("Group", Some(group.to_owned())),
        SubjectKind::ServiceAccount => ("ServiceAccount", None),
    };
    let roles: BTreeSet<_> = member.spec.role_refs.iter().map(|reference| reference.name).collect();
    roles
        .into_iter()
        .map(|role| RoleBinding {
            metadata: ObjectMeta {
                name: Some(format!("freehold-{}-{}", member.name_any(), roles::word(role))),
                namespace: Some(namespace.name_any()),
                labels: Some(
                    [
                        (
                            well_known::MANAGED_BY_LABEL.to_owned(),
                            well_known::OPERATOR_MANAGER.to_owned(),
                        ),
                        (well_known::OWNER_UID_LABEL.to_owned(), member.uid().unwrap_or_default()),
                    ]
                    .into(),
                ),
                ..ObjectMeta::default()
            },
            role_ref: RoleRef {
                api_group: group.to_owned(),
                kind: "ClusterRole".to_owned(),
                name: roles::cluster_role_name(role),
            },
            subjects: Some(vec![Subject {
                kind: kind.to_owned(),
                api_group: api_group.clone(),
                name: subject.name.clone(),
                namespace: subject.namespace.clone(),
            }]),
        })
        .collect()
}

fn key(binding: &RoleBinding) -> (String, String) {
    (binding.namespace().unwrap_or_default(), binding.name_any())
}

/// Removes the member's bindings that are not wanted, wherever they are.
async fn prune(
    member: &TenantMember,
    world: &World,
    wanted: &BTreeSet<(String, String)>,
) -> Result<(), Error> {
    let owner = member.uid().unwrap_or_default();
    let selector = format!("{}={owner}", well_known::OWNER_UID_LABEL);
    let all: Api<RoleBinding> = Api::all(world.applier.client());
    let existing = all.list(&ListParams::default().labels(&selector)).await;
    for binding in existing.map_err(|error| Error::List(Box::new(error)))? {
        if !wanted.contains(&key(&binding)) {
            world.applier.delete(&binding).await?;
        }
    }
    Ok(())
}

async fn report(
    member: &TenantMember,
    world: &World,
    verdict: &Verdict,
    bindings: &[RoleBinding],
) -> Result<Outcome, Error> {
    let bound: BTreeSet<String> = bindings.iter().filter_map(ResourceExt::namespace).collect();
    let status = TenantMemberStatus {
        bound_namespaces: bound.into_iter().collect(),
        ..member.status.clone().unwrap_or_default()
    };
    Ok(tell(world, member, member.status.as_ref(), status, verdict).await?)
}
