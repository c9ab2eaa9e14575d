//! Price plans: complete and unambiguous prices, and a change that starts later than what it replaces.

use super::Change;
use crate::finding::{Verdict, named};
use crate::world::World;
use crds::PricePlan;
use crds::billing::PricePlanSpec;
use jiff::Timestamp;
use kube::ResourceExt;
use pricing::{DisplayUnitInput, MeterInput, PlanInput, PlanRefused, PlanVersion, Problem};
use std::collections::{BTreeMap, BTreeSet};

/// What stands against a change of a plan.
pub fn check(change: &Change<PricePlan>, world: &World, now: Timestamp) -> Verdict {
    let mut verdict = Verdict::default();
    if let Some(plan) = change.declared() {
        whole_seconds(&plan.spec, &mut verdict);
        let version = readable(&plan.spec, world, &mut verdict);
        if let Some(old) = &change.old {
            // The old version was judged in its time; what it lacks now is no fault of the new one.
            let before = readable(&old.spec, world, &mut Verdict::default());
            let same = match (before, version) {
                (Some(before), Some(version)) => before.hash() == version.hash(),
                _ => old.spec.phases == plan.spec.phases,
            };
            later(&old.spec, &plan.spec, same, now, &mut verdict);
        }
    }
    if change.deleted().is_some() {
        deletion(&change.name, world, &mut verdict);
    }
    verdict
}

/// The plan as billing will read it, by the same reader.
fn readable(spec: &PricePlanSpec, world: &World, verdict: &mut Verdict) -> Option<PlanVersion> {
    let input: PlanInput = match serde_json::to_value(spec).and_then(serde_json::from_value) {
        Ok(input) => input,
        Err(error) => {
            verdict.invalid("spec", format!("cannot be read: {error}"));
            return None;
        }
    };
    let meters = priced_meters(spec, world, verdict);
    match PlanVersion::from_input(&input, &meters) {
        Ok(version) => Some(version),
        Err(refusals) => {
            for PlanRefused { field, problem } in refusals {
                if matches!(problem, Problem::Repeated { .. }) {
                    verdict.duplicate(field, problem.to_string());
                } else {
                    verdict.invalid(field, problem.to_string());
                }
            }
            None
        }
    }
}

/// The meters that cards name. One that is still to come is a warning, and stands in with its own unit.
fn priced_meters(
    spec: &PricePlanSpec,
    world: &World,
    verdict: &mut Verdict,
) -> BTreeMap<String, MeterInput> {
    let cards = spec.phases.iter().flat_map(|phase| &phase.rate_cards);
    let names: BTreeSet<&str> =
        cards.filter_map(|card| card.meter_ref.as_ref()).map(|meter| meter.name.as_str()).collect();
    let mut meters = BTreeMap::new();
    for name in names {
        let input = if let Some(meter) = World::named(&world.meters, name) {
            MeterInput {
                base_units_per_unit: meter.spec.base_units_per_unit,
                display_unit: DisplayUnitInput {
                    name: meter.spec.display_unit.name.clone(),
                    units: meter.spec.display_unit.units,
                },
            }
        } else {
            verdict.warn(format!(
                "spec.phases[].rateCards[].meterRef.name: there is no Meter `{name}` yet"
            ));
            let display_unit = DisplayUnitInput { name: "unit".to_owned(), units: 1 };
            MeterInput { base_units_per_unit: 1, display_unit }
        };
        meters.insert(name.to_owned(), input);
    }
    meters
}

fn whole_seconds(spec: &PricePlanSpec, verdict: &mut Verdict) {
    if spec.effective_from.0.subsec_nanosecond() != 0 {
        verdict.invalid("spec.effectiveFrom", "has a fraction of a second; write whole seconds");
    }
}

fn later(
    old: &PricePlanSpec,
    new: &PricePlanSpec,
    same_prices: bool,
    now: Timestamp,
    verdict: &mut Verdict,
) {
    let (was, wanted) = (old.effective_from.0, new.effective_from.0);
    if wanted < was {
        verdict.invalid(
            "spec.effectiveFrom",
            format!("is before the present version's {was}; versions follow one another, name a later instant"),
        );
    } else if wanted == was && !same_prices {
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
        assert!(update(june, june, "0.050").0.is_empty(), "the same price in other digits");
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
}
