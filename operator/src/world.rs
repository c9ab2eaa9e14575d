//! What every controller works with: caches of all kinds, the right to write, the clock, the providers.
//!
//! Who has to look again when something changes is written in one place, [`register`], and for addresses and VLANs in
//! [`network::register`], so that the way of an event through the program can be read at a glance.

use crate::compute::allocation::Bookings;
use crate::compute::allocation::room::Rooms;
use crate::compute::{self, Providers};
use crate::network::addresses::Addresses;
use crate::network::audit::Audits;
use crate::network::tree::Tree;
use crate::network::vlans::Vlans;
use crate::network::zone::fence::Repairs;
use crate::{network, tenancy};
use crds::network::{
    AddressSpace, IPBlock, IPClaim, IPPool, Prefix, SecurityZone, VLAN, VLANFabric, VLANPool,
};
use crds::{
    ComputeCluster, InstanceType, PhysicalMachine, Project, Tenant, TenantMember, VirtualMachine,
};
use ids::well_known;
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::{Client, ResourceExt};
use kube_runtime::reflector::ObjectRef;
use operator_kit::cache::{Cache, Watches};
use operator_kit::controller::{Controller, Queue, Wiring};
use operator_kit::metrics::{Metrics, PassMetrics};
use operator_kit::{Applier, Clock, Fence, Reporter, ownership};
use std::sync::{Arc, OnceLock};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Everything a pass may use.
pub struct World {
    /// Declared tenants.
    pub tenants: Arc<Cache<Tenant>>,
    /// Declared projects.
    pub projects: Arc<Cache<Project>>,
    /// Declared members.
    pub members: Arc<Cache<TenantMember>>,
    /// Sizes.
    pub instance_types: Arc<Cache<InstanceType>>,
    /// Clusters.
    pub clusters: Arc<Cache<ComputeCluster>>,
    /// Hosts.
    pub hosts: Arc<Cache<PhysicalMachine>>,
    /// Machines.
    pub machines: Arc<Cache<VirtualMachine>>,
    /// Rooms for addresses.
    pub spaces: Arc<Cache<AddressSpace>>,
    /// Networks in their trees.
    pub prefixes: Arc<Cache<Prefix>>,
    /// Pools of addresses.
    pub pools: Arc<Cache<IPPool>>,
    /// Who has which address.
    pub blocks: Arc<Cache<IPBlock>>,
    /// What tenants ask of pools.
    pub claims: Arc<Cache<IPClaim>>,
    /// Pools of VLAN ids.
    pub vlan_pools: Arc<Cache<VLANPool>>,
    /// Which pool has which ids of a fabric.
    pub fabrics: Arc<Cache<VLANFabric>>,
    /// What tenants ask of those.
    pub vlan_claims: Arc<Cache<VLAN>>,
    /// Security zones.
    pub zones: Arc<Cache<SecurityZone>>,
    /// Network policies, ours and others'.
    pub policies: Arc<Cache<NetworkPolicy>>,
    /// Namespaces, ours and others'.
    pub namespaces: Arc<Cache<Namespace>>,
    /// Writes declared objects.
    pub applier: Applier,
    /// Writes status.
    pub reporter: Reporter,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// The one who writes hosts' allocation tables.
    pub bookings: Bookings,
    /// The one who writes the tables of prefixes and pools in their parents.
    pub tree: Tree,
    /// The one who writes tables of VLAN ids.
    pub vlans: Vlans,
    /// The one who writes blocks of addresses.
    pub addresses: Addresses,
    /// What was found when addresses were last audited.
    pub audits: Audits,
    /// Fences that were put right, and not told of yet.
    pub repairs: Repairs,
    /// Claims that the writer of addresses wakes.
    woken: Arc<OnceLock<Queue<IPClaim>>>,
    /// Connections to providers.
    pub providers: Providers,
    /// Whether billing runs, so that a machine may not go before its last usage is durable there.
    pub is_metered: bool,
    /// All of the caches above.
    watches: Watches,
}

impl World {
    /// A world over `client` whose writes ask `fence`.
    pub fn new(
        client: Client,
        fence: Fence,
        clock: Arc<dyn Clock>,
        metrics: &Metrics,
        is_metered: bool,
    ) -> Self {
        let mut watches = Watches::new(client.clone());
        let applier = Applier::new(client.clone(), well_known::OPERATOR_MANAGER, fence.clone());
        let hosts = watches.cache();
        let (spaces, prefixes, blocks) = (watches.cache(), watches.cache(), watches.cache());
        let (vlan_pools, fabrics) = (watches.cache(), watches.cache());
        let (pools, registers) = (Arc::clone(&vlan_pools), Arc::clone(&fabrics));
        let vlans = Vlans::new(pools, registers, &applier, Arc::clone(&clock));
        let tree = Tree::new(Arc::clone(&prefixes), Arc::clone(&spaces), &applier);
        let woken = Arc::new(OnceLock::new());
        let (near, wake_clock) = (Arc::clone(&woken), Arc::clone(&clock));
        let wake = Box::new(move |key: &str| network::wake(near.get(), key));
        let addresses = Addresses::new(Arc::clone(&blocks), applier.clone(), wake_clock, wake);
        Self {
            tenants: watches.cache(),
            projects: watches.cache(),
            members: watches.cache(),
            instance_types: watches.cache(),
            clusters: watches.cache(),
            hosts: Arc::clone(&hosts),
            machines: watches.cache(),
            spaces,
            prefixes,
            pools: watches.cache(),
            blocks,
            claims: watches.cache(),
            vlan_pools,
            fabrics,
            vlan_claims: watches.cache(),
            zones: watches.cache(),
            policies: watches.cache(),
            namespaces: watches.cache(),
            bookings: Bookings::new(hosts, applier.clone()),
            tree,
            vlans,
            addresses,
            audits: Audits::new(metrics),
            repairs: Repairs::default(),
            woken,
            applier,
            reporter: Reporter::new(client, well_known::OPERATOR_MANAGER, fence),
            clock,
            providers: Providers::new(metrics),
            is_metered,
            watches,
        }
    }

    /// Starts all watches.
    pub fn watch(&self, tasks: &mut JoinSet<&'static str>, stop: &CancellationToken) {
        self.watches.spawn(tasks, stop, |name| name);
    }

    /// Waits until every cache has been filled once.
    pub async fn wait_until_full(&self) {
        self.watches.wait_until_full().await;
    }

    /// The tenant whose namespace this is, by the UID on its label; never by the namespace's name.
    pub fn tenant_of_namespace(&self, namespace: &str) -> Option<Arc<Tenant>> {
        ownership::tenant_of_namespace(&self.namespaces, &self.tenants, namespace)
    }

    /// Where claims are pushed that the writer of addresses wakes.
    pub fn wake_by(&self, claims: Queue<IPClaim>) {
        if self.woken.set(claims).is_err() {
            tracing::error!("claims are woken by the first queue alone");
        }
    }

    /// All namespaces of a tenant, sorted by name.
    pub fn namespaces_of(&self, tenant: &Tenant) -> Vec<Arc<Namespace>> {
        let uid = tenant.uid();
        let is_of = |namespace: &Namespace| {
            namespace.labels().get(well_known::TENANT_UID_LABEL) == uid.as_ref()
        };
        let mut namespaces = self.namespaces.store().state_filter(|namespace| is_of(namespace));
        namespaces.sort_by_key(|namespace| namespace.name_any());
        namespaces
    }
}

/// Connects events with queues and queues with reconcilers; the controllers run when they are spawned.
pub fn register(
    world: &Arc<World>,
    metrics: &Metrics,
    stop: &CancellationToken,
) -> Vec<Controller> {
    let passes = PassMetrics::new(metrics);
    let wiring = Wiring::new(Arc::clone(world), passes, stop.clone());
    let (tenants, tenant) = wiring.controller("tenant", &world.tenants, tenancy::tenant::reconcile);
    let (projects, project) =
        wiring.controller("project", &world.projects, tenancy::project::reconcile);
    let (members, member) = wiring.controller("member", &world.members, tenancy::member::reconcile);
    let (_, cluster) = wiring.fed_by_declarations().controller(
        "cluster",
        &world.clusters,
        compute::cluster::reconcile,
    );
    let (_, host) = wiring.controller("host", &world.hosts, compute::host::reconcile);
    let (machines, machine) =
        wiring.controller("machine", &world.machines, compute::machine::reconcile);

    let (near, queues) = (
        Arc::downgrade(world),
        (tenants.clone(), projects.clone(), members.clone(), machines.clone()),
    );
    world.tenants.on_change(move |tenant| {
        let (_, projects, members, machines) = &queues;
        let Some(world) = near.upgrade() else { return };
        for namespace in world.namespaces_of(tenant) {
            let name = namespace.name_any();
            world.projects.push_in(&name, projects);
            world.members.push_in(&name, members);
            world.machines.push_in(&name, machines);
        }
    });
    let (near, queues) =
        (Arc::downgrade(world), (tenants.clone(), projects, members.clone(), machines.clone()));
    world.namespaces.on_change(move |namespace| {
        let (tenants, projects, members, machines) = &queues;
        let Some(tenant) = namespace.labels().get(well_known::TENANT_LABEL) else { return };
        tenants.push(ObjectRef::new(tenant));
        let Some(world) = near.upgrade() else { return };
        let home = format!("{}{tenant}", ids::names::NAMESPACE_PREFIX);
        world.projects.push_in(&home, projects);
        world.members.push_in(&home, members);
        world.machines.push_in(&namespace.name_any(), machines);
    });
    let (near, queue) = (Arc::downgrade(world), tenants.clone());
    world.members.on_change(move |member| push_owner(&near, member.namespace(), &queue));
    let (near, queue) = (Arc::downgrade(world), tenants.clone());
    world.projects.on_change(move |project| push_owner(&near, project.namespace(), &queue));
    let (near, queue) = (Arc::downgrade(world), tenants);
    world.machines.on_change(move |machine| {
        // A tenant asks about its machines only while it closes.
        if machine.metadata.deletion_timestamp.is_some() {
            push_owner(&near, machine.namespace(), &queue);
        }
    });
    let (near, queue) = (Arc::downgrade(world), machines.clone());
    world.instance_types.on_change(move |_| push_unplaced(&near, &queue));
    let (near, queue) = (Arc::downgrade(world), machines.clone());
    let rooms = Rooms::default();
    world.hosts.on_change(move |host| {
        if rooms.has_grown(host) {
            push_unplaced(&near, &queue);
        }
    });
    world.providers.on_drift(move |machine| machines.push(machine));
    let mut controllers = vec![tenant, project, member, cluster, host, machine];
    controllers.extend(network::register(world, &wiring));
    controllers
}

fn push_owner(world: &std::sync::Weak<World>, namespace: Option<String>, tenants: &Queue<Tenant>) {
    let owner = world
        .upgrade()
        .zip(namespace)
        .and_then(|(world, namespace)| world.tenant_of_namespace(&namespace));
    if let Some(tenant) = owner {
        tenants.push(ObjectRef::from_obj(tenant.as_ref()));
    }
}

/// Machines that wait for something get another try when sizes change or hosts have more room, the oldest first.
fn push_unplaced(world: &std::sync::Weak<World>, machines: &Queue<VirtualMachine>) {
    let Some(world) = world.upgrade() else { return };
    let is_unplaced = |machine: &VirtualMachine| {
        machine.status.as_ref().is_none_or(|status| status.host.is_none())
    };
    world.machines.push_oldest_first(machines, is_unplaced);
}
