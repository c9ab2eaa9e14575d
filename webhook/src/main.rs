//! `freehold-webhook`: admission for Freehold's kinds, and the guard of tenants' namespaces.

use anyhow::{Context, Result, anyhow, bail};
use axum_server::Handle;
use axum_server::tls_rustls::RustlsConfig;
use clap::Parser;
use jiff::SignedDuration;
use kube::Client;
use operator_kit::cache::Watches;
use operator_kit::health::{self, Readiness};
use operator_kit::metrics::Metrics;
use operator_kit::program::ProgramArguments;
use operator_kit::{Clock, SystemClock};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use webhook::certificates::Lifetimes;
use webhook::keeper::{self, Keeper};
use webhook::registration::{Advertise, Registration};
use webhook::server::{self, Judge};
use webhook::world::World;

/// Judges changes of Freehold's objects for the API server, and guards tenants' namespaces.
#[derive(Parser)]
#[command(name = "freehold-webhook", version)]
struct Arguments {
    /// Where API servers ask, over TLS.
    #[arg(long, env = "FREEHOLD_LISTEN_ADDRESS", default_value = "127.0.0.1:9443")]
    listen_address: SocketAddr,
    /// Where /healthz, /readyz and /metrics are served, without TLS.
    #[arg(long, env = "FREEHOLD_HEALTH_ADDRESS", default_value = "127.0.0.1:8082")]
    health_address: SocketAddr,
    /// How API servers reach us: url=https://HOST:PORT or service=NAME.NAMESPACE.
    #[arg(long, env = "FREEHOLD_ADVERTISE", default_value = "url=https://127.0.0.1:9443")]
    advertise: Advertise,
    /// User names of the operator and the billing-controller, which are let through; the service accounts
    /// freehold-operator and freehold-billing-controller of our namespace when left out.
    #[arg(long, env = "FREEHOLD_OPERATOR_USERNAME", value_delimiter = ',')]
    operator_username: Vec<String>,
    /// Life of a certificate authority in seconds.
    #[arg(long, default_value_t = 365 * 86_400, value_parser = clap::value_parser!(i64).range(10..))]
    authority_seconds: i64,
    /// Life of a serving certificate in seconds.
    #[arg(long, default_value_t = 90 * 86_400, value_parser = clap::value_parser!(i64).range(5..))]
    serving_seconds: i64,
    /// How long a new authority is trusted before it signs, in seconds.
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(i64).range(1..))]
    settle_seconds: i64,
    /// Remove our configurations from the cluster and end.
    #[arg(long)]
    unregister: bool,
    #[command(flatten)]
    program: ProgramArguments,
}

impl Arguments {
    fn lifetimes(&self) -> Lifetimes {
        Lifetimes {
            authority: SignedDuration::from_secs(self.authority_seconds),
            serving: SignedDuration::from_secs(self.serving_seconds),
            settle: SignedDuration::from_secs(self.settle_seconds),
        }
    }

    /// Often enough to renew within the last third of the shortest life, seldom enough to cost nothing.
    fn beat(&self) -> Duration {
        let shortest = self.serving_seconds.min(self.settle_seconds.saturating_mul(3));
        Duration::from_secs(u64::try_from(shortest / 12).unwrap_or(0).clamp(1, 30))
    }

    fn registration(&self) -> Registration {
        let mut operators = self.operator_username.clone();
        if operators.is_empty() {
            operators = ["freehold-operator", "freehold-billing-controller"]
                .map(|account| {
                    format!("system:serviceaccount:{}:{account}", self.program.namespace)
                })
                .to_vec();
        }
        Registration {
            advertise: self.advertise.clone(),
            operators,
            own_namespace: self.program.namespace.clone(),
        }
    }
}

/// How long requests under way may take to end when we are asked to stop.
const DRAIN_LIMIT: Duration = Duration::from_secs(10);

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let stop = arguments.program.start().context("listen to signals")?;
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        bail!("another TLS provider was installed first");
    }
    let client = operator_kit::client::connect().await?;
    if arguments.unregister {
        return Ok(keeper::unregister(client).await?);
    }
    serve(&arguments, client, stop).await
}

async fn serve(arguments: &Arguments, client: Client, stop: CancellationToken) -> Result<()> {
    let (metrics, ready) = (Metrics::default(), Readiness::default());
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let keeper =
        Keeper::new(client.clone(), clock.clone(), arguments.lifetimes(), arguments.registration());
    let keyring = keeper.keyring().await?;
    let (chain, key) = keeper::serving_pem(&keyring)?;
    let tls = RustlsConfig::from_pem(chain, key).await.context("load the serving certificate")?;

    let mut tasks: JoinSet<Result<()>> = JoinSet::new();
    let mut watches = Watches::new(client.clone());
    let world = World::new(&mut watches);
    // They go on while requests under way are finished, so only the program's end ends them.
    let never = CancellationToken::new();
    watches.spawn(&mut tasks, &never, |name| Err(anyhow!("{name} ended by itself")));
    let judge = Judge::new(world.clone(), client, clock, ready.clone(), &metrics);
    let handle = Handle::new();
    let server = axum_server::bind_rustls(arguments.listen_address, tls.clone())
        .handle(handle.clone())
        .serve(server::router(judge).into_make_service());
    let address = arguments.listen_address;
    tasks.spawn(async move {
        server.await.with_context(|| format!("serve on {address}; is the port taken?"))
    });
    tasks.spawn({
        let (address, stop, ready) = (arguments.health_address, stop.clone(), ready.clone());
        async move { Ok(health::serve(address, metrics, ready, stop).await?) }
    });
    if handle.listening().await.is_none() {
        return first_end(&mut tasks).await;
    }
    tokio::select! {
        result = first_end(&mut tasks) => return result,
        () = stop.cancelled() => return Ok(()),
        () = watches.wait_until_full() => {}
    }
    // Only now are we asked anything: everything is there to answer from.
    ready.set(true);
    keeper.register(&keyring).await?;
    tracing::info!(address = %arguments.listen_address, "ready to judge");

    let keeping = keeper.run(keyring, tls, arguments.beat(), stop.clone());
    tokio::select! {
        result = first_end(&mut tasks) => return result,
        () = keeping => {}
    }
    handle.graceful_shutdown(Some(DRAIN_LIMIT));
    while handle.connection_count() > 0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

/// A task that ends before it was asked to is the end of the program.
async fn first_end(tasks: &mut JoinSet<Result<()>>) -> Result<()> {
    match tasks.join_next().await {
        Some(result) => result.context("a part of the program failed")?,
        None => Ok(()),
    }
}
