//! `kubectl freehold bill` and `usage`: what a tenant owes by now, and what it used.

use crate::failure::Failure;
use crate::output::{self, exact, plain, readable};
use crate::server::Server;
use calendar::Instant;
use comfy_table::Table;
use money::{Currency, Exact};
use pricing::report::{BillReport, LineReport, UsageReport, WindowReport};
use std::collections::BTreeMap;

/// Asks for a bill.
pub async fn bill(
    server: &Server,
    tenant: &str,
    period: Option<&str>,
) -> Result<BillReport, Failure> {
    server.get("/api/v1/bill", &[("tenant", Some(tenant)), ("period", period)]).await
}

/// Asks for usage.
pub async fn usage(
    server: &Server,
    tenant: &str,
    during: (Option<Instant>, Option<Instant>),
    meter: Option<&str>,
) -> Result<UsageReport, Failure> {
    let text = |instant: Option<Instant>| instant.map(|instant| instant.to_string());
    let (from, to) = (text(during.0), text(during.1));
    let query = [
        ("tenant", Some(tenant)),
        ("from", from.as_deref()),
        ("to", to.as_deref()),
        ("meter", meter),
    ];
    server.get("/api/v1/usage", &query).await
}

/// A bill for people.
pub fn bill_text(bill: &BillReport) -> String {
    let until = bill.as_of.as_ref().map_or_else(
        || "no usage counted yet".to_owned(),
        |as_of| format!("usage up to {}", as_of.0),
    );
    let heading = format!(
        "Tenant {}, plan {}, period {} ({} to {}), {until}\n\n",
        plain(&bill.tenant),
        plain(&bill.plan),
        plain(&bill.period.name),
        bill.period.from.0,
        bill.period.to.0,
    );
    let table = lines_table(&bill.lines, bill.currency, &bill.total).to_string();
    let unpriced = bill.unpriced.iter().map(|unpriced| {
        let (quantity, meter, generation) =
            (unpriced.quantity, plain(&unpriced.meter), unpriced.generation);
        format!("Not priced: {quantity} base units of meter {meter}; generation {generation} of the plan has no card for it")
    });
    let gaps = match bill.open_gaps {
        0 => None,
        1 => Some("1 gap in the usage is open and holds the close".to_owned()),
        gaps => Some(format!("{gaps} gaps in the usage are open and hold the close")),
    };
    let lines = [heading + &table].into_iter().chain(unpriced).chain(gaps);
    lines.map(|line| line + "\n").collect()
}

/// Bill or invoice lines with their total.
pub fn lines_table(lines: &[LineReport], currency: Currency, total: &str) -> Table {
    let headings = ["item", "project", "object", "quantity", "unit", "amount", ""];
    let mut table = output::table(&headings, &[3, 5]);
    for line in lines {
        table.add_row([
            plain(&line.description),
            plain(&line.project),
            object(&line.object, &line.part),
            readable(&line.quantity),
            plain(&line.unit),
            format!("{} {currency}", plain(&line.amount)),
            plain(&line.flags.join(", ")),
        ]);
    }
    let total = format!("{} {currency}", plain(total));
    table.add_row(["Total", "", "", "", "", &total, ""]);
    table
}

/// An object, and in brackets the part of it.
pub fn object(object: &str, part: &str) -> String {
    if part.is_empty() { plain(object) } else { format!("{} ({})", plain(object), plain(part)) }
}

/// Usage windows for people, with a total for each meter.
pub fn usage_text(usage: &UsageReport) -> String {
    let mut table =
        output::table(&["meter", "object", "from", "quantity", "unit", "facts"], &[3, 5]);
    let mut totals: BTreeMap<(&str, &str), Option<Exact>> = BTreeMap::new();
    for window in &usage.windows {
        table.add_row(window_row(window));
        let total = totals.entry((&window.meter, &window.unit)).or_insert(Some(Exact::zero()));
        *total = total.as_ref().and_then(|sum| Some(sum.plus(&exact(&window.quantity)?)));
    }
    for ((meter, unit), total) in totals {
        let total = total.map_or_else(|| "?".to_owned(), |total| total.rounded_text(6));
        table.add_row([plain(meter), "Total".to_owned(), String::new(), total, plain(unit)]);
    }
    format!("{table}\n")
}

fn window_row(window: &WindowReport) -> [String; 6] {
    let named =
        if window.object.is_empty() { window.resource.to_string() } else { window.object.clone() };
    [
        plain(&window.meter),
        object(&named, &window.part),
        window.start.0.to_string(),
        readable(&window.quantity),
        plain(&window.unit),
        window.facts.to_string(),
    ]
}
