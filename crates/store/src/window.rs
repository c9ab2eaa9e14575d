//! Usage windows.

use crate::{Error, PgConnection};
use sqlx::types::Uuid;

/// A window's row; texts hold integers that may be larger than 64 bits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, sqlx::FromRow)]
pub struct WindowRow {
    /// Account.
    pub tenant: Uuid,
    /// Resource.
    pub resource_uid: Uuid,
    /// Meter.
    pub meter: String,
    /// Part of the resource; empty for the whole.
    pub part: String,
    /// UTC microseconds.
    pub window_start_microseconds: i64,
    /// The plan that prices it.
    pub plan_uid: Option<Uuid>,
    /// Its generation.
    pub plan_generation: Option<i64>,
    /// Base units, as a decimal integer ≥ 0.
    pub quantity: String,
    /// Steps and pieces of spans in it.
    pub facts: i64,
    /// How many of them were guesses about distribution.
    pub estimated_facts: i64,
}

/// Writes windows as they are now; one that was there is replaced. Each key at most once in `rows`.
///
/// # Errors
/// [`Error::Database`].
pub async fn windows_put(connection: &mut PgConnection, rows: &[WindowRow]) -> Result<(), Error> {
    if rows.is_empty() {
        return Ok(());
    }
    let texts = |of: fn(&WindowRow) -> &String| rows.iter().map(of).cloned().collect::<Vec<_>>();
    let numbers = |of: fn(&WindowRow) -> i64| rows.iter().map(of).collect::<Vec<_>>();
    sqlx::query(
        "INSERT INTO metering.usage_window
           (tenant, resource_uid, meter, part, window_start_microseconds, plan_uid, plan_generation, quantity, facts,
            estimated_facts)
         SELECT tenant, resource_uid, meter, part, start, plan_uid, plan_generation, quantity::numeric, facts, estimated
         FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::bigint[], $6::uuid[], $7::bigint[], $8::text[],
                     $9::bigint[], $10::bigint[])
           AS new (tenant, resource_uid, meter, part, start, plan_uid, plan_generation, quantity, facts, estimated)
         ON CONFLICT ON CONSTRAINT usage_window_once
         DO UPDATE SET quantity = excluded.quantity, facts = excluded.facts, estimated_facts = excluded.estimated_facts",
    )
    .bind(rows.iter().map(|row| row.tenant).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.resource_uid).collect::<Vec<_>>())
    .bind(texts(|row| &row.meter))
    .bind(texts(|row| &row.part))
    .bind(numbers(|row| row.window_start_microseconds))
    .bind(rows.iter().map(|row| row.plan_uid).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.plan_generation).collect::<Vec<_>>())
    .bind(texts(|row| &row.quantity))
    .bind(numbers(|row| row.facts))
    .bind(numbers(|row| row.estimated_facts))
    .execute(connection)
    .await
    .map(|_| ())
    .map_err(Error::of("write usage windows"))
}

/// Which windows of an account are asked for; absent means any.
#[derive(Debug, Clone, Default)]
pub struct WindowFilter {
    /// Of this meter.
    pub meter: Option<String>,
    /// Of this resource.
    pub resource_uid: Option<Uuid>,
    /// Of this part.
    pub part: Option<String>,
    /// Priced by this generation.
    pub plan_generation: Option<i64>,
    /// Beginning at or after, UTC microseconds.
    pub from_microseconds: Option<i64>,
    /// Beginning before, UTC microseconds.
    pub to_microseconds: Option<i64>,
}

/// Windows of an account that hold something, in order of their keys.
///
/// # Errors
/// [`Error::Database`].
pub async fn windows_of(
    connection: &mut PgConnection,
    tenant: Uuid,
    filter: &WindowFilter,
) -> Result<Vec<WindowRow>, Error> {
    sqlx::query_as(
        "SELECT tenant, resource_uid, meter, part, window_start_microseconds, plan_uid, plan_generation,
                quantity::text AS quantity, facts, estimated_facts
         FROM metering.usage_window
         WHERE tenant = $1 AND (quantity > 0 OR facts > 0) AND ($2::text IS NULL OR meter = $2)
           AND ($3::uuid IS NULL OR resource_uid = $3) AND ($4::text IS NULL OR part = $4)
           AND ($5::bigint IS NULL OR plan_generation = $5)
           AND ($6::bigint IS NULL OR window_start_microseconds >= $6)
           AND ($7::bigint IS NULL OR window_start_microseconds < $7)
         ORDER BY meter, resource_uid, part, window_start_microseconds, plan_uid, plan_generation",
    )
    .bind(tenant)
    .bind(&filter.meter)
    .bind(filter.resource_uid)
    .bind(&filter.part)
    .bind(filter.plan_generation)
    .bind(filter.from_microseconds)
    .bind(filter.to_microseconds)
    .fetch_all(connection)
    .await
    .map_err(Error::of("read usage windows"))
}
