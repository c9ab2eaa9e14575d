//! Issued invoices.

use crate::{Error, PgConnection};
use sqlx::types::{JsonValue, Uuid};

/// An issued document.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct InvoiceRow {
    /// Account.
    pub tenant: Uuid,
    /// Identity.
    pub id: Uuid,
    /// The legal entity that issues.
    pub entity: String,
    /// The series of its numbers.
    pub series: String,
    /// Counts from 1 within the series, without gaps.
    pub number: i64,
    /// The tenant's name.
    pub tenant_name: String,
    /// The customer as known when it was issued.
    pub customer: JsonValue,
    /// ISO 4217.
    pub currency: String,
    /// Usage up to here is in it, UTC microseconds.
    pub through_microseconds: i64,
    /// UTC microseconds.
    pub issued_at_microseconds: i64,
    /// Sum of the lines, minor units.
    pub net_minor: i64,
    /// Tax, minor units.
    pub tax_minor: i64,
    /// What is payable, minor units.
    pub total_minor: i64,
    /// The ledger's transaction; absent for an invoice over nothing.
    pub txn: Option<Uuid>,
    /// The key under which it was asked for.
    pub idempotency_key: Option<String>,
}

/// What an invoice charges of one bill line.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct InvoiceLineRow {
    /// The bill line.
    pub line_key: String,
    /// What people read.
    pub description: String,
    /// The project.
    pub project: String,
    /// Kind and name of the object.
    pub object: String,
    /// The part of the object.
    pub part: String,
    /// Base units not invoiced before; negative when usage was corrected downwards.
    pub quantity: String,
    /// The same in display units, exact.
    pub display_quantity: String,
    /// The display unit.
    pub display_unit: String,
    /// Minor units not invoiced before.
    pub amount_minor: i64,
    /// The bill line's whole quantity then.
    pub line_quantity: String,
    /// The bill line's whole amount then.
    pub line_amount_minor: i64,
    /// Words such as `estimated`.
    pub flags: Vec<String>,
    /// How the bill line's amount came about.
    pub explanation: JsonValue,
}

/// How much of a bill line has been invoiced.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct InvoicedRow {
    /// The bill line.
    pub line_key: String,
    /// Base units.
    pub quantity: String,
    /// Minor units.
    pub amount_minor: i64,
}

/// What has been invoiced of an account's bill lines so far, in order of their keys.
///
/// # Errors
/// [`Error::Database`].
pub async fn invoiced_of(
    connection: &mut PgConnection,
    tenant: Uuid,
) -> Result<Vec<InvoicedRow>, Error> {
    sqlx::query_as(
        "SELECT line_key, sum(quantity)::text AS quantity, sum(amount_minor)::bigint AS amount_minor
         FROM billing.invoice_line WHERE tenant = $1 GROUP BY line_key ORDER BY line_key",
    )
    .bind(tenant)
    .fetch_all(connection)
    .await
    .map_err(Error::of("read what is invoiced"))
}

/// Takes the next number of a series, in the transaction that issues.
///
/// # Errors
/// [`Error::Database`].
pub async fn number_take(
    connection: &mut PgConnection,
    entity: &str,
    series: &str,
) -> Result<i64, Error> {
    let (number,): (i64,) = sqlx::query_as(
        "INSERT INTO billing.number_series AS known (entity, series, next_number) VALUES ($1, $2, 2)
         ON CONFLICT (entity, series) DO UPDATE SET next_number = known.next_number + 1
         RETURNING next_number - 1",
    )
    .bind(entity)
    .bind(series)
    .fetch_one(connection)
    .await
    .map_err(Error::of("take an invoice number"))?;
    Ok(number)
}

/// Writes an invoice with its lines.
///
/// # Errors
/// [`Error::Database`]; at the commit, when the lines do not sum to the net amount.
pub async fn invoice_add(
    connection: &mut PgConnection,
    invoice: &InvoiceRow,
    lines: &[InvoiceLineRow],
) -> Result<(), Error> {
    sqlx::query(
        "INSERT INTO billing.invoice
           (tenant, id, entity, series, number, tenant_name, customer, currency, through_microseconds,
            issued_at_microseconds, net_minor, tax_minor, total_minor, txn, idempotency_key)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)",
    )
    .bind(invoice.tenant)
    .bind(invoice.id)
    .bind(&invoice.entity)
    .bind(&invoice.series)
    .bind(invoice.number)
    .bind(&invoice.tenant_name)
    .bind(&invoice.customer)
    .bind(&invoice.currency)
    .bind(invoice.through_microseconds)
    .bind(invoice.issued_at_microseconds)
    .bind(invoice.net_minor)
    .bind(invoice.tax_minor)
    .bind(invoice.total_minor)
    .bind(invoice.txn)
    .bind(&invoice.idempotency_key)
    .execute(&mut *connection)
    .await
    .map_err(Error::of("write an invoice"))?;
    for (index, line) in lines.iter().enumerate() {
        sqlx::query(
            "INSERT INTO billing.invoice_line
               (tenant, invoice, n, line_key, description, project, object, part, quantity, display_quantity, display_unit,
                amount_minor, line_quantity, line_amount_minor, flags, explanation)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9::numeric, $10, $11, $12, $13::numeric, $14, $15, $16)",
        )
        .bind(invoice.tenant)
        .bind(invoice.id)
        .bind(i32::try_from(index).unwrap_or(i32::MAX))
        .bind(&line.line_key)
        .bind(&line.description)
        .bind(&line.project)
        .bind(&line.object)
        .bind(&line.part)
        .bind(&line.quantity)
        .bind(&line.display_quantity)
        .bind(&line.display_unit)
        .bind(line.amount_minor)
        .bind(&line.line_quantity)
        .bind(line.line_amount_minor)
        .bind(&line.flags)
        .bind(&line.explanation)
        .execute(&mut *connection)
        .await
        .map_err(Error::of("write an invoice line"))?;
    }
    Ok(())
}

macro_rules! invoice_columns {
    ($rest:literal) => {
        concat!(
            "SELECT tenant, id, entity, series, number, tenant_name, customer, currency, through_microseconds,
                    issued_at_microseconds, net_minor, tax_minor, total_minor, txn, idempotency_key
             FROM billing.invoice ",
            $rest
        )
    };
}

/// Invoices of an account, newest first, at most 1,000.
///
/// # Errors
/// [`Error::Database`].
pub async fn invoices_of(
    connection: &mut PgConnection,
    tenant: Uuid,
) -> Result<Vec<InvoiceRow>, Error> {
    sqlx::query_as(invoice_columns!("WHERE tenant = $1 ORDER BY number DESC LIMIT 1000"))
        .bind(tenant)
        .fetch_all(connection)
        .await
        .map_err(Error::of("read invoices"))
}

/// The invoice of a number.
///
/// # Errors
/// [`Error::Database`].
pub async fn invoice_by_number(
    connection: &mut PgConnection,
    entity: &str,
    series: &str,
    number: i64,
) -> Result<Option<InvoiceRow>, Error> {
    sqlx::query_as(invoice_columns!("WHERE entity = $1 AND series = $2 AND number = $3"))
        .bind(entity)
        .bind(series)
        .bind(number)
        .fetch_optional(connection)
        .await
        .map_err(Error::of("read an invoice"))
}

/// The invoice that was asked for under a key.
///
/// # Errors
/// [`Error::Database`].
pub async fn invoice_by_key(
    connection: &mut PgConnection,
    tenant: Uuid,
    key: &str,
) -> Result<Option<InvoiceRow>, Error> {
    sqlx::query_as(invoice_columns!("WHERE tenant = $1 AND idempotency_key = $2"))
        .bind(tenant)
        .bind(key)
        .fetch_optional(connection)
        .await
        .map_err(Error::of("find an invoice by its key"))
}

/// The lines of an invoice, in order.
///
/// # Errors
/// [`Error::Database`].
pub async fn invoice_lines(
    connection: &mut PgConnection,
    tenant: Uuid,
    invoice: Uuid,
) -> Result<Vec<InvoiceLineRow>, Error> {
    sqlx::query_as(
        "SELECT line_key, description, project, object, part, quantity::text AS quantity, display_quantity, display_unit,
                amount_minor, line_quantity::text AS line_quantity, line_amount_minor, flags, explanation
         FROM billing.invoice_line WHERE tenant = $1 AND invoice = $2 ORDER BY n",
    )
    .bind(tenant)
    .bind(invoice)
    .fetch_all(connection)
    .await
    .map_err(Error::of("read invoice lines"))
}
