//! A period's bill lines: every card of a subscription's plan versions over all of its usage.
//!
//! The one way from usage to lines, whoever asks: the stream that keeps lines live, the preview of a re-rating, the
//! offline rating of a file. The result is a function of its arguments and sorted by line key.

use crate::plan::{PlanVersion, RateCard};
use crate::rate::{CardVersions, RatedLine, RatingRefused, Usage, rate_flat, rate_metered};
use calendar::{Interval, Period};
use money::Quantity;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What there is to bill.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BillInput<'a> {
    /// The subscription, as in line keys.
    pub subscription: &'a str,
    /// The billing period.
    pub period: &'a Period,
    /// The plan's versions by generation: at least those that `usages` and `active` name.
    pub versions: &'a BTreeMap<i64, PlanVersion>,
    /// When the subscription was on which generation within the period; fees are due for these.
    pub active: &'a [(i64, Interval)],
    /// Usage by meter name.
    pub usages: &'a BTreeMap<String, Vec<Usage>>,
}

/// One line of a bill.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BillLine {
    /// `{subscription}/{item}/{rateCard}/{cell}/{phase}.v{version}/p{period}`.
    pub key: String,
    /// The card.
    pub rate_card: String,
    /// What people read.
    pub description: String,
    /// The meter; absent for a fee.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub meter: Option<String>,
    /// Quantity, amount and explanation.
    #[serde(flatten)]
    pub rated: RatedLine,
}

/// Usage that no card prices. It is not free: it waits in suspense and blocks the close.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Unpriced {
    /// The meter.
    pub meter: String,
    /// The plan generation that has no card for it.
    pub generation: i64,
    /// Base units.
    pub quantity: Quantity,
}

/// Lines ascending by key, and what could not be priced.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Bill {
    /// Ascending by key.
    pub lines: Vec<BillLine>,
    /// Ascending.
    pub unpriced: Vec<Unpriced>,
}

/// Rates a whole period of one subscription.
///
/// # Errors
/// [`RatingRefused`]; nothing is billed then.
pub fn bill(input: &BillInput<'_>) -> Result<Bill, RatingRefused> {
    let mut bill = Bill::default();
    let mut by_card: BTreeMap<&str, CardVersions<'_>> = BTreeMap::new();
    for (generation, version) in input.versions {
        for card in &version.cards {
            by_card.entry(&card.id).or_default().insert(*generation, (version, card));
        }
    }
    for (id, cards) in &by_card {
        for rated in rate_card(input, cards)? {
            bill.lines.extend(line(input, id, cards, rated));
        }
    }
    bill.lines.sort_by(|left, right| left.key.cmp(&right.key));
    bill.unpriced = unpriced(input);
    Ok(bill)
}

/// Rates one card; public for who rates only what was touched.
///
/// # Errors
/// [`RatingRefused`].
pub fn rate_card(
    input: &BillInput<'_>,
    cards: &CardVersions<'_>,
) -> Result<Vec<RatedLine>, RatingRefused> {
    let meter = cards.values().find_map(|(_, card)| card.meter.as_ref());
    let Some(meter) = meter else {
        let mut active: BTreeMap<i64, i64> = BTreeMap::new();
        for (generation, during) in input.active {
            let within = during.intersection(&input.period.during);
            let sum = active.entry(*generation).or_default();
            *sum = sum.saturating_add(within.map_or(0, |within| within.microseconds()));
        }
        let length = input.period.during.microseconds();
        return rate_flat(cards, input.subscription, length, &active);
    };
    let nothing = Vec::new();
    let usages = input.usages.get(&meter.name).unwrap_or(&nothing);
    let priced: Vec<Usage> =
        usages.iter().filter(|usage| cards.contains_key(&usage.generation)).cloned().collect();
    rate_metered(cards, &priced)
}

fn line(
    input: &BillInput<'_>,
    id: &str,
    cards: &CardVersions<'_>,
    rated: RatedLine,
) -> Option<BillLine> {
    let (version, card): &(&PlanVersion, &RateCard) = cards.get(&rated.generation)?;
    let key = line_key(input.subscription, &rated, id, &version.phase, &input.period.name);
    Some(BillLine {
        key,
        rate_card: id.to_owned(),
        description: card.description.clone(),
        meter: card.meter.as_ref().map(|meter| meter.name.clone()),
        rated,
    })
}

/// `{subscription}/{item}/{rateCard}/{cell}/{phase}.v{version}/p{period}`. A slash or percent sign within a part is
/// written as `%2F` or `%25`; the whole of an item, which has no cell, is `-`.
fn line_key(
    subscription: &str,
    rated: &RatedLine,
    card: &str,
    phase: &str,
    period: &str,
) -> String {
    let cell = if rated.cell.is_empty() { "-".to_owned() } else { escape(&rated.cell) };
    let item = escape(&rated.item);
    let generation = rated.generation;
    format!("{subscription}/{item}/{card}/{cell}/{phase}.v{generation}/p{period}")
}

fn escape(part: &str) -> String {
    // A cell that is itself "-" must not meet the whole.
    if part == "-" {
        return "%2D".to_owned();
    }
    part.replace('%', "%25").replace('/', "%2F")
}

fn unpriced(input: &BillInput<'_>) -> Vec<Unpriced> {
    let mut sums: BTreeMap<(&str, i64), i128> = BTreeMap::new();
    for (meter, usages) in input.usages {
        for usage in usages {
            let version = input.versions.get(&usage.generation);
            if version.and_then(|version| version.card_of(meter)).is_none() {
                let sum = sums.entry((meter, usage.generation)).or_default();
                *sum = sum.saturating_add(usage.quantity.0);
            }
        }
    }
    sums.into_iter()
        .filter(|(_, sum)| *sum != 0)
        .map(|((meter, generation), sum)| Unpriced {
            meter: meter.to_owned(),
            generation,
            quantity: Quantity(sum),
        })
        .collect()
}
