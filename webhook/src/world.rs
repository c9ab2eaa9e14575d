//! What the rules may look at: the objects as last seen by the watches of this program.
//!
//! A rule that crosses objects reads them here and never asks the API server, which keeps an answer within milliseconds
//! and adds no load per request. A copy can be a moment old; the controllers judge again with the same facts, so the
//! webhook is the early word on a mistake, not the last one.

use crds::billing::{Meter, PricePlan};
use crds::compute::{ComputeCluster, InstanceType, PhysicalMachine, VirtualMachine};
use crds::network::{
    AddressSpace, IPBlock, IPPool, Prefix, SecurityZone, SlotState, VLAN, VLANPool,
};
use crds::tenancy::{Project, Tenant, TenantMember};
use ids::well_known::{ROLE_LABEL, TENANT_LABEL, TENANT_UID_LABEL};
use ipam::address::{Address, BlockId};
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{Resource, ResourceExt};
use kube_runtime::reflector::{ObjectRef, Store};
use operator_kit::cache::Watches;
use serde::Deserialize;
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
    /// All address spaces.
    pub spaces: Store<AddressSpace>,
    /// All prefixes.
    pub prefixes: Store<Prefix>,
    /// All pools of addresses.
    pub pools: Store<IPPool>,
    /// All blocks, as far as rules look at them.
    pub blocks: Store<BlockInUse>,
    /// All pools of VLAN ids.
    pub vlan_pools: Store<VLANPool>,
    /// All VLANs.
    pub vlans: Store<VLAN>,
    /// All security zones.
    pub zones: Store<SecurityZone>,
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
            spaces: watches.cache().store(),
            prefixes: watches.cache().store(),
            pools: watches.cache().store(),
            blocks: watches.cache().store(),
            vlan_pools: watches.cache().store(),
            vlans: watches.cache().store(),
            zones: watches.cache().store(),
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

    /// The object of that name in a namespace, as last seen.
    pub fn in_namespace<K>(store: &Store<K>, namespace: &str, name: &str) -> Option<Arc<K>>
    where
        K: Resource<DynamicType = ()> + Clone + 'static,
    {
        store.get(&ObjectRef::new(name).within(namespace))
    }

    /// The addresses of a pool, by its UID, that claims hold, each with the claim, ascending.
    pub fn held(&self, pool: Option<&str>) -> Vec<(Address, String)> {
        let mut held = Vec::new();
        let Some(pool) = pool else { return held };
        for block in self.blocks.state() {
            let Some(id) = block.id() else { continue };
            let of_pool = block.held().filter(|slot| slot.pool == pool);
            held.extend(of_pool.map(|slot| (id.address(slot.index), slot.reference.clone())));
        }
        held.sort_unstable();
        held
    }

    /// The name of the tenant with an account, as far as it is known; else the account.
    pub fn tenant_name(&self, account: &str) -> String {
        let has_it = |tenant: &Tenant| tenant.account_id() == Some(account);
        let found = self.tenants.find(has_it);
        found.map_or_else(|| account.to_owned(), |tenant| tenant.name_any())
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

/// An `IPBlock` as rules look at it: who holds which address now. The rest is left where it is, since there can be as many
/// slots as addresses.
#[derive(Debug, Clone, Deserialize, Resource)]
#[resource(inherit = IPBlock)]
pub struct BlockInUse {
    /// Its name.
    pub metadata: ObjectMeta,
    /// Which addresses.
    pub spec: BlockInUseSpec,
    /// Who has them.
    #[serde(default)]
    pub status: Option<BlockInUseStatus>,
}

/// Which addresses a block is about.
#[derive(Debug, Clone, Deserialize)]
pub struct BlockInUseSpec {
    /// The block's network.
    pub cidr: String,
}

/// The slots of a block.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct BlockInUseStatus {
    /// In order of index.
    #[serde(default)]
    pub slots: Vec<SlotInUse>,
}

/// One slot of a block.
#[derive(Debug, Clone, Deserialize)]
pub struct SlotInUse {
    /// The address less the first of the block.
    pub index: u8,
    /// What it is doing.
    pub state: SlotState,
    /// UID of the pool that it is handed out by.
    pub pool: String,
    /// Kind, namespace and name of the claim.
    #[serde(rename = "ref")]
    pub reference: String,
    /// Account of the claim's tenant.
    pub tenant: String,
}

impl BlockInUse {
    /// Which block it is; `None` for an object that no writer of ours made.
    pub fn id(&self) -> Option<BlockId> {
        BlockId::from_cidr(&self.spec.cidr.parse().ok()?)
    }

    /// The slots that claims hold.
    pub fn held(&self) -> impl Iterator<Item = &SlotInUse> {
        let slots = self.status.iter().flat_map(|status| &status.slots);
        slots.filter(|slot| slot.state.is_live())
    }
}
