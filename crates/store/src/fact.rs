//! Facts beside the windows: spans, gaps, suspense.

use crate::{Error, PgConnection};
use sqlx::types::Uuid;

/// An amount held over a time.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct SpanRow {
    /// Account.
    pub tenant: Uuid,
    /// Resource.
    pub resource_uid: Uuid,
    /// What is held.
    pub sku: String,
    /// Number of the transition that opened it.
    pub number: i64,
    /// Millionths of the SKU's unit, a decimal integer > 0.
    pub quantity_millionths: String,
    /// UTC microseconds.
    pub from_microseconds: i64,
    /// UTC microseconds; open while absent.
    pub to_microseconds: Option<i64>,
}

/// Time that nobody can vouch for.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct GapRow {
    /// Account; nil while nobody is known to pay.
    pub tenant: Uuid,
    /// Resource.
    pub resource_uid: Uuid,
    /// Meter.
    pub meter: String,
    /// Part of the resource; empty for the whole.
    pub part: String,
    /// UTC microseconds.
    pub from_microseconds: i64,
    /// `noSeries` or `unobserved`.
    pub cause: String,
    /// UTC microseconds; open while absent.
    pub to_microseconds: Option<i64>,
    /// The total is exact all the same.
    pub informational: bool,
    /// Data has come for all of it.
    pub filled: bool,
    /// `hold`, `estimate` or `waive`.
    pub policy: String,
}

/// Usage that waits.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct SuspenseRow {
    /// The shard in which it waits.
    pub shard: i16,
    /// The resource as the sender named it.
    pub resource_uid: Uuid,
    /// Meter; empty for transitions.
    pub meter: String,
    /// Part.
    pub part: String,
    /// Why, such as `unknownResource`.
    pub cause: String,
    /// How many facts wait.
    pub facts: i64,
    /// Base units known to be in them, a decimal integer.
    pub quantity: String,
    /// UTC microseconds of the first.
    pub from_microseconds: i64,
    /// UTC microseconds just after the last.
    pub to_microseconds: i64,
    /// Facts that are in the log only.
    pub overflowed: i64,
}

/// Writes spans as they are now.
///
/// # Errors
/// [`Error::Database`]; at the commit, when two spans of one SKU of a resource overlap.
pub async fn spans_put(connection: &mut PgConnection, rows: &[SpanRow]) -> Result<(), Error> {
    for row in rows {
        sqlx::query(
            "INSERT INTO metering.span
               (tenant, resource_uid, sku, number, quantity_millionths, from_microseconds, to_microseconds)
             VALUES ($1, $2, $3, $4, $5::numeric, $6, $7)
             ON CONFLICT (tenant, resource_uid, sku, number)
             DO UPDATE SET quantity_millionths = excluded.quantity_millionths,
               from_microseconds = excluded.from_microseconds, to_microseconds = excluded.to_microseconds",
        )
        .bind(row.tenant)
        .bind(row.resource_uid)
        .bind(&row.sku)
        .bind(row.number)
        .bind(&row.quantity_millionths)
        .bind(row.from_microseconds)
        .bind(row.to_microseconds)
        .execute(&mut *connection)
        .await
        .map_err(Error::of("write a span"))?;
    }
    Ok(())
}

/// Spans of a resource's SKU that reach into `[from, to)` (UTC microseconds), in order of their beginning.
///
/// # Errors
/// [`Error::Database`].
pub async fn spans_within(
    connection: &mut PgConnection,
    tenant: Uuid,
    resource_uid: Uuid,
    sku: &str,
    (from, to): (i64, i64),
) -> Result<Vec<SpanRow>, Error> {
    sqlx::query_as(
        "SELECT tenant, resource_uid, sku, number, quantity_millionths::text AS quantity_millionths, from_microseconds,
                to_microseconds
         FROM metering.span
         WHERE tenant = $1 AND resource_uid = $2 AND sku = $3 AND from_microseconds < $5
           AND coalesce(to_microseconds, $5) > $4
         ORDER BY number",
    )
    .bind(tenant)
    .bind(resource_uid)
    .bind(sku)
    .bind(from)
    .bind(to)
    .fetch_all(connection)
    .await
    .map_err(Error::of("read spans"))
}

/// Writes gap records as they are now.
///
/// # Errors
/// [`Error::Database`].
pub async fn gaps_put(connection: &mut PgConnection, rows: &[GapRow]) -> Result<(), Error> {
    for row in rows {
        sqlx::query(
            "INSERT INTO metering.gap
               (tenant, resource_uid, meter, part, from_microseconds, cause, to_microseconds, informational, filled, policy)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
             ON CONFLICT (resource_uid, meter, part, from_microseconds, cause)
             DO UPDATE SET tenant = excluded.tenant, to_microseconds = excluded.to_microseconds,
               informational = excluded.informational, filled = excluded.filled, policy = excluded.policy",
        )
        .bind(row.tenant)
        .bind(row.resource_uid)
        .bind(&row.meter)
        .bind(&row.part)
        .bind(row.from_microseconds)
        .bind(&row.cause)
        .bind(row.to_microseconds)
        .bind(row.informational)
        .bind(row.filled)
        .bind(&row.policy)
        .execute(&mut *connection)
        .await
        .map_err(Error::of("write a gap record"))?;
    }
    Ok(())
}

/// Gap records of an account that reach into `[from, to)` (UTC microseconds), in order of their beginning.
///
/// # Errors
/// [`Error::Database`].
pub async fn gaps_within(
    connection: &mut PgConnection,
    tenant: Uuid,
    (from, to): (i64, i64),
) -> Result<Vec<GapRow>, Error> {
    sqlx::query_as(
        "SELECT tenant, resource_uid, meter, part, from_microseconds, cause, to_microseconds, informational, filled, policy
         FROM metering.gap
         WHERE tenant = $1 AND from_microseconds < $3 AND coalesce(to_microseconds, $3) > $2
         ORDER BY from_microseconds, resource_uid, meter, part, cause",
    )
    .bind(tenant)
    .bind(from)
    .bind(to)
    .fetch_all(connection)
    .await
    .map_err(Error::of("read gap records"))
}

/// How many gaps are neither filled nor harmless.
///
/// # Errors
/// [`Error::Database`].
pub async fn gaps_open_count(connection: &mut PgConnection) -> Result<i64, Error> {
    let (count,): (i64,) =
        sqlx::query_as("SELECT count(*) FROM metering.gap WHERE NOT filled AND NOT informational")
            .fetch_one(connection)
            .await
            .map_err(Error::of("count open gaps"))?;
    Ok(count)
}

/// Notes that nobody received samples in `[from, to)` (UTC microseconds).
///
/// # Errors
/// [`Error::Database`].
pub async fn receiver_gap_put(
    connection: &mut PgConnection,
    (from, to): (i64, i64),
) -> Result<(), Error> {
    sqlx::query("INSERT INTO metering.receiver_gap VALUES ($1, $2) ON CONFLICT DO NOTHING")
        .bind(from)
        .bind(to)
        .execute(connection)
        .await
        .map(|_| ())
        .map_err(Error::of("write a receiver gap"))
}

/// Writes suspense entries as they are now; released ones go.
///
/// # Errors
/// [`Error::Database`].
pub async fn suspense_put(
    connection: &mut PgConnection,
    rows: &[SuspenseRow],
) -> Result<(), Error> {
    for row in rows {
        sqlx::query(
            "INSERT INTO metering.suspense
               (shard, resource_uid, meter, part, cause, facts, quantity, from_microseconds, to_microseconds, overflowed)
             VALUES ($1, $2, $3, $4, $5, $6, $7::numeric, $8, $9, $10)
             ON CONFLICT (shard, resource_uid, meter, part, cause)
             DO UPDATE SET facts = excluded.facts, quantity = excluded.quantity,
               from_microseconds = excluded.from_microseconds, to_microseconds = excluded.to_microseconds,
               overflowed = excluded.overflowed",
        )
        .bind(row.shard)
        .bind(row.resource_uid)
        .bind(&row.meter)
        .bind(&row.part)
        .bind(&row.cause)
        .bind(row.facts)
        .bind(&row.quantity)
        .bind(row.from_microseconds)
        .bind(row.to_microseconds)
        .bind(row.overflowed)
        .execute(&mut *connection)
        .await
        .map_err(Error::of("write a suspense entry"))?;
    }
    Ok(())
}

/// What waits in suspense, up to `limit` entries, most facts first.
///
/// # Errors
/// [`Error::Database`].
pub async fn suspense_open(
    connection: &mut PgConnection,
    limit: i64,
) -> Result<Vec<SuspenseRow>, Error> {
    sqlx::query_as(
        "SELECT shard, resource_uid, meter, part, cause, facts, quantity::text AS quantity, from_microseconds,
                to_microseconds, overflowed
         FROM metering.suspense WHERE facts > 0
         ORDER BY facts DESC, resource_uid, meter, part, cause LIMIT $1",
    )
    .bind(limit)
    .fetch_all(connection)
    .await
    .map_err(Error::of("read suspense"))
}
