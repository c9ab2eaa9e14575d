//! The operator: makes the cluster and its providers agree with what people declared.
//!
//! One folder per area, one per controller within it. All controllers read the same caches ([`world`]); only the leader
//! runs passes, a standby keeps its caches warm and takes over when the lease runs out. The end of any background task
//! ends the process: a program that lost one of its parts must not look alive.

mod compute;
mod tenancy;
mod world;

use anyhow::{Context, Result, anyhow};
use clap::Parser;
use operator_kit::health::{self, Readiness};
use operator_kit::lease::Election;
use operator_kit::metrics::Metrics;
use operator_kit::program::{self, LogFormat};
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
    /// The operator's own namespace, which holds its lease.
    #[arg(long, env = "FREEHOLD_NAMESPACE", default_value = "freehold-system")]
    namespace: String,
    /// A name that no other replica has; the host's name and process id when left out.
    #[arg(long, env = "FREEHOLD_IDENTITY")]
    identity: Option<String>,
    /// Billing runs: machines are held until the billing-controller has their last usage.
    #[arg(long, env = "FREEHOLD_METERING")]
    metering: bool,
    /// Whether the operator declares the tenants' cluster roles; false where an installer has done it, which spares the
    /// operator the right to make roles.
    #[arg(long, env = "FREEHOLD_DECLARE_ROLES", default_value_t = true, action = clap::ArgAction::Set)]
    declare_roles: bool,
    /// text or json.
    #[arg(long, env = "FREEHOLD_LOG_FORMAT", default_value = "text")]
    log_format: LogFormat,
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    program::start_logs(arguments.log_format);
    let stop = program::stop_on_signals().context("install signal handlers")?;
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
    tasks.spawn({
        let (metrics, readiness, stop) = (metrics.clone(), readiness.clone(), stop.clone());
        async move {
            if let Err(error) =
                health::serve(arguments.health_address, metrics, readiness, stop).await
            {
                tracing::error!(error = %operator_kit::ErrorChain(&error), "health server ended");
            }
            "health server"
        }
    });
    let controllers = world::register(&world, &metrics, &stop);
    world.watch(&mut tasks, &stop);
    tokio::select! {
        () = world.wait_until_full() => {}
        () = stop.cancelled() => return Ok(()),
    }
    // A standby is ready too: it can take over.
    readiness.set(true);

    let identity = arguments.identity.unwrap_or_else(program::own_name);
    let mut election =
        Election::new(client, &arguments.namespace, "freehold-operator", &identity, clock, fence);
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
