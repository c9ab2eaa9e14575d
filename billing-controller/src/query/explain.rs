//! A line down to the facts it rests on.
//!
//! Windows, spans and gaps are rows; raw samples are in the usage log and nowhere else, so they are read from there,
//! which is as slow as the shard's log is long. Only who disputes a line asks.

use super::bill::{broken, line, object};
use super::refusal::Refusal;
use super::{QueryState, usage};
use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use calendar::{Instant, Interval};
use ids::{AccountId, ResourceUid};
use metering::{MeterKind, PlanUid, Reading, Record, ShardNumber};
use pricing::report::{ExplainReport, GapReport, InstantText, SampleReport, SpanReport};
use serde::Deserialize;
use std::collections::BTreeMap;
use store::fact::{GapRow, SpanRow};
use store::line::LineRow;
use store::window::WindowFilter;
use stream::UsageLog;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Parameters {
    key: String,
}

/// How many samples are shown; of more, the first and the last half.
const SAMPLES_MAX: usize = 1_000;
/// Entries of the log that are looked through at a time.
const PAGE: i64 = 256;

/// What the log says about a line's meter and resource.
#[derive(Default)]
struct Facts {
    sku: Option<String>,
    samples: BTreeMap<Instant, SampleReport>,
}

/// `GET /api/v1/lines/explain`.
pub(super) async fn show(
    State(state): State<QueryState>,
    parameters: Result<Query<Parameters>, QueryRejection>,
) -> Result<Json<ExplainReport>, Refusal> {
    let Query(parameters) = parameters?;
    let mut connection = state.connection().await?;
    let row = store::line::line_by_key(&mut connection, &parameters.key).await?;
    let row = row.ok_or_else(|| {
        let error = format!("key: there is no bill line `{}`", parameters.key);
        Refusal::not_found(error, "kubectl freehold bill -o json lists the keys")
    })?;
    let plan = PlanUid(row.plan_uid);
    let versions = store::catalogue::plan_versions_of(&mut connection, plan.0).await?;
    let version = versions.into_iter().find(|one| one.generation == row.generation);
    let version = version.ok_or_else(|| broken("price version"))?;
    let period = (row.period_from_microseconds, row.period_to_microseconds);
    let filter = WindowFilter {
        meter: row.meter.clone(),
        resource_uid: row.resource_uid,
        part: Some(row.part.clone()),
        plan_generation: Some(row.generation),
        from_microseconds: Some(period.0),
        to_microseconds: Some(period.1),
    };
    let (mut windows, mut spans, mut gaps) = (Vec::new(), Vec::new(), Vec::new());
    let mut facts = Facts::default();
    if let (Some(resource), Some(meter)) = (row.resource_uid, &row.meter) {
        let rows = store::window::windows_of(&mut connection, row.tenant, &filter).await?;
        let resources = store::registry::resources_of(&mut connection, row.tenant).await?;
        windows = usage::reports(&mut connection, rows, &resources).await?;
        gaps = store::fact::gaps_within(&mut connection, row.tenant, period).await?;
        gaps.retain(|gap| gap.resource_uid == resource && gap.meter == *meter);
        // Nothing is held while the log is read: the stream needs connections too.
        drop(connection);
        facts = facts_of(&state, &row, ResourceUid(resource), meter).await?;
        if let Some(sku) = &facts.sku {
            let mut connection = state.connection().await?;
            spans = store::fact::spans_within(&mut connection, row.tenant, resource, sku, period)
                .await?;
        }
    }
    Ok(Json(ExplainReport {
        line: line(&row)?,
        currency: row.currency.parse().map_err(|_| broken("currency"))?,
        explanation: serde_json::from_value(row.explanation.clone())
            .map_err(|_| broken("explanation"))?,
        plan: version.plan_name,
        generation: row.generation,
        version_hash: version.hash,
        effective_from: text(version.effective_from_microseconds)?,
        resource: row.resource_uid.map(ResourceUid),
        windows,
        spans: spans.iter().map(span).collect::<Result<_, _>>()?,
        samples: shown(facts.samples),
        gaps: gaps.iter().map(|gap| gap_report(gap, &row)).collect::<Result<_, _>>()?,
    }))
}

fn text(microseconds: i64) -> Result<InstantText, Refusal> {
    Instant::from_microseconds(microseconds).map(InstantText).map_err(|_| broken("instant"))
}

/// Samples of the period, and the one before it that bounds its usage from below.
async fn facts_of(
    state: &QueryState,
    row: &LineRow,
    resource: ResourceUid,
    meter: &str,
) -> Result<Facts, Refusal> {
    let instant = |at| Instant::from_microseconds(at).map_err(|_| broken("instant"));
    let period =
        Interval::new(instant(row.period_from_microseconds)?, instant(row.period_to_microseconds)?);
    let shard = ShardNumber::of(AccountId(row.tenant));
    let (mut facts, mut before, mut next) = (Facts::default(), None::<SampleReport>, 0);
    loop {
        let page = state.log.read(shard, next, PAGE).await.map_err(|error| {
            Refusal::unavailable(format!("the samples cannot be read: {error}"))
        })?;
        let Some((last, _)) = page.last() else { break };
        next = last.saturating_add(1);
        for record in page.into_iter().flat_map(|(_, records)| records) {
            match record {
                Record::Meter(rule) if rule.name.as_str() == meter => {
                    if let MeterKind::Allocation { sku } = rule.kind {
                        facts.sku = Some(sku);
                    }
                }
                Record::Sample(sample)
                    if sample.resource == resource
                        && sample.meter.as_str() == meter
                        && sample.part.as_str() == row.part =>
                {
                    let Reading::Value(base_units) = sample.reading else { continue };
                    let report = SampleReport { at: InstantText(sample.at), base_units };
                    if period.contains(sample.at) {
                        facts.samples.entry(sample.at).or_insert(report);
                    } else if sample.at < period.from
                        && before.as_ref().is_none_or(|known| known.at.0 < sample.at)
                    {
                        before = Some(report);
                    }
                }
                _ => {}
            }
        }
    }
    facts.samples.extend(before.map(|sample| (sample.at.0, sample)));
    Ok(facts)
}

fn shown(samples: BTreeMap<Instant, SampleReport>) -> Vec<SampleReport> {
    let count = samples.len();
    let half = SAMPLES_MAX / 2;
    samples
        .into_values()
        .enumerate()
        .filter(|(index, _)| {
            count <= SAMPLES_MAX || *index < half || index.saturating_add(half) >= count
        })
        .map(|(_, sample)| sample)
        .collect()
}

fn span(row: &SpanRow) -> Result<SpanReport, Refusal> {
    let millionths: i128 = row.quantity_millionths.parse().map_err(|_| broken("amount held"))?;
    let quantity =
        money::Exact::ratio(millionths, 1_000_000).ok_or_else(|| broken("amount held"))?;
    Ok(SpanReport {
        transition: u64::try_from(row.number).unwrap_or(0),
        sku: row.sku.clone(),
        quantity: quantity.to_string(),
        from: text(row.from_microseconds)?,
        to: row.to_microseconds.map(text).transpose()?,
    })
}

fn gap_report(gap: &GapRow, row: &LineRow) -> Result<GapReport, Refusal> {
    Ok(GapReport {
        object: object(&row.kind, &row.object_name),
        meter: gap.meter.clone(),
        from: text(gap.from_microseconds)?,
        to: gap.to_microseconds.map(text).transpose()?,
        cause: gap.cause.clone(),
        informational: gap.informational,
        filled: gap.filled,
    })
}
