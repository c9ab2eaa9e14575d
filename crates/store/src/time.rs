//! The database's clock, which decides wherever several programs have to agree.

use crate::{Error, PgConnection};

/// What time it is, UTC microseconds; not the transaction's beginning but this moment.
///
/// # Errors
/// [`Error::Database`].
pub async fn now_microseconds(connection: &mut PgConnection) -> Result<i64, Error> {
    let (now,): (i64,) =
        sqlx::query_as("SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint")
            .fetch_one(connection)
            .await
            .map_err(Error::of("ask the database for the time"))?;
    Ok(now)
}
