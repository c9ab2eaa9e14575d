//! PhysicalMachine: says in words what its allocation table says in numbers.

use super::allocation::table;
use crate::world::World;
use crds::PhysicalMachine;
use crds::compute::Maintenance;
use operator_kit::controller::Outcome;
use operator_kit::status::{self, Change, Progress, ReportError, Truth};
use serde_json::json;
use std::sync::Arc;

/// Why a pass failed.
#[derive(Debug, thiserror::Error)]
#[error("report on PhysicalMachine")]
pub struct Error(#[from] ReportError);

/// One pass. The allocation table belongs to another field manager and is not touched.
pub async fn reconcile(host: Arc<PhysicalMachine>, world: Arc<World>) -> Result<Outcome, Error> {
    let before = host.status.clone().unwrap_or_default();
    let (reason, message) = match host.spec.maintenance.unwrap_or_default() {
        Maintenance::Active => ("Active", "takes machines"),
        Maintenance::Cordoned => {
            ("Cordoned", "spec.maintenance is Cordoned: takes no new machines")
        }
        Maintenance::Draining => {
            ("Draining", "spec.maintenance is Draining: takes no new machines")
        }
    };
    let change =
        Change { type_: status::READY, status: Truth::True, reason, message: message.to_owned() };
    let mut conditions = before.conditions.clone();
    status::set_ready(
        &mut conditions,
        &change,
        host.metadata.generation,
        world.clock.now(),
        Progress::Done,
    );
    let summary = table::summary(&table::view(&host));
    let own = |generation, conditions, summary| json!({ "observedGeneration": generation, "conditions": conditions, "summary": summary });
    let old =
        own(json!(before.observed_generation), json!(before.conditions), json!(before.summary));
    let new = own(json!(host.metadata.generation), json!(conditions), json!(summary));
    world.reporter.report(host.as_ref(), &old, &new).await?;
    Ok(Outcome::Converged)
}
