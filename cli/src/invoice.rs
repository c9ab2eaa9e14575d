//! `kubectl freehold invoice`: issue, list, show, export.

use crate::bill::lines_table;
use crate::failure::Failure;
use crate::output::{self, plain};
use crate::server::{Server, encoded};
use pricing::report::{InvoiceList, InvoiceOrder, InvoiceReport};
use uuid::Uuid;

/// How an invoice is written to a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum FileFormat {
    /// The whole invoice as one JSON document.
    Json,
    /// One row per line under a row of headings.
    Csv,
}

/// Issues an off-cycle invoice.
pub async fn issue(
    server: &Server,
    tenant: &str,
    through: &str,
    key: Option<&str>,
) -> Result<InvoiceReport, Failure> {
    let order = InvoiceOrder { tenant: tenant.to_owned(), through: through.to_owned() };
    // Without a key of the caller's every order is one of its own.
    let key = key.map_or_else(|| Uuid::new_v4().to_string(), str::to_owned);
    server.post("/api/v1/invoices", &order, &key).await
}

/// A tenant's invoices.
pub async fn list(server: &Server, tenant: &str) -> Result<InvoiceList, Failure> {
    server.get("/api/v1/invoices", &[("tenant", Some(tenant))]).await
}

/// One invoice.
pub async fn show(server: &Server, number: &str) -> Result<InvoiceReport, Failure> {
    server.get(&format!("/api/v1/invoices/{}", encoded(number)), &[]).await
}

/// Invoices for people.
pub fn list_text(list: &InvoiceList) -> String {
    let mut table = output::table(&["number", "issued", "usage through", "total"], &[3]);
    for invoice in &list.invoices {
        table.add_row([
            plain(&invoice.number),
            invoice.issued_at.0.to_string(),
            invoice.through.0.to_string(),
            format!("{} {}", plain(&invoice.total), invoice.currency),
        ]);
    }
    format!("{table}\n")
}

/// An invoice for people.
pub fn text(invoice: &InvoiceReport) -> String {
    let summary = &invoice.summary;
    format!(
        "Invoice {} to tenant {}, issued {}, usage through {}\n\n{}\n",
        plain(&summary.number),
        plain(&summary.tenant),
        summary.issued_at.0,
        summary.through.0,
        lines_table(&invoice.lines, summary.currency, &summary.total)
    )
}

/// An invoice as a file's text.
pub fn exported(invoice: &InvoiceReport, format: FileFormat) -> Result<String, Failure> {
    match format {
        FileFormat::Json => serde_json::to_string_pretty(invoice)
            .map(|text| text + "\n")
            .map_err(|error| Failure::Write(error.to_string())),
        FileFormat::Csv => csv_text(invoice).map_err(|error| Failure::Write(error.to_string())),
    }
}

const HEADINGS: [&str; 13] = [
    "invoice",
    "tenant",
    "issued_at",
    "through",
    "line",
    "description",
    "project",
    "object",
    "part",
    "quantity",
    "unit",
    "amount",
    "currency",
];

fn csv_text(invoice: &InvoiceReport) -> Result<String, Box<dyn std::error::Error>> {
    let summary = &invoice.summary;
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(HEADINGS)?;
    for line in &invoice.lines {
        writer.write_record([
            guarded(&summary.number),
            guarded(&summary.tenant),
            summary.issued_at.0.to_string(),
            summary.through.0.to_string(),
            guarded(&line.key),
            guarded(&line.description),
            guarded(&line.project),
            guarded(&line.object),
            guarded(&line.part),
            number(&line.quantity),
            guarded(&line.unit),
            number(&line.amount),
            summary.currency.to_string(),
        ])?;
    }
    Ok(String::from_utf8(writer.into_inner()?)?)
}

/// Text that a spreadsheet would take for a formula gets an apostrophe in front, so that it stays text.
fn guarded(text: &str) -> String {
    if text.starts_with(['=', '+', '-', '@', '\t', '\r']) {
        format!("'{text}")
    } else {
        text.to_owned()
    }
}

/// A number stays one, also a negative one; anything else in its place is text.
fn number(text: &str) -> String {
    if output::exact(text).is_some() { text.to_owned() } else { guarded(text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formulas_stay_text_and_numbers_stay_numbers() {
        for text in ["=1+1", "+1", "-cmd", "@SUM(A1)", "\tx", "\rx"] {
            assert_eq!(guarded(text), format!("'{text}"));
        }
        for text in ["", "web", "a=b", "FH-000001"] {
            assert_eq!(guarded(text), text);
        }
        for (text, expected) in [("-3.50", "-3.50"), ("1/3", "1/3"), ("-1+1", "'-1+1")] {
            assert_eq!(number(text), expected);
        }
    }
}
