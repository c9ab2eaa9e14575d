//! Rating against the dullest models: every unit priced alone, every mistake listed.

use super::*;
use calendar::{Instant, Interval, Periods};
use money::{Decimal, Exact, Quantity, RoundingMode};
use proptest::prelude::*;
use std::collections::BTreeMap;

fn meters() -> BTreeMap<String, MeterInput> {
    let hour = DisplayUnitInput { name: "vCPU-hour".to_owned(), units: 3_600 };
    let fine = MeterInput { base_units_per_unit: 1_000_000, display_unit: hour };
    let one = DisplayUnitInput { name: "request".to_owned(), units: 1 };
    let plain = MeterInput { base_units_per_unit: 1, display_unit: one };
    BTreeMap::from([("vcpu".to_owned(), fine), ("requests".to_owned(), plain)])
}

fn plan_of(cards: &serde_json::Value) -> Result<PlanVersion, Vec<PlanRefused>> {
    let input = serde_json::json!({
        "currency": "EUR", "effectiveFrom": "2026-01-01T00:00:00Z",
        "phases": [{"name": "evergreen", "rateCards": cards}],
    });
    PlanVersion::from_input(&plan_input(input), &meters())
}

fn plan_input(json: serde_json::Value) -> PlanInput {
    serde_json::from_value(json).unwrap()
}

fn card(price: &serde_json::Value) -> serde_json::Value {
    serde_json::json!([{"id": "vcpu", "meterRef": {"name": "vcpu"}, "price": price}])
}

fn usage(hour: i64, item: &str, quantity: i128) -> Usage {
    Usage {
        window_start: Instant::EPOCH.plus_microseconds(hour * calendar::HOUR_MICROSECONDS),
        item: item.to_owned(),
        cell: String::new(),
        generation: 1,
        quantity: Quantity(quantity),
    }
}

fn rate(plan: &PlanVersion, usages: &[Usage]) -> Vec<RatedLine> {
    let cards = CardVersions::from([(1, (plan, &plan.cards[0]))]);
    rate_metered(&cards, usages).unwrap()
}

#[test]
fn plans_are_accepted() {
    for price in [
        serde_json::json!({"perUnit": {"rate": "0.000000000001"}}),
        serde_json::json!({"graduated": {"tiers": [{"from": "0", "rate": "1"}]}}),
        serde_json::json!({"graduated": {"tiers": [
            {"from": "0", "rate": "0", "free": true}, {"from": "0.5", "rate": "2", "flat": "3"}]}}),
    ] {
        plan_of(&card(&price)).unwrap();
    }
    let fee = serde_json::json!([{"id": "base", "price": {"flat": {"amount": "9.90"}}}]);
    plan_of(&fee).unwrap();
}

#[test]
fn plans_are_refused_with_the_path_of_the_field() {
    let per_unit = |rate: &str| serde_json::json!({"perUnit": {"rate": rate}});
    let tiers = |tiers: serde_json::Value| serde_json::json!({"graduated": {"tiers": tiers}});
    let cases = [
        (card(&per_unit("0")), "price.perUnit.rate", "free: true"),
        (card(&per_unit("-1")), "price.perUnit.rate", "`-1`"),
        (card(&per_unit("1e3")), "price.perUnit.rate", "`1e3`"),
        (card(&tiers(serde_json::json!([]))), "price.graduated.tiers", "at least one"),
        (
            card(&tiers(serde_json::json!([{"from": "1", "rate": "1"}]))),
            "tiers[0].from",
            "has to be 0",
        ),
        (
            card(&tiers(
                serde_json::json!([{"from": "0", "rate": "1"}, {"from": "0", "rate": "2"}]),
            )),
            "tiers[1].from",
            "above 0",
        ),
        (
            card(&tiers(serde_json::json!([{"from": "0", "rate": "0"}]))),
            "tiers[0].rate",
            "free: true",
        ),
        (card(&serde_json::json!({})), "rateCards[0].price", "exactly one"),
        (
            serde_json::json!([{"id": "a", "price": per_unit("1")}]),
            "rateCards[0].meterRef",
            "required",
        ),
        (
            serde_json::json!([{"id": "a", "meterRef": {"name": "none"}, "price": per_unit("1")}]),
            "meterRef.name",
            "`none` does not exist",
        ),
        (
            serde_json::json!([{"id": "a", "freeQuantity": "1", "price": {"flat": {"amount": "1"}}}]),
            "freeQuantity",
            "flat price",
        ),
        (
            serde_json::json!([{"id": "a", "free": true, "price": {"flat": {"amount": "1"}}}]),
            "price.flat.amount",
            "says free",
        ),
    ];
    for (cards, path, words) in cases {
        let refusals = plan_of(&cards).unwrap_err();
        assert_eq!(refusals.len(), 1, "{refusals:?}");
        let text = refusals[0].to_string();
        assert!(text.contains(path) && text.contains(words), "{text}");
    }
    let twice = serde_json::json!([
        {"id": "a", "meterRef": {"name": "vcpu"}, "price": per_unit("1")},
        {"id": "a", "meterRef": {"name": "vcpu"}, "price": per_unit("1")},
    ]);
    assert_eq!(plan_of(&twice).unwrap_err().len(), 2);
}

#[test]
fn a_hash_is_of_prices_only() {
    let plan = plan_of(&card(&serde_json::json!({"perUnit": {"rate": "1"}}))).unwrap();
    let later = PlanVersion { effective_from: Instant::EPOCH, ..plan.clone() };
    assert_eq!(plan.hash(), later.hash());
    assert_eq!(plan.hash().len(), 64);
    let other = PlanVersion { rounding: RoundingMode::Up, ..plan.clone() };
    assert_ne!(plan.hash(), other.hash());
}

/// C4: 300 s of two vCPU cost 300 s, and twelve digits of rate keep their tail.
#[test]
fn five_minutes_cost_five_minutes() {
    let plan = plan_of(&card(&serde_json::json!({"perUnit": {"rate": "0.123456789012"}}))).unwrap();
    let lines = rate(&plan, &[usage(0, "vm", 2 * 300 * 1_000_000)]);
    assert_eq!(lines[0].explanation.exact_amount, "0.020576131502");
    assert_eq!(lines[0].explanation.conversion.quantity, "1/6");
    assert_eq!(lines[0].amount.minor(), 2);
}

#[test]
fn a_fee_is_due_for_the_share_of_the_period() {
    let fee = serde_json::json!([{"id": "base", "price": {"flat": {"amount": "10"}}}]);
    let plan = plan_of(&fee).unwrap();
    let period = Periods::utc().containing("2026-11-10T00:00:00Z".parse().unwrap()).unwrap();
    let joined = "2026-11-16T00:00:00Z".parse().unwrap();
    let versions = BTreeMap::from([(1, plan)]);
    let input = BillInput {
        subscription: "s",
        period: &period,
        versions: &versions,
        active: &[(1, Interval::new(joined, Instant::MAX))],
        usages: &BTreeMap::new(),
    };
    let bill = bill(&input).unwrap();
    assert_eq!(bill.lines[0].rated.amount.to_string(), "5.00 EUR");
    assert_eq!(bill.lines[0].key, "s/s/base/-/evergreen.v1/p2026-11-01");
}

#[test]
fn usage_without_a_card_is_named_and_not_free() {
    let plan = plan_of(&card(&serde_json::json!({"perUnit": {"rate": "1"}}))).unwrap();
    let period = Periods::utc().containing(Instant::EPOCH).unwrap();
    let usages = BTreeMap::from([("requests".to_owned(), vec![usage(0, "vm", 7)])]);
    let versions = BTreeMap::from([(1, plan)]);
    let input = BillInput {
        subscription: "s",
        period: &period,
        versions: &versions,
        active: &[],
        usages: &usages,
    };
    let bill = bill(&input).unwrap();
    assert!(bill.lines.is_empty());
    assert_eq!(
        (bill.unpriced[0].meter.as_str(), bill.unpriced[0].quantity),
        ("requests", Quantity(7))
    );
}

#[test]
fn negative_usage_is_refused() {
    let plan = plan_of(&card(&serde_json::json!({"perUnit": {"rate": "1"}}))).unwrap();
    let cards = CardVersions::from([(1, (&plan, &plan.cards[0]))]);
    let refusal = rate_metered(&cards, &[usage(0, "vm", -1)]).unwrap_err().to_string();
    assert!(refusal.contains("never negative"), "{refusal}");
}

/// Tiers of whole requests: from 0 at 3, from 5 at 2 (and 7 once), from 8.5 at 1; the first two requests are free.
fn tiered() -> PlanVersion {
    let tiers = serde_json::json!([
        {"from": "0", "rate": "0.03"}, {"from": "5", "rate": "0.02", "flat": "0.07"},
        {"from": "8.5", "rate": "0.01"}]);
    plan_of(&serde_json::json!([{"id": "requests", "meterRef": {"name": "requests"},
        "freeQuantity": "2", "price": {"graduated": {"tiers": tiers}}}]))
    .unwrap()
}

/// Each half request alone, in cents: the model that is obviously right.
fn brute_force(total: i128) -> Exact {
    let mut cents = Exact::zero();
    for half in 0..total * 2 {
        let position = half - 4;
        let twice = match position {
            ..0 => 0,
            0..10 => 3,
            10..17 => 2,
            _ => 1,
        };
        cents = cents.plus(&Exact::ratio(twice, 2).unwrap());
    }
    if total > 7 { cents.plus(&Exact::whole(7)) } else { cents }
}

proptest! {
    /// C1: every quantity falls into exactly one tier, fractions and bounds included; and however usage is spread over
    /// items and windows, the lines add up to the charge for the total.
    #[test]
    fn graduated_is_each_unit_alone(parts in prop::collection::vec((0_i64..4, 0_usize..3, 0_i128..5), 0..12)) {
        let plan = tiered();
        let usages: Vec<Usage> = parts
            .iter()
            .map(|(hour, item, quantity)| usage(*hour, ["a", "b", "c"][*item], *quantity))
            .collect();
        let total: i128 = parts.iter().map(|(_, _, quantity)| quantity).sum();
        let lines = rate(&plan, &usages);
        let sum = lines.iter().fold(Exact::zero(), |sum, line| {
            let exact: Decimal = line.explanation.exact_amount.parse().unwrap();
            sum.plus(&exact.exact())
        });
        prop_assert_eq!(sum.times(&Exact::whole(100)), brute_force(total));
        prop_assert_eq!(lines.iter().map(|line| line.quantity.0).sum::<i128>(), total);
        let mut turned = usages.clone();
        turned.reverse();
        prop_assert_eq!(rate(&plan, &turned), lines);
    }

    /// A change of version mid-period continues the positions: with equal prices nothing changes in sum.
    #[test]
    fn a_version_of_equal_prices_changes_nothing(before in 0_i128..20, after in 0_i128..20) {
        let plan = tiered();
        let cards = CardVersions::from([(1, (&plan, &plan.cards[0])), (2, (&plan, &plan.cards[0]))]);
        let later = Usage { generation: 2, ..usage(1, "a", after) };
        let lines = rate_metered(&cards, &[usage(0, "a", before), later]).unwrap();
        let sum: i64 = lines.iter().map(|line| line.amount.minor()).sum();
        let exact = brute_force(before + after);
        let whole = RoundingMode::HalfAwayFromZero.round(&exact).unwrap();
        // Two lines round twice.
        prop_assert!((i128::from(sum) - whole).abs() <= 1);
    }
}
