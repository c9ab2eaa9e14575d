//! Usage from a CSV file: who used how much of what, when. The format is described in docs/usage-file.md.

use crate::catalogue::Catalogue;
use crate::failure::Failure;
use calendar::{Instant, Period, Periods};
use money::{Decimal, Exact, Quantity, RoundingMode};
use pricing::Usage;
use serde::Deserialize;
use std::collections::BTreeMap;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    meter: String,
    resource: String,
    window_start: String,
    quantity: String,
}

/// A period's usage, by meter.
#[derive(Debug)]
pub struct PeriodUsage {
    /// The period that all of it lies in.
    pub period: Period,
    /// By meter.
    pub usages: BTreeMap<String, Vec<Usage>>,
}

/// The generation that the file's one plan gets.
pub const GENERATION: i64 = 1;
/// The most rows that are read; beyond it the file is not what people check by hand.
const ROWS_MAX: usize = 10_000_000;

/// Reads the file. All wrong rows are named, not only the first.
pub fn read(text: &str, catalogue: &Catalogue, periods: &Periods) -> Result<PeriodUsage, Failure> {
    let (mut usages, mut refusals) = (BTreeMap::<String, Vec<Usage>>::new(), Vec::new());
    let mut period: Option<Period> = None;
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(text.as_bytes());
    for (index, row) in reader.deserialize::<Row>().enumerate() {
        let line = index.saturating_add(2);
        if index >= ROWS_MAX {
            let message = format!("usage file: more than {ROWS_MAX} rows; split it");
            return Err(Failure::refused(message));
        }
        let parsed = row.map_err(|error| error.to_string()).and_then(|row| {
            let usage = parse(&row, catalogue)?;
            let known = period.take();
            period = Some(same_period(known, usage.window_start, periods)?);
            Ok((row.meter, usage))
        });
        match parsed {
            Ok((meter, usage)) => usages.entry(meter).or_default().push(usage),
            Err(reason) => refusals.push(format!("usage file, line {line}: {reason}")),
        }
    }
    if !refusals.is_empty() {
        return Err(Failure::Refused(refusals));
    }
    let period = period.ok_or_else(|| Failure::refused("usage file: holds no usage"))?;
    Ok(PeriodUsage { period, usages })
}

fn same_period(
    known: Option<Period>,
    instant: Instant,
    periods: &Periods,
) -> Result<Period, String> {
    let own = periods.containing(instant).map_err(|error| format!("window_start: {error}"))?;
    match known {
        Some(known) if known != own => Err(format!(
            "window_start: lies in the period of {}, earlier rows in that of {}; one file is one period",
            own.name, known.name
        )),
        Some(_) | None => Ok(own),
    }
}

fn parse(row: &Row, catalogue: &Catalogue) -> Result<Usage, String> {
    let Some(meter) = catalogue.meters.get(&row.meter) else {
        let known: Vec<&str> = catalogue.meters.keys().map(String::as_str).collect();
        let known = known.join(", ");
        return Err(format!(
            "meter: there is no Meter `{}` in the plan file; known: {known}",
            row.meter
        ));
    };
    if row.resource.is_empty() {
        return Err("resource: is empty; name what was used".to_owned());
    }
    let window_start =
        row.window_start.parse().map_err(|error| format!("window_start: {error}"))?;
    let quantity = quantity(&row.quantity, i128::from(meter.base_units_per_unit))?;
    let (item, cell) = (row.resource.clone(), String::new());
    Ok(Usage { window_start, item, cell, generation: GENERATION, quantity })
}

/// A decimal of units in whole base units; what is finer is refused, never cut.
fn quantity(text: &str, base_units_per_unit: i128) -> Result<Quantity, String> {
    let decimal: Decimal = text.parse().map_err(|error| format!("quantity: {error}"))?;
    let exact = decimal.exact().times(&Exact::whole(base_units_per_unit));
    let whole = RoundingMode::Down.round(&exact);
    whole.filter(|whole| Exact::whole(*whole) == exact).map(Quantity).ok_or_else(|| {
        format!("quantity: `{text}` is finer than the meter counts (1/{base_units_per_unit} of its unit)")
    })
}
