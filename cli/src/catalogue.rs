//! Price plans and meters from the files that are applied to the cluster.

use crate::failure::Failure;
use pricing::{MeterInput, PlanInput, PlanVersion, refusal_lines};
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// A plan with the meters it prices.
#[derive(Debug)]
pub struct Catalogue {
    /// The plan's name.
    pub name: String,
    /// The plan.
    pub plan: PlanVersion,
    /// All meters of the file, by name.
    pub meters: BTreeMap<String, MeterInput>,
}

/// Reads one `PricePlan` and all Meters from a YAML or JSON text of one or several documents; other kinds are passed over.
pub fn read(text: &str) -> Result<Catalogue, Failure> {
    let (mut plans, mut meters) = (Vec::new(), BTreeMap::new());
    for (index, document) in serde_yaml::Deserializer::from_str(text).enumerate() {
        let place = format!("plan file, document {}", index.saturating_add(1));
        let value = Value::deserialize(document)
            .map_err(|error| Failure::refused(format!("{place}: {error}")))?;
        let name = text_at(&value, "/metadata/name").unwrap_or_default();
        let spec = value.get("spec").cloned().unwrap_or_default();
        match text_at(&value, "/kind").unwrap_or_default().as_str() {
            "PricePlan" => {
                let input: PlanInput = serde_json::from_value(spec).map_err(|error| {
                    Failure::refused(format!("PricePlan {name}: spec: {error}"))
                })?;
                plans.push((name, input));
            }
            "Meter" => {
                let meter: MeterInput = serde_json::from_value(spec)
                    .map_err(|error| Failure::refused(format!("Meter {name}: spec: {error}")))?;
                if meters.insert(name.clone(), meter).is_some() {
                    return Err(Failure::refused(format!(
                        "Meter {name} is in the plan file twice"
                    )));
                }
            }
            _ => {}
        }
    }
    let [(name, input)] = plans.as_slice() else {
        let count = plans.len();
        let message = format!("plan file: holds {count} objects of kind PricePlan, one is needed");
        return Err(Failure::refused(message));
    };
    let plan = PlanVersion::from_input(input, &meters).map_err(|refusals| {
        let lines = refusal_lines(&refusals);
        Failure::Refused(lines.iter().map(|line| format!("PricePlan {name}: {line}")).collect())
    })?;
    Ok(Catalogue { name: name.clone(), plan, meters })
}

fn text_at(value: &Value, pointer: &str) -> Option<String> {
    value.pointer(pointer).and_then(Value::as_str).map(str::to_owned)
}
