//! How many samples a second one core takes in: unpack, decode, normalise, and fold with `metering::step`.
//!
//! Rounds of one sample per series, 2,000 series a request, as Prometheus sends them; each series has eleven labels of
//! about 300 bytes, twenty series to an object, all objects owned. The first round meets new series, the later ones meet
//! remembered ones. The fold runs in epochs of at least 50,000 records. Times are the thread's own CPU time, so that
//! neighbours on the machine do not count; everything runs on one thread. Writing requests is not timed.
//!
//! Beside it: decoding alone, by hand and by a Protocol Buffers library, and turning records into the bytes of the log.
//! Run it as `cargo bench --package billing-controller --bench intake`; numbers of series may be given as arguments.

#![expect(clippy::print_stdout, reason = "the figures are the result")]

mod generator;

use anyhow::{Context, Result, anyhow};
use billing_controller::intake::protocol::{LabelsKeyMaker, Protocol, decode, unpack};
use billing_controller::intake::{Normaliser, NormaliserSettings};
use generator::messages::{Request, WriteRequest};
use generator::{Objects, SERIES_PER_REQUEST, STEP_BASE_UNITS, instant, packed, request};
use metering::{ShardNumber, ShardState};
use prost::Message;
use std::collections::BTreeMap;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;
use stream::Flush;

const EPOCH_RECORDS: usize = 50_000;
/// Enough samples for a figure that holds.
const SAMPLES_MIN: usize = 1_000_000;
/// How many samples the figures beside are taken from.
const BESIDE_SAMPLES: usize = 200_000;
const BYTES_MAX: usize = 32 << 20;

fn main() -> Result<()> {
    let given: Vec<usize> = std::env::args().filter_map(|text| text.parse().ok()).collect();
    let sizes = if given.is_empty() { vec![1_000, 10_000, 100_000, 1_000_000] } else { given };
    println!("{}", machine()?);
    for series in sizes {
        for protocol in [Protocol::V1, Protocol::V2] {
            measure(series, protocol)?;
        }
    }
    Ok(())
}

fn machine() -> Result<String> {
    let text = std::fs::read_to_string("/proc/cpuinfo").context("read /proc/cpuinfo")?;
    let model = text.lines().find_map(|line| line.strip_prefix("model name"));
    let model = model.map_or("unknown", |rest| rest.trim_start_matches(['\t', ' ', ':']));
    Ok(format!("{} cores of {model}; one thread", std::thread::available_parallelism()?))
}

/// The CPU time of this thread.
fn cpu_time() -> Result<Duration> {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Ok(Duration::new(u64::try_from(time.tv_sec)?, u32::try_from(time.tv_nsec)?))
}

#[derive(Default)]
struct Times {
    cold: Duration,
    warm: Duration,
    fold: Duration,
    hand: Duration,
    library: Duration,
    bytes: Duration,
    beside: usize,
    log_bytes: usize,
    request_bytes: usize,
}

fn measure(series: usize, protocol: Protocol) -> Result<()> {
    let objects = Arc::new(Objects::new(series));
    let settings =
        NormaliserSettings { series_remembered_max: 2 * series, ..NormaliserSettings::default() };
    let normaliser = Normaliser::new(objects.clone(), settings);
    let mut shards = shards(&objects)?;
    let mut times = Times::default();
    let rounds = SAMPLES_MIN.div_ceil(series).max(2);
    let mut waiting = Flush::new();
    let mut waiting_records = 0;
    for round in 0..=rounds {
        for first in (0..series).step_by(SERIES_PER_REQUEST) {
            let request = request(first..series.min(first + SERIES_PER_REQUEST), round);
            let packed = packed(&request, protocol)?;
            times.request_bytes += packed.len();
            let received_at = instant(round)?;
            let began = cpu_time()?;
            let message = unpack(&packed, BYTES_MAX)?;
            let batch = normaliser.request(protocol, &message, received_at)?;
            let took = cpu_time()?.saturating_sub(began);
            *(if round == 0 { &mut times.cold } else { &mut times.warm }) += took;
            if round > 0 && times.beside < BESIDE_SAMPLES {
                beside(protocol, &message, &batch.flush, &mut times)?;
            }
            for (shard, records) in batch.flush {
                waiting_records += records.len();
                waiting.entry(shard).or_default().extend(records);
            }
            if waiting_records >= EPOCH_RECORDS {
                fold(&mut shards, std::mem::take(&mut waiting), &mut times)?;
                waiting_records = 0;
            }
        }
    }
    fold(&mut shards, waiting, &mut times)?;
    check(&shards, series, rounds)?;
    report(series, protocol, rounds, &times);
    Ok(())
}

/// What is measured beside the way of a sample.
fn beside(protocol: Protocol, message: &[u8], flush: &Flush, times: &mut Times) -> Result<()> {
    let keys = LabelsKeyMaker::default();
    let began = cpu_time()?;
    let mut samples = 0;
    decode(protocol, message, &keys, |series| {
        samples += black_box(series).samples.len();
        Ok(())
    })?;
    let by_hand = cpu_time()?;
    let known = match protocol {
        Protocol::V1 => black_box(WriteRequest::decode(message)?).timeseries.len(),
        Protocol::V2 => black_box(Request::decode(message)?).timeseries.len(),
    };
    let by_library = cpu_time()?;
    for records in flush.values() {
        times.log_bytes += black_box(postcard::to_stdvec(records)?).len();
    }
    times.bytes += cpu_time()?.saturating_sub(by_library);
    times.library += by_library.saturating_sub(by_hand);
    times.hand += by_hand.saturating_sub(began);
    times.beside += samples;
    if samples == known { Ok(()) } else { Err(anyhow!("{samples} by hand, {known} by library")) }
}

fn fold(
    shards: &mut BTreeMap<ShardNumber, ShardState>,
    flush: Flush,
    times: &mut Times,
) -> Result<()> {
    for (shard, records) in flush {
        let state = shards.get_mut(&shard).context("no such shard")?;
        let began = cpu_time()?;
        black_box(metering::step(state, &records));
        times.fold += cpu_time()?.saturating_sub(began);
    }
    Ok(())
}

/// A figure counts only if the work was done: every series has grown by one unit a round since its birth.
fn check(shards: &BTreeMap<ShardNumber, ShardState>, series: usize, rounds: usize) -> Result<()> {
    let windows = shards.values().flat_map(ShardState::windows);
    let found: i128 = windows.map(|(_, window)| window.quantity.0).sum();
    let wanted = i128::try_from(series)? * i128::try_from(rounds)? * i128::from(STEP_BASE_UNITS);
    if found == wanted { Ok(()) } else { Err(anyhow!("folded to {found}, not {wanted}")) }
}

fn report(series: usize, protocol: Protocol, rounds: usize, times: &Times) {
    let rate = |samples: usize, took: Duration| {
        let samples = u128::try_from(samples).unwrap_or(0);
        samples.saturating_mul(1_000_000_000).checked_div(took.as_nanos()).unwrap_or(0)
    };
    let (warm, all) = (series * rounds, series * (rounds + 1));
    // The fold has seen all rounds, the warm time all but the first.
    let fold_of_warm = times.fold.as_nanos() * (warm as u128) / (all as u128);
    let whole = times.warm.as_nanos() + fold_of_warm;
    let whole = Duration::from_nanos(u64::try_from(whole).unwrap_or(u64::MAX));
    let version = if protocol == Protocol::V1 { "1.0" } else { "2.0" };
    println!("{series} series, {version}, {warm} samples of known series, samples/s of one core:");
    println!("  unpack + decode + normalise    {:>9}", rate(warm, times.warm));
    println!("  the same, new series           {:>9}", rate(series, times.cold));
    println!("  fold                           {:>9}", rate(all, times.fold));
    println!("  all of it                      {:>9}", rate(warm, whole));
    println!("  decode alone, by hand          {:>9}", rate(times.beside, times.hand));
    println!("  decode alone, by a library     {:>9}", rate(times.beside, times.library));
    println!("  records into the log's bytes   {:>9}", rate(times.beside, times.bytes));
    let (sent, logged) = (times.request_bytes / all, times.log_bytes / times.beside.max(1));
    println!("  bytes a sample: {sent} received, {logged} in the log");
}

/// All shards, knowing the meter, the objects and the accounts.
fn shards(objects: &Objects) -> Result<BTreeMap<ShardNumber, ShardState>> {
    let declared = objects.declarations()?.into_iter().map(|(shard, records)| {
        let mut state = ShardState::new(shard);
        metering::step(&mut state, &records);
        (shard, state)
    });
    Ok(declared.collect())
}
