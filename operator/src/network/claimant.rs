//! Who asks for something in a namespace: the tenant whose it is, and his account.

use crate::report::Verdict;
use crate::world::World;
use calendar::Instant;
use crds::Tenant;
use ids::AccountId;
use kube::{Resource, ResourceExt};
use std::sync::Arc;

/// The tenant of the object's namespace, by the namespace's guarded label.
pub fn claimant<K>(object: &K, world: &World) -> Result<(Arc<Tenant>, AccountId), Verdict>
where
    K: Resource<DynamicType = ()>,
{
    let (kind, namespace) = (K::kind(&()), object.namespace().unwrap_or_default());
    let Some(tenant) = world.tenant_of_namespace(&namespace) else {
        let message = format!(
            "namespace {namespace} belongs to no tenant; create the {kind} in a project's namespace"
        );
        return Err(Verdict::Refused("NotATenantNamespace", message));
    };
    let account = tenant.account_id().and_then(|text| text.parse().ok());
    let Some(account) = account else {
        let message = format!("tenant {} has no account yet", tenant.name_any());
        return Err(Verdict::Waiting("TenantNotReady", message));
    };
    Ok((tenant, account))
}

/// What a tenant hears whom no pool lets in. Whose it is else is not his to know.
pub fn not_allowed(tenant: &Tenant) -> Verdict {
    let message = format!(
        "the pool is not open to tenant {}; its operator has to add the tenant to spec.allowedTenants",
        tenant.name_any()
    );
    Verdict::Waiting("NotAllowed", message)
}

/// When the object was made: its place among those that wait.
pub fn created<K: Resource>(object: &K) -> Instant {
    let time = object.meta().creation_timestamp.as_ref();
    time.map_or(Instant::EPOCH, |time| Instant::from_timestamp(time.0))
}
