//! Invoices over HTTP.

use super::bill::{amount, broken};
use super::refusal::Refusal;
use super::{QueryState, account};
use crate::invoices::{self, IssueError, Order, SERIES};
use axum::Json;
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use calendar::Instant;
use operator_kit::ErrorChain;
use pricing::report::{
    InstantText, InvoiceList, InvoiceOrder, InvoiceReport, InvoiceSummary, LineReport,
};
use serde::Deserialize;
use store::invoice::{InvoiceLineRow, InvoiceRow};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Parameters {
    tenant: String,
}

/// `GET /api/v1/invoices`.
pub(super) async fn list(
    State(state): State<QueryState>,
    parameters: Result<Query<Parameters>, QueryRejection>,
) -> Result<Json<InvoiceList>, Refusal> {
    let Query(parameters) = parameters?;
    let mut connection = state.connection().await?;
    let account = account(&mut connection, &parameters.tenant).await?;
    let rows = store::invoice::invoices_of(&mut connection, account.tenant).await?;
    Ok(Json(InvoiceList { invoices: rows.iter().map(summary).collect::<Result<_, _>>()? }))
}

/// `GET /api/v1/invoices/{number}`.
pub(super) async fn show(
    State(state): State<QueryState>,
    Path(text): Path<String>,
) -> Result<Json<InvoiceReport>, Refusal> {
    let number = invoices::number_of(&text).ok_or_else(|| {
        let error = format!("number: `{text}` is no invoice number");
        Refusal::bad_request(error, "invoice numbers are written like FH-000001")
    })?;
    let mut connection = state.connection().await?;
    let row =
        store::invoice::invoice_by_number(&mut connection, &state.entity, SERIES, number).await?;
    let row = row.ok_or_else(|| {
        let error = format!("number: there is no invoice {text}");
        Refusal::not_found(error, "kubectl freehold invoice list --tenant NAME lists them")
    })?;
    let lines = store::invoice::invoice_lines(&mut connection, row.tenant, row.id).await?;
    Ok(Json(report(&row, &lines)?))
}

/// `POST /api/v1/invoices`.
pub(super) async fn issue(
    State(state): State<QueryState>,
    headers: HeaderMap,
    order: Result<Json<InvoiceOrder>, JsonRejection>,
) -> Result<(StatusCode, Json<InvoiceReport>), Refusal> {
    let Json(order) = order?;
    if order.through != "now" {
        let error =
            format!("through: `{}` is not supported for an off-cycle invoice", order.through);
        return Err(Refusal::bad_request(
            error,
            "write now: it covers what has been used until this moment",
        ));
    }
    let idempotency_key = idempotency_key(&headers)?;
    let account = {
        let mut connection = state.connection().await?;
        let account = account(&mut connection, &order.tenant).await?;
        if let Some(key) = &idempotency_key
            && let Some((row, lines)) =
                invoices::issued_under(&mut connection, account.tenant, key).await?
        {
            return Ok((StatusCode::CREATED, Json(report(&row, &lines)?)));
        }
        account
    };
    let now = Instant::from_timestamp(state.clock.ask_again(&state.pool).await?);
    if let Some(skew) = state.clock.skew_too_large() {
        return Err(Refusal::unavailable(format!(
            "no invoice is issued while this machine's clock and the database's are {} apart: set both by NTP",
            skew.abs()
        )));
    }
    let entity = state.entity.to_string();
    let order = Order { account, through: now, entity, idempotency_key };
    let (row, lines) =
        invoices::issue(&state.pool, &state.log, order).await.map_err(|error| match error {
            IssueError::Nothing { .. } | IssueError::Negative { .. } => Refusal::conflict(
                error.to_string(),
                "kubectl freehold bill shows what has been used",
            ),
            IssueError::NotCaughtUp { .. } | IssueError::Parked { .. } => {
                Refusal::unavailable(error.to_string())
            }
            IssueError::Store(_)
            | IssueError::Log(_)
            | IssueError::Stored { .. }
            | IssueError::Posting(_)
            | IssueError::Amount(_) => {
                tracing::error!(error = %ErrorChain(&error), "an invoice could not be issued");
                Refusal::unavailable(
                    "the invoice could not be issued; nothing was written".to_owned(),
                )
            }
        })?;
    Ok((StatusCode::CREATED, Json(report(&row, &lines)?)))
}

/// The longest key, in characters.
const KEY_LENGTH_MAX: usize = 200;

fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Refusal> {
    let Some(value) = headers.get("idempotency-key") else { return Ok(None) };
    let text = value.to_str().unwrap_or_default();
    if text.is_empty() || text.len() > KEY_LENGTH_MAX {
        let error = "Idempotency-Key: is not a text of 1 to 200 visible characters".to_owned();
        return Err(Refusal::bad_request(
            error,
            "send a UUID of your own, the same when you ask again",
        ));
    }
    Ok(Some(text.to_owned()))
}

fn summary(row: &InvoiceRow) -> Result<InvoiceSummary, Refusal> {
    let instant =
        |at| Instant::from_microseconds(at).map(InstantText).map_err(|_| broken("instant"));
    Ok(InvoiceSummary {
        number: invoices::number_text(row.number),
        tenant: row.tenant_name.clone(),
        issued_at: instant(row.issued_at_microseconds)?,
        through: instant(row.through_microseconds)?,
        currency: row.currency.parse().map_err(|_| broken("currency"))?,
        total: amount(row.total_minor, &row.currency)?.decimal(),
    })
}

fn report(row: &InvoiceRow, lines: &[InvoiceLineRow]) -> Result<InvoiceReport, Refusal> {
    let line = |line: &InvoiceLineRow| {
        Ok(LineReport {
            key: line.line_key.clone(),
            description: line.description.clone(),
            project: line.project.clone(),
            object: line.object.clone(),
            part: line.part.clone(),
            quantity: line.display_quantity.clone(),
            unit: line.display_unit.clone(),
            amount: amount(line.amount_minor, &row.currency)?.decimal(),
            flags: line.flags.clone(),
        })
    };
    Ok(InvoiceReport {
        summary: summary(row)?,
        lines: lines.iter().map(line).collect::<Result<_, Refusal>>()?,
    })
}
