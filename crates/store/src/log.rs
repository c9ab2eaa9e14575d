//! The usage log's rows.

use crate::{Error, PgConnection};

/// One entry of the log.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Entry {
    /// Counts from 0 within the shard, without holes.
    pub seq: i64,
    /// What was appended.
    pub payload: Vec<u8>,
}

/// Takes one number in each of `shards` (0 to 63, ascending, each once); the numbers, in the same order.
///
/// The rows stay locked until the transaction ends, so whoever comes next gets a higher number *and* commits later: a
/// reader that sees a number has seen all below it. Ascending order keeps two appenders from waiting for each other.
///
/// # Errors
/// [`Error::Database`].
pub async fn log_numbers_take(
    connection: &mut PgConnection,
    shards: &[i16],
) -> Result<Vec<i64>, Error> {
    let mut numbers = Vec::with_capacity(shards.len());
    for shard in shards {
        let (number,): (i64,) = sqlx::query_as(
            "UPDATE stream.log_head SET next_seq = next_seq + 1 WHERE shard = $1 RETURNING next_seq - 1",
        )
        .bind(shard)
        .fetch_one(&mut *connection)
        .await
        .map_err(Error::of("take a number of the usage log"))?;
        numbers.push(number);
    }
    Ok(numbers)
}

/// Writes one entry for each of `shards` under the numbers taken in the same transaction.
///
/// # Errors
/// [`Error::Database`]; all three lists must have one length.
pub async fn log_insert(
    connection: &mut PgConnection,
    shards: &[i16],
    numbers: &[i64],
    payloads: &[Vec<u8>],
) -> Result<(), Error> {
    sqlx::query(
        "INSERT INTO stream.log (shard, seq, payload)
         SELECT * FROM unnest($1::smallint[], $2::bigint[], $3::bytea[])",
    )
    .bind(shards)
    .bind(numbers)
    .bind(payloads)
    .execute(connection)
    .await
    .map(|_| ())
    .map_err(Error::of("append to the usage log"))
}

/// Up to `limit` entries of a shard from `from` on, in order.
///
/// # Errors
/// [`Error::Database`].
pub async fn log_read(
    connection: &mut PgConnection,
    shard: i16,
    from: i64,
    limit: i64,
) -> Result<Vec<Entry>, Error> {
    sqlx::query_as(
        "SELECT seq, payload FROM stream.log WHERE shard = $1 AND seq >= $2 ORDER BY seq LIMIT $3",
    )
    .bind(shard)
    .bind(from)
    .bind(limit)
    .fetch_all(connection)
    .await
    .map_err(Error::of("read the usage log"))
}

/// The next number of every shard, in order of the shard: 64 of them.
///
/// # Errors
/// [`Error::Database`].
pub async fn log_heads(connection: &mut PgConnection) -> Result<Vec<i64>, Error> {
    let rows: Vec<(i64,)> = sqlx::query_as("SELECT next_seq FROM stream.log_head ORDER BY shard")
        .fetch_all(connection)
        .await
        .map_err(Error::of("read the heads of the usage log"))?;
    Ok(rows.into_iter().map(|(next,)| next).collect())
}

/// Removes a shard's entries below `below`, if all of them have been folded; false if not, and nothing is removed.
///
/// # Errors
/// [`Error::Database`].
pub async fn log_trim(
    connection: &mut PgConnection,
    shard: i16,
    below: i64,
) -> Result<bool, Error> {
    let trimmed = sqlx::query(
        "WITH allowed AS (
           UPDATE stream.log_head SET trimmed_below = greatest(trimmed_below, $2)
           WHERE shard = $1 AND $2 <= (SELECT next_seq FROM stream.shard WHERE shard = $1)
           RETURNING shard),
         removed AS (
           DELETE FROM stream.log WHERE shard IN (SELECT shard FROM allowed) AND seq < $2)
         SELECT shard FROM allowed",
    )
    .bind(shard)
    .bind(below)
    .fetch_optional(connection)
    .await
    .map_err(Error::of("trim the usage log"))?;
    Ok(trimmed.is_some())
}
