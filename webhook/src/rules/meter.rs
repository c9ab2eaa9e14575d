//! Meters: what prices mean by them does not change under a plan. Kind and unit are immutable by the schema already.

use super::Change;
use crate::finding::{Verdict, named};
use crate::world::World;
use crds::Meter;
use ids::well_known::{DISK_GIB, MEMORY_MIB, VCPU};
use kube::ResourceExt;

/// What stands against a change of a meter.
pub fn check(change: &Change<Meter>, world: &World) -> Verdict {
    let mut verdict = Verdict::default();
    if let Some(meter) = change.declared() {
        source(meter, &mut verdict);
        if let Some(old) = &change.old {
            meaning_kept(&change.name, old, meter, world, &mut verdict);
        }
    }
    if change.deleted().is_some() {
        let plans = pricing(&change.name, world);
        if !plans.is_empty() {
            verdict.forbid(
                "metadata.name",
                format!(
                    "price plans have a price for this meter: {}; remove it there first",
                    named(plans)
                ),
            );
        }
    }
    verdict
}

/// The plans with a price for the meter.
fn pricing(meter: &str, world: &World) -> Vec<String> {
    let prices = |plan: &crds::PricePlan| {
        let cards = plan.spec.phases.iter().flat_map(|phase| &phase.rate_cards);
        cards.filter_map(|card| card.meter_ref.as_ref()).any(|reference| reference.name == meter)
    };
    let plans = world.plans.state();
    plans.iter().filter(|plan| prices(plan)).map(|plan| plan.name_any()).collect()
}

fn source(meter: &Meter, verdict: &mut Verdict) {
    let known = [VCPU, MEMORY_MIB, DISK_GIB];
    if let Some(lifecycle) = &meter.spec.source.lifecycle
        && !known.contains(&lifecycle.resource.as_str())
    {
        verdict.warn(format!(
            "spec.source.lifecycle.resource: nothing records `{}`; recorded are: {}",
            lifecycle.resource,
            named(known.map(str::to_owned))
        ));
    }
}

fn meaning_kept(name: &str, old: &Meter, new: &Meter, world: &World, verdict: &mut Verdict) {
    let plans = pricing(name, world);
    if plans.is_empty() {
        return;
    }
    if old.spec.display_unit.units != new.spec.display_unit.units {
        verdict.invalid(
            "spec.displayUnit.units",
            format!(
                "prices are per {} in: {}; another size would change them silently, create another Meter",
                old.spec.display_unit.name,
                named(plans.clone())
            ),
        );
    }
    if old.spec.source != new.spec.source {
        verdict.invalid(
            "spec.source",
            format!(
                "is priced in: {}; other facts under the same price would change bills silently, create another Meter",
                named(plans)
            ),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::super::scene::{Scene, change, refused_fields};
    use super::*;
    use serde_json::{Value, json};

    fn meter(units: i64, resource: &str) -> Value {
        json!({ "metadata": { "name": "vcpu" }, "spec": {
            "kind": "Allocation", "unit": "vcpu-second", "baseUnitsPerUnit": 1_000_000,
            "displayUnit": { "name": "vCPU-hour", "units": units },
            "source": { "lifecycle": { "resource": resource } } } })
    }

    fn fields(scene: Scene, operation: &str, new: Value) -> Vec<String> {
        refused_fields(&check(&change(operation, meter(3600, VCPU), new), &scene.world()))
    }

    #[test]
    fn a_priced_meter_keeps_its_meaning() {
        let priced = || Scene::default().plan_for("standard", "vcpu");
        assert!(fields(priced(), "UPDATE", meter(3600, VCPU)).is_empty());
        assert_eq!(fields(priced(), "UPDATE", meter(60, VCPU)), ["spec.displayUnit.units"]);
        assert_eq!(fields(priced(), "UPDATE", meter(3600, MEMORY_MIB)), ["spec.source"]);
        assert_eq!(fields(priced(), "DELETE", json!(null)), ["metadata.name"]);
    }

    #[test]
    fn an_unpriced_meter_may_change_and_go() {
        let unpriced = || Scene::default().plan_for("standard", "memory");
        assert!(fields(unpriced(), "UPDATE", meter(60, VCPU)).is_empty());
        assert!(fields(unpriced(), "DELETE", json!(null)).is_empty());
    }
}
