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

#[path = "../src/intake/messages.rs"]
mod messages;

use anyhow::{Context, Result, anyhow};
use billing_controller::intake::protocol::{LabelsKeyMaker, Protocol, decode, unpack};
use billing_controller::intake::{
    Identity, MeterIndex, Normaliser, NormaliserSettings, SampledMeter,
};
use calendar::{Instant, Periods};
use ids::{AccountId, ResourceUid};
use messages::{Label, Request, TimeSeries, WriteRequest, as_v2};
use metering::{
    GapPolicy, MeterKind, MeterRule, PlanUid, Record, RegistryEntry, ShardNumber, ShardState,
    Subscription,
};
use prost::Message;
use std::collections::{BTreeMap, BTreeSet};
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;
use stream::Flush;
use uuid::Uuid;

const SERIES_PER_REQUEST: usize = 2_000;
const SERIES_PER_OBJECT: usize = 20;
const OBJECTS_PER_ACCOUNT: usize = 20;
const EPOCH_RECORDS: usize = 50_000;
/// Enough samples for a figure that holds.
const SAMPLES_MIN: usize = 1_000_000;
/// How many samples the figures beside are taken from.
const BESIDE_SAMPLES: usize = 200_000;
const BYTES_MAX: usize = 32 << 20;
/// 2026-11-01T00:00:00Z.
const START_MILLISECONDS: i64 = 1_793_491_200_000;
const METRIC: &str = "freehold_domain_interface_bytes_total";

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
    let mut shards = objects.shards()?;
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
    let wanted = i128::try_from(series)? * i128::try_from(rounds)? * 1_000;
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

fn instant(round: usize) -> Result<Instant> {
    Ok(Instant::from_milliseconds(START_MILLISECONDS + 15_000 * i64::try_from(round)?)?)
}

fn object(series: usize) -> ResourceUid {
    let number = u128::try_from(series / SERIES_PER_OBJECT).unwrap_or(0) + 1;
    // Spread as UIDs are.
    ResourceUid(Uuid::from_u128(number.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)))
}

fn account(series: usize) -> AccountId {
    let number = u128::try_from(series / SERIES_PER_OBJECT / OBJECTS_PER_ACCOUNT).unwrap_or(0);
    AccountId(Uuid::from_u128(number + 1))
}

fn request(series: std::ops::Range<usize>, round: usize) -> WriteRequest {
    let milliseconds = 15_000 * i64::try_from(round).unwrap_or(0);
    let value = f64::from(u32::try_from(round).unwrap_or(0)) + 17.0;
    let timeseries = series.map(|number| TimeSeries {
        labels: labels(number),
        samples: vec![messages::Sample {
            value,
            timestamp: START_MILLISECONDS + milliseconds,
            start_timestamp: 0,
        }],
        ..Default::default()
    });
    WriteRequest { timeseries: timeseries.collect(), metadata: Vec::new() }
}

fn labels(number: usize) -> Vec<Label> {
    let host = number / SERIES_PER_OBJECT / 50;
    let object_number = number / SERIES_PER_OBJECT;
    [
        ("__name__", METRIC.to_owned()),
        ("cluster", "frankfurt-1".to_owned()),
        ("direction", "receive".to_owned()),
        ("domain", format!("instance-{object_number:08}")),
        ("host", format!("machine-{host:05}.rack-{:03}.frankfurt.example", host / 40)),
        ("instance", format!("10.{}.{}.7:9177", host / 250, host % 250)),
        ("interface", format!("tap{:02}", number % SERIES_PER_OBJECT)),
        ("job", "libvirt-exporter".to_owned()),
        ("prometheus", "monitoring/frankfurt-1".to_owned()),
        ("prometheus_replica", "prometheus-frankfurt-1-0".to_owned()),
        ("uuid", object(number).to_string()),
    ]
    .into_iter()
    .map(|(name, value)| Label { name: name.to_owned(), value })
    .collect()
}

fn packed(request: &WriteRequest, protocol: Protocol) -> Result<Vec<u8>> {
    let message = match protocol {
        Protocol::V1 => request.encode_to_vec(),
        Protocol::V2 => as_v2(request).encode_to_vec(),
    };
    Ok(snap::raw::Encoder::new().compress_vec(&message)?)
}

/// Who owns what, and one meter.
struct Objects {
    owners: BTreeMap<ResourceUid, AccountId>,
    meters: Arc<MeterIndex>,
}

impl Identity for Objects {
    fn account_of(&self, resource: ResourceUid) -> Option<AccountId> {
        self.owners.get(&resource).copied()
    }

    fn meters(&self) -> Arc<MeterIndex> {
        self.meters.clone()
    }
}

impl Objects {
    fn new(series: usize) -> Self {
        let first = (0..series).step_by(SERIES_PER_OBJECT);
        let owners = first.map(|number| (object(number), account(number))).collect();
        let meter = SampledMeter {
            name: "traffic".into(),
            metric: METRIC.to_owned(),
            match_labels: BTreeMap::from([("direction".to_owned(), "receive".to_owned())]),
            resource_label: "uuid".to_owned(),
            part_label: Some("interface".to_owned()),
            base_units_per_unit: 1_000,
        };
        Self { owners, meters: Arc::new(MeterIndex::new([meter])) }
    }

    /// All shards, knowing the meter, the objects and the accounts.
    fn shards(&self) -> Result<BTreeMap<ShardNumber, ShardState>> {
        let start = instant(0)?;
        let mut shards: BTreeMap<ShardNumber, ShardState> =
            ShardNumber::all().map(|shard| (shard, ShardState::new(shard))).collect();
        let rule = Record::Meter(MeterRule {
            name: "traffic".into(),
            kind: MeterKind::Counter,
            base_units_per_unit: 1_000,
            interval_microseconds: 15_000_000,
            base_units_per_second_max: None,
            gap_policy: GapPolicy::Hold,
            expected_of_kinds: BTreeSet::new(),
        });
        for state in shards.values_mut() {
            metering::step(state, [&rule]);
        }
        for (resource, tenant) in &self.owners {
            let subscription = Record::Subscription(Subscription {
                tenant: *tenant,
                id: tenant.0,
                plan: PlanUid(Uuid::from_u128(1)),
                from: start,
                periods: Periods::utc(),
            });
            let entry = Record::Registry(RegistryEntry {
                resource: *resource,
                tenant: *tenant,
                project: "bench".to_owned(),
                kind: "VirtualMachine".to_owned(),
                name: "bench".to_owned(),
                // Born before the period: the first sample is a baseline.
                created_at: start.plus_microseconds(-1),
                valid_from: start.plus_microseconds(-1),
                valid_to: None,
            });
            let state = shards.get_mut(&ShardNumber::of(*tenant)).context("no such shard")?;
            metering::step(state, [&subscription, &entry]);
        }
        Ok(shards)
    }
}
