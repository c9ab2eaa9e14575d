//! The double-entry ledger's rows. That a transaction sums to zero is checked by the database at the commit.

use crate::{Error, PgConnection};
use sqlx::types::Uuid;

/// A transaction to be booked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Posting<'a> {
    /// Account under which it is kept.
    pub tenant: Uuid,
    /// Its identity.
    pub id: Uuid,
    /// One effect per key.
    pub idempotency_key: &'a str,
    /// ISO 4217.
    pub currency: &'a str,
    /// What happened, such as `invoiceIssued`.
    pub kind: &'a str,
    /// What it refers to, such as an invoice's number.
    pub reference: &'a str,
    /// Who asked for it.
    pub actor: &'a str,
    /// UTC microseconds.
    pub booked_at_microseconds: i64,
    /// (account's tenant, account's name, minor units, debit positive), ascending by account.
    pub entries: Vec<(Uuid, String, i64)>,
}

/// Books a transaction: accounts are made when first used, and their balances move with it. True if booked, false if
/// its key was there already, and then nothing was written.
///
/// # Errors
/// [`Error::Database`]; at the commit, when the entries do not sum to zero.
pub async fn transaction_post(
    connection: &mut PgConnection,
    posting: &Posting<'_>,
) -> Result<bool, Error> {
    let inserted = sqlx::query(
        "INSERT INTO ledger.txn (tenant, id, idempotency_key, currency, kind, reference, actor, booked_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, 'epoch'::timestamptz + $8 * interval '1 microsecond')
         ON CONFLICT (tenant, idempotency_key) DO NOTHING",
    )
    .bind(posting.tenant)
    .bind(posting.id)
    .bind(posting.idempotency_key)
    .bind(posting.currency)
    .bind(posting.kind)
    .bind(posting.reference)
    .bind(posting.actor)
    .bind(posting.booked_at_microseconds)
    .execute(&mut *connection)
    .await
    .map_err(Error::of("book a transaction"))?;
    if inserted.rows_affected() == 0 {
        return Ok(false);
    }
    for (index, (tenant, account, amount_minor)) in posting.entries.iter().enumerate() {
        sqlx::query(
            "WITH account AS (
               INSERT INTO ledger.account AS known (tenant, name, currency, posted_minor, version)
               VALUES ($1, $2, $3, $4, 1)
               ON CONFLICT (tenant, name, currency)
               DO UPDATE SET posted_minor = known.posted_minor + $4, version = known.version + 1
               RETURNING tenant, name, currency)
             INSERT INTO ledger.entry (tenant, txn, n, account_tenant, account, currency, amount_minor)
             SELECT $5, $6, $7, tenant, name, currency, $4 FROM account",
        )
        .bind(tenant)
        .bind(account)
        .bind(posting.currency)
        .bind(amount_minor)
        .bind(posting.tenant)
        .bind(posting.id)
        .bind(i16::try_from(index).unwrap_or(i16::MAX))
        .execute(&mut *connection)
        .await
        .map_err(Error::of("book an entry"))?;
    }
    Ok(true)
}

/// An account's balance.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct BalanceRow {
    /// The account's tenant.
    pub tenant: Uuid,
    /// The account's name.
    pub name: String,
    /// ISO 4217.
    pub currency: String,
    /// Minor units, debit positive.
    pub posted_minor: i64,
}

/// All balances, in order of account.
///
/// # Errors
/// [`Error::Database`].
pub async fn balances(connection: &mut PgConnection) -> Result<Vec<BalanceRow>, Error> {
    sqlx::query_as(
        "SELECT tenant, name, currency, posted_minor FROM ledger.account ORDER BY tenant, name, currency",
    )
    .fetch_all(connection)
    .await
    .map_err(Error::of("read balances"))
}

/// What must never be found, as (rule, finding): a currency that does not sum to zero, a balance that is not the sum of
/// its entries, an invoice whose number left a gap, whose lines miss its total, or whose posting is missing.
///
/// # Errors
/// [`Error::Database`].
pub async fn violations(connection: &mut PgConnection) -> Result<Vec<(String, String)>, Error> {
    sqlx::query_as(
        "SELECT 'M1 conservation' AS rule, format('all accounts in %s sum to %s', currency, sum(posted_minor)) AS finding
           FROM ledger.account GROUP BY currency HAVING sum(posted_minor) <> 0
         UNION ALL
         SELECT 'M1 conservation', format('transaction %s sums to %s', txn, sum(amount_minor))
           FROM ledger.entry GROUP BY tenant, txn HAVING sum(amount_minor) <> 0
         UNION ALL
         SELECT 'M2 fold', format('account %s %s holds %s, its entries sum to %s', account.name, account.currency,
                account.posted_minor, coalesce(entries.total, 0))
           FROM ledger.account LEFT JOIN
                (SELECT account_tenant, account, currency, sum(amount_minor) AS total FROM ledger.entry GROUP BY 1, 2, 3)
                  AS entries
             ON (entries.account_tenant, entries.account, entries.currency)
              = (account.tenant, account.name, account.currency)
           WHERE account.posted_minor <> coalesce(entries.total, 0)
         UNION ALL
         SELECT 'M7 rounding', format('invoice %s-%s: lines sum to %s, net is %s', series, number, lines.total, net_minor)
           FROM billing.invoice JOIN
                (SELECT tenant, invoice, sum(amount_minor) AS total FROM billing.invoice_line GROUP BY 1, 2) AS lines
             ON (lines.tenant, lines.invoice) = (invoice.tenant, invoice.id)
           WHERE lines.total <> net_minor
         UNION ALL
         SELECT 'M9 numbers', format('series %s of %s: %s numbers up to %s', series, entity, count(*), max(number))
           FROM billing.invoice GROUP BY entity, series HAVING count(*) <> max(number)
         UNION ALL
         SELECT 'U7 chain', format('invoice %s-%s over %s is not in the ledger', series, number, total_minor)
           FROM billing.invoice WHERE total_minor <> 0 AND txn IS NULL
         ORDER BY 1, 2 LIMIT 1000",
    )
    .fetch_all(connection)
    .await
    .map_err(Error::of("verify the books"))
}
