//! What the benchmarks send: counters of network interfaces as a libvirt exporter tells them, and whose they are.
//!
//! One sample per series and round; each series has eleven labels of about 300 bytes, twenty series to an object, twenty
//! objects to an account.

#[path = "../../src/intake/messages.rs"]
pub mod messages;

use anyhow::{Context, Result};
use billing_controller::intake::protocol::Protocol;
use billing_controller::intake::{Identity, MeterIndex, SampledMeter};
use calendar::{Instant, Periods};
use ids::{AccountId, ResourceUid};
use messages::WriteRequest;
use messages::{Label, TimeSeries, as_v2};
use metering::{
    GapPolicy, MeterKind, MeterRule, PlanUid, Record, RegistryEntry, ShardNumber, Subscription,
};
use prost::Message;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use stream::Flush;
use uuid::Uuid;

/// As many as Prometheus puts into a request.
pub const SERIES_PER_REQUEST: usize = 2_000;
const SERIES_PER_OBJECT: usize = 20;
const OBJECTS_PER_ACCOUNT: usize = 20;
/// 2026-11-01T00:00:00Z, the beginning of a billing period.
const START_MILLISECONDS: i64 = 1_793_491_200_000;
const METRIC: &str = "freehold_domain_interface_bytes_total";
/// The plan of all accounts.
pub const PLAN: PlanUid = PlanUid(Uuid::from_u128(1));
/// The one meter.
pub const METER: &str = "traffic";
/// Base units in the step of a series from one round to the next.
pub const STEP_BASE_UNITS: i64 = 1_000;

/// When the samples of a round were taken.
pub fn instant(round: usize) -> Result<Instant> {
    Ok(Instant::from_milliseconds(START_MILLISECONDS + 15_000 * i64::try_from(round)?)?)
}

/// The object of a series.
pub fn object(series: usize) -> ResourceUid {
    let number = u128::try_from(series / SERIES_PER_OBJECT).unwrap_or(0) + 1;
    // Spread as UIDs are.
    ResourceUid(Uuid::from_u128(number.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)))
}

/// The part of its object that a series is about.
pub fn part(series: usize) -> String {
    format!("tap{:02}", series % SERIES_PER_OBJECT)
}

/// The account of a series.
pub fn account(series: usize) -> AccountId {
    let number = u128::try_from(series / SERIES_PER_OBJECT / OBJECTS_PER_ACCOUNT).unwrap_or(0);
    AccountId(Uuid::from_u128(number + 1))
}

/// One round of some series.
pub fn request(series: std::ops::Range<usize>, round: usize) -> WriteRequest {
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
        ("interface", part(number)),
        ("job", "libvirt-exporter".to_owned()),
        ("prometheus", "monitoring/frankfurt-1".to_owned()),
        ("prometheus_replica", "prometheus-frankfurt-1-0".to_owned()),
        ("uuid", object(number).to_string()),
    ]
    .into_iter()
    .map(|(name, value)| Label { name: name.to_owned(), value })
    .collect()
}

/// The request as it travels.
pub fn packed(request: &WriteRequest, protocol: Protocol) -> Result<Vec<u8>> {
    let message = match protocol {
        Protocol::V1 => request.encode_to_vec(),
        Protocol::V2 => as_v2(request).encode_to_vec(),
    };
    Ok(snap::raw::Encoder::new().compress_vec(&message)?)
}

/// Who owns what, and one meter.
pub struct Objects {
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
    /// Those of so many series.
    pub fn new(series: usize) -> Self {
        let first = (0..series).step_by(SERIES_PER_OBJECT);
        let owners = first.map(|number| (object(number), account(number))).collect();
        let meter = SampledMeter {
            name: METER.into(),
            metric: METRIC.to_owned(),
            match_labels: BTreeMap::from([("direction".to_owned(), "receive".to_owned())]),
            resource_label: "uuid".to_owned(),
            part_label: Some("interface".to_owned()),
            base_units_per_unit: STEP_BASE_UNITS,
        };
        Self { owners, meters: Arc::new(MeterIndex::new([meter])) }
    }

    /// What every shard has to know first: the meter, the accounts and their objects.
    pub fn declarations(&self) -> Result<Flush> {
        let start = instant(0)?;
        let rule = Record::Meter(MeterRule {
            name: METER.into(),
            kind: MeterKind::Counter,
            base_units_per_unit: STEP_BASE_UNITS,
            interval_microseconds: 15_000_000,
            base_units_per_second_max: None,
            gap_policy: GapPolicy::Hold,
            expected_of_kinds: BTreeSet::new(),
        });
        let mut flush: Flush =
            ShardNumber::all().map(|shard| (shard, vec![rule.clone()])).collect();
        let mut tenants = BTreeSet::new();
        for (resource, tenant) in &self.owners {
            let records = flush.get_mut(&ShardNumber::of(*tenant)).context("no such shard")?;
            if tenants.insert(*tenant) {
                records.push(Record::Subscription(Subscription {
                    tenant: *tenant,
                    id: tenant.0,
                    plan: PLAN,
                    from: start,
                    to: None,
                    periods: Periods::utc(),
                }));
            }
            records.push(Record::Registry(RegistryEntry {
                resource: *resource,
                tenant: *tenant,
                project: "bench".to_owned(),
                kind: "VirtualMachine".to_owned(),
                name: "bench".to_owned(),
                // Born before the period: the first sample is a baseline.
                created_at: start.plus_microseconds(-1),
                valid_from: start.plus_microseconds(-1),
                valid_to: None,
            }));
        }
        Ok(flush)
    }
}
