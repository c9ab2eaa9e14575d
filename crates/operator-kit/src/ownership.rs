//! Whose a namespace is.

use crate::cache::Cache;
use crds::Tenant;
use ids::well_known;
use k8s_openapi::api::core::v1::Namespace;
use kube::ResourceExt;
use std::sync::Arc;

/// The tenant whose namespace this is, by the UID on its label; never by the namespace's name.
pub fn tenant_of_namespace(
    namespaces: &Cache<Namespace>,
    tenants: &Cache<Tenant>,
    namespace: &str,
) -> Option<Arc<Tenant>> {
    let namespace = namespaces.get(namespace, None)?;
    let tenant = tenants.get(namespace.labels().get(well_known::TENANT_LABEL)?, None)?;
    (namespace.labels().get(well_known::TENANT_UID_LABEL) == tenant.uid().as_ref())
        .then_some(tenant)
}
