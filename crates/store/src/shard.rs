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
}

/// Claims a shard (0 to 63): whoever held it before can commit nothing from now on.
///
/// # Errors
/// [`Error::Database`].
pub async fn shard_claim(connection: &mut PgConnection, shard: i16) -> Result<Claim, Error> {
    sqlx::query_as(
        "UPDATE stream.shard SET owner_epoch = owner_epoch + 1 WHERE shard = $1
         RETURNING owner_epoch, next_seq, epoch",
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
        "UPDATE stream.shard SET next_seq = $4, epoch = epoch + 1
         WHERE shard = $1 AND owner_epoch = $2 AND next_seq = $3 AND $4 > $3
         RETURNING owner_epoch, next_seq, epoch",
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

/// All that is kept of a shard, in order of the epochs.
///
/// # Errors
/// [`Error::Database`].
pub async fn state_load(connection: &mut PgConnection, shard: i16) -> Result<Vec<Vec<u8>>, Error> {
    let rows: Vec<(Vec<u8>,)> =
        sqlx::query_as("SELECT delta FROM stream.state WHERE shard = $1 ORDER BY epoch")
            .bind(shard)
            .fetch_all(connection)
            .await
            .map_err(Error::of("load a shard's state"))?;
    Ok(rows.into_iter().map(|(delta,)| delta).collect())
}

/// Replaces all that is kept up to `epoch` by one row.
///
/// # Errors
/// [`Error::Database`].
pub async fn state_compact(
    connection: &mut PgConnection,
    shard: i16,
    epoch: i64,
    whole: &[u8],
) -> Result<(), Error> {
    sqlx::query("DELETE FROM stream.state WHERE shard = $1 AND epoch <= $2")
        .bind(shard)
        .bind(epoch)
        .execute(&mut *connection)
        .await
        .map_err(Error::of("compact a shard's state"))?;
    state_put(connection, shard, epoch, whole).await
}
