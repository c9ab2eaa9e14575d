//! Meter → the rule by which the fold counts.

use super::World;
use super::announce::{AnnounceError, Audience};
use crds::Meter;
use crds::billing::{GapPolicy, MeterKind, MeterStatus};
use kube::ResourceExt;
use metering::{MeterName, MeterRule, Record, scale};
use money::Quantity;
use operator_kit::controller::Outcome;
use operator_kit::status::{self, Change, Progress, ReportError, Truth};
use std::collections::BTreeSet;
use std::sync::Arc;

/// How far apart samples are expected where the meter does not say.
const INTERVAL_SECONDS: i64 = 15;
/// Kinds of object that have samples.
const SAMPLED_KINDS: [&str; 1] = ["VirtualMachine"];

/// Why a pass failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The rule is not in the usage log.
    #[error("register Meter")]
    Announce(#[from] AnnounceError),
    /// The status could not be built.
    #[error("build status of Meter")]
    Build(#[from] serde_json::Error),
    /// The status could not be written.
    #[error("report on Meter")]
    Report(#[from] ReportError),
}

/// One pass.
pub async fn reconcile(meter: Arc<Meter>, world: Arc<World>) -> Result<Outcome, Error> {
    let (change, progress, outcome) = match rule(&meter) {
        Ok(rule) => {
            let key = format!("meter/{}", meter.name_any());
            world.announcer.announce(key, Audience::All, Record::Meter(rule)).await?;
            (counting(), Progress::Done, Outcome::Converged)
        }
        Err(message) => {
            let change =
                Change { type_: status::READY, status: Truth::False, reason: "Refused", message };
            (change, Progress::Refused, Outcome::Refused)
        }
    };
    let before = meter.status.clone().unwrap_or_default();
    let mut after = MeterStatus {
        observed_generation: meter.metadata.generation,
        conditions: before.conditions.clone(),
    };
    let generation = meter.metadata.generation;
    status::set_ready(&mut after.conditions, &change, generation, world.clock.now(), progress);
    let (before, after) = (serde_json::to_value(before)?, serde_json::to_value(after)?);
    world.reporter.report(meter.as_ref(), &before, &after).await?;
    Ok(outcome)
}

fn counting() -> Change {
    let message = "usage is counted by this meter".to_owned();
    Change { type_: status::READY, status: Truth::True, reason: "Counting", message }
}

/// The meter as the fold reads it, or what its author has to change.
fn rule(meter: &Meter) -> Result<MeterRule, String> {
    let spec = &meter.spec;
    let kind = match spec.kind {
        MeterKind::Allocation => {
            let source = spec.source.lifecycle.as_ref();
            let source = source.ok_or("spec.source.lifecycle: is required for kind Allocation")?;
            metering::MeterKind::Allocation { sku: source.resource.clone() }
        }
        MeterKind::Counter => metering::MeterKind::Counter,
        MeterKind::Gauge => metering::MeterKind::Gauge,
    };
    let is_sampled = spec.source.prometheus.is_some();
    let expected_of_kinds: BTreeSet<String> =
        SAMPLED_KINDS.iter().filter(|_| is_sampled).map(|kind| (*kind).to_owned()).collect();
    let base_units_per_second_max = match &spec.bounds {
        None => None,
        Some(bounds) => {
            let path = "spec.bounds.unitsPerSecondMax";
            let millionths = scale::held_from_text(&bounds.units_per_second_max)
                .map_err(|error| format!("{path}: {error}"))?;
            let product = millionths.0.checked_mul(i128::from(spec.base_units_per_unit));
            let product =
                product.ok_or_else(|| format!("{path}: is beyond what can be counted"))?;
            Some(Quantity(product.div_euclid(1_000_000)))
        }
    };
    Ok(MeterRule {
        name: MeterName::from(meter.name_any()),
        kind,
        base_units_per_unit: spec.base_units_per_unit,
        interval_microseconds: spec
            .interval_seconds
            .unwrap_or(INTERVAL_SECONDS)
            .saturating_mul(1_000_000),
        base_units_per_second_max,
        gap_policy: match spec.gap_policy {
            Some(GapPolicy::Estimate) => metering::GapPolicy::Estimate,
            Some(GapPolicy::Waive) => metering::GapPolicy::Waive,
            Some(GapPolicy::Hold) | None => metering::GapPolicy::Hold,
        },
        expected_of_kinds,
    })
}
