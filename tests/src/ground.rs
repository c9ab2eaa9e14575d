//! What a test of billing stands on: a cluster, a size, meters, a plan, a tenant with a machine.

use crate::billing::Billing;
use crate::{Home, apply, is_ready, tenant_declaration, unique, until};
use anyhow::{Context, Result};
use crds::compute::MachinePhase;
use crds::{ComputeCluster, InstanceType, Meter, PricePlan, Tenant, VirtualMachine};
use kube::Client;
use kube::api::Api;
use pricing::report::{BillReport, LineReport};
use serde_json::{Value, json};

/// A cluster, a size, meters and a plan of a test's own.
pub struct Ground {
    /// The cluster.
    pub cluster: String,
    /// The one size: two processors, 512 MiB or what was asked for.
    pub size: String,
    /// For processors, memory, and processor time.
    pub meters: [String; 3],
    /// The plan that prices them, and a fee.
    pub plan: String,
}

/// Declares the ground: machines of `provider` with `memory`, and a counter that reads `metric`.
///
/// # Errors
/// The API server refused, or the plan is not published.
pub async fn ground(
    client: &Client,
    provider: Value,
    memory: &str,
    metric: &str,
) -> Result<Ground> {
    let ground = Ground {
        cluster: unique("c"),
        size: unique("s"),
        meters: [unique("vcpu"), unique("memory"), unique("cpu")],
        plan: unique("p"),
    };
    apply(
        &Api::<ComputeCluster>::all(client.clone()),
        json!({"metadata": {"name": ground.cluster}, "spec": {"provider": provider, "overcommit": {"vcpuThousandths": 16_000}}}),
    )
    .await?;
    apply(
        &Api::<InstanceType>::all(client.clone()),
        json!({"metadata": {"name": ground.size}, "spec": {"vcpus": 2, "memory": memory}}),
    )
    .await?;
    let meters: Api<Meter> = Api::all(client.clone());
    let [vcpu, memory, cpu] = &ground.meters;
    let held = |resource: &str| json!({"lifecycle": {"resource": resource}});
    let sampled = json!({"prometheus": {"metric": metric, "resourceLabel": "uuid"}});
    for (name, kind, unit, units, source) in [
        (vcpu, "Allocation", "vCPU-hour", 3600, held("compute/vcpu")),
        (memory, "Allocation", "GiB-hour", 3_686_400, held("compute/memory-mib")),
        (cpu, "Counter", "CPU-second", 1, sampled),
    ] {
        let spec = json!({
            "kind": kind, "unit": "unit-second", "baseUnitsPerUnit": 1_000_000,
            "displayUnit": {"name": unit, "units": units}, "source": source,
        });
        apply(&meters, json!({"metadata": {"name": name}, "spec": spec})).await?;
    }
    let card = |id: &str, meter: &str, price: Value| json!({"id": id, "meterRef": {"name": meter}, "price": price});
    let tiers = json!({"graduated": {"tiers": [{"from": "0", "rate": "0.05"}, {"from": "60", "rate": "0.02"}]}});
    let spec = json!({
        "currency": "EUR", "effectiveFrom": "2026-01-01T00:00:00Z",
        "phases": [{"name": "evergreen", "rateCards": [
            card("vcpu", vcpu, json!({"perUnit": {"rate": "1250"}})),
            card("memory", memory, json!({"perUnit": {"rate": "800"}})),
            card("cpu", cpu, tiers),
            {"id": "base", "price": {"flat": {"amount": "9.90"}}},
        ]}],
    });
    let plans: Api<PricePlan> = Api::all(client.clone());
    apply(&plans, json!({"metadata": {"name": ground.plan}, "spec": spec})).await?;
    until(&plans, &ground.plan, "is published", is_ready).await?;
    Ok(ground)
}

/// A tenant whose usage is rated by the ground's plan.
///
/// # Errors
/// The operator does not run, or refuses.
pub async fn home(client: &Client, ground: &Ground) -> Result<Home> {
    let home = Home::open(client).await?;
    let tenants: Api<Tenant> = Api::all(client.clone());
    let mut declaration = tenant_declaration(&home.tenant);
    *declaration.pointer_mut("/spec/planRef/name").context("no plan")? = json!(ground.plan);
    apply(&tenants, declaration).await?;
    Ok(home)
}

/// The machine `web`, on or off, once it is.
///
/// # Errors
/// It does not come to that.
pub async fn machine(
    client: &Client,
    home: &Home,
    ground: &Ground,
    running: bool,
) -> Result<VirtualMachine> {
    let machines: Api<VirtualMachine> = Api::namespaced(client.clone(), &home.project);
    let spec = json!({
        "instanceTypeRef": {"name": ground.size}, "image": "tiny", "running": running,
        "placement": {"clusterRef": {"name": ground.cluster}},
    });
    apply(&machines, json!({"metadata": {"name": "web"}, "spec": spec})).await?;
    let wanted = if running { MachinePhase::Running } else { MachinePhase::Stopped };
    until(&machines, "web", "is as asked", |machine| {
        machine.status.as_ref().and_then(|status| status.phase) == Some(wanted)
    })
    .await
}

/// The tenant's live bill.
///
/// # Errors
/// It is refused.
pub async fn bill(billing: &Billing, home: &Home) -> Result<BillReport> {
    billing.get(&format!("/api/v1/bill?tenant={}", home.tenant)).await
}

/// The line of a card.
pub fn line<'a>(bill: &'a BillReport, card: &str) -> Option<&'a LineReport> {
    bill.lines.iter().find(|line| line.key.split('/').nth(2) == Some(card))
}

/// Minor units of a decimal amount.
///
/// # Errors
/// It is none.
pub fn minor(amount: &str) -> Result<i64> {
    Ok(amount.replace('.', "").parse()?)
}
