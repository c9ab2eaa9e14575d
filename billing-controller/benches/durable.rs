//! How many samples a second go all the way: received by remote write, durable in the usage log, folded, rated, and
//! committed as usage windows and bill lines in a real PostgreSQL that waits for its disk.
//!
//! Eight senders hand requests of 2,000 samples in 1.0 to the intake's router, one after the other each, while the stream
//! folds what the log has; every sample belongs to an owned object and a priced meter, so every series has a bill line.
//! The clock runs from the first request until no entry of the log is missing from lines. Then everything that follows
//! from the log is thrown away and made again from it. Requests are written before the clock runs.
//!
//! Latency is taken at 10,000 samples a second for 20 seconds: from the beat on which a request of 500 samples was due
//! until a query sees the bill line of one of its series with that sample in it, asked every 20 milliseconds or as fast as
//! the database answers.
//!
//! Each figure comes from a process of its own over a database of its own. Run it as `cargo xtask bench durable`; with
//! `FREEHOLD_TEST_DATABASE_URL` set also as `cargo bench --package billing-controller --bench durable`, and numbers of
//! series may be given as arguments; `FREEHOLD_BENCH_SAMPLES` says how many samples are loaded at least.

#![expect(clippy::print_stdout, reason = "the figures are the result")]

mod generator;

use anyhow::{Context, Result, anyhow, ensure};
use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{Request, StatusCode};
use billing_controller::intake::protocol::Protocol;
use billing_controller::intake::{IntakeSettings, IntakeState, LastReceived, router};
use billing_controller::stream::{self as engine, Stream, StreamError, StreamMetrics};
use generator::{
    METER, Objects, PLAN, SERIES_PER_REQUEST, STEP_BASE_UNITS, instant, packed, request,
};
use metering::{PlanVersionStart, Record, ShardNumber, VersionKey};
use operator_kit::Clock;
use operator_kit::metrics::Metrics;
use pricing::{CardMeter, PlanVersion, Price, RateCard};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};
use store::catalogue::PlanVersionRow;
use store::{PgPool, Uuid};
use stream::{PostgresLog, UsageLog};
use testkit::database::{self, Database};
use tokio::runtime::Handle;
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::{CancellationToken, DropGuard};
use tower::ServiceExt;

const SENDERS: usize = 8;
/// Enough samples for a figure that holds, unless the environment says otherwise.
const SAMPLES_MIN: usize = 1_000_000;
const REST_POLL: Duration = Duration::from_millis(10);
const LINE_POLL: Duration = Duration::from_millis(20);
const BEATS_PER_SECOND: usize = 20;
const BEAT_SAMPLES: usize = 500;
const BEAT_SECONDS: usize = 20;
/// Sent before latency is taken.
const ROUNDS_BEFORE: usize = 2;

fn main() -> Result<()> {
    let given: Vec<String> =
        std::env::args().skip(1).filter(|text| !text.starts_with('-')).collect();
    if let [what, series, workers] = given.as_slice() {
        let (series, workers) = (series.parse()?, workers.parse()?);
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        return match what.as_str() {
            "load" => runtime.block_on(load(series, workers)),
            "latency" => runtime.block_on(latency(series, workers)),
            other => Err(anyhow!("`{other}` is not measured; use load or latency")),
        };
    }
    let sizes: Vec<usize> = given.iter().map(|text| text.parse()).collect::<Result<_, _>>()?;
    let sizes = if sizes.is_empty() { vec![1_000, 10_000, 100_000] } else { sizes };
    println!("{}", machine()?);
    for series in sizes {
        for (what, workers) in [("load", 1), ("load", 2), ("latency", 2)] {
            let mut own = Command::new(std::env::current_exe()?);
            let status = own.args([what, &series.to_string(), &workers.to_string()]).status()?;
            ensure!(status.success(), "{what} of {series} series ended with {status}");
        }
    }
    Ok(())
}

fn machine() -> Result<String> {
    let text = std::fs::read_to_string("/proc/cpuinfo").context("read /proc/cpuinfo")?;
    let model = text.lines().find_map(|line| line.strip_prefix("model name"));
    let model = model.map_or("unknown", |rest| rest.trim_start_matches(['\t', ' ', ':']));
    let load = std::fs::read_to_string("/proc/loadavg").context("read /proc/loadavg")?;
    let load = load.split(' ').next().unwrap_or_default().to_owned();
    let cores = std::thread::available_parallelism()?;
    Ok(format!(
        "{cores} cores of {model}, shared with the senders and PostgreSQL; load before {load}"
    ))
}

/// The intake's clock: a day after the samples begin, whatever day it is.
struct NextDay(jiff::Timestamp);

impl Clock for NextDay {
    fn now(&self) -> jiff::Timestamp {
        self.0
    }
}

/// The program's parts over a new database.
struct Bench {
    database: Database,
    pool: PgPool,
    log: PostgresLog,
    door: Router,
}

impl Bench {
    async fn new(series: usize) -> Result<Self> {
        let database = database::create().await?;
        let pool = store::connect(&database.url()).await?;
        store::migrate(&pool).await?;
        let log = PostgresLog::new(pool.clone());
        let objects = Arc::new(Objects::new(series));
        price(&pool, &log).await?;
        log.append(objects.declarations()?).await?;
        let now = instant(0)?.plus_microseconds(86_400_000_000);
        let now = jiff::Timestamp::from_microsecond(now.microseconds())?;
        let settings =
            IntakeSettings { append_timeout: Duration::from_mins(2), ..IntakeSettings::default() };
        let state = IntakeState::new(
            objects,
            Arc::new(log.clone()),
            Arc::new(NextDay(now)),
            Arc::new(LastReceived::new(None, 120_000_000)),
            &Metrics::default(),
            settings,
        );
        Ok(Self { database, pool, log, door: router(state) })
    }

    fn start(&self, workers: usize) -> Running {
        let stop = CancellationToken::new();
        let stream = Stream {
            pool: self.pool.clone(),
            log: self.log.clone(),
            metrics: StreamMetrics::default(),
            stop: stop.clone(),
        };
        let runtime = Handle::current();
        let ended = tokio::task::spawn_blocking(move || engine::run(&stream, workers, &runtime));
        Running { stop: stop.drop_guard(), ended }
    }

    /// Waits until every entry of the log is in lines.
    async fn rest(&self, running: &Running) -> Result<()> {
        loop {
            let lag = store::shard::lag(&mut *self.pool.acquire().await?).await?;
            if lag == (0, 0) {
                return Ok(());
            }
            ensure!(!running.ended.is_finished(), "the stream ended by itself at a lag of {lag:?}");
            tokio::time::sleep(REST_POLL).await;
        }
    }

    /// A figure counts only if the work was done: every series has a line, and it has grown by one step a round.
    async fn check(&self, series: usize, rounds: usize) -> Result<()> {
        let found: (i64, String) = sqlx::query_as(
            "SELECT count(*), coalesce(sum(quantity), 0)::text FROM billing.line WHERE state = 'live'",
        )
        .fetch_one(&self.pool)
        .await?;
        let steps = i128::try_from(series)? * i128::try_from(rounds.saturating_sub(1))?;
        let wanted = (i64::try_from(series)?, (steps * i128::from(STEP_BASE_UNITS)).to_string());
        ensure!(found == wanted, "lines and their sum are {found:?}, not {wanted:?}");
        Ok(())
    }

    async fn number(&self, query: &'static str) -> Result<i64> {
        let (number,): (i64,) = sqlx::query_as(query).fetch_one(&self.pool).await?;
        Ok(number)
    }

    async fn end(self) -> Result<()> {
        self.pool.close().await;
        self.database.drop_now().await
    }
}

/// One plain price for the meter.
async fn price(pool: &PgPool, log: &PostgresLog) -> Result<()> {
    let effective_from = instant(0)?;
    let version = PlanVersion {
        currency: "EUR".parse()?,
        effective_from,
        anchor_day: 1,
        rounding: money::RoundingMode::default(),
        phase: "evergreen".to_owned(),
        cards: vec![RateCard {
            id: "traffic".to_owned(),
            description: "Traffic".to_owned(),
            meter: Some(CardMeter {
                name: METER.to_owned(),
                display_unit: "KB".to_owned(),
                base_units_per_display_unit: 1_000_000,
            }),
            price: Price::PerUnit { rate: "0.123456789".parse()? },
            free_quantity: money::Decimal::default(),
        }],
    };
    let row = PlanVersionRow {
        plan_uid: PLAN.0,
        generation: 1,
        plan_name: "bench".to_owned(),
        effective_from_microseconds: effective_from.microseconds(),
        hash: version.hash(),
        content: serde_json::to_value(&version)?,
    };
    store::catalogue::plan_version_add(&mut *pool.acquire().await?, &row).await?;
    let version = VersionKey { plan: PLAN, generation: 1 };
    let record = Record::PlanVersion(PlanVersionStart { version, effective_from });
    log.append(ShardNumber::all().map(|shard| (shard, vec![record.clone()])).collect()).await?;
    Ok(())
}

/// A stream at work; it ends with this value.
struct Running {
    stop: DropGuard,
    ended: JoinHandle<Result<(), StreamError>>,
}

impl Running {
    async fn stop(self) -> Result<()> {
        drop(self.stop);
        Ok(self.ended.await??)
    }
}

async fn send(door: &Router, body: Bytes) -> Result<()> {
    let request = Request::post("/api/v1/write")
        .header("content-type", "application/x-protobuf")
        .header("content-encoding", "snappy")
        .body(Body::from(body))?;
    let response = door.clone().oneshot(request).await?;
    let status = response.status();
    ensure!(status == StatusCode::NO_CONTENT, "the intake answered {status}");
    Ok(())
}

/// Each sender's requests, in order: all rounds of its own share of the series.
fn bodies(series: usize, rounds: usize) -> Result<Vec<Vec<Bytes>>> {
    let share = series.div_ceil(SENDERS);
    let mut senders = Vec::new();
    for first in (0..series).step_by(share) {
        let own = first..series.min(first + share);
        // A few series fill a request with several rounds, as a sender does that has fallen behind.
        let together = (SERIES_PER_REQUEST / own.len()).max(1);
        let mut requests = Vec::new();
        for round in (0..rounds).step_by(together) {
            for start in own.clone().step_by(SERIES_PER_REQUEST) {
                let chunk = start..own.end.min(start + SERIES_PER_REQUEST);
                let mut whole = request(chunk.clone(), round);
                for later in round + 1..rounds.min(round + together) {
                    whole.timeseries.extend(request(chunk.clone(), later).timeseries);
                }
                requests.push(Bytes::from(packed(&whole, Protocol::V1)?));
            }
        }
        senders.push(requests);
    }
    Ok(senders)
}

async fn send_all(door: &Router, senders: &[Vec<Bytes>]) -> Result<()> {
    let mut tasks: JoinSet<Result<()>> = JoinSet::new();
    for requests in senders {
        let (door, requests) = (door.clone(), requests.clone());
        tasks.spawn(async move {
            for body in requests {
                send(&door, body).await?;
            }
            Ok(())
        });
    }
    while let Some(result) = tasks.join_next().await {
        result??;
    }
    Ok(())
}

const WAL_BYTES: &str = "SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint";
const LOG_BYTES: &str = "SELECT pg_total_relation_size('stream.log')";
const STATE_BYTES: &str = "SELECT coalesce(sum(octet_length(delta)), 0)::bigint FROM stream.state";
const STATE_FILE_BYTES: &str = "SELECT pg_total_relation_size('stream.state')";

async fn load(series: usize, workers: usize) -> Result<()> {
    let samples_min = match std::env::var("FREEHOLD_BENCH_SAMPLES") {
        Ok(text) => text.parse().context("FREEHOLD_BENCH_SAMPLES is no number")?,
        Err(_) => SAMPLES_MIN,
    };
    let rounds = samples_min.div_ceil(series).max(3);
    let samples = series * rounds;
    let senders = bodies(series, rounds)?;
    let bench = Bench::new(series).await?;
    let running = bench.start(workers);
    bench.rest(&running).await?;
    let (wal, resident) = (bench.number(WAL_BYTES).await?, resident_kib()?);
    let began = Instant::now();
    send_all(&bench.door, &senders).await?;
    let appended = began.elapsed();
    bench.rest(&running).await?;
    let done = began.elapsed();
    let resident = resident_kib()?.saturating_sub(resident);
    let wal = bench.number(WAL_BYTES).await? - wal;
    bench.check(series, rounds).await?;
    running.stop().await?;
    let (log, state) = (bench.number(LOG_BYTES).await?, bench.number(STATE_BYTES).await?);
    let state_file = bench.number(STATE_FILE_BYTES).await?;
    let replay = replay(&bench, workers).await?;
    bench.check(series, rounds).await?;
    bench.end().await?;

    println!("{series} series, {samples} samples, {workers} workers:");
    println!("  first request to last line     {:>9} samples/s", per_second(samples, done));
    println!("  answered as durable            {:>9} samples/s", per_second(samples, appended));
    println!("  again from the log alone       {:>9} samples/s", per_second(samples, replay));
    let each = |bytes: i64, count: usize| bytes / i64::try_from(count).unwrap_or(i64::MAX);
    println!(
        "  resident memory                {:>9} bytes a series",
        each(resident * 1024, series)
    );
    println!("  state                          {:>9} bytes a series", each(state, series));
    println!("  state's table                  {:>9} bytes a sample", each(state_file, samples));
    println!("  log's table                    {:>9} bytes a sample", each(log, samples));
    println!("  write-ahead log                {:>9} bytes a sample", each(wal, samples));
    Ok(())
}

/// How long the same log takes when nothing is left of what followed from it.
async fn replay(bench: &Bench, workers: usize) -> Result<Duration> {
    for statement in [
        "TRUNCATE stream.state, metering.usage_window, billing.line, billing.unpriced",
        "UPDATE stream.shard SET next_seq = 0, epoch = 0, lines_next_seq = 0, lines_epoch = 0",
    ] {
        sqlx::query(statement).execute(&bench.pool).await?;
    }
    let began = Instant::now();
    let running = bench.start(workers);
    bench.rest(&running).await?;
    let took = began.elapsed();
    running.stop().await?;
    Ok(took)
}

async fn latency(series: usize, workers: usize) -> Result<()> {
    let bench = Bench::new(series).await?;
    let running = bench.start(workers);
    // The first round is the baseline, the second makes the lines.
    send_all(&bench.door, &bodies(series, ROUNDS_BEFORE)?).await?;
    bench.rest(&running).await?;
    let chunks: Vec<_> = (0..series)
        .step_by(BEAT_SAMPLES)
        .map(|first| first..series.min(first + BEAT_SAMPLES))
        .collect();
    let mut beats = Vec::new();
    let rounds = (BEATS_PER_SECOND * BEAT_SECONDS).div_ceil(chunks.len());
    for round in ROUNDS_BEFORE..ROUNDS_BEFORE + rounds {
        for chunk in &chunks {
            beats.push(Bytes::from(packed(&request(chunk.clone(), round), Protocol::V1)?));
        }
    }
    let keys = probes(&bench.pool, chunks.iter().map(|chunk| chunk.start)).await?;
    let began = Instant::now() + Duration::from_millis(100);
    let watch = tokio::spawn(watch(bench.pool.clone(), keys, began, rounds));
    let mut tasks: JoinSet<Result<()>> = JoinSet::new();
    for (beat, body) in beats.into_iter().enumerate() {
        let door = bench.door.clone();
        tokio::time::sleep_until((began + due(beat)).into()).await;
        tasks.spawn(async move { send(&door, body).await });
    }
    while let Some(result) = tasks.join_next().await {
        result??;
    }
    let mut took = watch.await??;
    took.sort_unstable();
    bench.rest(&running).await?;
    bench.check(series, ROUNDS_BEFORE + rounds).await?;
    running.stop().await?;
    bench.end().await?;
    let at = |hundredths: usize| took.get((took.len() * hundredths / 100).min(took.len() - 1));
    println!(
        "{series} series, {} samples/s, {workers} workers: sample to line p50 {:?}, p99 {:?}, longest {:?} ({} requests)",
        BEATS_PER_SECOND * BEAT_SAMPLES,
        at(50).context("nothing was seen")?,
        at(99).context("nothing was seen")?,
        at(100).context("nothing was seen")?,
        took.len()
    );
    Ok(())
}

/// How long after the first beat one is due.
fn due(beat: usize) -> Duration {
    Duration::from_secs(1) * u32::try_from(beat).unwrap_or(u32::MAX)
        / u32::try_from(BEATS_PER_SECOND).unwrap_or(1)
}

/// The lines of these series.
async fn probes(
    pool: &PgPool,
    series: impl Iterator<Item = usize>,
) -> Result<(Vec<Uuid>, Vec<String>)> {
    let (mut tenants, mut keys) = (Vec::new(), Vec::new());
    for first in series {
        let (tenant, key): (Uuid, String) = sqlx::query_as(
            "SELECT tenant, line_key FROM billing.line WHERE tenant = $1 AND resource_uid = $2 AND part = $3",
        )
        .bind(generator::account(first).0)
        .bind(generator::object(first).0)
        .bind(generator::part(first))
        .fetch_one(pool)
        .await
        .with_context(|| format!("the line of series {first}"))?;
        tenants.push(tenant);
        keys.push(key);
    }
    Ok((tenants, keys))
}

/// Looks at the lines until each has all rounds; how long after its beat each round was seen in each.
async fn watch(
    pool: PgPool,
    (tenants, keys): (Vec<Uuid>, Vec<String>),
    began: Instant,
    rounds: usize,
) -> Result<Vec<Duration>> {
    let last = ROUNDS_BEFORE + rounds - 1;
    let mut seen = vec![ROUNDS_BEFORE - 1; keys.len()];
    let mut took = Vec::new();
    while seen.iter().any(|one| *one < last) {
        let quantities: Vec<(i64,)> = sqlx::query_as(
            "SELECT line.quantity::bigint FROM unnest($1::uuid[], $2::text[]) WITH ORDINALITY AS probe (tenant, key, place)
             JOIN billing.line AS line ON line.tenant = probe.tenant AND line.line_key = probe.key ORDER BY place",
        )
        .bind(&tenants)
        .bind(&keys)
        .fetch_all(&pool)
        .await?;
        let now = Instant::now();
        for (place, ((quantity,), seen)) in quantities.iter().zip(&mut seen).enumerate() {
            let found = usize::try_from(quantity / STEP_BASE_UNITS)?;
            for round in *seen + 1..=found {
                let beat = (round - ROUNDS_BEFORE) * keys.len() + place;
                took.push(now.saturating_duration_since(began + due(beat)));
            }
            *seen = found.max(*seen);
        }
        ensure!(began.elapsed() < Duration::from_mins(3), "lines do not come");
        tokio::time::sleep(LINE_POLL).await;
    }
    Ok(took)
}

fn per_second(samples: usize, took: Duration) -> u128 {
    let samples = u128::try_from(samples).unwrap_or(0);
    samples.saturating_mul(1_000_000).checked_div(took.as_micros()).unwrap_or(0)
}

/// How much memory of this process is resident.
fn resident_kib() -> Result<i64> {
    let text = std::fs::read_to_string("/proc/self/status").context("read /proc/self/status")?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|rest| rest.trim().strip_suffix(" kB"));
    Ok(number.context("no VmRSS in /proc/self/status")?.trim().parse()?)
}
