//! PricePlan → immutable versions.
//!
//! A generation whose prices differ from the last version's becomes a version of its own, stored before it is announced.
//! The past is never edited: a version that does not begin later than now and than the one before it is refused, also
//! when admission was away.

use super::World;
use super::announce::{AnnounceError, Audience};
use calendar::Instant;
use crds::PricePlan;
use crds::billing::{PlanVersionStatus, PricePlanStatus};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;
use metering::{PlanUid, PlanVersionStart, Record, VersionKey};
use operator_kit::controller::Outcome;
use operator_kit::status::{self, Change, Progress, ReportError, Truth};
use pricing::{DisplayUnitInput, MeterInput, PlanInput, PlanVersion};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use store::catalogue::PlanVersionRow;

/// The most versions listed in the status.
const VERSIONS_SHOWN_MAX: usize = 20;
/// A refused plan may only wait for a meter.
const WAIT: Duration = Duration::from_secs(30);

/// Why a pass failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The object has no usable UID or generation; the API server gives every object both.
    #[error("PricePlan has no UID")]
    NoUid,
    /// Versions could not be read or written.
    #[error("store versions of PricePlan")]
    Store(#[from] store::Error),
    /// A version is not in the usage log.
    #[error("register PricePlan")]
    Announce(#[from] AnnounceError),
    /// The version or the status could not be built.
    #[error("build version or status of PricePlan")]
    Build(#[from] serde_json::Error),
    /// The status could not be written.
    #[error("report on PricePlan")]
    Report(#[from] ReportError),
}

/// One pass.
pub async fn reconcile(plan: Arc<PricePlan>, world: Arc<World>) -> Result<Outcome, Error> {
    let uid: store::Uuid = plan.uid().and_then(|uid| uid.parse().ok()).ok_or(Error::NoUid)?;
    let generation = plan.metadata.generation.ok_or(Error::NoUid)?;
    let acquire = |source| store::Error::Database { act: "store a price version", source };
    let mut connection = world.pool.acquire().await.map_err(acquire)?;
    let mut known = store::catalogue::plan_versions_of(&mut connection, uid).await?;
    let verdict = match read(&plan, &world)? {
        Err(message) => Err(message),
        Ok(version) => judge(&version, generation, &known, world.clock.now())
            .map(|is_new| is_new.then_some(version)),
    };
    if let Ok(Some(version)) = &verdict {
        let row = PlanVersionRow {
            plan_uid: uid,
            generation,
            plan_name: plan.name_any(),
            effective_from_microseconds: version.effective_from.microseconds(),
            hash: version.hash(),
            content: serde_json::to_value(version)?,
        };
        store::catalogue::plan_version_add(&mut connection, &row).await?;
        known = store::catalogue::plan_versions_of(&mut connection, uid).await?;
    }
    drop(connection);
    for row in &known {
        let version = VersionKey { plan: PlanUid(uid), generation: row.generation };
        let effective_from = instant(row.effective_from_microseconds);
        let record = Record::PlanVersion(PlanVersionStart { version, effective_from });
        let key = format!("plan/{uid}/{}", row.generation);
        world.announcer.announce(key, Audience::All, record).await?;
    }
    report(&plan, &world, &known, verdict.err()).await
}

fn instant(microseconds: i64) -> Instant {
    Instant::from_microseconds(microseconds).unwrap_or(Instant::EPOCH)
}

/// The plan as the rating engine reads it, or what its author has to change.
fn read(plan: &PricePlan, world: &World) -> Result<Result<PlanVersion, String>, Error> {
    let input: PlanInput = match serde_json::from_value(serde_json::to_value(&plan.spec)?) {
        Ok(input) => input,
        Err(error) => return Ok(Err(format!("spec: cannot be read: {error}"))),
    };
    let meters: BTreeMap<String, MeterInput> = world
        .meters
        .store()
        .state()
        .iter()
        .map(|meter| {
            let unit = &meter.spec.display_unit;
            let input = MeterInput {
                base_units_per_unit: meter.spec.base_units_per_unit,
                display_unit: DisplayUnitInput { name: unit.name.clone(), units: unit.units },
            };
            (meter.name_any(), input)
        })
        .collect();
    Ok(PlanVersion::from_input(&input, &meters)
        .map_err(|refusals| pricing::refusal_lines(&refusals).join("; ")))
}

/// Whether the prices are a new version; what the author has to change when they cannot be one.
fn judge(
    version: &PlanVersion,
    generation: i64,
    known: &[PlanVersionRow],
    now: Timestamp,
) -> Result<bool, String> {
    let Some(last) = known.last() else { return Ok(true) };
    if last.generation >= generation || last.hash == version.hash() {
        return Ok(false);
    }
    let begins = version.effective_from;
    let last_begins = instant(last.effective_from_microseconds);
    if begins <= last_begins || begins <= Instant::from_timestamp(now) {
        return Err(format!(
            "spec.effectiveFrom: is {begins}; changed prices begin later than now and than the version of {last_begins}"
        ));
    }
    Ok(true)
}

async fn report(
    plan: &PricePlan,
    world: &World,
    known: &[PlanVersionRow],
    refusal: Option<String>,
) -> Result<Outcome, Error> {
    let before = plan.status.clone().unwrap_or_default();
    let versions = known.iter().rev().take(VERSIONS_SHOWN_MAX).map(|row| PlanVersionStatus {
        number: row.generation,
        effective_from: Time(instant(row.effective_from_microseconds).to_timestamp()),
        hash: row.hash.clone(),
    });
    let mut after = PricePlanStatus {
        observed_generation: plan.metadata.generation,
        conditions: before.conditions.clone(),
        versions: versions.collect(),
    };
    let (truth, reason, progress, outcome) = if refusal.is_some() {
        (Truth::False, "Refused", Progress::Refused, Outcome::Waiting(WAIT))
    } else {
        (Truth::True, "Published", Progress::Done, Outcome::Converged)
    };
    let message = refusal.unwrap_or_else(|| "usage is rated by this plan".to_owned());
    let change = Change { type_: status::READY, status: truth, reason, message };
    let generation = plan.metadata.generation;
    status::set_ready(&mut after.conditions, &change, generation, world.clock.now(), progress);
    let (before, after) = (serde_json::to_value(before)?, serde_json::to_value(after)?);
    world.reporter.report(plan, &before, &after).await?;
    Ok(outcome)
}
