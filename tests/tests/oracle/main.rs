//! The fold of the usage log against an oracle: two programs of two kinds must find the same usage.
//!
//! `metering::step` is a state machine that keeps sums and takes steps back when a late sample splits them. The oracle
//! ([`program`]) is a differential dataflow that keeps no sums: it orders all readings by time, differences neighbours,
//! cuts the differences, and adds up. It shares the record types and the calendar with the fold, and nothing else.
//! Generated logs ([`generate`]) hold resets, births, holes, fillers, replays, conflicts, disorder, implausible jumps,
//! price versions, periods in several zones, changes of owner, and lives; what two replicas do to each other is left out,
//! since following one of them is a rule about the order of arrival and not about the facts.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod generate;
mod program;

use calendar::Periods;
use metering::{Changes, Record, ShardState, SuspenseCause, step};
use program::{Line, Usage, Window};
use proptest::prelude::*;
use std::collections::BTreeMap;

/// What the fold makes of a log, in batches of `batch` records.
fn folded(records: &[Record], batch: usize) -> Usage {
    let mut state = ShardState::new(generate::shard());
    let mut changes = Changes::default();
    for records in records.chunks(batch) {
        changes.merge(step(&mut state, records));
    }
    let mut usage = Usage::default();
    for (key, window) in state.windows().filter(|(_, window)| window.quantity.0 != 0) {
        let version = key.version.map(|version| (version.plan.0, version.generation));
        let place = Window {
            tenant: key.tenant.0,
            resource: key.resource.0,
            meter: key.meter.to_string(),
            part: key.part.to_string(),
            start: key.start.microseconds(),
            version,
        };
        usage.windows.insert(place, window.quantity.0);
        let subscriptions = state.subscriptions_of(key.tenant);
        let current = subscriptions.iter().rev().find(|one| one.from <= key.start);
        let utc = Periods::utc();
        let periods = current.or(subscriptions.first()).map_or(&utc, |one| &one.periods);
        let line = Line {
            tenant: key.tenant.0,
            period_start: periods.containing(key.start).unwrap().during.from.microseconds(),
            meter: key.meter.to_string(),
            resource: key.resource.0,
            part: key.part.to_string(),
        };
        *usage.lines.entry(line).or_default() += window.quantity.0;
    }
    for (key, entry) in &changes.suspense {
        if key.cause == SuspenseCause::Implausible && entry.quantity.0 != 0 {
            let item = (key.resource.0, key.meter.to_string(), key.part.to_string());
            usage.implausible.insert(item, entry.quantity.0);
        }
    }
    usage
}

fn differences<K: Ord + std::fmt::Debug>(
    fold: &BTreeMap<K, i128>,
    oracle: &BTreeMap<K, i128>,
) -> Vec<String> {
    let keys: std::collections::BTreeSet<&K> = fold.keys().chain(oracle.keys()).collect();
    keys.into_iter()
        .filter(|key| fold.get(key) != oracle.get(key))
        .map(|key| format!("{key:?}: fold {:?}, oracle {:?}", fold.get(key), oracle.get(key)))
        .collect()
}

/// Everything that differs, told with the seed.
fn compare(seed: u64) {
    let records = generate::log(seed);
    let fold = folded(&records, 1 + usize::try_from(seed % 97).unwrap());
    let oracle = program::usage(&records, 3);
    let different = [
        differences(&fold.windows, &oracle.windows),
        differences(&fold.lines, &oracle.lines),
        differences(&fold.implausible, &oracle.implausible),
    ]
    .concat();
    assert!(
        different.is_empty(),
        "seed {seed}: {} of {} places differ\n{}",
        different.len(),
        oracle.windows.len(),
        different.join("\n")
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..Default::default() })]

    #[test]
    fn fold_and_oracle_agree(seed in any::<u64>()) {
        compare(seed);
    }
}

/// A comparison of nothing with nothing would agree too: the logs hold what they are said to hold.
#[test]
fn logs_hold_what_makes_it_hard() {
    let mut seen = metering::StepCounts::default();
    let (mut windows, mut implausible, mut versions) = (0, 0, std::collections::BTreeSet::new());
    for seed in 0..20 {
        let records = generate::log(seed);
        let mut state = ShardState::new(generate::shard());
        let mut changes = step(&mut state, &records);
        changes.counts.records = 0;
        seen.resets += changes.counts.resets;
        seen.fillers += changes.counts.fillers;
        seen.replays += changes.counts.replays;
        seen.conflicts += changes.counts.conflicts;
        let usage = folded(&records, 1000);
        windows += usage.windows.len();
        implausible += usage.implausible.len();
        versions.extend(usage.windows.keys().map(|window| (window.tenant, window.version)));
    }
    assert!(seen.resets > 100 && seen.fillers > 100, "{seen:?}");
    assert!(seen.replays > 100 && seen.conflicts > 20, "{seen:?}");
    assert!(windows > 1000 && implausible > 5 && versions.len() >= 4, "{windows} {implausible}");
}
