//! Quantities by window.

use super::bill::{broken, object};
use super::refusal::Refusal;
use super::{QueryState, account};
use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use calendar::Instant;
use ids::ResourceUid;
use metering::PlanUid;
use money::{Exact, Quantity};
use pricing::report::{InstantText, UsageReport, WindowReport};
use pricing::{CardMeter, PlanVersion};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use store::PgConnection;
use store::registry::ResourceRow;
use store::window::{WindowFilter, WindowRow};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Parameters {
    tenant: String,
    from: Option<String>,
    to: Option<String>,
    meter: Option<String>,
}

/// `GET /api/v1/usage`.
pub(super) async fn show(
    State(state): State<QueryState>,
    parameters: Result<Query<Parameters>, QueryRejection>,
) -> Result<Json<UsageReport>, Refusal> {
    let Query(parameters) = parameters?;
    let filter = WindowFilter {
        meter: parameters.meter.clone(),
        from_microseconds: instant("from", parameters.from.as_deref())?,
        to_microseconds: instant("to", parameters.to.as_deref())?,
        ..WindowFilter::default()
    };
    let mut connection = state.connection().await?;
    let account = account(&mut connection, &parameters.tenant).await?;
    let rows = store::window::windows_of(&mut connection, account.tenant, &filter).await?;
    let resources = store::registry::resources_of(&mut connection, account.tenant).await?;
    let windows = reports(&mut connection, rows, &resources).await?;
    Ok(Json(UsageReport { tenant: account.name, windows }))
}

fn instant(name: &str, text: Option<&str>) -> Result<Option<i64>, Refusal> {
    let Some(text) = text else { return Ok(None) };
    let instant: Instant = text.parse().map_err(|error| {
        Refusal::bad_request(format!("{name}: {error}"), "write it like 2026-11-01T00:00:00Z")
    })?;
    Ok(Some(instant.microseconds()))
}

/// Windows as they are shown, in display units of the version that prices them.
pub(super) async fn reports(
    connection: &mut PgConnection,
    rows: Vec<WindowRow>,
    resources: &[ResourceRow],
) -> Result<Vec<WindowReport>, Refusal> {
    let names: BTreeMap<store::Uuid, String> =
        resources.iter().map(|row| (row.resource_uid, object(&row.kind, &row.name))).collect();
    let mut plans: BTreeMap<store::Uuid, BTreeMap<i64, PlanVersion>> = BTreeMap::new();
    for plan in rows.iter().filter_map(|row| row.plan_uid) {
        if let Entry::Vacant(place) = plans.entry(plan) {
            let versions = crate::rating::versions_of(connection, PlanUid(plan)).await;
            place.insert(versions.map_err(|_| broken("price version"))?);
        }
    }
    rows.into_iter()
        .map(|row| {
            let version = row.plan_uid.zip(row.plan_generation);
            let version = version.and_then(|(plan, number)| plans.get(&plan)?.get(&number));
            let card = version.and_then(|version| version.card_of(&row.meter)?.meter.as_ref());
            report(&row, card, &names)
        })
        .collect()
}

fn report(
    row: &WindowRow,
    unit: Option<&CardMeter>,
    names: &BTreeMap<store::Uuid, String>,
) -> Result<WindowReport, Refusal> {
    let base_units: Quantity = row.quantity.parse().map_err(|_| broken("quantity"))?;
    let (quantity, unit) = match unit {
        Some(unit) => {
            let per_unit = i128::from(unit.base_units_per_display_unit);
            let exact = Exact::ratio(base_units.0, per_unit).ok_or_else(|| broken("unit"))?;
            (exact.to_string(), unit.display_unit.clone())
        }
        None => (base_units.to_string(), "base units".to_owned()),
    };
    let start =
        Instant::from_microseconds(row.window_start_microseconds).map_err(|_| broken("instant"))?;
    Ok(WindowReport {
        meter: row.meter.clone(),
        resource: ResourceUid(row.resource_uid),
        object: names.get(&row.resource_uid).cloned().unwrap_or_default(),
        part: row.part.clone(),
        start: InstantText(start),
        base_units,
        quantity,
        unit,
        facts: u64::try_from(row.facts).unwrap_or(0),
        generation: row.plan_generation,
    })
}
