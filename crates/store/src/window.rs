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
    for row in rows {
        sqlx::query(
            "INSERT INTO metering.usage_window
               (tenant, resource_uid, meter, part, window_start_microseconds, plan_uid, plan_generation, quantity, facts,
                estimated_facts)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8::numeric, $9, $10)
             ON CONFLICT ON CONSTRAINT usage_window_once
             DO UPDATE SET quantity = excluded.quantity, facts = excluded.facts, estimated_facts = excluded.estimated_facts",
        )
        .bind(row.tenant)
        .bind(row.resource_uid)
        .bind(&row.meter)
        .bind(&row.part)
        .bind(row.window_start_microseconds)
        .bind(row.plan_uid)
        .bind(row.plan_generation)
        .bind(&row.quantity)
        .bind(row.facts)
        .bind(row.estimated_facts)
        .execute(&mut *connection)
        .await
        .map_err(Error::of("write a usage window"))?;
    }
    Ok(())
}

/// All windows of an account, in order of their keys.
///
/// # Errors
/// [`Error::Database`].
pub async fn windows_of(
    connection: &mut PgConnection,
    tenant: Uuid,
) -> Result<Vec<WindowRow>, Error> {
    sqlx::query_as(
        "SELECT tenant, resource_uid, meter, part, window_start_microseconds, plan_uid, plan_generation,
                quantity::text AS quantity, facts, estimated_facts
         FROM metering.usage_window WHERE tenant = $1
         ORDER BY resource_uid, meter, part, window_start_microseconds, plan_uid, plan_generation",
    )
    .bind(tenant)
    .fetch_all(connection)
    .await
    .map_err(Error::of("read usage windows"))
}
