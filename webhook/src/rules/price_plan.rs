//! Price plans: complete and unambiguous prices, and a change that starts later than what it replaces.

use super::Change;
use crate::finding::{Verdict, named};
use crate::world::World;
use crds::PricePlan;
use crds::billing::{GraduatedPrice, Price, PricePlanSpec, RateCard};
use jiff::Timestamp;
use kube::ResourceExt;
use std::cmp::Ordering;
use std::collections::BTreeMap;

/// What stands against a change of a plan.
pub fn check(change: &Change<PricePlan>, world: &World, now: Timestamp) -> Verdict {
    let mut verdict = Verdict::default();
    if let Some(plan) = change.declared() {
        whole_seconds(&plan.spec, &mut verdict);
        if let Some(old) = &change.old {
            later(&old.spec, &plan.spec, now, &mut verdict);
        }
        for (phase_index, phase) in plan.spec.phases.iter().enumerate() {
            let path = format!("spec.phases[{phase_index}].rateCards");
            one_price_per_meter(&path, &phase.rate_cards, world, &mut verdict);
            for (index, card) in phase.rate_cards.iter().enumerate() {
                price(&format!("{path}[{index}]"), card, &mut verdict);
            }
        }
    }
    if change.deleted().is_some() {
        deletion(&change.name, world, &mut verdict);
    }
    verdict
}

fn whole_seconds(spec: &PricePlanSpec, verdict: &mut Verdict) {
    if spec.effective_from.0.subsec_nanosecond() != 0 {
        verdict.invalid("spec.effectiveFrom", "has a fraction of a second; write whole seconds");
    }
}

/// What the plan charges: everything but the words and who may see it.
fn priced(spec: &PricePlanSpec) -> PricePlanSpec {
    let mut priced = spec.clone();
    priced.effective_from.0 = Timestamp::UNIX_EPOCH;
    priced.visibility = None;
    for card in priced.phases.iter_mut().flat_map(|phase| &mut phase.rate_cards) {
        card.description = None;
    }
    priced
}

fn later(old: &PricePlanSpec, new: &PricePlanSpec, now: Timestamp, verdict: &mut Verdict) {
    let (was, wanted) = (old.effective_from.0, new.effective_from.0);
    if wanted < was {
        verdict.invalid(
            "spec.effectiveFrom",
            format!("is before the present version's {was}; versions follow one another, name a later instant"),
        );
    } else if wanted == was && priced(old) != priced(new) {
        verdict.invalid(
            "spec.effectiveFrom",
            format!("prices change, but the version of {was} is fixed; name a later instant for the new prices"),
        );
    } else if wanted > was && wanted < now {
        verdict.warn(format!(
            "spec.effectiveFrom: {wanted} is past; usage since then is rated again under the new version"
        ));
    }
}

fn one_price_per_meter(path: &str, cards: &[RateCard], world: &World, verdict: &mut Verdict) {
    let mut seen: BTreeMap<&str, &str> = BTreeMap::new();
    for (index, card) in cards.iter().enumerate() {
        let Some(meter) = card.meter_ref.as_ref().map(|reference| reference.name.as_str()) else {
            continue;
        };
        if let Some(first) = seen.insert(meter, &card.id) {
            verdict.duplicate(
                format!("{path}[{index}].meterRef.name"),
                format!("meter `{meter}` has its price in card `{first}`; use one card, with tiers if need be"),
            );
        }
        if World::named(&world.meters, meter).is_none() {
            verdict.warn(format!("{path}[{index}].meterRef.name: there is no Meter `{meter}` yet"));
        }
    }
}

fn price(path: &str, card: &RateCard, verdict: &mut Verdict) {
    let Price { flat, per_unit, graduated } = &card.price;
    let meant = card.free == Some(true);
    if let Some(flat) = flat {
        zero_is_meant(&format!("{path}.price.flat.amount"), &flat.amount, meant, verdict);
    }
    if let Some(per_unit) = per_unit {
        zero_is_meant(&format!("{path}.price.perUnit.rate"), &per_unit.rate, meant, verdict);
    }
    if let Some(graduated) = graduated {
        tiers(&format!("{path}.price.graduated.tiers"), graduated, meant, verdict);
    }
}

fn is_zero(decimal: &str) -> bool {
    decimal.bytes().all(|byte| byte == b'0' || byte == b'.')
}

fn zero_is_meant(field: &str, amount: &str, meant: bool, verdict: &mut Verdict) {
    if is_zero(amount) && !meant {
        verdict.invalid(field, "is zero; set free: true if that is meant, else write the price");
    }
}

fn tiers(path: &str, price: &GraduatedPrice, card_is_free: bool, verdict: &mut Verdict) {
    if price.tiers.first().is_some_and(|first| !is_zero(&first.from)) {
        verdict.invalid(
            format!("{path}[0].from"),
            "the first tier begins at 0, else the quantity below it has no price",
        );
    }
    for (index, pair) in price.tiers.windows(2).enumerate() {
        if let [before, after] = pair
            && compared(&before.from, &after.from) != Ordering::Less
        {
            verdict.invalid(
                format!("{path}[{}].from", index.saturating_add(1)),
                format!(
                    "`{}` is not above the tier before it, `{}`; tiers rise",
                    after.from, before.from
                ),
            );
        }
    }
    for (index, tier) in price.tiers.iter().enumerate() {
        let has_fee = tier.flat.as_deref().is_some_and(|flat| !is_zero(flat));
        let meant = card_is_free || tier.free == Some(true) || has_fee;
        zero_is_meant(&format!("{path}[{index}].rate"), &tier.rate, meant, verdict);
    }
}

/// Compares two plain decimals (digits, at most one point, no sign) without arithmetic: by digits before the point,
/// then after it.
fn compared(left: &str, right: &str) -> Ordering {
    let parts = |text: &str| {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let whole = whole.trim_start_matches('0').to_owned();
        (whole.len(), whole, fraction.trim_end_matches('0').to_owned())
    };
    parts(left).cmp(&parts(right))
}

fn deletion(name: &str, world: &World, verdict: &mut Verdict) {
    let tenants = world.tenants.state();
    let users: Vec<String> = tenants
        .iter()
        .filter(|tenant| tenant.spec.plan_ref.name == name)
        .map(|tenant| tenant.name_any())
        .collect();
    if !users.is_empty() {
        verdict.forbid(
            "metadata.name",
            format!("tenants have this plan: {}; give them another one first", named(users)),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::super::scene::{Scene, change, refused_fields, tenant};
    use super::*;
    use serde_json::{Value, json};

    fn plan(from: &str, cards: Value) -> Value {
        json!({ "metadata": { "name": "standard" }, "spec": { "currency": "EUR",
            "effectiveFrom": from, "phases": [{ "name": "evergreen", "rateCards": cards }] } })
    }

    fn card(id: &str, meter: &str, price: Value) -> Value {
        json!({ "id": id, "meterRef": { "name": meter }, "price": price })
    }

    fn hourly(rate: &str) -> Value {
        json!([card("cpu", "vcpu", json!({ "perUnit": { "rate": rate } }))])
    }

    fn tiered(froms: &[&str]) -> Value {
        let tiers: Vec<Value> =
            froms.iter().map(|from| json!({ "from": from, "rate": "0.1" })).collect();
        json!([card("cpu", "vcpu", json!({ "graduated": { "tiers": tiers } }))])
    }

    fn judged(operation: &str, old: Value, new: Value) -> Verdict {
        let now = "2026-06-01T00:00:00Z".parse().unwrap();
        check(&change(operation, old, new), &Scene::default().tenant(tenant("acme")).world(), now)
    }

    fn created(cards: Value) -> Vec<String> {
        refused_fields(&judged("CREATE", json!(null), plan("2026-01-01T00:00:00Z", cards)))
    }

    #[test]
    fn each_meter_has_one_price() {
        assert!(created(hourly("0.05")).is_empty());
        let mut twice = hourly("0.05");
        twice.as_array_mut().unwrap().push(card(
            "again",
            "vcpu",
            json!({ "perUnit": { "rate": "1" } }),
        ));
        assert_eq!(created(twice), ["spec.phases[0].rateCards[1].meterRef.name"]);
    }

    #[test]
    fn a_price_of_zero_is_said_twice() {
        let field = "spec.phases[0].rateCards[0].price.perUnit.rate";
        assert_eq!(created(hourly("0.00")), [field]);
        let mut free = hourly("0");
        free[0]["free"] = json!(true);
        assert!(created(free).is_empty());
    }

    #[test]
    fn tiers_begin_at_zero_and_rise() {
        let path = "spec.phases[0].rateCards[0].price.graduated.tiers";
        assert!(created(tiered(&["0", "9.5", "10", "100"])).is_empty());
        assert_eq!(created(tiered(&["1", "2"])), [format!("{path}[0].from")]);
        assert_eq!(created(tiered(&["0", "10", "9"])), [format!("{path}[2].from")]);
        assert_eq!(created(tiered(&["0", "1.50", "1.5"])), [format!("{path}[2].from")]);
    }

    #[test]
    fn other_prices_need_a_later_start() {
        let (june, july) = ("2026-06-15T00:00:00Z", "2026-07-01T00:00:00Z");
        let update = |from: &str, to: &str, rate: &str| {
            let verdict = judged("UPDATE", plan(from, hourly("0.05")), plan(to, hourly(rate)));
            (refused_fields(&verdict), verdict.warnings)
        };
        assert!(update(june, july, "0.06").0.is_empty());
        assert!(update(june, june, "0.05").0.is_empty());
        assert_eq!(update(june, june, "0.06").0, ["spec.effectiveFrom"]);
        assert_eq!(update(july, june, "0.05").0, ["spec.effectiveFrom"]);
        let past = update("2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z", "0.06");
        assert!(
            past.0.is_empty() && past.1.iter().any(|text| text.contains("is past")),
            "{past:?}"
        );
        let mut worded = hourly("0.05");
        worded[0]["description"] = json!("Compute");
        assert!(judged("UPDATE", plan(june, hourly("0.05")), plan(june, worded)).allows());
    }

    #[test]
    fn starts_are_whole_seconds_and_used_plans_stay() {
        let verdict = judged("CREATE", json!(null), plan("2026-01-01T00:00:00.5Z", hourly("1")));
        assert_eq!(refused_fields(&verdict), ["spec.effectiveFrom"]);
        let verdict = judged("DELETE", plan("2026-01-01T00:00:00Z", hourly("1")), json!(null));
        assert_eq!(refused_fields(&verdict), ["metadata.name"]);
    }

    #[test]
    fn decimals_compare_by_value() {
        for (left, right, order) in [
            ("0", "0.000", Ordering::Equal),
            ("9.99", "10", Ordering::Less),
            ("1.5", "1.49", Ordering::Greater),
            ("0.1", "0.01", Ordering::Greater),
        ] {
            assert_eq!(compared(left, right), order, "{left} {right}");
        }
    }
}
