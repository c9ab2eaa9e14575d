//! `kubectl freehold rate`: prices a usage file, offline, with the engine that bills.

use crate::failure::Failure;
use crate::output::{self, Format};
use crate::usage_file::{GENERATION, PeriodUsage};
use crate::{catalogue, read, usage_file};
use calendar::{Period, Periods};
use money::{Amount, Exact};
use pricing::{BillInput, BillLine, Conversion, PlanVersion};
use serde::Serialize;
use std::path::Path;

/// What the usage costs.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Rated {
    plan: String,
    period: RatedPeriod,
    lines: Vec<BillLine>,
    total: Amount,
}

/// `[from, to)`, and the local date it begins on.
#[derive(Debug, Serialize)]
struct RatedPeriod {
    name: String,
    from: String,
    to: String,
}

impl RatedPeriod {
    fn of(period: Period) -> Self {
        let (from, to) = (period.during.from.to_string(), period.during.to.to_string());
        Self { name: period.name, from, to }
    }
}

/// Runs the command; the text to print.
pub fn run(plan: &Path, usage: &Path, time_zone: &str, format: Format) -> Result<String, Failure> {
    let catalogue = catalogue::read(&read(plan)?)?;
    let periods = Periods::monthly(time_zone, catalogue.plan.anchor_day)
        .map_err(|error| Failure::refused(format!("--time-zone: {error}")))?;
    let usage = usage_file::read(&read(usage)?, &catalogue, &periods)?;
    let rated = rate(&catalogue.name, &catalogue.plan, usage)?;
    output::print(format, &rated, |rated| format!("{}\n", table(rated)))
}

fn rate(name: &str, plan: &PlanVersion, usage: PeriodUsage) -> Result<Rated, Failure> {
    let bill = pricing::bill(&BillInput {
        subscription: name,
        period: &usage.period,
        versions: &[(GENERATION, plan.clone())].into(),
        active: &[(GENERATION, usage.period.during)],
        usages: &usage.usages,
    })
    .map_err(Failure::refused)?;
    if !bill.unpriced.is_empty() {
        let said = |meter: &str| {
            format!("PricePlan {name}: no rate card prices meter `{meter}`, which the file uses")
        };
        return Err(Failure::Refused(bill.unpriced.iter().map(|one| said(&one.meter)).collect()));
    }
    let mut total = Amount::of_minor(0, plan.currency).map_err(Failure::refused)?;
    for line in &bill.lines {
        total = total.checked_add(&line.rated.amount).map_err(Failure::refused)?;
    }
    Ok(Rated {
        plan: name.to_owned(),
        period: RatedPeriod::of(usage.period),
        lines: bill.lines,
        total,
    })
}

/// The quantity with six places for people; the exact one is in the explanation.
fn readable(conversion: &Conversion) -> String {
    let (base_units, per_unit) =
        (conversion.base_units.0, conversion.base_units_per_display_unit.0);
    Exact::ratio(base_units, per_unit).map_or_else(String::new, |exact| exact.rounded_text(6))
}

fn table(rated: &Rated) -> comfy_table::Table {
    let mut table = output::table(&["item", "resource", "quantity", "unit", "amount"], &[2, 4]);
    for line in &rated.lines {
        let conversion = &line.rated.explanation.conversion;
        let quantity = readable(conversion);
        let amount = line.rated.amount.to_string();
        // A fee is nobody's in particular.
        let resource = if line.meter.is_some() { line.rated.item.as_str() } else { "" };
        table.add_row([&line.description, resource, &quantity, &conversion.display_unit, &amount]);
    }
    table.add_row(["Total", "", "", "", &rated.total.to_string()]);
    table
}
