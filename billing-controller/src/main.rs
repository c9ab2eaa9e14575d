//! The billing-controller as a program: arguments, wiring, the order of start and end.

mod serve;

use anyhow::{Context, Result, anyhow, bail};
use billing_controller::clock::DatabaseClock;
use billing_controller::intake::{
    IntakeSettings, IntakeState, LastReceived, OutageSettings, OutageWatch, PrometheusClient,
    watch_outages,
};
use billing_controller::query::{self, QueryState};
use billing_controller::registry::{self, KnownOwners, World};
use billing_controller::stream::{Stream, StreamMetrics, WORKERS_MAX};
use billing_controller::{intake, stream as engine};
use calendar::Instant;
use clap::Parser;
use operator_kit::health::{self, Readiness};
use operator_kit::lease::Election;
use operator_kit::metrics::Metrics;
use operator_kit::program::{CandidateArguments, ProgramArguments};
use operator_kit::{ErrorChain, Fence, SystemClock, client};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use store::PgPool;
use stream::PostgresLog;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// How long work under way may take to end after the program was asked to stop.
const DRAIN_LIMIT: Duration = Duration::from_secs(5);
/// How long to wait before the database is tried again.
const RESTART_AFTER: Duration = Duration::from_secs(1);
/// From how long a silence of the senders on it is an outage.
const SILENCE_MICROSECONDS: i64 = 120_000_000;

#[derive(Debug, Parser)]
#[command(
    name = "freehold-billing-controller",
    version,
    about = "Meters usage, keeps bill lines live, issues invoices"
)]
struct Arguments {
    /// PostgreSQL, like `postgres://user:password@host/database`.
    #[arg(long, env = "FREEHOLD_DATABASE_URL", hide_env_values = true)]
    database_url: Option<String>,
    /// A file that holds the database's URL, for secrets that are mounted.
    #[arg(long, env = "FREEHOLD_DATABASE_URL_FILE")]
    database_url_file: Option<PathBuf>,
    /// Where Prometheus sends samples: POST /api/v1/write.
    #[arg(long, env = "FREEHOLD_INTAKE_ADDRESS", default_value = "127.0.0.1:9009")]
    intake_address: SocketAddr,
    /// Where bills, usage and invoices are asked for.
    #[arg(long, env = "FREEHOLD_QUERY_ADDRESS", default_value = "127.0.0.1:8083")]
    query_address: SocketAddr,
    /// Where health, readiness and metrics are served.
    #[arg(long, env = "FREEHOLD_HEALTH_ADDRESS", default_value = "127.0.0.1:8082")]
    health_address: SocketAddr,
    /// Prometheus, like `http://prometheus:9090`, to read what was missed; no backfill when left out.
    #[arg(long, env = "FREEHOLD_PROMETHEUS_URL")]
    prometheus_url: Option<String>,
    /// How many threads fold the usage log, 1 to 64.
    #[arg(long, env = "FREEHOLD_WORKERS", default_value_t = 1)]
    workers: usize,
    /// How often time itself is recorded, so that what is held is counted, in seconds.
    #[arg(long, env = "FREEHOLD_TICK_SECONDS", default_value_t = 60)]
    tick_seconds: u64,
    /// A file with the bearer token that senders of samples must show; anybody who reaches the port may send without.
    #[arg(long, env = "FREEHOLD_INTAKE_TOKEN_FILE")]
    intake_token_file: Option<PathBuf>,
    /// The legal entity that issues invoices; it has its own series of numbers.
    #[arg(long, env = "FREEHOLD_LEGAL_ENTITY", default_value = "operator")]
    legal_entity: String,
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

/// The parts that everything else is made of.
struct Parts {
    pool: PgPool,
    log: PostgresLog,
    clock: Arc<DatabaseClock>,
    metrics: Metrics,
    owners: Arc<KnownOwners>,
    stop: CancellationToken,
}

fn check(arguments: &Arguments) -> Result<()> {
    if arguments.workers == 0 || arguments.workers > WORKERS_MAX {
        bail!("--workers {}: use 1 to {WORKERS_MAX}", arguments.workers);
    }
    if arguments.tick_seconds == 0 {
        bail!("--tick-seconds 0: use at least 1");
    }
    Ok(())
}

async fn run(arguments: Arguments, stop: CancellationToken) -> Result<()> {
    check(&arguments)?;
    let (metrics, readiness, fence) = (Metrics::default(), Readiness::default(), Fence::default());
    let mut tasks: JoinSet<&'static str> = JoinSet::new();
    // Health first: who waits for the database is alive.
    let health = health::router(metrics.clone(), readiness.clone());
    serve::spawn(&mut tasks, "health server", arguments.health_address, health, &stop).await?;
    let url = database_url(&arguments)?;
    let Some(pool) = stop.run_until_cancelled(connect_when_up(&url)).await else { return Ok(()) };
    let pool = pool?;
    store::migrate(&pool).await?;
    let client = client::connect().await?;
    let parts = Parts {
        log: PostgresLog::new(pool.clone()),
        owners: Arc::new(KnownOwners::load(&pool).await?),
        clock: Arc::new(DatabaseClock::ask_first(&pool, Arc::new(SystemClock)).await?),
        metrics,
        stop: stop.clone(),
        pool,
    };
    let world = Arc::new(World::new(
        client.clone(),
        fence.clone(),
        Arc::clone(&parts.clock) as _,
        parts.pool.clone(),
        parts.log.clone(),
        Arc::clone(&parts.owners),
    ));
    let controllers = registry::register(&world, &parts.metrics, &stop);
    world.feed_owners();
    world.watch(&mut tasks, &stop);
    tokio::select! {
        () = world.wait_until_full() => {}
        () = stop.cancelled() => return Ok(()),
    }

    let identity = arguments.candidate.identity();
    let mut election = Election::new(
        client,
        &arguments.program.namespace,
        "freehold-billing-controller",
        &identity,
        Arc::new(SystemClock),
        fence,
    );
    if !election.acquire(&stop).await {
        return Ok(());
    }
    tracing::info!(identity, "leading");
    for controller in controllers {
        tasks.spawn(controller);
    }
    keep_time(&parts, &mut tasks);
    start_stream(&parts, &arguments, &mut tasks);
    start_ticks(&parts, arguments.tick_seconds, &mut tasks);
    let absences = registry::watch_absences(Arc::clone(&world), stop.clone());
    tasks.spawn(async move {
        absences.await;
        "the look for what is gone"
    });
    start_intake(&parts, &arguments, &mut tasks).await?;
    let questions = query::router(QueryState {
        pool: parts.pool.clone(),
        log: parts.log.clone(),
        clock: Arc::clone(&parts.clock),
        entity: Arc::from(arguments.legal_entity.as_str()),
    });
    serve::spawn(&mut tasks, "query server", arguments.query_address, questions, &stop).await?;
    // Only the leader takes samples and questions, so a service sends them nowhere else.
    readiness.set(true);
    lead(&mut election, &mut tasks, &stop).await
}

/// Connects as soon as the database is there. What waiting does not change (password, name, URL) ends the program, and
/// the one that is started in its place reads a changed secret anew.
async fn connect_when_up(url: &str) -> Result<PgPool, store::Error> {
    loop {
        match store::connect(url).await {
            Err(error) if error.may_pass() => {
                tracing::warn!(error = %ErrorChain(&error), "PostgreSQL is not there yet, trying again");
                tokio::time::sleep(RESTART_AFTER).await;
            }
            result => return result,
        }
    }
}

/// Holds the lease until asked to stop, or until a part of the program is lost.
async fn lead(
    election: &mut Election,
    tasks: &mut JoinSet<&'static str>,
    stop: &CancellationToken,
) -> Result<()> {
    let result = tokio::select! {
        lost = election.hold(stop) => if lost {
            Err(anyhow!("the lease went to another process; ending so that nothing is written twice"))
        } else {
            Ok(())
        },
        ended = tasks.join_next() => {
            let name = ended.transpose().context("a background task failed")?.unwrap_or("nothing");
            Err(anyhow!("{name} ended by itself; ending so that the process does not look alive"))
        }
    };
    let asked = stop.is_cancelled() && result.is_ok();
    stop.cancel();
    drop(
        tokio::time::timeout(DRAIN_LIMIT, async { while tasks.join_next().await.is_some() {} })
            .await,
    );
    election.release().await;
    if asked {
        tracing::info!("stopped");
    }
    result
}

fn database_url(arguments: &Arguments) -> Result<String> {
    match (&arguments.database_url, &arguments.database_url_file) {
        (Some(url), None) => Ok(url.clone()),
        (None, Some(file)) => {
            let text = std::fs::read_to_string(file)
                .with_context(|| format!("--database-url-file: read {}", file.display()))?;
            Ok(text.trim().to_owned())
        }
        (None, None) => bail!("no database: give --database-url or --database-url-file"),
        (Some(_), Some(_)) => bail!("two databases: give --database-url or --database-url-file"),
    }
}

/// Folds the usage log on threads of its own. When the database goes away, the stream claims its shards anew as soon as
/// it is back; when another process has claimed them, this one has nothing to do here any more.
fn start_stream(parts: &Parts, arguments: &Arguments, tasks: &mut JoinSet<&'static str>) {
    let (pool, log, stop) = (parts.pool.clone(), parts.log.clone(), parts.stop.clone());
    let metrics = StreamMetrics::new(&parts.metrics);
    let (workers, runtime) = (arguments.workers, tokio::runtime::Handle::current());
    tasks.spawn_blocking(move || {
        while !stop.is_cancelled() {
            let stream = Stream {
                pool: pool.clone(),
                log: log.clone(),
                metrics: metrics.clone(),
                stop: stop.child_token(),
            };
            match engine::run(&stream, workers, &runtime) {
                Ok(()) => break,
                Err(error) if error.is_stale() => {
                    tracing::error!(error = %ErrorChain(&error), "the stream ended");
                    break;
                }
                Err(error) => {
                    tracing::warn!(error = %ErrorChain(&error), "the stream stopped, starting anew");
                    runtime.block_on(stop.run_until_cancelled(tokio::time::sleep(RESTART_AFTER)));
                }
            }
        }
        "the stream"
    });
}

/// Keeps the database's time known, and how far this machine's clock is from it.
fn keep_time(parts: &Parts, tasks: &mut JoinSet<&'static str>) {
    let (clock, pool, stop) = (Arc::clone(&parts.clock), parts.pool.clone(), parts.stop.clone());
    clock.register(&parts.metrics);
    tasks.spawn(async move {
        clock.keep(&pool, &stop).await;
        "the database's time"
    });
}

/// Says in the log how far time has come. A tick that cannot be said is said late; nothing is lost by it.
fn start_ticks(parts: &Parts, seconds: u64, tasks: &mut JoinSet<&'static str>) {
    let (log, pool) = (parts.log.clone(), parts.pool.clone());
    let (clock, stop) = (Arc::clone(&parts.clock), parts.stop.clone());
    tasks.spawn(async move {
        let mut interval = tokio::time::interval(Duration::from_secs(seconds));
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while stop.run_until_cancelled(interval.tick()).await.is_some() {
            let said = match clock.ask_again(&pool).await {
                Ok(now) => registry::tick(&log, Instant::from_timestamp(now)).await,
                Err(error) => Err(error.into()),
            };
            if let Err(error) = said {
                tracing::warn!(error = %ErrorChain(&error), "time could not be recorded, trying again");
            }
        }
        "the clock's records"
    });
}

async fn start_intake(
    parts: &Parts,
    arguments: &Arguments,
    tasks: &mut JoinSet<&'static str>,
) -> Result<()> {
    let acquire = |source| store::Error::Database { act: "start the intake", source };
    let stored = {
        let mut connection = parts.pool.acquire().await.map_err(acquire)?;
        store::receiver::last_received(&mut connection).await?
    };
    let last = stored.and_then(|last| Instant::from_microseconds(last).ok());
    let received = Arc::new(LastReceived::new(last, SILENCE_MICROSECONDS));
    let token = match &arguments.intake_token_file {
        Some(file) => {
            let text = std::fs::read_to_string(file)
                .with_context(|| format!("--intake-token-file: read {}", file.display()))?;
            let token = intake::server::Token::new(text.trim());
            Some(token.with_context(|| {
                format!("--intake-token-file: {} holds no token", file.display())
            })?)
        }
        None => None,
    };
    let settings = IntakeSettings { token, ..IntakeSettings::default() };
    let identity: Arc<dyn intake::Identity> = Arc::clone(&parts.owners) as _;
    let log: Arc<dyn stream::UsageLog> = Arc::new(parts.log.clone());
    let state = IntakeState::new(
        identity,
        Arc::clone(&log),
        Arc::clone(&parts.clock) as _,
        Arc::clone(&received),
        &parts.metrics,
        settings,
    );
    let prometheus = arguments.prometheus_url.as_deref().map(PrometheusClient::new);
    let watch = OutageWatch {
        prometheus: prometheus.transpose().context("--prometheus-url")?,
        normaliser: Arc::clone(state.normaliser()),
        log,
        clock: Arc::clone(&parts.clock) as _,
        received: Arc::clone(&received),
        figures: state.figures().clone(),
    };
    let stop = parts.stop.clone();
    tasks.spawn(async move {
        watch_outages(watch, OutageSettings::default(), stop).await;
        "the watch for outages"
    });
    serve::spawn_receipts(tasks, parts.pool.clone(), received, parts.stop.clone());
    let door = intake::router(state);
    serve::spawn(tasks, "intake", arguments.intake_address, door, &parts.stop).await
}
