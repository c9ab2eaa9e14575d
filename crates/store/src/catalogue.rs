//! Price versions, immutable.

use crate::{Error, PgConnection};
use sqlx::types::{JsonValue, Uuid};

/// One generation of a plan.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct PlanVersionRow {
    /// The plan.
    pub plan_uid: Uuid,
    /// The generation that made it.
    pub generation: i64,
    /// The plan's name.
    pub plan_name: String,
    /// UTC microseconds.
    pub effective_from_microseconds: i64,
    /// SHA-256 of the priced fields, hexadecimal.
    pub hash: String,
    /// The version as the rating engine reads it.
    pub content: JsonValue,
}

/// Adds a version; one of the same generation stays as it is.
///
/// # Errors
/// [`Error::Database`].
pub async fn plan_version_add(
    connection: &mut PgConnection,
    row: &PlanVersionRow,
) -> Result<(), Error> {
    sqlx::query(
        "INSERT INTO catalogue.plan_version
           (plan_uid, generation, plan_name, effective_from_microseconds, hash, content)
         VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING",
    )
    .bind(row.plan_uid)
    .bind(row.generation)
    .bind(&row.plan_name)
    .bind(row.effective_from_microseconds)
    .bind(&row.hash)
    .bind(&row.content)
    .execute(connection)
    .await
    .map(|_| ())
    .map_err(Error::of("write a price version"))
}

/// All versions of a plan, in order of their generation.
///
/// # Errors
/// [`Error::Database`].
pub async fn plan_versions_of(
    connection: &mut PgConnection,
    plan_uid: Uuid,
) -> Result<Vec<PlanVersionRow>, Error> {
    sqlx::query_as(
        "SELECT plan_uid, generation, plan_name, effective_from_microseconds, hash, content
         FROM catalogue.plan_version WHERE plan_uid = $1 ORDER BY generation",
    )
    .bind(plan_uid)
    .fetch_all(connection)
    .await
    .map_err(Error::of("read price versions"))
}
