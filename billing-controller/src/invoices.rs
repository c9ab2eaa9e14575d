//! Off-cycle invoices: what has been used and not invoiced before.
//!
//! Bill lines are cumulative, so an invoice charges the difference between a line and what earlier invoices charged of
//! it; usage that comes late is in the next one. Lines, number and ledger entries commit together: a failure leaves no gap in
//! the series.

use calendar::Instant;
use ids::AccountId;
use ledger::{Account, PostingRefused, Transaction};
use metering::{Record, ShardNumber};
use money::{Amount, AmountRefused, Currency, Exact};
use std::collections::BTreeMap;
use std::time::Duration;
use store::invoice::{InvoiceLineRow, InvoiceRow, InvoicedRow};
use store::ledger::Posting;
use store::line::LineRow;
use store::registry::AccountRow;
use store::{PgConnection, PgPool};
use stream::{LogError, PostgresLog, UsageLog};

/// The series of off-cycle and regular invoices.
pub const SERIES: &str = "FH";
/// How long the stream may take to count up to the present.
const CATCH_UP_LIMIT: Duration = Duration::from_secs(30);
/// How often it is asked.
const CATCH_UP_LOOK: Duration = Duration::from_millis(50);

/// Why no invoice was issued; nothing was written then.
#[derive(Debug, thiserror::Error)]
pub enum IssueError {
    /// The database refused or could not be reached.
    #[error("issue an invoice")]
    Store(#[from] store::Error),
    /// The usage log could not be written.
    #[error("issue an invoice")]
    Log(#[from] LogError),
    /// Usage up to the present is not in the lines yet.
    #[error("usage of tenant {tenant} is not counted up to the present yet; try again in a moment")]
    NotCaughtUp {
        /// The tenant.
        tenant: String,
    },
    /// The account's shard is parked, so its usage cannot be counted up to the present.
    #[error("usage of tenant {tenant} cannot be counted at present: its shard {shard} is parked")]
    Parked {
        /// The tenant.
        tenant: String,
        /// The shard.
        shard: i16,
    },
    /// Nothing has been used since the last invoice.
    #[error("tenant {tenant} has used nothing that is not invoiced yet")]
    Nothing {
        /// The tenant.
        tenant: String,
    },
    /// Corrections exceed new usage: that is a credit note, not an invoice.
    #[error(
        "tenant {tenant} is owed {amount} after corrections; an invoice cannot be negative, wait for more usage"
    )]
    Negative {
        /// The tenant.
        tenant: String,
        /// How much.
        amount: Amount,
    },
    /// A stored number or currency cannot be read.
    #[error("issue an invoice: the stored {what} cannot be read")]
    Stored {
        /// What.
        what: &'static str,
    },
    /// The ledger refuses the movement.
    #[error("issue an invoice")]
    Posting(#[from] PostingRefused),
    /// The sum is beyond what an amount may be.
    #[error("issue an invoice")]
    Amount(#[from] AmountRefused),
}

/// What is asked for.
#[derive(Debug, Clone)]
pub struct Order {
    /// Whose.
    pub account: AccountRow,
    /// The present; usage up to here is in it.
    pub through: Instant,
    /// The legal entity that issues.
    pub entity: String,
    /// Asking again under the same key gives the same invoice, for ever.
    pub idempotency_key: Option<String>,
}

/// `FH-000001`.
pub fn number_text(number: i64) -> String {
    format!("{SERIES}-{number:06}")
}

/// The number in `FH-000001`.
pub fn number_of(text: &str) -> Option<i64> {
    let digits = text.strip_prefix(SERIES)?.strip_prefix('-')?;
    let number: i64 = digits.parse().ok()?;
    (number > 0 && number_text(number) == text).then_some(number)
}

/// An invoice and its lines, in order.
pub type Issued = (InvoiceRow, Vec<InvoiceLineRow>);

/// What was issued under this key before: asking again needs no count and no clock.
///
/// # Errors
/// The database refused or could not be reached.
pub async fn issued_under(
    connection: &mut PgConnection,
    tenant: store::Uuid,
    key: &str,
) -> Result<Option<Issued>, store::Error> {
    let Some(row) = store::invoice::invoice_by_key(connection, tenant, key).await? else {
        return Ok(None);
    };
    let lines = store::invoice::invoice_lines(connection, tenant, row.id).await?;
    Ok(Some((row, lines)))
}

/// Counts the account's usage up to the present, then issues.
///
/// # Errors
/// [`IssueError`]; nothing was written then.
pub async fn issue(pool: &PgPool, log: &PostgresLog, order: Order) -> Result<Issued, IssueError> {
    catch_up(pool, log, &order).await?;
    let begin = |source| store::Error::Database { act: "issue an invoice", source };
    let mut transaction = pool.begin().await.map_err(begin)?;
    let tenant = order.account.tenant;
    store::registry::account_lock(&mut transaction, tenant).await?;
    // A twin may have issued it while this one waited for the lock.
    if let Some(key) = &order.idempotency_key
        && let Some(issued) = issued_under(&mut transaction, tenant, key).await?
    {
        return Ok(issued);
    }
    let lines = store::line::lines_of(&mut transaction, order.account.tenant).await?;
    let invoiced = store::invoice::invoiced_of(&mut transaction, order.account.tenant).await?;
    let charges = charges(lines, &order.account.currency, &invoiced)?;
    let issued = write(&mut transaction, &order, charges).await?;
    transaction.commit().await.map_err(begin)?;
    tracing::info!(tenant = %order.account.name, number = %number_text(issued.0.number), "invoice issued");
    Ok(issued)
}

/// Lets time come to the present in the account's shard, and waits until its lines are there.
async fn catch_up(pool: &PgPool, log: &PostgresLog, order: &Order) -> Result<(), IssueError> {
    let shard = ShardNumber::of(AccountId(order.account.tenant));
    let number = i16::from(shard.number());
    log.append([(shard, vec![Record::Tick { at: order.through }])].into()).await?;
    let acquire = |source| store::Error::Database { act: "issue an invoice", source };
    let head = {
        let mut connection = pool.acquire().await.map_err(acquire)?;
        let parked = store::shard::parked(&mut connection).await?;
        if parked.iter().any(|(parked, _)| *parked == number) {
            return Err(IssueError::Parked { tenant: order.account.name.clone(), shard: number });
        }
        let heads = store::log::log_heads(&mut connection).await?;
        heads.get(usize::from(shard.number())).copied().unwrap_or(0)
    };
    // No connection is held between looks: the stream that is waited for needs them.
    let position = async || {
        let mut connection = pool.acquire().await.map_err(acquire)?;
        store::shard::lines_next_seq(&mut connection, number).await
    };
    let reached = async {
        while position().await? < head {
            tokio::time::sleep(CATCH_UP_LOOK).await;
        }
        Ok::<(), store::Error>(())
    };
    match tokio::time::timeout(CATCH_UP_LIMIT, reached).await {
        Ok(result) => Ok(result?),
        Err(_) => Err(IssueError::NotCaughtUp { tenant: order.account.name.clone() }),
    }
}

/// Of each line what has not been invoiced, in order of the lines' keys.
fn charges(
    lines: Vec<LineRow>,
    currency: &str,
    invoiced: &[InvoicedRow],
) -> Result<Vec<InvoiceLineRow>, IssueError> {
    let before: BTreeMap<&str, &InvoicedRow> =
        invoiced.iter().map(|row| (row.line_key.as_str(), row)).collect();
    let mut charges = Vec::new();
    for line in lines {
        if line.currency != currency {
            return Err(IssueError::Stored {
                what: "currency of a line, which is not the account's,",
            });
        }
        let whole = quantity(&line.quantity)?;
        let (already, already_minor) = match before.get(line.line_key.as_str()) {
            Some(row) => (quantity(&row.quantity)?, row.amount_minor),
            None => (0, 0),
        };
        let rest = whole.saturating_sub(already);
        let amount_minor = line.amount_minor.saturating_sub(already_minor);
        if rest == 0 && amount_minor == 0 {
            continue;
        }
        charges.push(InvoiceLineRow {
            description: line.description,
            project: line.project,
            object: if line.kind.is_empty() {
                String::new()
            } else {
                format!("{}/{}", line.kind, line.object_name)
            },
            part: line.part,
            quantity: rest.to_string(),
            display_quantity: display(rest, &line.explanation)?,
            display_unit: line.display_unit,
            amount_minor,
            line_quantity: line.quantity,
            line_amount_minor: line.amount_minor,
            flags: if line.estimated_facts > 0 { vec!["estimated".to_owned()] } else { Vec::new() },
            explanation: line.explanation,
            line_key: line.line_key,
        });
    }
    Ok(charges)
}

fn quantity(text: &str) -> Result<i128, IssueError> {
    text.parse().map_err(|_| IssueError::Stored { what: "quantity" })
}

/// Base units in the display unit that the line was rated in.
fn display(base_units: i128, explanation: &store::JsonValue) -> Result<String, IssueError> {
    let stored = || IssueError::Stored { what: "unit" };
    let pointer = "/conversion/baseUnitsPerDisplayUnit";
    let per_unit = explanation.pointer(pointer).and_then(|value| value.as_str());
    let per_unit: i128 = per_unit.and_then(|text| text.parse().ok()).ok_or_else(stored)?;
    Ok(Exact::ratio(base_units, per_unit).ok_or_else(stored)?.to_string())
}

async fn write(
    connection: &mut PgConnection,
    order: &Order,
    charges: Vec<InvoiceLineRow>,
) -> Result<(InvoiceRow, Vec<InvoiceLineRow>), IssueError> {
    let tenant = order.account.name.clone();
    if charges.is_empty() {
        return Err(IssueError::Nothing { tenant });
    }
    let currency: Currency =
        order.account.currency.parse().map_err(|_| IssueError::Stored { what: "currency" })?;
    let sum: i128 = charges.iter().map(|line| i128::from(line.amount_minor)).sum();
    let net = Amount::of_minor(sum, currency)?;
    if net.minor() < 0 {
        return Err(IssueError::Negative { tenant, amount: net });
    }
    let id = store::Uuid::new_v4();
    let number = store::invoice::number_take(connection, &order.entity, SERIES).await?;
    let txn = post(connection, order, id, number, net).await?;
    let row = InvoiceRow {
        tenant: order.account.tenant,
        id,
        entity: order.entity.clone(),
        series: SERIES.to_owned(),
        number,
        tenant_name: order.account.name.clone(),
        customer: serde_json::json!({ "name": order.account.display_name }),
        currency: order.account.currency.clone(),
        through_microseconds: order.through.microseconds(),
        issued_at_microseconds: order.through.microseconds(),
        net_minor: net.minor(),
        tax_minor: 0,
        total_minor: net.minor(),
        txn,
        idempotency_key: order.idempotency_key.clone(),
    };
    store::invoice::invoice_add(connection, &row, &charges).await?;
    Ok((row, charges))
}

/// Books the usage as earned and the invoice as receivable; nothing for an invoice over nothing.
async fn post(
    connection: &mut PgConnection,
    order: &Order,
    invoice: store::Uuid,
    number: i64,
    net: Amount,
) -> Result<Option<store::Uuid>, IssueError> {
    if net.minor() == 0 {
        return Ok(None);
    }
    let account = AccountId(order.account.tenant);
    let shard = ShardNumber::of(account).number();
    let currency = net.currency();
    let zero = Amount::zero(currency);
    let movements = [
        ("usageRated", ledger::usage_rated(account, shard, net)?),
        ("invoiceIssued", ledger::invoice_issued(account, shard, net, zero)?),
    ];
    let mut last = None;
    for (kind, transaction) in movements {
        let id = store::Uuid::new_v5(&invoice, kind.as_bytes());
        let posting = Posting {
            tenant: account.0,
            id,
            idempotency_key: &format!("{kind}/{invoice}"),
            currency: currency.code(),
            kind,
            reference: &number_text(number),
            actor: "billing-controller",
            booked_at_microseconds: order.through.microseconds(),
            entries: entries(&transaction),
        };
        store::ledger::transaction_post(connection, &posting).await?;
        last = Some(id);
    }
    Ok(last)
}

/// Operator accounts belong to one made-up tenant a shard, so that every key leads with a tenant.
fn entries(transaction: &Transaction) -> Vec<(store::Uuid, String, i64)> {
    let entry = |entry: &ledger::Entry| {
        let tenant = match entry.account {
            Account::Tenant(tenant, _) => tenant.0,
            Account::Operator(shard, _) => store::Uuid::from_u128(u128::from(shard)),
        };
        (tenant, entry.account.to_string(), entry.amount.minor())
    };
    transaction.entries().iter().map(entry).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_one_spelling() {
        assert_eq!(number_of("FH-000001"), Some(1));
        assert_eq!(number_of(&number_text(1_234_567)), Some(1_234_567));
        for text in
            ["", "FH-", "FH-1", "FH-0000001", "fh-000001", "FH-000000", "FH--00001", "XX-000001"]
        {
            assert_eq!(number_of(text), None, "{text} was accepted");
        }
    }
}
