//! A tenant's live bill.

use super::refusal::Refusal;
use super::{QueryState, account};
use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use calendar::{Instant, Periods};
use ids::AccountId;
use jiff::civil::Date;
use money::{Amount, Currency};
use operator_kit::Clock;
use pricing::Unpriced;
use pricing::report::{BillReport, InstantText, LineReport, PeriodReport};
use serde::Deserialize;
use store::line::LineRow;
use store::registry::SubscriptionRow;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Parameters {
    tenant: String,
    /// The local date on which the period begins, or any within it.
    period: Option<String>,
}

/// `GET /api/v1/bill`.
pub(super) async fn show(
    State(state): State<QueryState>,
    parameters: Result<Query<Parameters>, QueryRejection>,
) -> Result<Json<BillReport>, Refusal> {
    let Query(parameters) = parameters?;
    let mut connection = state.connection().await?;
    let account = account(&mut connection, &parameters.tenant).await?;
    let subscriptions = store::registry::subscriptions_of(&mut connection, account.tenant).await?;
    let at = match &parameters.period {
        Some(date) => local_midday(date, subscriptions.last())?,
        None => Instant::from_timestamp(state.clock.now()),
    };
    let (subscription, period) = period_at(&subscriptions, at)?;
    let from = period.during.from.microseconds();
    let rows = store::line::lines_of_period(&mut connection, account.tenant, from).await?;
    let unpriced = store::line::unpriced(&mut connection, Some(account.tenant)).await?;
    let during = (from, period.during.to.microseconds());
    let gaps = store::fact::gaps_within(&mut connection, account.tenant, during).await?;
    let open_gaps = gaps.iter().filter(|gap| !gap.filled && !gap.informational).count();
    let currency: Currency = account.currency.parse().map_err(|_| broken("currency"))?;
    let total = total(&rows, currency)?;
    let unpriced = unpriced.into_iter().filter(|row| row.period_from_microseconds == from);
    Ok(Json(BillReport {
        tenant: account.name,
        account: AccountId(account.tenant),
        plan: subscription.map_or_else(String::new, |one| one.plan_name.clone()),
        currency,
        period: PeriodReport {
            name: period.name,
            from: InstantText(period.during.from),
            to: InstantText(period.during.to),
        },
        as_of: Some(InstantText(Instant::from_timestamp(state.clock.now()))),
        lines: rows.iter().map(line).collect::<Result<_, _>>()?,
        total: total.decimal(),
        unpriced: unpriced
            .map(|row| {
                let quantity = row.quantity.parse().map_err(|_| broken("unpriced quantity"))?;
                Ok(Unpriced { meter: row.meter, generation: row.generation, quantity })
            })
            .collect::<Result<_, Refusal>>()?,
        open_gaps: u64::try_from(open_gaps).unwrap_or(u64::MAX),
    }))
}

/// What the database holds cannot be read: it was written by something else.
pub(super) fn broken(what: &str) -> Refusal {
    Refusal::unavailable(format!("the stored {what} cannot be read"))
}

fn total(rows: &[LineRow], currency: Currency) -> Result<Amount, Refusal> {
    rows.iter().try_fold(Amount::zero(currency), |sum, row| {
        let amount = amount(row.amount_minor, &row.currency)?;
        sum.checked_add(&amount).map_err(|error| Refusal::conflict(error.to_string(), ""))
    })
}

/// A stored amount.
pub(super) fn amount(minor: i64, currency: &str) -> Result<Amount, Refusal> {
    let currency = currency.parse().map_err(|_| broken("currency"))?;
    Amount::of_minor(i128::from(minor), currency).map_err(|_| broken("amount"))
}

/// A line as it is shown.
pub(super) fn line(row: &LineRow) -> Result<LineReport, Refusal> {
    Ok(LineReport {
        key: row.line_key.clone(),
        description: row.description.clone(),
        project: row.project.clone(),
        object: object(&row.kind, &row.object_name),
        part: row.part.clone(),
        quantity: row.display_quantity.clone(),
        unit: row.display_unit.clone(),
        amount: amount(row.amount_minor, &row.currency)?.decimal(),
        flags: flags(row),
    })
}

/// `VirtualMachine/web`, or nothing for a fee.
pub(super) fn object(kind: &str, name: &str) -> String {
    if kind.is_empty() { String::new() } else { format!("{kind}/{name}") }
}

/// What a reader of the line should know.
pub(super) fn flags(row: &LineRow) -> Vec<String> {
    if row.estimated_facts > 0 { vec!["estimated".to_owned()] } else { Vec::new() }
}

fn local_midday(date: &str, subscription: Option<&SubscriptionRow>) -> Result<Instant, Refusal> {
    let parsed: Date = date.parse().map_err(|_| {
        let error = format!("period: `{date}` is no date");
        Refusal::bad_request(error, "write the day on which the period begins, like 2026-11-01")
    })?;
    let zone = subscription.map_or("UTC", |one| one.time_zone.as_str());
    let midday = parsed.at(12, 0, 0, 0).in_tz(zone).map_err(|_| broken("time zone"))?;
    Ok(Instant::from_timestamp(midday.timestamp()))
}

type Found<'a> = (Option<&'a SubscriptionRow>, calendar::Period);

/// The subscription in force at `at` (the first one before it), and its billing period.
fn period_at(subscriptions: &[SubscriptionRow], at: Instant) -> Result<Found<'_>, Refusal> {
    let in_force = |one: &&SubscriptionRow| one.from_microseconds <= at.microseconds();
    let current = subscriptions.iter().rev().find(in_force).or_else(|| subscriptions.first());
    let periods = match current {
        Some(one) => Periods::monthly(&one.time_zone, i64::from(one.anchor_day))
            .map_err(|_| broken("time zone"))?,
        None => Periods::utc(),
    };
    let period = periods
        .containing(at)
        .map_err(|error| Refusal::bad_request(format!("period: {error}"), ""))?;
    Ok((current, period))
}
