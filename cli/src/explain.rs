//! `kubectl freehold explain`: one amount down to the facts behind it, as a tree.

use crate::bill::object;
use crate::failure::Failure;
use crate::output::{Branch, plain, readable};
use crate::server::Server;
use money::RoundingMode;
use pricing::report::{ExplainReport, GapReport, SpanReport, WindowReport};

/// Of a long list, this many at either end are shown; JSON and YAML have all.
const SHOWN_AT_EITHER_END: usize = 3;

/// Asks for the explanation of a line.
pub async fn explain(server: &Server, key: &str) -> Result<ExplainReport, Failure> {
    server.get("/api/v1/lines/explain", &[("key", Some(key))]).await
}

/// The tree: amount → rounding → prices → version → windows → spans or samples → object.
pub fn text(report: &ExplainReport) -> String {
    let line = &report.line;
    let mut root = Branch::new(format!(
        "{} {}  {}  [{}]",
        plain(&line.amount),
        report.currency,
        plain(&line.description),
        plain(&line.key)
    ));
    root.add(amount(report));
    root.add(version(report));
    root.add(quantity(report));
    for gap in &report.gaps {
        root.add(gap_text(gap));
    }
    if let Some(uid) = report.resource {
        let project = if line.project.is_empty() {
            String::new()
        } else {
            format!(" in project {}", plain(&line.project))
        };
        let uid_text = format!("{}{project}, UID {uid}", object(&line.object, &line.part));
        root.add(format!("object: {uid_text}"));
    }
    root.lines()
}

fn amount(report: &ExplainReport) -> Branch {
    let explanation = &report.explanation;
    let rounding = &explanation.rounding;
    let mode = match rounding.mode {
        RoundingMode::HalfAwayFromZero => "half away from zero",
        RoundingMode::HalfEven => "half to even",
        RoundingMode::Up => "up",
        RoundingMode::Down => "down",
    };
    let mut amount = Branch::new(format!(
        "amount: {} rounded once, {mode}, to {} digits = {}",
        plain(&explanation.exact_amount),
        rounding.digits,
        plain(&rounding.amount)
    ));
    let unit = plain(&explanation.conversion.display_unit);
    for part in &explanation.parts {
        let tier = part.tier_from.map_or_else(String::new, |from| format!(" (tier from {from})"));
        let (quantity, rate, makes) = (plain(&part.quantity), part.rate, plain(&part.amount));
        amount.add(format!("{quantity} {unit} × {rate} = {makes}{tier}"));
    }
    if explanation.free != "0" {
        amount.add(format!("{} {unit} free", plain(&explanation.free)));
    }
    amount
}

fn version(report: &ExplainReport) -> Branch {
    let mut version = Branch::new(format!(
        "price version: plan {}, generation {}, from {}",
        plain(&report.plan),
        report.generation,
        report.effective_from.0
    ));
    version.add(format!("hash of the priced fields: {}", plain(&report.version_hash)));
    version
}

fn quantity(report: &ExplainReport) -> Branch {
    let conversion = &report.explanation.conversion;
    let mut quantity = Branch::new(format!(
        "quantity: {} base units ÷ {} = {} {}",
        conversion.base_units,
        conversion.base_units_per_display_unit,
        plain(&conversion.quantity),
        plain(&conversion.display_unit)
    ));
    shortened(&mut quantity, "window", &report.windows, window_text);
    if !report.spans.is_empty() {
        let mut spans = Branch::new(format!("held: {} spans", report.spans.len()));
        shortened(&mut spans, "span", &report.spans, span_text);
        quantity.add(spans);
    }
    if let (Some(first), Some(last)) = (report.samples.first(), report.samples.last()) {
        let mut samples = Branch::new(format!(
            "samples: {}, counter from {} to {} base units",
            report.samples.len(),
            first.base_units,
            last.base_units
        ));
        shortened(&mut samples, "sample", &report.samples, |sample| {
            format!("{}: {}", sample.at.0, sample.base_units)
        });
        quantity.add(samples);
    }
    quantity
}

/// Both ends of a list, and how many lie between them.
fn shortened<T>(branch: &mut Branch, what: &str, list: &[T], text: impl Fn(&T) -> String) {
    let between = list.len().saturating_sub(SHOWN_AT_EITHER_END.saturating_mul(2));
    let tail = list.len().saturating_sub(SHOWN_AT_EITHER_END);
    for (index, one) in list.iter().enumerate() {
        if between > 1 && index == SHOWN_AT_EITHER_END {
            branch.add(format!("… {between} more {what}s; -o json lists them"));
        }
        if between <= 1 || index < SHOWN_AT_EITHER_END || index >= tail {
            branch.add(text(one));
        }
    }
}

fn window_text(window: &WindowReport) -> String {
    format!(
        "window {}: {} {} from {} facts",
        window.start.0,
        readable(&window.quantity),
        plain(&window.unit),
        window.facts
    )
}

fn span_text(span: &SpanReport) -> String {
    let to = span.to.as_ref().map_or_else(|| "now".to_owned(), |to| to.0.to_string());
    let (sku, quantity) = (plain(&span.sku), plain(&span.quantity));
    format!("transition {}: {quantity} {sku} from {} to {to}", span.transition, span.from.0)
}

fn gap_text(gap: &GapReport) -> String {
    let to = gap.to.as_ref().map_or_else(|| "now".to_owned(), |to| to.0.to_string());
    let state = match (gap.filled, gap.informational) {
        (true, _) => "filled since",
        (false, true) => "the total is exact all the same",
        (false, false) => "open",
    };
    format!("gap: {} from {} to {to}, {state}", plain(&gap.cause), gap.from.0)
}
