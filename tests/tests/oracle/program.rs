//! The oracle: usage by differential dataflow.
//!
//! The log is fed in several epochs, so that late facts reach collections that have been computed already; the engine
//! works out what changes, and only the end result is compared.

use calendar::{Instant, Periods};
use differential_dataflow::input::{Input, InputSession};
use differential_dataflow::{ExchangeData, Hashable, VecCollection};
use metering::{MeterKind, MeterRule, Reading, Record, Transition};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use timely::dataflow::Scope;
use uuid::Uuid;

/// Resource, meter, part.
pub type Item = (Uuid, String, String);

/// Where usage falls.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Window {
    pub tenant: Uuid,
    pub resource: Uuid,
    pub meter: String,
    pub part: String,
    pub start: i64,
    pub version: Option<(Uuid, i64)>,
}

/// What a bill adds up.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Line {
    pub tenant: Uuid,
    pub period_start: i64,
    pub meter: String,
    pub resource: Uuid,
    pub part: String,
}

/// All usage of a log; nothing is said of what is zero.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Usage {
    pub windows: BTreeMap<Window, i128>,
    pub lines: BTreeMap<Line, i128>,
    pub implausible: BTreeMap<Item, i128>,
}

/// Microseconds, value, start.
type Point = (i64, i128, Option<i64>);
/// What an item used, from when to when, and whether it can be believed.
type Stretch = (i64, i64, i128, bool);
/// Number, instant, amounts, whether it is the last.
type Change = (u64, i64, Vec<(String, i128)>, bool);

/// What rarely changes, read from the log before the facts.
#[derive(Default)]
struct Ground {
    /// Ascending: from when, tenant, creation.
    owners: BTreeMap<Uuid, Vec<(i64, Uuid, i64)>>,
    /// Ascending: from when, until when, plan, periods.
    subscriptions: BTreeMap<Uuid, Vec<(i64, i64, Uuid, Periods)>>,
    /// Start and generation.
    versions: BTreeMap<Uuid, Vec<(i64, i64)>>,
    rules: BTreeMap<String, MeterRule>,
    clock: i64,
}

/// Place in the timeline: who pays, under which version, in which period, between which cuts.
struct Place {
    tenant: Uuid,
    version: Option<(Uuid, i64)>,
    period_start: i64,
    start: i64,
    end: i64,
}

const HOUR: i64 = 3_600_000_000;

impl Ground {
    fn read(records: &[Record]) -> Self {
        let mut ground = Self { clock: i64::MIN, ..Self::default() };
        for record in records {
            match record {
                Record::Registry(entry) => {
                    let entries = ground.owners.entry(entry.resource.0).or_default();
                    let created = entry.created_at.microseconds();
                    entries.push((entry.valid_from.microseconds(), entry.tenant.0, created));
                    entries.sort_unstable();
                }
                Record::Subscription(one) => {
                    let known = ground.subscriptions.entry(one.tenant.0).or_default();
                    let to = one.to.map_or(i64::MAX, Instant::microseconds);
                    known.push((one.from.microseconds(), to, one.plan.0, one.periods.clone()));
                    known.sort_by_key(|(from, ..)| *from);
                }
                Record::PlanVersion(start) => {
                    let known = ground.versions.entry(start.version.plan.0).or_default();
                    known.push((start.effective_from.microseconds(), start.version.generation));
                }
                Record::Meter(rule) => {
                    ground.rules.insert(rule.name.to_string(), rule.clone());
                }
                Record::Tick { at } => ground.clock = ground.clock.max(at.microseconds()),
                Record::Sample(_)
                | Record::Transition(_)
                | Record::PeriodClose { .. }
                | Record::Vanished { .. }
                | Record::ReceiverGap { .. } => {}
            }
        }
        ground
    }

    fn place(&self, resource: Uuid, at: i64) -> Place {
        let owners = &self.owners[&resource];
        let tenant = owners.iter().rev().find(|(from, _, _)| *from <= at).unwrap_or(&owners[0]).1;
        let subscriptions = self.subscriptions.get(&tenant).map_or(&[][..], Vec::as_slice);
        let current = subscriptions.iter().rev().find(|(from, ..)| *from <= at);
        let utc = Periods::utc();
        let periods = current.or(subscriptions.first()).map_or(&utc, |(.., periods)| periods);
        let current = current.filter(|(_, to, ..)| at < *to);
        let instant = Instant::from_microseconds(at).unwrap();
        let period = periods.containing(instant).unwrap().during;
        let no_versions = Vec::new();
        let versions = current.map_or(&no_versions, |(_, _, plan, _)| {
            self.versions.get(plan).unwrap_or(&no_versions)
        });
        let in_force = versions.iter().filter(|(start, _)| *start <= at).max();
        let hour = at.div_euclid(HOUR) * HOUR;
        let mut cuts = vec![hour, hour + HOUR];
        cuts.extend([period.from.microseconds(), period.to.microseconds()]);
        cuts.extend(subscriptions.iter().flat_map(|(from, to, ..)| [*from, *to]));
        cuts.extend(versions.iter().map(|(start, _)| *start));
        cuts.extend(owners.iter().skip(1).map(|(from, _, _)| *from));
        Place {
            tenant,
            version: current.zip(in_force).map(|((_, _, plan, _), version)| (*plan, version.1)),
            period_start: period.from.microseconds(),
            start: cuts.iter().copied().filter(|cut| *cut <= at).max().unwrap(),
            end: cuts.iter().copied().filter(|cut| *cut > at).min().unwrap(),
        }
    }

    /// Calls `each` with every place that `[from, to)` touches and the part in it; one when it is empty.
    fn cut(&self, resource: Uuid, from: i64, to: i64, mut each: impl FnMut(&Place, i64, i64)) {
        let mut at = from;
        loop {
            let place = self.place(resource, at);
            let end = place.end.min(to).max(at);
            each(&place, at, end);
            if end >= to {
                return;
            }
            at = end;
        }
    }

    /// A stretch of an item's usage by window and line.
    fn spread(&self, item: &Item, stretch: Stretch) -> Vec<((Window, Line), i128)> {
        let (from, to, amount, _) = stretch;
        let mut parts = Vec::new();
        self.cut(item.0, from, to, |place, start, end| {
            parts.push((keys(item, place), end - start));
        });
        let total = i128::from(to - from);
        let mut rest = amount;
        let last = parts.len() - 1;
        let share = |(number, (key, length)): (usize, ((Window, Line), i64))| {
            let share = if number == last { rest } else { amount * i128::from(length) / total };
            rest -= share;
            (key, share)
        };
        parts.into_iter().enumerate().map(share).collect()
    }

    /// The stretches between the readings of an item, ascending by time.
    fn stretches(&self, item: &Item, points: &[Point]) -> Vec<Stretch> {
        let rule = &self.rules[&item.1];
        let limit = 4 * rule.interval_microseconds;
        let believed = |from: i64, to: i64, amount: i128| {
            let most = rule.base_units_per_second_max.map(|most| most.0 * i128::from(to - from));
            most.is_none_or(|most| amount * 1_000_000 <= most)
        };
        let mut found = Vec::new();
        if let (Some((at, value, started)), MeterKind::Counter) = (points.first(), &rule.kind) {
            let period_start = self.place(item.0, *at).period_start;
            let births = [*started, Some(self.owners[&item.0][0].2)];
            let counts = |birth: &i64| (period_start..=*at).contains(birth);
            if let Some(birth) = births.into_iter().flatten().find(counts) {
                found.push((birth, *at, *value, believed(birth, *at, *value)));
            }
        }
        for (before, after) in points.iter().zip(points.iter().skip(1)) {
            let (from, to, amount) = if rule.kind == MeterKind::Gauge {
                let held = (after.0 - before.0).min(limit);
                (before.0, before.0 + held, before.1 * i128::from(held) / 1_000_000)
            } else {
                match after.2.filter(|start| *start > before.0 && *start <= after.0) {
                    Some(start) => (start, after.0, after.1),
                    None if after.1 < before.1 => (before.0, after.0, after.1),
                    None => (before.0, after.0, after.1 - before.1),
                }
            };
            found.push((from, to, amount, believed(from, to, amount)));
        }
        found
    }

    /// What a resource held, by window and line.
    fn held(&self, resource: Uuid, changes: &[Change]) -> Vec<((Window, Line), i128)> {
        let mut found = Vec::new();
        let mut open = BTreeMap::<String, (i64, i128)>::new();
        let mut at = i64::MIN;
        for (_, instant, amounts, is_last) in changes {
            at = at.max(*instant);
            let amounts: BTreeMap<&String, i128> =
                amounts.iter().filter(|_| !is_last).map(|(sku, amount)| (sku, *amount)).collect();
            open.retain(|sku, (from, amount)| {
                let stays = amounts.get(sku) == Some(amount);
                if !stays {
                    self.held_one(resource, sku, (*from, at, *amount), &mut found);
                }
                stays
            });
            for (sku, amount) in amounts.into_iter().filter(|(_, amount)| *amount > 0) {
                open.entry(sku.clone()).or_insert((at, amount));
            }
            if *is_last {
                break;
            }
        }
        for (sku, (from, amount)) in open {
            self.held_one(resource, &sku, (from, at.max(self.clock), amount), &mut found);
        }
        found
    }

    fn held_one(
        &self,
        resource: Uuid,
        sku: &str,
        (from, to, amount): (i64, i64, i128),
        found: &mut Vec<((Window, Line), i128)>,
    ) {
        for rule in self.rules.values() {
            if rule.kind != (MeterKind::Allocation { sku: sku.to_owned() }) || to <= from {
                continue;
            }
            let item = (resource, rule.name.to_string(), String::new());
            let scale = i128::from(rule.base_units_per_unit);
            let until = |at: i64| amount * scale * i128::from(at - from) / 1_000_000_000_000;
            self.cut(resource, from, to, |place, start, end| {
                found.push((keys(&item, place), until(end) - until(start)));
            });
        }
    }
}

fn keys(item: &Item, place: &Place) -> (Window, Line) {
    let (resource, meter, part) = item.clone();
    let window = Window {
        tenant: place.tenant,
        resource,
        meter: meter.clone(),
        part: part.clone(),
        start: place.start,
        version: place.version,
    };
    let period_start = place.period_start;
    (window, Line { tenant: place.tenant, period_start, meter, resource, part })
}

type Samples = InputSession<u64, ((Item, i64), (usize, Point)), isize>;
type Changes = InputSession<u64, (Uuid, Change), isize>;
type Told<K> = (K, i128, isize);
type Flow = ((Window, Line), i128);
type Numbered = (usize, Flow);

/// Where results are told.
struct Tellers {
    windows: Sender<Told<Window>>,
    lines: Sender<Told<Line>>,
    implausible: Sender<Told<Item>>,
}

/// Computes the usage of a log, fed in `epochs` parts.
pub fn usage(records: &[Record], epochs: usize) -> Usage {
    let ground = Arc::new(Ground::read(records));
    let records = records.to_vec();
    let (windows, found_windows) = channel();
    let (lines, found_lines) = channel();
    let (implausible, found_implausible) = channel();
    let tellers = Tellers { windows, lines, implausible };
    timely::execute_directly(move |worker| {
        let (mut samples, mut changes) =
            worker.dataflow::<u64, _, _>(|scope| dataflow(scope, ground, tellers));
        let part = records.len().div_ceil(epochs).max(1);
        for (number, record) in records.iter().enumerate() {
            if number % part == 0 && number > 0 {
                let time = u64::try_from(number / part).unwrap();
                samples.advance_to(time);
                changes.advance_to(time);
                samples.flush();
                changes.flush();
                for _ in 0..100 {
                    worker.step();
                }
            }
            feed(record, number, &mut samples, &mut changes);
        }
    });
    Usage {
        windows: settled(found_windows.into_iter()),
        lines: settled(found_lines.into_iter()),
        implausible: settled(found_implausible.into_iter()),
    }
}

fn feed(record: &Record, number: usize, samples: &mut Samples, changes: &mut Changes) {
    match record {
        Record::Sample(sample) => {
            let Reading::Value(value) = &sample.reading else { return };
            let item = (sample.resource.0, sample.meter.to_string(), sample.part.to_string());
            let at = sample.at.microseconds();
            let point = (at, value.0, sample.started_at.map(Instant::microseconds));
            samples.insert(((item, at), (number, point)));
        }
        Record::Transition(Transition { resource, number, at, holds, is_final }) => {
            let amounts = holds.iter().map(|(sku, amount)| (sku.clone(), amount.0)).collect();
            changes.insert((resource.0, (*number, at.microseconds(), amounts, *is_final)));
        }
        Record::Vanished { resource, at } => {
            changes.insert((resource.0, (u64::MAX, at.microseconds(), Vec::new(), true)));
        }
        Record::Registry(_)
        | Record::Subscription(_)
        | Record::PlanVersion(_)
        | Record::Meter(_)
        | Record::Tick { .. }
        | Record::PeriodClose { .. }
        | Record::ReceiverGap { .. } => {}
    }
}

fn dataflow(scope: Scope<'_, u64>, ground: Arc<Ground>, tellers: Tellers) -> (Samples, Changes) {
    let (samples, readings) = scope.new_collection();
    let (changes, transitions) = scope.new_collection();
    // Of readings of one instant the first to arrive counts.
    let first = |_: &(Item, i64), input: &[(&(usize, Point), isize)], output: &mut Vec<_>| {
        output.extend(input.first().map(|(known, _)| (known.1, 1_isize)));
    };
    let points =
        readings.reduce(first).map(|((item, _), point): ((Item, i64), Point)| (item, point));
    let own = ground.clone();
    let stretches = points.reduce(move |item, input, output: &mut Vec<(Stretch, isize)>| {
        let points: Vec<Point> = input.iter().map(|(point, _)| **point).collect();
        output.extend(own.stretches(item, &points).into_iter().map(|stretch| (stretch, 1)));
    });
    let doubted = stretches.clone().filter(|(_, stretch)| !stretch.3);
    tell(doubted.map(|(item, stretch)| (item, stretch.2)), tellers.implausible);
    let own = ground.clone();
    let flows = stretches
        .filter(|(_, stretch)| stretch.3)
        .flat_map(move |(item, stretch)| own.spread(&item, stretch));
    let held = transitions
        .reduce(move |resource, input: &[(&Change, isize)], output: &mut Vec<(Numbered, isize)>| {
            // A change repeated is one, and counts once those before it are there.
            let mut known: Vec<Change> = input.iter().map(|(one, _)| (*one).clone()).collect();
            known.dedup_by_key(|change| change.0);
            let whole = known.into_iter().zip(1_u64..).take_while(|(one, number)| one.0 == *number);
            let whole: Vec<Change> = whole.map(|(one, _)| one).collect();
            let found = ground.held(*resource, &whole).into_iter().enumerate();
            output.extend(found.map(|numbered| (numbered, 1)));
        })
        .map(|(_, (_, flow))| flow);
    let all = flows.concat(held);
    tell(all.clone().map(|((window, _), amount)| (window, amount)), tellers.windows);
    tell(all.map(|((_, line), amount)| (line, amount)), tellers.lines);
    (samples, changes)
}

/// Adds amounts up by key and tells every change of a sum.
fn tell<K: ExchangeData + Hashable>(
    amounts: VecCollection<'_, u64, (K, i128), isize>,
    to: Sender<Told<K>>,
) {
    amounts
        .reduce(|_, input, output| {
            let times =
                |(amount, times): &(&i128, isize)| **amount * i128::try_from(*times).unwrap();
            output.push((input.iter().map(times).sum::<i128>(), 1_isize));
        })
        .inspect(move |((key, sum), _, times)| to.send((key.clone(), *sum, *times)).unwrap());
}

/// What is left when all that was told and taken back has cancelled out.
fn settled<K: Ord>(told: impl Iterator<Item = Told<K>>) -> BTreeMap<K, i128> {
    let mut left = BTreeMap::<(K, i128), isize>::new();
    for (key, sum, times) in told {
        *left.entry((key, sum)).or_default() += times;
    }
    left.retain(|(_, sum), times| *times != 0 && *sum != 0);
    assert!(left.values().all(|times| *times == 1), "a sum is there once");
    left.into_keys().collect()
}
