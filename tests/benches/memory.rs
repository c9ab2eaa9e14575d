//! How much memory the operator needs for ten thousand machines on a real API server, and how long they take to run.
//!
//! Prints figures; nothing is asserted. The machines are simulated, everything else is real.

#![expect(clippy::print_stdout, reason = "the figures are the result")]

use anyhow::{Context, Result};
use crds::compute::MachinePhase;
use crds::{ComputeCluster, InstanceType, VirtualMachine};
use futures::stream::{StreamExt, TryStreamExt};
use kube::api::{Api, ListParams, PostParams};
use serde_json::json;
use std::time::{Duration, Instant};
use system_tests::{Home, Operator, apply, client, is_ready, unique, until};

/// Machines, unless the environment says otherwise.
const MACHINES: usize = 10_000;
/// Creates under way at once.
const CREATES: usize = 32;
/// How long the machines may take before the figures are taken as they are.
const LIMIT: Duration = Duration::from_mins(15);
/// How often progress is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(10);

#[tokio::main]
async fn main() -> Result<()> {
    let count = match std::env::var("FREEHOLD_BENCH_MACHINES") {
        Ok(text) => text.parse().context("FREEHOLD_BENCH_MACHINES is no number")?,
        Err(_) => MACHINES,
    };
    let client = client().await?;
    let operator = Operator::start().await?;
    let (cluster, size) = (unique("c"), unique("s"));
    let hosts = count.div_ceil(100);
    let simulator = json!({"hosts": hosts, "vcpusPerHost": 128, "memoryMibPerHost": 131_072});
    let clusters: Api<ComputeCluster> = Api::all(client.clone());
    let spec = json!({"provider": {"kind": "Simulator", "simulator": simulator}});
    apply(&clusters, json!({"metadata": {"name": cluster}, "spec": spec})).await?;
    until(&clusters, &cluster, "is ready", is_ready).await?;
    let sizes: Api<InstanceType> = Api::all(client.clone());
    apply(&sizes, json!({"metadata": {"name": size}, "spec": {"vcpus": 1, "memory": "1Gi"}}))
        .await?;
    let home = Home::open(&client).await?;
    println!("operator with its caches, before any machine: {} MiB", operator.resident_mib()?);

    let machines: Api<VirtualMachine> = Api::namespaced(client.clone(), &home.project);
    let started = Instant::now();
    futures::stream::iter(0..count)
        .map(|index| {
            let (machines, cluster, size) = (machines.clone(), cluster.clone(), size.clone());
            async move {
                let machine: VirtualMachine = serde_json::from_value(json!({
                    "apiVersion": "compute.freehold.dev/v1alpha1", "kind": "VirtualMachine",
                    "metadata": {"name": format!("m{index}")},
                    "spec": {"instanceTypeRef": {"name": size}, "image": "tiny",
                        "placement": {"clusterRef": {"name": cluster}}},
                }))?;
                machines.create(&PostParams::default(), &machine).await?;
                anyhow::Ok(())
            }
        })
        .buffer_unordered(CREATES)
        .try_collect::<Vec<()>>()
        .await?;
    println!("{count} machines created in {} s", started.elapsed().as_secs());
    let mut most = operator.resident_mib()?;
    loop {
        let running = running(&machines).await?;
        most = most.max(operator.resident_mib()?);
        if running == count || started.elapsed() > LIMIT {
            println!(
                "{running} of {count} run after {} s; operator: {} MiB, at most {most} MiB",
                started.elapsed().as_secs(),
                operator.resident_mib()?
            );
            return Ok(());
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

async fn running(machines: &Api<VirtualMachine>) -> Result<usize> {
    let (mut count, mut parameters) = (0, ListParams::default().limit(1_000));
    loop {
        let page = machines.list(&parameters).await?;
        let is_running = |machine: &&VirtualMachine| {
            machine.status.as_ref().and_then(|status| status.phase) == Some(MachinePhase::Running)
        };
        count += page.items.iter().filter(is_running).count();
        match page.metadata.continue_ {
            Some(next) if !next.is_empty() => parameters = parameters.continue_token(&next),
            Some(_) | None => return Ok(count),
        }
    }
}
