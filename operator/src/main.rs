//! The operator: makes the cluster and its providers agree with what people declared.
//!
//! One folder per area, one per controller within it. All controllers read the same caches ([`world`]); only the leader
//! runs passes, a standby keeps its caches warm and takes over when the lease runs out. Every replica looks after the Secret
//! of the bundled database, which needs no leader ([`database`]). The end of any background task ends the process: a
//! program that lost one of its parts must not look alive.

mod compute;
mod database;
mod network;
mod report;
mod tenancy;
mod world;

use anyhow::{Context, Result, anyhow};
use clap::Parser;
use database::DatabaseArguments;
use operator_kit::health::{self, Readiness};
use operator_kit::lease::Election;
use operator_kit::metrics::Metrics;
use operator_kit::program::{CandidateArguments, ProgramArguments};
use operator_kit::{Clock, Fence, SystemClock, client};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use world::World;

/// How long passes under way may take to end after the program was asked to stop.
const DRAIN_LIMIT: Duration = Duration::from_secs(3);

#[derive(Debug, Parser)]
#[command(
    name = "freehold-operator",
    version,
    about = "Reconciles tenants, projects, members and machines"
)]
struct Arguments {
    /// Where health, readiness and metrics are served.
    #[arg(long, env = "FREEHOLD_HEALTH_ADDRESS", default_value = "127.0.0.1:8081")]
    health_address: SocketAddr,
    /// Billing runs: machines are held until the billing-controller has their last usage.
    #[arg(long, env = "FREEHOLD_METERING")]
    metering: bool,
    /// Whether the operator declares the tenants' cluster roles; false where an installer has done it, which spares the
    /// operator the right to make roles.
    #[arg(long, env = "FREEHOLD_DECLARE_ROLES", default_value_t = true, action = clap::ArgAction::Set)]
    declare_roles: bool,
    #[command(flatten)]
    database: DatabaseArguments,
    #[command(flatten)]
    candidate: CandidateArguments,
    #[command(flatten)]
    program: ProgramArguments,
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let stop = arguments.program.start().context("install signal handlers")?;
    run(arguments, stop).await
}

async fn run(arguments: Arguments, stop: CancellationToken) -> Result<()> {
    let client = client::connect().await?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let (metrics, readiness, fence) = (Metrics::default(), Readiness::default(), Fence::default());
    let world = Arc::new(World::new(
        client.clone(),
        fence.clone(),
        Arc::clone(&clock),
        &metrics,
        arguments.metering,
    ));

    let mut tasks: JoinSet<&'static str> = JoinSet::new();
    serve_health(&mut tasks, arguments.health_address, &metrics, &readiness, &stop);
    if let Some(secret) = arguments.database.secret(client.clone(), &arguments.program.namespace) {
        let stop = stop.clone();
        tasks.spawn(async move { secret.keep(&stop).await });
    }
    let controllers = world::register(&world, &metrics, &stop);
    world.watch(&mut tasks, &stop);
    tokio::select! {
        () = world.wait_until_full() => {}
        () = stop.cancelled() => return Ok(()),
    }
    // A standby is ready too: it can take over.
    readiness.set(true);

    let (namespace, identity) = (&arguments.program.namespace, arguments.candidate.identity());
    let mut election =
        Election::new(client, namespace, "freehold-operator", &identity, clock, fence);
    if !election.acquire(&stop).await {
        return Ok(());
    }
    tracing::info!(identity, "leading");
    if arguments.declare_roles {
        tenancy::roles::declare(&world.applier).await.context("declare the tenants' roles")?;
    }
    for controller in controllers {
        tasks.spawn(controller);
    }
    let result = tokio::select! {
        lost = election.hold(&stop) => if lost {
            Err(anyhow!("the lease went to another process; ending so that nothing is written twice"))
        } else {
            Ok(())
        },
        ended = tasks.join_next() => {
            let name = ended.transpose().context("a background task failed")?.unwrap_or("nothing");
            if stop.is_cancelled() {
                Ok(())
            } else {
                Err(anyhow!("{name} ended by itself; ending so that the process does not look alive"))
            }
        }
    };
    // Passes under way are finished before the lease goes to another.
    stop.cancel();
    drop(
        tokio::time::timeout(DRAIN_LIMIT, async { while tasks.join_next().await.is_some() {} })
            .await,
    );
    election.release().await;
    result?;
    tracing::info!("stopped");
    Ok(())
}

fn serve_health(
    tasks: &mut JoinSet<&'static str>,
    address: SocketAddr,
    metrics: &Metrics,
    readiness: &Readiness,
    stop: &CancellationToken,
) {
    let (metrics, readiness, stop) = (metrics.clone(), readiness.clone(), stop.clone());
    tasks.spawn(async move {
        if let Err(error) = health::serve(address, metrics, readiness, stop).await {
            tracing::error!(error = %operator_kit::ErrorChain(&error), "health server ended");
        }
        "health server"
    });
}
