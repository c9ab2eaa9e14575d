//! Who pays for what: accounts, resources, subscriptions. Rows outlive the objects they were learnt from.

use crate::{Error, PgConnection};
use sqlx::types::Uuid;

/// An account of the books and the tenant it belongs to.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct AccountRow {
    /// The account.
    pub tenant: Uuid,
    /// The tenant's name.
    pub name: String,
    /// What people call it.
    pub display_name: String,
    /// ISO 4217.
    pub currency: String,
    /// When it was last seen, UTC microseconds: among accounts of one name the latest is meant.
    pub seen_at_microseconds: i64,
}

/// Whose a resource is over a range of time.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct ResourceRow {
    /// Account.
    pub tenant: Uuid,
    /// Resource.
    pub resource_uid: Uuid,
    /// UTC microseconds.
    pub valid_from_microseconds: i64,
    /// UTC microseconds; open while absent.
    pub valid_to_microseconds: Option<i64>,
    /// The object's kind.
    pub kind: String,
    /// The tenant's project.
    pub project: String,
    /// The object's name.
    pub name: String,
    /// UTC microseconds.
    pub created_at_microseconds: i64,
}

/// Which plan an account is on from an instant on.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct SubscriptionRow {
    /// Account.
    pub tenant: Uuid,
    /// The subscription's identity in line keys.
    pub id: Uuid,
    /// The plan.
    pub plan_uid: Uuid,
    /// Its name.
    pub plan_name: String,
    /// UTC microseconds.
    pub from_microseconds: i64,
    /// UTC microseconds; open while absent.
    pub to_microseconds: Option<i64>,
    /// IANA name.
    pub time_zone: String,
    /// 1 to 31.
    pub anchor_day: i16,
}

/// Writes an account as it is now.
///
/// # Errors
/// [`Error::Database`].
pub async fn account_put(connection: &mut PgConnection, row: &AccountRow) -> Result<(), Error> {
    sqlx::query(
        "INSERT INTO registry.account (tenant, name, display_name, currency, seen_at_microseconds)
         VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (tenant) DO UPDATE SET name = excluded.name, display_name = excluded.display_name,
           seen_at_microseconds = greatest(registry.account.seen_at_microseconds, excluded.seen_at_microseconds),
           gone_at_microseconds = NULL",
    )
    .bind(row.tenant)
    .bind(&row.name)
    .bind(&row.display_name)
    .bind(&row.currency)
    .bind(row.seen_at_microseconds)
    .execute(connection)
    .await
    .map(|_| ())
    .map_err(Error::of("write an account"))
}

/// The account of the tenant called `name`; of several in the course of time the latest.
///
/// # Errors
/// [`Error::Database`].
pub async fn account_by_name(
    connection: &mut PgConnection,
    name: &str,
) -> Result<Option<AccountRow>, Error> {
    sqlx::query_as(
        "SELECT tenant, name, display_name, currency, seen_at_microseconds FROM registry.account
         WHERE name = $1 ORDER BY seen_at_microseconds DESC, tenant LIMIT 1",
    )
    .bind(name)
    .fetch_optional(connection)
    .await
    .map_err(Error::of("find an account"))
}

/// The account under its id.
///
/// # Errors
/// [`Error::Database`].
pub async fn account_by_id(
    connection: &mut PgConnection,
    tenant: Uuid,
) -> Result<Option<AccountRow>, Error> {
    sqlx::query_as(
        "SELECT tenant, name, display_name, currency, seen_at_microseconds FROM registry.account WHERE tenant = $1",
    )
    .bind(tenant)
    .fetch_optional(connection)
    .await
    .map_err(Error::of("find an account"))
}

/// Locks an account until the transaction ends, so that documents of one account are made one after the other.
///
/// # Errors
/// [`Error::Database`].
pub async fn account_lock(connection: &mut PgConnection, tenant: Uuid) -> Result<(), Error> {
    sqlx::query("SELECT tenant FROM registry.account WHERE tenant = $1 FOR UPDATE")
        .bind(tenant)
        .execute(connection)
        .await
        .map(|_| ())
        .map_err(Error::of("lock an account"))
}

/// Writes whose a resource is; the entry that begins at the same instant is replaced. True if anything changed.
///
/// # Errors
/// [`Error::Database`]; at the commit, when two accounts would own the resource at once.
pub async fn resource_put(connection: &mut PgConnection, row: &ResourceRow) -> Result<bool, Error> {
    sqlx::query(
        "INSERT INTO registry.resource
           (tenant, resource_uid, valid_from_microseconds, valid_to_microseconds, kind, project, name,
            created_at_microseconds)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
         ON CONFLICT (tenant, resource_uid, valid_from_microseconds)
         DO UPDATE SET valid_to_microseconds = excluded.valid_to_microseconds
         WHERE registry.resource.valid_to_microseconds IS DISTINCT FROM excluded.valid_to_microseconds",
    )
    .bind(row.tenant)
    .bind(row.resource_uid)
    .bind(row.valid_from_microseconds)
    .bind(row.valid_to_microseconds)
    .bind(&row.kind)
    .bind(&row.project)
    .bind(&row.name)
    .bind(row.created_at_microseconds)
    .execute(connection)
    .await
    .map(|done| done.rows_affected() > 0)
    .map_err(Error::of("write a resource"))
}

/// All resources, in order of account, resource and beginning.
///
/// # Errors
/// [`Error::Database`].
pub async fn resources_all(connection: &mut PgConnection) -> Result<Vec<ResourceRow>, Error> {
    sqlx::query_as(
        "SELECT tenant, resource_uid, valid_from_microseconds, valid_to_microseconds, kind, project, name,
                created_at_microseconds
         FROM registry.resource ORDER BY tenant, resource_uid, valid_from_microseconds",
    )
    .fetch_all(connection)
    .await
    .map_err(Error::of("read resources"))
}

/// The resources of an account.
///
/// # Errors
/// [`Error::Database`].
pub async fn resources_of(
    connection: &mut PgConnection,
    tenant: Uuid,
) -> Result<Vec<ResourceRow>, Error> {
    sqlx::query_as(
        "SELECT tenant, resource_uid, valid_from_microseconds, valid_to_microseconds, kind, project, name,
                created_at_microseconds
         FROM registry.resource WHERE tenant = $1 ORDER BY resource_uid, valid_from_microseconds",
    )
    .bind(tenant)
    .fetch_all(connection)
    .await
    .map_err(Error::of("read resources"))
}

/// Adds a subscription; one that begins at the same instant is replaced.
///
/// # Errors
/// [`Error::Database`].
pub async fn subscription_add(
    connection: &mut PgConnection,
    row: &SubscriptionRow,
) -> Result<(), Error> {
    sqlx::query(
        "INSERT INTO registry.subscription (tenant, id, plan_uid, plan_name, from_microseconds, time_zone, anchor_day)
         VALUES ($1, $2, $3, $4, $5, $6, $7)
         ON CONFLICT (tenant, from_microseconds) DO UPDATE SET id = excluded.id, plan_uid = excluded.plan_uid,
           plan_name = excluded.plan_name, time_zone = excluded.time_zone, anchor_day = excluded.anchor_day,
           to_microseconds = NULL",
    )
    .bind(row.tenant)
    .bind(row.id)
    .bind(row.plan_uid)
    .bind(&row.plan_name)
    .bind(row.from_microseconds)
    .bind(&row.time_zone)
    .bind(row.anchor_day)
    .execute(connection)
    .await
    .map(|_| ())
    .map_err(Error::of("write a subscription"))
}

/// Subscriptions of an account, in order of their beginning.
///
/// # Errors
/// [`Error::Database`].
pub async fn subscriptions_of(
    connection: &mut PgConnection,
    tenant: Uuid,
) -> Result<Vec<SubscriptionRow>, Error> {
    sqlx::query_as(
        "SELECT tenant, id, plan_uid, plan_name, from_microseconds, to_microseconds, time_zone, anchor_day
         FROM registry.subscription WHERE tenant = $1 ORDER BY from_microseconds",
    )
    .bind(tenant)
    .fetch_all(connection)
    .await
    .map_err(Error::of("read subscriptions"))
}

/// Accounts whose tenant is not known to have gone.
///
/// # Errors
/// [`Error::Database`].
pub async fn accounts_open(connection: &mut PgConnection) -> Result<Vec<Uuid>, Error> {
    let rows: Vec<(Uuid,)> = sqlx::query_as(
        "SELECT tenant FROM registry.account WHERE gone_at_microseconds IS NULL ORDER BY tenant",
    )
    .fetch_all(connection)
    .await
    .map_err(Error::of("read accounts"))?;
    Ok(rows.into_iter().map(|(tenant,)| tenant).collect())
}

/// Notes that an account's tenant went at `at`, and ends its subscriptions then.
///
/// # Errors
/// [`Error::Database`].
pub async fn account_gone(
    connection: &mut PgConnection,
    tenant: Uuid,
    at_microseconds: i64,
) -> Result<(), Error> {
    sqlx::query(
        "WITH ended AS (
           UPDATE registry.subscription SET to_microseconds = greatest($2, from_microseconds)
           WHERE tenant = $1 AND to_microseconds IS NULL)
         UPDATE registry.account SET gone_at_microseconds = $2 WHERE tenant = $1",
    )
    .bind(tenant)
    .bind(at_microseconds)
    .execute(connection)
    .await
    .map(|_| ())
    .map_err(Error::of("end an account"))
}

/// Resources of a kind whose life is not known to be over.
///
/// # Errors
/// [`Error::Database`].
pub async fn resources_open(
    connection: &mut PgConnection,
    kind: &str,
) -> Result<Vec<ResourceRow>, Error> {
    sqlx::query_as(
        "SELECT tenant, resource_uid, valid_from_microseconds, valid_to_microseconds, kind, project, name,
                created_at_microseconds
         FROM registry.resource WHERE kind = $1 AND valid_to_microseconds IS NULL
         ORDER BY tenant, resource_uid, valid_from_microseconds",
    )
    .bind(kind)
    .fetch_all(connection)
    .await
    .map_err(Error::of("read resources"))
}

/// When everything declared was last known to be there, UTC microseconds.
///
/// # Errors
/// [`Error::Database`].
pub async fn watch_seen(connection: &mut PgConnection) -> Result<Option<i64>, Error> {
    sqlx::query_scalar("SELECT seen_at_microseconds FROM registry.watch")
        .fetch_optional(connection)
        .await
        .map_err(Error::of("read when objects were last seen"))
}

/// Notes that everything declared is there.
///
/// # Errors
/// [`Error::Database`].
pub async fn watch_saw(connection: &mut PgConnection, at_microseconds: i64) -> Result<(), Error> {
    sqlx::query(
        "INSERT INTO registry.watch (seen_at_microseconds) VALUES ($1)
         ON CONFLICT (only_one) DO UPDATE SET seen_at_microseconds =
           greatest(registry.watch.seen_at_microseconds, excluded.seen_at_microseconds)",
    )
    .bind(at_microseconds)
    .execute(connection)
    .await
    .map(|_| ())
    .map_err(Error::of("note when objects were last seen"))
}
