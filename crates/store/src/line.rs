//! Bill lines: cumulative amounts, written as absolute values.

use crate::{Error, PgConnection};
use sqlx::types::{JsonValue, Uuid};

/// A bill line. Everything but its numbers follows from its key and the version it names.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct LineRow {
    /// Account.
    pub tenant: Uuid,
    /// `{subscription}/{item}/{rateCard}/{cell}/{phase}.v{version}/p{period}`.
    pub line_key: String,
    /// The subscription.
    pub subscription: Uuid,
    /// The plan.
    pub plan_uid: Uuid,
    /// Its generation.
    pub generation: i64,
    /// The card.
    pub rate_card: String,
    /// What people read.
    pub description: String,
    /// The meter; absent for a fee.
    pub meter: Option<String>,
    /// The resource; absent for a fee.
    pub resource_uid: Option<Uuid>,
    /// The object's kind; empty for a fee.
    pub kind: String,
    /// The project; empty for a fee.
    pub project: String,
    /// The object's name; empty for a fee.
    pub object_name: String,
    /// The part of the object; empty for the whole.
    pub part: String,
    /// The local date on which the period begins.
    pub period_name: String,
    /// UTC microseconds.
    pub period_from_microseconds: i64,
    /// UTC microseconds.
    pub period_to_microseconds: i64,
    /// Base units, a decimal integer ≥ 0.
    pub quantity: String,
    /// Display units, exact.
    pub display_quantity: String,
    /// The display unit.
    pub display_unit: String,
    /// ISO 4217.
    pub currency: String,
    /// Minor units.
    pub amount_minor: i64,
    /// How the amount came about.
    pub explanation: JsonValue,
    /// Facts in its windows.
    pub facts: i64,
    /// How many of them were guesses about distribution.
    pub estimated_facts: i64,
    /// The time it covers: a `tstzmultirange` as text.
    pub billed: String,
    /// `live` or `void`.
    pub state: String,
}

/// Usage that no card prices.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct UnpricedRow {
    /// Account.
    pub tenant: Uuid,
    /// UTC microseconds.
    pub period_from_microseconds: i64,
    /// Meter.
    pub meter: String,
    /// The plan; nil where the account has none.
    pub plan_uid: Uuid,
    /// Its generation; 0 where there is none.
    pub generation: i64,
    /// Base units, a decimal integer.
    pub quantity: String,
}

/// Writes lines as they are now; those that stand there unchanged cost no write. Each key at most once in `rows`.
///
/// # Errors
/// [`Error::Database`]; at the commit, when an instant would be billed twice under one card.
pub async fn lines_put(connection: &mut PgConnection, rows: &[LineRow]) -> Result<(), Error> {
    if rows.is_empty() {
        return Ok(());
    }
    let texts = |of: fn(&LineRow) -> &String| rows.iter().map(of).cloned().collect::<Vec<_>>();
    let numbers = |of: fn(&LineRow) -> i64| rows.iter().map(of).collect::<Vec<_>>();
    let uuids = |of: fn(&LineRow) -> Uuid| rows.iter().map(of).collect::<Vec<_>>();
    sqlx::query(LINES_PUT)
        .bind(uuids(|row| row.tenant))
        .bind(texts(|row| &row.line_key))
        .bind(uuids(|row| row.subscription))
        .bind(uuids(|row| row.plan_uid))
        .bind(numbers(|row| row.generation))
        .bind(texts(|row| &row.rate_card))
        .bind(texts(|row| &row.description))
        .bind(rows.iter().map(|row| row.meter.clone()).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| row.resource_uid).collect::<Vec<_>>())
        .bind(texts(|row| &row.kind))
        .bind(texts(|row| &row.project))
        .bind(texts(|row| &row.object_name))
        .bind(texts(|row| &row.part))
        .bind(texts(|row| &row.period_name))
        .bind(numbers(|row| row.period_from_microseconds))
        .bind(numbers(|row| row.period_to_microseconds))
        .bind(texts(|row| &row.quantity))
        .bind(texts(|row| &row.display_quantity))
        .bind(texts(|row| &row.display_unit))
        .bind(texts(|row| &row.currency))
        .bind(numbers(|row| row.amount_minor))
        .bind(rows.iter().map(|row| row.explanation.clone()).collect::<Vec<_>>())
        .bind(numbers(|row| row.facts))
        .bind(numbers(|row| row.estimated_facts))
        .bind(texts(|row| &row.billed))
        .execute(connection)
        .await
        .map(|_| ())
        .map_err(Error::of("write bill lines"))
}

const LINES_PUT: &str = "INSERT INTO billing.line
       (tenant, line_key, subscription, plan_uid, generation, rate_card, description, meter, resource_uid, kind, project,
        object_name, part, period_name, period_from_microseconds, period_to_microseconds, quantity, display_quantity,
        display_unit, currency, amount_minor, explanation, facts, estimated_facts, billed, state)
     SELECT tenant, line_key, subscription, plan_uid, generation, rate_card, description, meter, resource_uid, kind,
        project, object_name, part, period_name, period_from, period_to, quantity::numeric, display_quantity, display_unit,
        currency, amount_minor, explanation, facts, estimated_facts, billed::tstzmultirange, 'live'
     FROM unnest($1::uuid[], $2::text[], $3::uuid[], $4::uuid[], $5::bigint[], $6::text[], $7::text[], $8::text[],
        $9::uuid[], $10::text[], $11::text[], $12::text[], $13::text[], $14::text[], $15::bigint[], $16::bigint[],
        $17::text[], $18::text[], $19::text[], $20::text[], $21::bigint[], $22::jsonb[], $23::bigint[], $24::bigint[],
        $25::text[])
       AS new (tenant, line_key, subscription, plan_uid, generation, rate_card, description, meter, resource_uid, kind,
        project, object_name, part, period_name, period_from, period_to, quantity, display_quantity, display_unit, currency,
        amount_minor, explanation, facts, estimated_facts, billed)
     ON CONFLICT (tenant, line_key) DO UPDATE SET
        quantity = excluded.quantity, display_quantity = excluded.display_quantity, amount_minor = excluded.amount_minor,
        explanation = excluded.explanation, facts = excluded.facts, estimated_facts = excluded.estimated_facts,
        billed = excluded.billed, state = excluded.state, project = excluded.project, object_name = excluded.object_name,
        period_to_microseconds = excluded.period_to_microseconds
     WHERE (line.quantity, line.amount_minor, line.explanation, line.facts, line.estimated_facts, line.billed, line.state,
            line.project, line.object_name, line.period_to_microseconds)
       IS DISTINCT FROM
           (excluded.quantity, excluded.amount_minor, excluded.explanation, excluded.facts, excluded.estimated_facts,
            excluded.billed, excluded.state, excluded.project, excluded.object_name, excluded.period_to_microseconds)";

/// Which lines of an account have been rated anew, so that others of the kind are no longer due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RatedScope {
    /// Account.
    pub tenant: Uuid,
    /// UTC microseconds.
    pub period_from_microseconds: i64,
    /// The meter; absent for fees.
    pub meter: Option<String>,
    /// These resources only; all of them when absent.
    pub resource_uids: Option<Vec<Uuid>>,
    /// The lines that are due.
    pub line_keys: Vec<String>,
}

/// Turns lines within `scope` that are no longer due into void ones over nothing.
///
/// # Errors
/// [`Error::Database`].
pub async fn lines_void_others(
    connection: &mut PgConnection,
    scope: &RatedScope,
) -> Result<u64, Error> {
    sqlx::query(
        "UPDATE billing.line SET state = 'void', quantity = 0, display_quantity = '0', amount_minor = 0, facts = 0,
                estimated_facts = 0, billed = '{}'
         WHERE tenant = $1 AND period_from_microseconds = $2 AND meter IS NOT DISTINCT FROM $3
           AND ($4::uuid[] IS NULL OR resource_uid = ANY($4)) AND line_key <> ALL($5) AND state = 'live'",
    )
    .bind(scope.tenant)
    .bind(scope.period_from_microseconds)
    .bind(&scope.meter)
    .bind(&scope.resource_uids)
    .bind(&scope.line_keys)
    .execute(connection)
    .await
    .map(|done| done.rows_affected())
    .map_err(Error::of("void bill lines"))
}

macro_rules! line_columns {
    ($rest:literal) => {
        concat!(
            "SELECT tenant, line_key, subscription, plan_uid, generation, rate_card, description, meter, resource_uid, kind,
                project, object_name, part, period_name, period_from_microseconds, period_to_microseconds,
                quantity::text AS quantity, display_quantity, display_unit, currency, amount_minor, explanation, facts,
                estimated_facts, billed::text AS billed, state
             FROM billing.line ",
            $rest
        )
    };
}

/// The live lines of an account's period, in order of their keys.
///
/// # Errors
/// [`Error::Database`].
pub async fn lines_of_period(
    connection: &mut PgConnection,
    tenant: Uuid,
    period_from_microseconds: i64,
) -> Result<Vec<LineRow>, Error> {
    sqlx::query_as(line_columns!(
        "WHERE tenant = $1 AND period_from_microseconds = $2 AND state = 'live' ORDER BY line_key"
    ))
    .bind(tenant)
    .bind(period_from_microseconds)
    .fetch_all(connection)
    .await
    .map_err(Error::of("read bill lines"))
}

/// All lines of an account, void ones too, in order of their keys.
///
/// # Errors
/// [`Error::Database`].
pub async fn lines_of(connection: &mut PgConnection, tenant: Uuid) -> Result<Vec<LineRow>, Error> {
    sqlx::query_as(line_columns!("WHERE tenant = $1 ORDER BY line_key"))
        .bind(tenant)
        .fetch_all(connection)
        .await
        .map_err(Error::of("read bill lines"))
}

/// The line under its key; keys begin with a subscription's UUID, so no two accounts share one.
///
/// # Errors
/// [`Error::Database`].
pub async fn line_by_key(
    connection: &mut PgConnection,
    line_key: &str,
) -> Result<Option<LineRow>, Error> {
    sqlx::query_as(line_columns!("WHERE line_key = $1 LIMIT 1"))
        .bind(line_key)
        .fetch_optional(connection)
        .await
        .map_err(Error::of("read a bill line"))
}

/// The latest period of an account that has lines, as UTC microseconds of its beginning.
///
/// # Errors
/// [`Error::Database`].
pub async fn period_latest(
    connection: &mut PgConnection,
    tenant: Uuid,
) -> Result<Option<i64>, Error> {
    let (latest,): (Option<i64>,) =
        sqlx::query_as("SELECT max(period_from_microseconds) FROM billing.line WHERE tenant = $1")
            .bind(tenant)
            .fetch_one(connection)
            .await
            .map_err(Error::of("find the latest period"))?;
    Ok(latest)
}

/// Replaces what is unpriced of an account's period and meter.
///
/// # Errors
/// [`Error::Database`].
pub async fn unpriced_replace(
    connection: &mut PgConnection,
    tenant: Uuid,
    period_from_microseconds: i64,
    meter: &str,
    rows: &[UnpricedRow],
) -> Result<(), Error> {
    sqlx::query(
        "DELETE FROM billing.unpriced WHERE tenant = $1 AND period_from_microseconds = $2 AND meter = $3",
    )
    .bind(tenant)
    .bind(period_from_microseconds)
    .bind(meter)
    .execute(&mut *connection)
    .await
    .map_err(Error::of("clear unpriced usage"))?;
    for row in rows {
        sqlx::query(
            "INSERT INTO billing.unpriced (tenant, period_from_microseconds, meter, plan_uid, generation, quantity)
             VALUES ($1, $2, $3, $4, $5, $6::numeric)",
        )
        .bind(row.tenant)
        .bind(row.period_from_microseconds)
        .bind(&row.meter)
        .bind(row.plan_uid)
        .bind(row.generation)
        .bind(&row.quantity)
        .execute(&mut *connection)
        .await
        .map_err(Error::of("write unpriced usage"))?;
    }
    Ok(())
}

/// Unpriced usage of one account, or of all.
///
/// # Errors
/// [`Error::Database`].
pub async fn unpriced(
    connection: &mut PgConnection,
    tenant: Option<Uuid>,
) -> Result<Vec<UnpricedRow>, Error> {
    sqlx::query_as(
        "SELECT tenant, period_from_microseconds, meter, plan_uid, generation, quantity::text AS quantity
         FROM billing.unpriced WHERE $1::uuid IS NULL OR tenant = $1
         ORDER BY tenant, period_from_microseconds, meter, generation LIMIT 1000",
    )
    .bind(tenant)
    .fetch_all(connection)
    .await
    .map_err(Error::of("read unpriced usage"))
}
