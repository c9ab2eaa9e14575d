//! Who folds a shard, how far it is folded, and what the fold remembers.

use crate::{Error, PgConnection};

/// The right to commit a shard's epochs, until somebody else claims it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::FromRow)]
pub struct Claim {
    /// Goes up with every claim.
    pub owner_epoch: i64,
    /// The first number of the log that is not folded yet.
    pub next_seq: i64,
    /// How many epochs were committed.
    pub epoch: i64,
    /// Through which of them windows and lines were written.
    pub lines_epoch: i64,
}

/// Claims a shard (0 to 63): whoever held it before can commit nothing from now on.
///
/// # Errors
/// [`Error::Database`].
pub async fn shard_claim(connection: &mut PgConnection, shard: i16) -> Result<Claim, Error> {
    sqlx::query_as(
        "UPDATE stream.shard SET owner_epoch = owner_epoch + 1 WHERE shard = $1
         RETURNING owner_epoch, next_seq, epoch, lines_epoch",
    )
    .bind(shard)
    .fetch_one(connection)
    .await
    .map_err(Error::of("claim a shard"))
}

/// Moves a shard on to `to`, if it is still held under `claim` and still stands where the claim says; the claim as it is
/// then, or `None` when another holds the shard: then nothing may be committed.
///
/// # Errors
/// [`Error::Database`].
pub async fn shard_advance(
    connection: &mut PgConnection,
    shard: i16,
    claim: Claim,
    to: i64,
) -> Result<Option<Claim>, Error> {
    sqlx::query_as(
        "UPDATE stream.shard SET next_seq = $4, epoch = epoch + 1, parked_because = NULL
         WHERE shard = $1 AND owner_epoch = $2 AND next_seq = $3 AND $4 > $3
         RETURNING owner_epoch, next_seq, epoch, lines_epoch",
    )
    .bind(shard)
    .bind(claim.owner_epoch)
    .bind(claim.next_seq)
    .bind(to)
    .fetch_optional(connection)
    .await
    .map_err(Error::of("advance a shard"))
}

/// Keeps what changed in an epoch (> 0).
///
/// # Errors
/// [`Error::Database`].
pub async fn state_put(
    connection: &mut PgConnection,
    shard: i16,
    epoch: i64,
    delta: &[u8],
) -> Result<(), Error> {
    sqlx::query("INSERT INTO stream.state (shard, epoch, delta) VALUES ($1, $2, $3)")
        .bind(shard)
        .bind(epoch)
        .bind(delta)
        .execute(connection)
        .await
        .map(|_| ())
        .map_err(Error::of("keep a shard's state"))
}

/// Notes that windows and lines are written as of where `claim` stands; false when another holds the shard: then
/// nothing may be committed.
///
/// # Errors
/// [`Error::Database`].
pub async fn lines_written(
    connection: &mut PgConnection,
    shard: i16,
    claim: Claim,
) -> Result<bool, Error> {
    sqlx::query(
        "UPDATE stream.shard SET lines_epoch = epoch, lines_next_seq = next_seq, parked_because = NULL
         WHERE shard = $1 AND owner_epoch = $2 AND next_seq = $3",
    )
    .bind(shard)
    .bind(claim.owner_epoch)
    .bind(claim.next_seq)
    .execute(connection)
    .await
    .map(|done| done.rows_affected() == 1)
    .map_err(Error::of("note the lines' position"))
}

/// Notes why a shard is not being folded; its next commit takes the note away.
///
/// # Errors
/// [`Error::Database`].
pub async fn park(connection: &mut PgConnection, shard: i16, because: &str) -> Result<(), Error> {
    sqlx::query("UPDATE stream.shard SET parked_because = $2 WHERE shard = $1")
        .bind(shard)
        .bind(because)
        .execute(connection)
        .await
        .map(|_| ())
        .map_err(Error::of("park a shard"))
}

/// The shards that are not being folded, and why.
///
/// # Errors
/// [`Error::Database`].
pub async fn parked(connection: &mut PgConnection) -> Result<Vec<(i16, String)>, Error> {
    sqlx::query_as(
        "SELECT shard, parked_because FROM stream.shard WHERE parked_because IS NOT NULL ORDER BY shard",
    )
    .fetch_all(connection)
    .await
    .map_err(Error::of("read which shards are parked"))
}

/// Up to which number of the log a shard's windows and lines are written.
///
/// # Errors
/// [`Error::Database`].
pub async fn lines_next_seq(connection: &mut PgConnection, shard: i16) -> Result<i64, Error> {
    let (next,): (i64,) =
        sqlx::query_as("SELECT lines_next_seq FROM stream.shard WHERE shard = $1")
            .bind(shard)
            .fetch_one(connection)
            .await
            .map_err(Error::of("read the lines' position"))?;
    Ok(next)
}

/// How far all shards are behind: entries of the log that are not folded yet, and not in lines yet.
///
/// # Errors
/// [`Error::Database`].
pub async fn lag(connection: &mut PgConnection) -> Result<(i64, i64), Error> {
    sqlx::query_as(
        "SELECT coalesce(sum(head.next_seq - shard.next_seq), 0)::bigint,
                coalesce(sum(head.next_seq - shard.lines_next_seq), 0)::bigint
         FROM stream.log_head AS head JOIN stream.shard AS shard USING (shard)",
    )
    .fetch_one(connection)
    .await
    .map_err(Error::of("read how far shards are behind"))
}

/// All that is kept of a shard, as (epoch, delta), in order of the epochs.
///
/// # Errors
/// [`Error::Database`].
pub async fn state_load(
    connection: &mut PgConnection,
    shard: i16,
) -> Result<Vec<(i64, Vec<u8>)>, Error> {
    sqlx::query_as("SELECT epoch, delta FROM stream.state WHERE shard = $1 ORDER BY epoch")
        .bind(shard)
        .fetch_all(connection)
        .await
        .map_err(Error::of("load a shard's state"))
}

/// How large each kept row of a shard is, as (epoch, bytes), the newest first.
///
/// # Errors
/// [`Error::Database`].
pub async fn state_sizes(
    connection: &mut PgConnection,
    shard: i16,
) -> Result<Vec<(i64, i32)>, Error> {
    sqlx::query_as(
        "SELECT epoch, octet_length(delta) FROM stream.state WHERE shard = $1 ORDER BY epoch DESC",
    )
    .bind(shard)
    .fetch_all(connection)
    .await
    .map_err(Error::of("measure a shard's state"))
}

/// What is kept of a shard from epoch `from` on, in order of the epochs.
///
/// # Errors
/// [`Error::Database`].
pub async fn state_since(
    connection: &mut PgConnection,
    shard: i16,
    from: i64,
) -> Result<Vec<Vec<u8>>, Error> {
    let rows: Vec<(Vec<u8>,)> = sqlx::query_as(
        "SELECT delta FROM stream.state WHERE shard = $1 AND epoch >= $2 ORDER BY epoch",
    )
    .bind(shard)
    .bind(from)
    .fetch_all(connection)
    .await
    .map_err(Error::of("load a part of a shard's state"))?;
    Ok(rows.into_iter().map(|(delta,)| delta).collect())
}

/// Replaces what is kept from epoch `from` through `epoch` by one row.
///
/// # Errors
/// [`Error::Database`].
pub async fn state_compact(
    connection: &mut PgConnection,
    shard: i16,
    (from, epoch): (i64, i64),
    whole: &[u8],
) -> Result<(), Error> {
    sqlx::query("DELETE FROM stream.state WHERE shard = $1 AND epoch BETWEEN $2 AND $3")
        .bind(shard)
        .bind(from)
        .bind(epoch)
        .execute(&mut *connection)
        .await
        .map_err(Error::of("compact a shard's state"))?;
    state_put(connection, shard, epoch, whole).await
}
