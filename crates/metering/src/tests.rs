//! The fold against dull models: sums of raw counters, transitions by the second, and the same log in every cut.

#![expect(clippy::wildcard_enum_match_arm, reason = "a test picks the one record it made")]

mod ends;

use crate::*;
use calendar::{HOUR_MICROSECONDS, Instant, Interval, Periods};
use ids::{AccountId, ResourceUid};
use money::Quantity;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

const SECOND: i64 = 1_000_000;
const PLAN: PlanUid = PlanUid(Uuid::from_u128(9));

fn tenant() -> AccountId {
    AccountId(Uuid::from_u128(1))
}

fn vm() -> ResourceUid {
    ResourceUid(Uuid::from_u128(2))
}

fn shard() -> ShardState {
    ShardState::new(ShardNumber::of(tenant()))
}

/// Microseconds after 2026-11-01T00:00:00Z, the start of a billing period and of an hour.
fn at(microseconds: i64) -> Instant {
    let start: Instant = "2026-11-01T00:00:00Z".parse().unwrap();
    start.plus_microseconds(microseconds)
}

fn meter(name: &str, kind: MeterKind) -> Record {
    Record::Meter(MeterRule {
        name: MeterName::from(name),
        kind,
        base_units_per_unit: 1_000_000,
        interval_microseconds: 15 * SECOND,
        base_units_per_second_max: None,
        gap_policy: GapPolicy::Hold,
        expected_of_kinds: BTreeSet::new(),
    })
}

fn entry(created_at: Instant) -> Record {
    Record::Registry(RegistryEntry {
        resource: vm(),
        tenant: tenant(),
        project: "shop".to_owned(),
        kind: "VirtualMachine".to_owned(),
        name: "web".to_owned(),
        created_at,
        valid_from: created_at,
        valid_to: None,
    })
}

fn subscription() -> Record {
    Record::Subscription(Subscription {
        tenant: tenant(),
        id: Uuid::from_u128(8),
        plan: PLAN,
        from: at(-HOUR_MICROSECONDS),
        to: None,
        periods: Periods::utc(),
    })
}

fn version(generation: i64, from: Instant) -> Record {
    let version = VersionKey { plan: PLAN, generation };
    Record::PlanVersion(PlanVersionStart { version, effective_from: from })
}

fn sample(microseconds: i64, value: i128) -> Record {
    Record::Sample(Sample {
        resource: vm(),
        meter: MeterName::from("cpu"),
        part: Part::whole(),
        series: SeriesHash(1),
        replica: SeriesHash(0),
        at: at(microseconds),
        reading: Reading::Value(Quantity(value)),
        started_at: None,
    })
}

fn transition(number: u64, microseconds: i64, vcpus: i128, is_final: bool) -> Record {
    Record::Transition(Transition {
        resource: vm(),
        number,
        at: at(microseconds),
        holds: BTreeMap::from([("compute/vcpu".to_owned(), Quantity(vcpus * 1_000_000))]),
        is_final,
    })
}

/// A machine created long before the period (so the first sample is a baseline), a plan, two meters.
fn opening() -> Vec<Record> {
    let vcpu = MeterKind::Allocation { sku: "compute/vcpu".to_owned() };
    vec![
        meter("cpu", MeterKind::Counter),
        meter("vcpu", vcpu),
        subscription(),
        version(1, at(-HOUR_MICROSECONDS)),
        entry(at(-HOUR_MICROSECONDS)),
    ]
}

fn fold(records: &[Record]) -> (ShardState, Changes) {
    let mut state = shard();
    let changes = step(&mut state, records);
    (state, changes)
}

fn total(state: &ShardState, meter: &str) -> i128 {
    let windows = state.windows().filter(|(key, _)| key.meter.as_str() == meter);
    windows.map(|(_, window)| window.quantity.0).sum()
}

fn bytes(state: &ShardState) -> String {
    serde_json::to_string(state).unwrap()
}

#[test]
fn a_counter_is_last_minus_first_and_split_at_the_hour() {
    let mut log = opening();
    let hour = HOUR_MICROSECONDS;
    log.extend([sample(hour - 5 * SECOND, 100), sample(hour + 10 * SECOND, 200)]);
    let (state, changes) = fold(&log);
    let amounts: Vec<i128> = state.windows().map(|(_, window)| window.quantity.0).collect();
    assert_eq!(amounts, [33, 67]);
    assert_eq!(changes.touched.len(), 1);
    assert!(changes.gaps.is_empty());
}

#[test]
fn a_sample_on_the_hour_belongs_to_the_hour_it_ends() {
    let mut log = opening();
    log.extend([sample(HOUR_MICROSECONDS - 15 * SECOND, 1), sample(HOUR_MICROSECONDS, 4)]);
    let (state, _) = fold(&log);
    assert_eq!(state.windows().count(), 1);
    assert_eq!(state.windows().next().unwrap().0.start, at(0));
}

#[test]
fn birth_in_the_period_counts_from_zero_and_before_it_does_not() {
    let mut log = opening();
    log.push(sample(60 * SECOND, 40));
    assert_eq!(total(&fold(&log).0, "cpu"), 0);
    log.pop();
    log.push(entry(at(-HOUR_MICROSECONDS)));
    let born = Record::Registry(match entry(at(SECOND)) {
        Record::Registry(entry) => RegistryEntry { valid_from: at(-HOUR_MICROSECONDS), ..entry },
        other => panic!("{other:?}"),
    });
    log.extend([born, sample(60 * SECOND, 40)]);
    assert_eq!(total(&fold(&log).0, "cpu"), 40);
}

#[test]
fn a_reset_counts_the_new_value_and_records_the_lost_tail() {
    let mut log = opening();
    log.extend([sample(0, 100), sample(15 * SECOND, 130), sample(30 * SECOND, 7)]);
    let (state, changes) = fold(&log);
    assert_eq!(total(&state, "cpu"), 37);
    assert_eq!(changes.counts.resets, 1);
    let (key, gap) = changes.gaps.first_key_value().unwrap();
    assert_eq!(
        (key.cause, key.from, gap.to),
        (GapCause::Unobserved, at(15 * SECOND), Some(at(30 * SECOND)))
    );
}

/// C4: an outage is a gap, not a zero and not a loss; the backfill closes it.
#[test]
fn an_outage_is_a_gap_until_the_backfill() {
    let hole: Vec<Record> =
        (5..13).map(|index| sample(index * 15 * SECOND, 10 * i128::from(index))).collect();
    let mut log = opening();
    log.extend((0..5).map(|index| sample(index * 15 * SECOND, 10 * i128::from(index))));
    log.push(Record::Tick { at: at(150 * SECOND) });
    let (mut state, silent) = fold(&log);
    let (key, gap) = silent.gaps.first_key_value().unwrap();
    assert_eq!((key.from, gap.to, gap.filled), (at(60 * SECOND), None, false));
    let back = step(&mut state, &[sample(13 * 15 * SECOND, 130)]);
    assert_eq!(back.gaps[key].to, Some(at(195 * SECOND)));
    assert_eq!(total(&state, "cpu"), 130);
    let filled = step(&mut state, &hole);
    assert!(filled.gaps.values().all(|gap| gap.filled || gap.to.is_some()));
    assert!(filled.gaps[key].filled);
    assert_eq!((total(&state, "cpu"), filled.counts.fillers), (130, 8));
}

#[test]
fn a_stale_marker_and_an_unreadable_number_charge_nothing() {
    let mut log = opening();
    let with = |reading| match sample(15 * SECOND, 0) {
        Record::Sample(sample) => Record::Sample(Sample { reading, ..sample }),
        other => panic!("{other:?}"),
    };
    let refused = ReadingRefused::NotFinite { text: "NaN".to_owned() };
    log.extend([
        sample(0, 5),
        with(Reading::Stale),
        with(Reading::Refused(refused)),
        sample(30 * SECOND, 9),
    ]);
    let (state, changes) = fold(&log);
    assert_eq!(total(&state, "cpu"), 4);
    assert_eq!(changes.suspense.keys().next().unwrap().cause, SuspenseCause::Unreadable);
}

#[test]
fn the_implausible_waits_for_a_person() {
    let mut log = opening();
    let bounded = Record::Meter(match meter("cpu", MeterKind::Counter) {
        Record::Meter(rule) => {
            MeterRule { base_units_per_second_max: Some(Quantity(2_000_000)), ..rule }
        }
        other => panic!("{other:?}"),
    });
    log.extend([
        bounded,
        sample(0, 0),
        sample(15 * SECOND, 30_000_000),
        sample(30 * SECOND, 60_000_001),
    ]);
    let (state, changes) = fold(&log);
    assert_eq!(total(&state, "cpu"), 30_000_000);
    let (key, entry) = changes.suspense.first_key_value().unwrap();
    assert_eq!((key.cause, entry.quantity), (SuspenseCause::Implausible, Quantity(30_000_001)));
}

#[test]
fn unknown_usage_waits_and_is_released() {
    let facts = [
        sample(0, 5),
        sample(15 * SECOND, 9),
        transition(1, 0, 2, false),
        transition(2, 10 * SECOND, 0, true),
    ];
    let mut log: Vec<Record> = opening();
    let registered = log.pop().unwrap();
    log.extend(facts.clone());
    let (mut state, waiting) = fold(&log);
    assert!(waiting.windows.is_empty());
    assert!(waiting.suspense.values().any(|entry| entry.facts > 0));
    let released = step(&mut state, std::slice::from_ref(&registered));
    assert!(released.suspense.values().all(|entry| entry.facts == 0));
    assert_eq!((total(&state, "cpu"), total(&state, "vcpu")), (4, 20 * 1_000_000));
    let mut known = opening();
    known.extend(facts);
    assert_eq!(bytes(&fold(&known).0), bytes(&state));
}

#[test]
fn facts_of_another_shards_account_are_forwarded() {
    let other = ShardNumber::all().find(|shard| *shard != ShardNumber::of(tenant())).unwrap();
    let mut state = ShardState::new(other);
    let early = step(&mut state, &[sample(0, 5)]);
    assert!(early.forwards.is_empty());
    let known = step(&mut state, &[entry(at(-HOUR_MICROSECONDS)), sample(SECOND, 6)]);
    assert_eq!(known.forwards, [(tenant(), sample(0, 5)), (tenant(), sample(SECOND, 6))]);
}

#[test]
fn another_replica_is_followed_only_after_silence() {
    let from = |replica, microseconds, value| match sample(microseconds, value) {
        Record::Sample(sample) => Record::Sample(Sample { replica: SeriesHash(replica), ..sample }),
        other => panic!("{other:?}"),
    };
    let mut log = opening();
    // The second replica's clock is late: its readings would look like a reset.
    log.extend([
        from(1, 0, 100),
        from(2, SECOND, 98),
        from(1, 15 * SECOND, 115),
        from(2, 16 * SECOND, 113),
    ]);
    log.extend([from(2, 61 * SECOND, 158), from(2, 76 * SECOND, 173)]);
    let (state, changes) = fold(&log);
    assert_eq!((total(&state, "cpu"), changes.counts.resets, changes.counts.shadowed), (73, 0, 2));
}

#[test]
fn a_price_change_cuts_the_hour() {
    let mut log = opening();
    log.push(version(2, at(20 * 60 * SECOND)));
    log.extend([transition(1, 0, 3, false), Record::Tick { at: at(HOUR_MICROSECONDS) }]);
    let (state, changes) = fold(&log);
    let found: Vec<(i64, i128)> = state
        .windows()
        .map(|(key, window)| (key.version.unwrap().generation, window.quantity.0))
        .collect();
    let minute = 60 * i128::from(SECOND);
    assert_eq!(found, [(1, 3 * 20 * minute), (2, 3 * 40 * minute)]);
    assert_eq!(changes.touched.len(), 1);
}

#[test]
fn a_version_learned_late_moves_whole_windows() {
    let mut log = opening();
    log.extend([transition(1, 0, 1, false), Record::Tick { at: at(3 * HOUR_MICROSECONDS) }]);
    let (mut state, _) = fold(&log);
    let moved = step(&mut state, &[version(2, at(HOUR_MICROSECONDS))]);
    assert_eq!(moved.windows.len(), 4);
    let generations: Vec<i64> =
        state.windows().map(|(key, _)| key.version.unwrap().generation).collect();
    assert_eq!(generations, [1, 2, 2]);
    assert_eq!(total(&state, "vcpu"), 3 * i128::from(HOUR_MICROSECONDS));
}

#[test]
fn a_gauge_is_held_four_intervals_and_then_a_gap() {
    let mut log = opening();
    log.push(meter("cpu", MeterKind::Gauge));
    log.extend([sample(0, 10), sample(15 * SECOND, 20), sample(115 * SECOND, 20)]);
    let (state, changes) = fold(&log);
    assert_eq!(total(&state, "cpu"), 10 * 15 + 20 * 60);
    let (key, gap) = changes.gaps.first_key_value().unwrap();
    assert_eq!(
        (key.from, gap.to, gap.informational),
        (at(75 * SECOND), Some(at(115 * SECOND)), false)
    );
}

#[test]
fn a_life_without_a_sample_is_a_gap() {
    let mut log = opening();
    let expected = Record::Meter(match meter("cpu", MeterKind::Counter) {
        Record::Meter(rule) => {
            let expected_of_kinds = BTreeSet::from(["VirtualMachine".to_owned()]);
            MeterRule { expected_of_kinds, ..rule }
        }
        other => panic!("{other:?}"),
    });
    log.extend([expected, transition(1, 0, 1, false), transition(2, SECOND, 0, true)]);
    log.push(Record::Tick { at: at(60 * SECOND) });
    let (mut state, changes) = fold(&log);
    let (key, gap) = changes.gaps.first_key_value().unwrap();
    assert_eq!((key.from, gap.to, gap.informational), (at(0), Some(at(SECOND)), false));
    let found = step(&mut state, &[sample(SECOND / 2, 3)]);
    assert!(found.gaps[key].filled);
}

#[test]
fn a_close_keeps_the_closed_period_and_drops_the_one_before() {
    let month = 30 * 24 * HOUR_MICROSECONDS;
    let mut log = opening();
    log.extend([transition(1, 0, 1, false), Record::Tick { at: at(2 * month) }]);
    let close = |through| Record::PeriodClose { tenant: tenant(), through };
    log.extend([close(at(month)), close(at(month))]);
    let (state, _) = fold(&log);
    assert_eq!(state.windows().count(), 60 * 24);
    log.push(close(at(2 * month)));
    assert_eq!(fold(&log).0.windows().count(), 30 * 24);
    // What comes even later than that has no sum to be added to: it waits for a person.
    log.extend([transition(2, month - SECOND, 0, true), sample(0, 1), sample(SECOND, 4)]);
    let (_, changes) = fold(&log);
    let key = changes.suspense.keys().find(|key| key.meter.as_str() == "cpu").unwrap();
    assert_eq!(
        (key.cause, changes.suspense[key].quantity),
        (SuspenseCause::AfterClose, Quantity(3))
    );
}

/// Facts of one machine: rising readings with resets, and transitions.
fn facts() -> impl Strategy<Value = Vec<Record>> {
    let readings = prop::collection::vec((1_i64..2_000, 0_i128..5_000_000, 0_u8..12), 2..40);
    let changes = prop::collection::vec((1_i64..4_000, 0_i128..5), 1..6);
    (readings, changes).prop_map(|(readings, changes)| {
        let (mut second, mut value) = (0, 0);
        let mut records: Vec<(i64, Record)> = Vec::new();
        for (seconds, growth, dice) in readings {
            second += seconds;
            value = if dice == 0 { growth } else { value + growth };
            records.push((second, sample(second * SECOND, value)));
        }
        let mut second = 0;
        for (index, (seconds, vcpus)) in changes.into_iter().enumerate() {
            second += seconds;
            let number = u64::try_from(index).unwrap() + 1;
            records.push((second, transition(number, second * SECOND, vcpus, false)));
        }
        records.sort_by_key(|(second, _)| *second);
        records.into_iter().map(|(_, record)| record).collect()
    })
}

fn with_opening(facts: &[Record]) -> Vec<Record> {
    let mut log = opening();
    log.push(version(2, at(3_000 * SECOND)));
    log.extend_from_slice(facts);
    log
}

/// Growth of the counter by the definition: each reading against the one before.
fn growth(facts: &[Record]) -> i128 {
    let mut last: Option<i128> = None;
    let mut sum = 0;
    for fact in facts {
        if let Record::Sample(Sample { reading: Reading::Value(Quantity(value)), .. }) = fact {
            sum += last.map_or(0, |last| if *value < last { *value } else { value - last });
            last = Some(*value);
        }
    }
    sum
}

/// vCPU-seconds by counting every second of the first days.
fn vcpu_seconds(facts: &[Record], end_seconds: i64) -> i128 {
    let mut held = 0;
    let mut sum = 0;
    let mut changes = facts.iter().filter_map(|fact| match fact {
        Record::Transition(transition) => Some(transition),
        _ => None,
    });
    let mut next = changes.next();
    for second in 0..end_seconds {
        while let Some(due) = next.filter(|due| due.at <= at(second * SECOND)) {
            held = due.holds["compute/vcpu"].0 / 1_000_000;
            next = changes.next();
        }
        sum += held;
    }
    sum
}

proptest! {
    #[test]
    fn totals_are_those_of_the_raw_facts(facts in facts(), end in 0_i64..30_000) {
        let mut log = with_opening(&facts);
        log.push(Record::Tick { at: at(end * SECOND) });
        let (state, _) = fold(&log);
        prop_assert_eq!(total(&state, "cpu"), growth(&facts));
        let last = facts.iter().filter_map(|fact| match fact {
            Record::Transition(transition) => Some(transition.at),
            _ => None,
        }).max().unwrap();
        let end = (last.microseconds_since(at(0)) / SECOND).max(end);
        prop_assert_eq!(total(&state, "vcpu"), vcpu_seconds(&facts, end) * 1_000_000);
    }

    /// The same log in any batches, with every state delta applied to a copy, gives the same bytes; so does a second
    /// delivery of everything.
    #[test]
    fn cuts_deltas_and_replays_change_nothing(facts in facts(), cuts in prop::collection::vec(1_usize..9, 1..20), tick in 0_i64..30_000) {
        let mut log = with_opening(&facts);
        log.insert(log.len() / 2, Record::Tick { at: at(tick * SECOND) });
        let (whole, changes) = fold(&log);
        let (mut cut, mut copy, mut merged) = (shard(), shard(), Changes::default());
        let mut rest = log.as_slice();
        for size in cuts.into_iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (batch, later) = rest.split_at(size.min(rest.len()));
            let changes = step(&mut cut, batch);
            let delta = serde_json::to_string(&changes.state).unwrap();
            copy.apply(serde_json::from_str(&delta).unwrap());
            merged.merge(changes);
            rest = later;
        }
        prop_assert_eq!(bytes(&cut), bytes(&whole));
        prop_assert_eq!(bytes(&copy), bytes(&whole));
        prop_assert_eq!(&merged.windows, &changes.windows);
        prop_assert_eq!(&merged.gaps, &changes.gaps);
        prop_assert_eq!(&merged.state, &changes.state);
        let windows = |state: &ShardState| format!("{:?}", state.windows().collect::<Vec<_>>());
        let before = windows(&cut);
        step(&mut cut, facts.iter());
        prop_assert_eq!(windows(&cut), before);
        let stored: ShardState = serde_json::from_str(&bytes(&whole)).unwrap();
        prop_assert_eq!(stored, whole);
    }

    /// Neighbours that change places leave every window as it was.
    #[test]
    fn reordering_changes_no_amount(facts in facts(), swaps in prop::collection::vec(any::<bool>(), 50)) {
        let (quiet, _) = fold(&with_opening(&facts));
        let mut turned = facts;
        let mut index = 0;
        while index + 1 < turned.len() {
            if swaps[index % swaps.len()] {
                turned.swap(index, index + 1);
                index += 1;
            }
            index += 1;
        }
        let (late, _) = fold(&with_opening(&turned));
        let windows = |state: &ShardState| format!("{:?}", state.windows().filter(|(_, window)| window.facts > 0).collect::<Vec<_>>());
        prop_assert_eq!(windows(&late), windows(&quiet));
    }

    /// However the log is written down, a window's pieces stay inside of it.
    #[test]
    fn windows_begin_on_hours_or_cuts(facts in facts()) {
        let (state, _) = fold(&with_opening(&facts));
        let cut = at(3_000 * SECOND);
        for (key, _) in state.windows() {
            prop_assert!(key.start == key.start.hour_start() || key.start == cut);
            prop_assert_eq!(key.version.unwrap().generation, if key.start < cut { 1 } else { 2 });
        }
        prop_assert!(Interval::new(at(0), at(1)).contains(at(0)));
    }
}

/// What it counted before it came here is the former owner's shard's to bill: its first sample here is a baseline.
#[test]
fn a_transfer_from_another_shard_does_not_bill_the_past_again() {
    let former = (0..).map(|number| AccountId(Uuid::from_u128(number)));
    let former = former.into_iter().find(|one| ShardNumber::of(*one) != ShardNumber::of(tenant()));
    let Record::Registry(own) = entry(at(0)) else { panic!("an entry") };
    let minute = 60 * SECOND;
    let before = RegistryEntry { tenant: former.unwrap(), ..own.clone() };
    let here = RegistryEntry { valid_from: at(30 * minute), ..own };
    let mut log = opening();
    log.pop();
    log.extend([Record::Registry(before), Record::Registry(here)]);
    log.extend((30..60).map(|index| sample(index * minute, i128::from(index) * 100)));
    let (state, _) = fold(&log);
    assert_eq!(total(&state, "cpu"), 2_900, "from the first sample here to the last");
    assert!(state.windows().all(|(key, _)| key.tenant == tenant()));
}

proptest! {
    /// How often time was recorded, and how late a transition came after it, shows nowhere.
    #[test]
    fn ticks_leave_no_trace(ticks in prop::collection::vec(0_i64..20_000, 0..20)) {
        let transitions = [transition(1, 7, 2, false), transition(2, 5_000 * SECOND + 3, 0, true)];
        let mut plain = opening();
        plain.extend(transitions.clone());
        plain.push(Record::Tick { at: at(30_000 * SECOND) });
        let mut log = opening();
        log.push(transitions[0].clone());
        log.extend(ticks.iter().map(|second| Record::Tick { at: at(second * SECOND) }));
        log.push(transitions[1].clone());
        log.push(Record::Tick { at: at(30_000 * SECOND) });
        let windows = |log: &[Record]| {
            let (state, _) = fold(log);
            state.windows().map(|(key, window)| (key.clone(), window.clone())).collect::<Vec<_>>()
        };
        prop_assert_eq!(windows(&log), windows(&plain));
    }
}

/// A plan that is known only after time was recorded prices what was held since it began, and a transition that comes
/// late takes back exactly what was counted.
#[test]
fn a_subscription_learnt_late_prices_the_hour_it_begins_in() {
    let Record::Subscription(mut late) = subscription() else { panic!("a subscription") };
    late.from = at(300 * SECOND);
    let mut log = opening();
    log.retain(|record| !matches!(record, Record::Subscription(_)));
    log.push(transition(1, 330 * SECOND, 2, false));
    log.push(Record::Tick { at: at(1_200 * SECOND) });
    log.push(Record::Subscription(late));
    log.push(transition(2, 900 * SECOND, 0, true));
    let (state, _) = fold(&log);
    assert_eq!(total(&state, "vcpu"), 570 * 2 * 1_000_000);
    assert!(state.windows().all(|(key, window)| key.version.is_some() && window.quantity.0 > 0));
}

/// What is declared is said again at every start of the program: holes stay open for what is read back later.
#[test]
fn saying_again_what_is_declared_closes_no_hole() {
    let mut log = opening();
    log.extend([sample(0, 0), sample(15 * SECOND, 100), sample(600 * SECOND, 5_000)]);
    let late = sample(300 * SECOND, 2_000);
    let mut plain = log.clone();
    plain.push(late.clone());
    log.extend(opening());
    log.push(late);
    let (found, changes) = fold(&log);
    assert_eq!(changes.counts.fillers, 1);
    assert_eq!(bytes(&found), bytes(&fold(&plain).0));
}

/// A step is taken back by the rule it was added under, or not at all.
#[test]
fn a_tightened_bound_does_not_bill_twice() {
    let mut log = opening();
    log.extend([sample(0, 0), sample(600 * SECOND, 600_000_000)]);
    let Record::Meter(mut rule) = meter("cpu", MeterKind::Counter) else { panic!("a meter") };
    rule.base_units_per_second_max = Some(Quantity(1));
    log.push(Record::Meter(rule));
    log.push(sample(300 * SECOND, 300_000_000));
    let (state, _) = fold(&log);
    assert_eq!(total(&state, "cpu"), 600_000_000);
}
