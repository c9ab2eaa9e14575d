//! What the rules may look at: the objects as last seen by the watches of this program.
//!
//! A rule that crosses objects reads them here and never asks the API server, which keeps an answer within milliseconds
//! and adds no load per request. A copy can be a moment old; the controllers judge again with the same facts, so the
//! webhook is the early word on a mistake, not the last one.

use crds::billing::{Meter, PricePlan};
use crds::compute::{ComputeCluster, InstanceType, PhysicalMachine, VirtualMachine};
use crds::tenancy::{Project, Tenant, TenantMember};
use ids::well_known::{ROLE_LABEL, TENANT_LABEL, TENANT_UID_LABEL};
use k8s_openapi::api::core::v1::Namespace;
use kube::{Resource, ResourceExt};
use kube_runtime::reflector::{ObjectRef, Store};
use operator_kit::cache::Watches;
use std::sync::Arc;

/// Copies of the kinds that rules look at.
#[derive(Clone)]
pub struct World {
    /// All tenants.
    pub tenants: Store<Tenant>,
    /// All projects.
    pub projects: Store<Project>,
    /// All members.
    pub members: Store<TenantMember>,
    /// All sizes.
    pub instance_types: Store<InstanceType>,
    /// All clusters.
    pub clusters: Store<ComputeCluster>,
    /// All hosts.
    pub hosts: Store<PhysicalMachine>,
    /// All machines.
    pub machines: Store<VirtualMachine>,
    /// All meters.
    pub meters: Store<Meter>,
    /// All price plans.
    pub plans: Store<PricePlan>,
    /// All namespaces.
    pub namespaces: Store<Namespace>,
    /// A namespace that was asked for because the copies did not have it yet.
    pub fetched: Option<Arc<Namespace>>,
}

/// A namespace that the operator made for a tenant.
#[derive(Debug, Clone)]
pub struct Room {
    /// The tenant's name, from the guarded label.
    pub tenant: String,
    /// The tenant's UID, from the guarded label.
    pub tenant_uid: String,
    /// `home` or `project`.
    pub role: String,
    /// Whether the namespace is being deleted.
    pub closing: bool,
}

impl World {
    /// Copies that the caches of `watches` fill.
    pub fn new(watches: &mut Watches) -> Self {
        Self {
            tenants: watches.cache().store(),
            projects: watches.cache().store(),
            members: watches.cache().store(),
            instance_types: watches.cache().store(),
            clusters: watches.cache().store(),
            hosts: watches.cache().store(),
            machines: watches.cache().store(),
            meters: watches.cache().store(),
            plans: watches.cache().store(),
            namespaces: watches.cache().store(),
            fetched: None,
        }
    }

    /// The cluster-scoped object of that name, as last seen.
    pub fn named<K>(store: &Store<K>, name: &str) -> Option<Arc<K>>
    where
        K: Resource<DynamicType = ()> + Clone + 'static,
    {
        store.get(&ObjectRef::new(name))
    }

    /// What the labels of a namespace say; `None` when it is not a tenant's, or not known yet.
    pub fn room(&self, namespace: &str) -> Option<Room> {
        let fetched = self.fetched.clone().filter(|fetched| fetched.name_any() == namespace);
        let namespace = fetched.or_else(|| Self::named(&self.namespaces, namespace))?;
        let label = |key: &str| namespace.labels().get(key).cloned();
        Some(Room {
            tenant: label(TENANT_LABEL)?,
            tenant_uid: label(TENANT_UID_LABEL)?,
            role: label(ROLE_LABEL)?,
            closing: namespace.metadata.deletion_timestamp.is_some(),
        })
    }

    /// The tenant that a namespace belongs to: by UID, so a later tenant of the same name is not meant.
    pub fn tenant_of(&self, room: &Room) -> Option<Arc<Tenant>> {
        Self::named(&self.tenants, &room.tenant)
            .filter(|tenant| tenant.metadata.uid.as_ref() == Some(&room.tenant_uid))
    }
}
