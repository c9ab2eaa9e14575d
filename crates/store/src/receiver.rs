//! When samples were last received.

use crate::{Error, PgConnection};

/// Notes that samples were received at `microseconds` (UTC); an earlier instant changes nothing.
///
/// # Errors
/// [`Error::Database`].
pub async fn received(connection: &mut PgConnection, microseconds: i64) -> Result<(), Error> {
    sqlx::query(
        "INSERT INTO intake.receiver AS known (last_received_microseconds) VALUES ($1)
         ON CONFLICT (only_one) DO UPDATE
           SET last_received_microseconds = greatest(known.last_received_microseconds, $1)",
    )
    .bind(microseconds)
    .execute(connection)
    .await
    .map(|_| ())
    .map_err(Error::of("note when samples were received"))
}

/// When samples were last received, UTC microseconds; `None` before the first.
///
/// # Errors
/// [`Error::Database`].
pub async fn last_received(connection: &mut PgConnection) -> Result<Option<i64>, Error> {
    let row: Option<(i64,)> =
        sqlx::query_as("SELECT last_received_microseconds FROM intake.receiver")
            .fetch_optional(connection)
            .await
            .map_err(Error::of("read when samples were received"))?;
    Ok(row.map(|(microseconds,)| microseconds))
}
