//! Logs to compare on, each a function of its seed.

use calendar::{Instant, Periods};
use ids::{AccountId, ResourceUid};
use metering::{
    GapPolicy, MeterKind, MeterRule, Part, PlanUid, PlanVersionStart, Reading, Record,
    RegistryEntry, Sample, SeriesHash, ShardNumber, Subscription, Transition, VersionKey,
};
use money::Quantity;
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

const SECOND: i64 = 1_000_000;
const MINUTE: i64 = 60 * SECOND;
/// 2026-10-31T20:00:00Z: periods turn within hours, at another time in each zone.
const START: i64 = 1_793_476_800 * SECOND;
const SPAN_MINUTES: i64 = 600;

/// Both accounts live in this shard, so that one fold sees all.
pub fn shard() -> ShardNumber {
    ShardNumber::of(tenants()[0])
}

fn tenants() -> [AccountId; 2] {
    let mut all = (1_u128..).map(|number| AccountId(Uuid::from_u128(number)));
    let first = all.next().unwrap();
    let second = all.find(|other| ShardNumber::of(*other) == ShardNumber::of(first)).unwrap();
    [first, second]
}

/// Splitmix64: enough to scatter facts.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn within(&mut self, from: i64, to: i64) -> i64 {
        let width = u64::try_from(to - from).unwrap();
        from + i64::try_from(self.roll() % width).unwrap()
    }

    fn percent(&mut self, chance: i64) -> bool {
        self.within(0, 100) < chance
    }
}

fn at(microseconds: i64) -> Instant {
    Instant::from_microseconds(microseconds).unwrap()
}

/// A log: what rarely changes first, then facts in nearly any order, ticks among them and one at the end.
pub fn log(seed: u64) -> Vec<Record> {
    let mut dice = Dice(seed);
    let mut records = ground(&mut dice);
    let mut streams = Vec::new();
    for number in 1..=3_u128 {
        let resource = ResourceUid(Uuid::from_u128(number << 64));
        records.extend(owners(resource, &mut dice));
        for (meter, part) in [("traffic", "eth0"), ("traffic", "eth1"), ("memory", "")] {
            streams.push(samples(resource, meter, part, &mut dice));
        }
        streams.push(transitions(resource, &mut dice));
    }
    let mut ticked = START;
    while streams.iter().any(|stream| !stream.is_empty()) {
        let chosen =
            usize::try_from(dice.within(0, i64::try_from(streams.len()).unwrap())).unwrap();
        if let Some(record) = streams[chosen].pop() {
            records.push(record);
        }
        if dice.percent(1) {
            ticked += dice.within(0, 10 * MINUTE);
            records.push(Record::Tick { at: at(ticked) });
        }
    }
    records.push(Record::Tick { at: at(START + (SPAN_MINUTES + 60) * MINUTE + 1) });
    records
}

fn rule(name: &str, kind: MeterKind, base_units_per_unit: i64, bound: Option<i128>) -> Record {
    Record::Meter(MeterRule {
        name: name.into(),
        kind,
        base_units_per_unit,
        interval_microseconds: MINUTE,
        base_units_per_second_max: bound.map(Quantity),
        gap_policy: GapPolicy::Hold,
        expected_of_kinds: BTreeSet::new(),
    })
}

/// Meters, two plans of two versions each, subscriptions in several zones, some of them changing their plan or ending.
fn ground(dice: &mut Dice) -> Vec<Record> {
    let sku = || "compute/vcpu".to_owned();
    let mut records = vec![
        rule("traffic", MeterKind::Counter, 1, Some(10_000)),
        rule("memory", MeterKind::Gauge, 1_000, None),
        rule("vcpu", MeterKind::Allocation { sku: sku() }, 1_000_000, None),
        rule("vcpu-license", MeterKind::Allocation { sku: sku() }, 7, None),
    ];
    let plans = [PlanUid(Uuid::from_u128(100)), PlanUid(Uuid::from_u128(101))];
    for plan in plans {
        for generation in 1..=2 {
            let later = (generation - 1) * dice.within(0, SPAN_MINUTES) * MINUTE;
            let effective_from = at(START - 1_000 * MINUTE + later * 2 + dice.within(0, MINUTE));
            let version = VersionKey { plan, generation };
            records.push(Record::PlanVersion(PlanVersionStart { version, effective_from }));
        }
    }
    let layouts =
        [("Europe/Berlin", 1), ("Asia/Kathmandu", 1), ("UTC", 1), ("America/New_York", 31)];
    for tenant in tenants() {
        let (zone, anchor) = layouts[usize::try_from(dice.within(0, 4)).unwrap()];
        let periods = Periods::monthly(zone, anchor).unwrap();
        let mut subscribe = |plan, from, to| {
            let (id, periods) = (tenant.0, periods.clone());
            records.push(Record::Subscription(Subscription {
                tenant,
                id,
                plan,
                from,
                to,
                periods,
            }));
        };
        subscribe(plans[0], at(START - 100 * MINUTE), None);
        if dice.percent(50) {
            let from = START + dice.within(0, SPAN_MINUTES * MINUTE);
            let end = from + dice.within(0, SPAN_MINUTES * MINUTE);
            subscribe(plans[1], at(from), dice.percent(30).then(|| at(end)));
        }
    }
    records
}

/// One owner or two in turn.
fn owners(resource: ResourceUid, dice: &mut Dice) -> Vec<Record> {
    let created = START + dice.within(-100, 10) * MINUTE;
    let moved = dice.percent(50).then(|| START + dice.within(0, SPAN_MINUTES * MINUTE));
    let entry = |tenant, from: i64, to: Option<i64>| {
        Record::Registry(RegistryEntry {
            resource,
            tenant,
            project: "shop".to_owned(),
            kind: "VirtualMachine".to_owned(),
            name: "web".to_owned(),
            created_at: at(created),
            valid_from: at(from),
            valid_to: to.map(at),
        })
    };
    let [first, second] = tenants();
    let mut entries = vec![entry(first, created, moved)];
    entries.extend(moved.map(|moved| entry(second, moved, None)));
    entries
}

/// The samples of one item, last first: disorder, repetition, and single ones kept back to come at the end.
fn samples(resource: ResourceUid, meter: &str, part: &str, dice: &mut Dice) -> Vec<Record> {
    let minutes = dice.within(0, 30)..dice.within(200, SPAN_MINUTES);
    let (mut value, mut hole_until, mut before) = (dice.within(0, 1_000), 0, None);
    let (mut sent, mut kept_back) = (Vec::<Record>::new(), Vec::new());
    for minute in minutes {
        let instant = START + minute * MINUTE + dice.within(-3 * SECOND, 3 * SECOND);
        if dice.percent(1) {
            hole_until = minute + dice.within(2, 90);
        }
        if minute < hole_until {
            continue;
        }
        let mut started_at = None;
        if dice.percent(3) {
            value = dice.within(0, 100);
            let start = before.map_or(instant, |before| dice.within(before, instant + 1));
            started_at = dice.percent(50).then(|| at(start));
        } else {
            value += dice.within(0, 50_000);
        }
        if dice.percent(1) {
            value += 100_000_000;
        }
        let of = |value: i64| {
            Record::Sample(Sample {
                resource,
                meter: meter.into(),
                part: Part::from(part),
                series: SeriesHash(1),
                replica: SeriesHash(0),
                at: at(instant),
                reading: Reading::Value(Quantity(i128::from(value))),
                started_at,
            })
        };
        if before.is_some() && dice.percent(5) {
            kept_back.push(of(value));
        } else {
            sent.push(of(value));
            if sent.len() > 2 && dice.percent(10) {
                let last = sent.len() - 1;
                sent.swap(last, last - 1);
            }
            if dice.percent(5) {
                sent.push(of(value));
            }
            if dice.percent(2) {
                sent.push(of(value + 1));
            }
        }
        before = Some(instant);
    }
    sent.extend(kept_back);
    sent.reverse();
    sent
}

/// The life of one resource, last first.
fn transitions(resource: ResourceUid, dice: &mut Dice) -> Vec<Record> {
    let (mut changes, mut instant) = (Vec::new(), START + dice.within(0, 60) * MINUTE);
    let count = dice.within(1, 8);
    for number in 1..=count {
        let mut holds = BTreeMap::new();
        for sku in ["compute/vcpu", "compute/memory"] {
            if dice.percent(70) {
                holds.insert(sku.to_owned(), Quantity(i128::from(dice.within(0, 3) * 500_001)));
            }
        }
        let is_final = number == count && dice.percent(40);
        changes.push(Record::Transition(Transition {
            resource,
            number: u64::try_from(number).unwrap(),
            at: at(instant),
            holds,
            is_final,
        }));
        instant += dice.within(0, 120 * MINUTE);
        if changes.len() > 1 && dice.percent(20) {
            let last = changes.len() - 1;
            changes.swap(last, last - 1);
        }
        if dice.percent(20) {
            changes.extend(changes.last().cloned());
        }
    }
    changes.reverse();
    changes
}
