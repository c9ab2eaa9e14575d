//! What is declared, as records of the usage log: meters, price versions, accounts and their plans, machines and what
//! they held.
//!
//! One controller per kind, fed by watches. What a record says is first a row in PostgreSQL, so that a program that
//! starts anew says the same again; a repeated record changes nothing. Tenancy is the namespace's guarded label, never a
//! metric's.

mod absence;
mod account;
mod announce;
mod identity;
mod machine;
mod meter;
mod plan;

pub use absence::watch as watch_absences;
pub use announce::AnnounceError;
pub use identity::KnownOwners;

use announce::Announcer;
use crds::{Meter, PricePlan, Tenant, VirtualMachine};
use ids::well_known;
use k8s_openapi::api::core::v1::Namespace;
use kube::{Client, ResourceExt};
use kube_runtime::reflector::ObjectRef;
use operator_kit::cache::{Cache, Watches};
use operator_kit::controller::{Controller, Wiring};
use operator_kit::metrics::{Metrics, PassMetrics};
use operator_kit::{Applier, Clock, Fence, Reporter};
use std::sync::Arc;
use store::PgPool;
use stream::PostgresLog;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Everything a pass may use.
pub struct World {
    client: Client,
    watches: Watches,
    tenants: Arc<Cache<Tenant>>,
    namespaces: Arc<Cache<Namespace>>,
    machines: Arc<Cache<VirtualMachine>>,
    meters: Arc<Cache<Meter>>,
    plans: Arc<Cache<PricePlan>>,
    applier: Applier,
    reporter: Reporter,
    clock: Arc<dyn Clock>,
    pool: PgPool,
    announcer: Announcer,
    owners: Arc<KnownOwners>,
}

impl World {
    /// A world over `client` and `pool`, whose writes to the cluster ask `fence`.
    pub fn new(
        client: Client,
        fence: Fence,
        clock: Arc<dyn Clock>,
        pool: PgPool,
        log: PostgresLog,
        owners: Arc<KnownOwners>,
    ) -> Self {
        let mut watches = Watches::new(client.clone());
        Self {
            client: client.clone(),
            tenants: watches.cache(),
            namespaces: watches.cache(),
            machines: watches.cache(),
            meters: watches.cache(),
            plans: watches.cache(),
            watches,
            applier: Applier::new(client.clone(), well_known::BILLING_MANAGER, fence.clone()),
            reporter: Reporter::new(client, well_known::BILLING_MANAGER, fence),
            clock,
            pool,
            announcer: Announcer::new(log),
            owners,
        }
    }

    /// Starts all watches.
    pub fn watch(&self, tasks: &mut JoinSet<&'static str>, stop: &CancellationToken) {
        self.watches.spawn(tasks, stop, |ended| ended);
    }

    /// Waits until every cache has been filled once.
    pub async fn wait_until_full(&self) {
        self.watches.wait_until_full().await;
    }

    /// Lets the intake hear of meters as they are declared, in every replica.
    pub fn feed_owners(self: &Arc<Self>) {
        let near = Arc::downgrade(self);
        self.meters.on_change(move |_| {
            if let Some(world) = near.upgrade() {
                world.owners.set_meters(&world.meters.store().state());
            }
        });
        let near = Arc::downgrade(self);
        self.machines.on_change(move |machine| {
            let Some(world) = near.upgrade() else { return };
            let namespace = machine.namespace().unwrap_or_default();
            if let Some(owner) = world.owner_of(&namespace)
                && let Some(uid) = machine.uid().and_then(|uid| uid.parse().ok())
            {
                world.owners.set(uid, owner);
            }
        });
    }

    fn tenant_of(&self, namespace: &str) -> Option<Arc<Tenant>> {
        operator_kit::ownership::tenant_of_namespace(&self.namespaces, &self.tenants, namespace)
    }

    fn owner_of(&self, namespace: &str) -> Option<ids::AccountId> {
        self.tenant_of(namespace)?.account_id()?.parse().ok()
    }
}

/// Says in every shard that time has come to `at`.
///
/// # Errors
/// The log could not be written.
pub async fn tick(log: &PostgresLog, at: calendar::Instant) -> Result<(), stream::LogError> {
    let record = metering::Record::Tick { at };
    let every = metering::ShardNumber::all().map(|shard| (shard, vec![record.clone()]));
    stream::UsageLog::append(log, every.collect()).await
}

/// Connects events with queues and queues with reconcilers; the controllers run when they are spawned.
pub fn register(
    world: &Arc<World>,
    metrics: &Metrics,
    stop: &CancellationToken,
) -> Vec<Controller> {
    let passes = PassMetrics::new(metrics);
    let wiring = Wiring::new(Arc::clone(world), passes, stop.clone());
    let (_, meter) = wiring.controller("meter", &world.meters, meter::reconcile);
    let (plans, plan) = wiring.controller("plan", &world.plans, plan::reconcile);
    let (accounts, account) = wiring.controller("account", &world.tenants, account::reconcile);
    let (machines, machine) = wiring.controller("machine", &world.machines, machine::reconcile);

    let (near, queue) = (Arc::downgrade(world), plans);
    world.meters.on_change(move |_| {
        // A plan may have waited for the meter.
        if let Some(world) = near.upgrade() {
            world.plans.push_all(&queue);
        }
    });
    let (near, queue) = (Arc::downgrade(world), accounts);
    world.plans.on_change(move |plan| {
        let Some(world) = near.upgrade() else { return };
        let name = plan.name_any();
        for tenant in world.tenants.store().state_filter(|one| one.spec.plan_ref.name == name) {
            queue.push(ObjectRef::from_obj(tenant.as_ref()));
        }
    });
    let (near, queue) = (Arc::downgrade(world), machines);
    world.namespaces.on_change(move |namespace| {
        if let Some(world) = near.upgrade() {
            world.machines.push_in(&namespace.name_any(), &queue);
        }
    });
    vec![meter, plan, account, machine]
}
