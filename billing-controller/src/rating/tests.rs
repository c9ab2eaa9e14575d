//! Lines over changes of the timeline, by the fold that makes the windows.

use super::*;
use calendar::Periods;
use metering::{
    GapPolicy, MeterKind, MeterRule, PlanVersionStart, Record, RegistryEntry, ShardNumber,
    Subscription, Transition, VersionKey, step,
};
use money::Quantity;
use pricing::{MeterInput, PlanInput, PlanVersion};

const TENANT: AccountId = AccountId(store::Uuid::from_u128(1));
const MACHINE: ResourceUid = ResourceUid(store::Uuid::from_u128(2));
const PLAN: PlanUid = PlanUid(store::Uuid::from_u128(9));

fn at(text: &str) -> Instant {
    text.parse().unwrap()
}

/// 3.60 an hour of a processor, and a fee of 30.
fn version(card: serde_json::Value) -> PlanVersion {
    let input: PlanInput = serde_json::from_value(serde_json::json!({
        "currency": "EUR", "effectiveFrom": "2026-01-01T00:00:00Z",
        "phases": [{"name": "evergreen", "rateCards": [
            card, {"id": "base", "price": {"flat": {"amount": "30"}}},
        ]}],
    }))
    .unwrap();
    let meter: MeterInput = serde_json::from_value(serde_json::json!({
        "baseUnitsPerUnit": 1_000_000, "displayUnit": {"name": "hour", "units": 3600},
    }))
    .unwrap();
    PlanVersion::from_input(&input, &[("vcpu".to_owned(), meter)].into()).unwrap()
}

fn subscription(number: u128, from: &str, zone: &str) -> Record {
    Record::Subscription(Subscription {
        tenant: TENANT,
        id: store::Uuid::from_u128(number),
        plan: PLAN,
        from: at(from),
        to: None,
        periods: Periods::monthly(zone, 1).unwrap(),
    })
}

/// One processor from the evening of the 30th of November to the morning of the first of December.
fn life() -> Vec<Record> {
    let transition = |number, when: &str, is_final| {
        let holds = [("compute/vcpu".to_owned(), Quantity(1_000_000))].into();
        Record::Transition(Transition { resource: MACHINE, number, at: at(when), holds, is_final })
    };
    let kind = MeterKind::Allocation { sku: "compute/vcpu".to_owned() };
    vec![
        Record::Meter(MeterRule {
            name: MeterName::from("vcpu"),
            kind,
            base_units_per_unit: 1_000_000,
            interval_microseconds: 15_000_000,
            base_units_per_second_max: None,
            gap_policy: GapPolicy::Hold,
            expected_of_kinds: BTreeSet::new(),
        }),
        Record::PlanVersion(PlanVersionStart {
            version: VersionKey { plan: PLAN, generation: 1 },
            effective_from: at("2026-01-01T00:00:00Z"),
        }),
        Record::Registry(RegistryEntry {
            resource: MACHINE,
            tenant: TENANT,
            project: "shop".to_owned(),
            kind: "VirtualMachine".to_owned(),
            name: "web".to_owned(),
            created_at: at("2026-11-30T20:00:00Z"),
            valid_from: at("2026-11-30T20:00:00Z"),
            valid_to: None,
        }),
        transition(1, "2026-11-30T20:00:00Z", false),
        transition(2, "2026-12-01T04:00:00Z", true),
    ]
}

fn due(mut records: Vec<Record>, card: serde_json::Value, clock: &str) -> LinesDue {
    records.push(Record::Tick { at: at(clock) });
    let mut state = ShardState::new(ShardNumber::of(TENANT));
    let changes = step(&mut state, &records);
    let mut catalogue = Catalogue::default();
    catalogue.insert(PLAN, 1, version(card));
    let dirty = changes.windows.keys().cloned().collect();
    lines_due(&mut state, &dirty, &[TENANT].into(), &catalogue)
}

fn amounts(due: &LinesDue, card: &str) -> Vec<(String, i64)> {
    let lines = due.lines.iter().filter(|line| line.rate_card == card);
    lines.map(|line| (line.period_name.clone(), line.amount_minor)).collect()
}

fn plain() -> serde_json::Value {
    serde_json::json!({"id": "vcpu", "meterRef": {"name": "vcpu"}, "price": {"perUnit": {"rate": "3.60"}}})
}

fn tiered() -> serde_json::Value {
    let tiers = serde_json::json!([{"from": "0", "rate": "3.60"}, {"from": "1000", "rate": "1"}]);
    serde_json::json!({"id": "vcpu", "meterRef": {"name": "vcpu"}, "price": {"graduated": {"tiers": tiers}}})
}

/// Eight hours cost eight hours whatever the layout, and no line is due twice: the zone changes to the east, to the west,
/// and not at all.
#[test]
fn a_change_of_zone_bills_every_hour_once() {
    for card in [plain(), tiered()] {
        for (first, second, changes) in [
            ("Europe/Berlin", "UTC", "2026-11-30T23:00:00Z"),
            ("UTC", "Europe/Berlin", "2026-12-01T00:00:00Z"),
            ("UTC", "America/New_York", "2026-12-01T00:00:00Z"),
            ("UTC", "UTC", "2026-12-01T00:00:00Z"),
        ] {
            let mut records = life();
            records.insert(0, subscription(1, "2026-11-01T00:00:00Z", first));
            records.insert(1, subscription(2, changes, second));
            let due = due(records, card.clone(), "2026-12-01T06:00:00Z");
            let total: i64 = amounts(&due, "vcpu").iter().map(|(_, minor)| minor).sum();
            assert_eq!(total, 8 * 360, "{first} to {second}: {:?}", amounts(&due, "vcpu"));
            let keys: BTreeSet<&str> =
                due.lines.iter().map(|line| line.line_key.as_str()).collect();
            assert_eq!(keys.len(), due.lines.len(), "a line is due twice");
            assert!(due.unpriced.is_empty());
        }
    }
}

/// A fee is for the part of the period that is subscribed, at the latest layout.
#[test]
fn fees_are_for_what_is_subscribed() {
    let mut records = life();
    records.insert(0, subscription(1, "2026-11-16T00:00:00Z", "UTC"));
    let found = due(records, plain(), "2026-11-30T22:00:00Z");
    assert_eq!(amounts(&found, "base"), [("2026-11-01".to_owned(), 1_500)], "half of November");

    let mut records = life();
    records.insert(0, subscription(1, "2026-11-01T00:00:00Z", "UTC"));
    records.insert(1, subscription(2, "2026-12-01T00:00:00Z", "America/New_York"));
    let found = due(records, plain(), "2026-12-01T02:00:00Z");
    // New York's November has five hours left.
    assert_eq!(amounts(&found, "base"), [("2026-11-01".to_owned(), 21)]);
}

#[test]
fn intervals_are_joined() {
    let hour = |from: &str, to: &str| Interval::new(at(from), at(to));
    let text = multirange(&[
        hour("2026-11-01T01:00:00Z", "2026-11-01T02:00:00Z"),
        hour("2026-11-01T00:00:00Z", "2026-11-01T01:00:00Z"),
        hour("2026-11-01T05:00:00Z", "2026-11-01T05:00:00Z"),
        hour("2026-11-01T03:00:00Z", "2026-11-01T04:00:00Z"),
    ]);
    assert_eq!(
        text,
        "{[2026-11-01T00:00:00Z,2026-11-01T02:00:00Z),[2026-11-01T03:00:00Z,2026-11-01T04:00:00Z)}"
    );
    assert_eq!(multirange(&[]), "{}");
}
