//! What every controller works with: caches of all kinds, the right to write, the clock, the providers.
//!
//! Who has to look again when something changes is written in one place, [`register`], so that the way of an event
//! through the program can be read at a glance.

use crate::compute::{self, Providers};
use crate::tenancy;
use crds::{
    ComputeCluster, InstanceType, PhysicalMachine, Project, Tenant, TenantMember, VirtualMachine,
};
use futures::future::BoxFuture;
use ids::well_known;
use k8s_openapi::api::core::v1::Namespace;
use kube::{Client, Resource, ResourceExt};
use kube_runtime::reflector::ObjectRef;
use operator_kit::cache::Cache;
use operator_kit::controller::{self, Outcome, Queue};
use operator_kit::metrics::{Metrics, PassMetrics};
use operator_kit::{Applier, Clock, Fence, Reporter};
use serde::de::DeserializeOwned;
use std::fmt::Debug;
use std::future::Future;
use std::sync::Arc;
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
    /// Namespaces, ours and others'.
    pub namespaces: Arc<Cache<Namespace>>,
    /// Writes declared objects.
    pub applier: Applier,
    /// Writes status.
    pub reporter: Reporter,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Connections to providers.
    pub providers: Providers,
}

impl World {
    /// A world over `client` whose writes ask `fence`.
    pub fn new(client: Client, fence: Fence, clock: Arc<dyn Clock>, metrics: &Metrics) -> Self {
        Self {
            tenants: Arc::new(Cache::new(client.clone())),
            projects: Arc::new(Cache::new(client.clone())),
            members: Arc::new(Cache::new(client.clone())),
            instance_types: Arc::new(Cache::new(client.clone())),
            clusters: Arc::new(Cache::new(client.clone())),
            hosts: Arc::new(Cache::new(client.clone())),
            machines: Arc::new(Cache::new(client.clone())),
            namespaces: Arc::new(Cache::new(client.clone())),
            applier: Applier::new(client.clone(), well_known::OPERATOR_MANAGER, fence.clone()),
            reporter: Reporter::new(client, well_known::OPERATOR_MANAGER, fence),
            clock,
            providers: Providers::new(metrics),
        }
    }

    /// Starts all watches.
    pub fn watch(&self, tasks: &mut JoinSet<&'static str>, stop: &CancellationToken) {
        watch(&self.tenants, tasks, stop);
        watch(&self.projects, tasks, stop);
        watch(&self.members, tasks, stop);
        watch(&self.instance_types, tasks, stop);
        watch(&self.clusters, tasks, stop);
        watch(&self.hosts, tasks, stop);
        watch(&self.machines, tasks, stop);
        watch(&self.namespaces, tasks, stop);
    }

    /// Waits until every cache has been filled once.
    pub async fn wait_until_full(&self) {
        full(&self.tenants).await;
        full(&self.projects).await;
        full(&self.members).await;
        full(&self.instance_types).await;
        full(&self.clusters).await;
        full(&self.hosts).await;
        full(&self.machines).await;
        full(&self.namespaces).await;
    }

    /// The tenant whose namespace this is, by the UID on its label; never by the namespace's name.
    pub fn tenant_of_namespace(&self, namespace: &str) -> Option<Arc<Tenant>> {
        let namespace = self.namespaces.get(namespace, None)?;
        let tenant = self.tenants.get(namespace.labels().get(well_known::TENANT_LABEL)?, None)?;
        (namespace.labels().get(well_known::TENANT_UID_LABEL) == tenant.uid().as_ref())
            .then_some(tenant)
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

fn watch<K>(cache: &Arc<Cache<K>>, tasks: &mut JoinSet<&'static str>, stop: &CancellationToken)
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
{
    let (cache, stop) = (Arc::clone(cache), stop.clone());
    tasks.spawn(async move {
        stop.run_until_cancelled(cache.run()).await;
        "a watch"
    });
}

async fn full<K>(cache: &Cache<K>)
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
{
    if cache.store().wait_until_ready().await.is_err() {
        tracing::error!(kind = %K::kind(&()), "the watch ended before the first list");
    }
}

type Controller = BoxFuture<'static, &'static str>;

/// Connects events with queues and queues with reconcilers; the controllers run when they are spawned.
pub fn register(
    world: &Arc<World>,
    metrics: &Metrics,
    stop: &CancellationToken,
) -> Vec<Controller> {
    let passes = PassMetrics::new(metrics);
    let builder = Builder { world, passes: &passes, stop };
    let (tenants, tenant) =
        builder.controller("tenant", &world.tenants, tenancy::tenant::reconcile);
    let (projects, project) =
        builder.controller("project", &world.projects, tenancy::project::reconcile);
    let (members, member) =
        builder.controller("member", &world.members, tenancy::member::reconcile);
    let (clusters, cluster) =
        builder.controller("cluster", &world.clusters, compute::cluster::reconcile);
    let (hosts, host) = builder.controller("host", &world.hosts, compute::host::reconcile);
    let (machines, machine) =
        builder.controller("machine", &world.machines, compute::machine::reconcile);

    let (near, queues) = (
        Arc::downgrade(world),
        (tenants.clone(), projects.clone(), members.clone(), machines.clone()),
    );
    world.tenants.on_change(move |tenant| {
        let (_, projects, members, machines) = &queues;
        let Some(world) = near.upgrade() else { return };
        for namespace in world.namespaces_of(tenant) {
            let name = namespace.name_any();
            push_in(&world.projects, &name, projects);
            push_in(&world.members, &name, members);
            push_in(&world.machines, &name, machines);
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
        push_in(&world.projects, &home, projects);
        push_in(&world.members, &home, members);
        push_in(&world.machines, &namespace.name_any(), machines);
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
    world.hosts.on_change(move |_| push_unplaced(&near, &queue));
    let queue = clusters;
    world.machines.on_change(move |machine| {
        if let Some(cluster) = machine.status.as_ref().and_then(|status| status.cluster.as_deref())
        {
            queue.push(ObjectRef::new(cluster));
        }
    });
    world.providers.on_drift(move |machine| machines.push(machine));
    drop(hosts);
    vec![tenant, project, member, cluster, host, machine]
}

struct Builder<'a> {
    world: &'a Arc<World>,
    passes: &'a PassMetrics,
    stop: &'a CancellationToken,
}

impl Builder<'_> {
    /// A queue fed by the kind's own changes, and the loop that works it off.
    fn controller<K, E, F, Fut>(
        &self,
        name: &'static str,
        cache: &Arc<Cache<K>>,
        reconcile: F,
    ) -> (Queue<K>, Controller)
    where
        K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
        E: std::error::Error + Send + 'static,
        F: Fn(Arc<K>, Arc<World>) -> Fut + Send + Sync + Clone + 'static,
        Fut: Future<Output = Result<Outcome, E>> + Send + 'static,
    {
        let (queue, receiver) = Queue::new();
        let own = queue.clone();
        cache.on_change(move |object| own.push(ObjectRef::from_obj(object)));
        let (store, world) = (cache.store(), Arc::clone(self.world));
        let (passes, stop) = (self.passes.clone(), self.stop.clone());
        let run = async move {
            controller::run(name, store, receiver, world, passes, stop, reconcile).await;
            name
        };
        (queue, Box::pin(run))
    }
}

fn push_in<K>(cache: &Cache<K>, namespace: &str, queue: &Queue<K>)
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
{
    for object in
        cache.store().state_filter(|object| object.meta().namespace.as_deref() == Some(namespace))
    {
        queue.push(ObjectRef::from_obj(object.as_ref()));
    }
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

/// Machines that wait for something get another try when sizes or hosts change.
fn push_unplaced(world: &std::sync::Weak<World>, machines: &Queue<VirtualMachine>) {
    let Some(world) = world.upgrade() else { return };
    let is_unplaced = |machine: &VirtualMachine| {
        machine.status.as_ref().is_none_or(|status| status.host.is_none())
    };
    for machine in world.machines.store().state_filter(is_unplaced) {
        machines.push(ObjectRef::from_obj(machine.as_ref()));
    }
}
