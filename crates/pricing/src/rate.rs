//! Rating: from the quantities of a period to lines, one ROUND each.
//!
//! The order is fixed and shown in every explanation: convert the unit, take off the free quantity, price, round. All
//! usage of a card in a period is laid end to end, ordered by window start, then item and cell; that position decides
//! which units are free and which tier they fall into. A version that begins mid-period continues the positions and
//! prices each unit at the rate in force at its time. Until ROUND an amount is an exact fraction.

use crate::plan::{CardMeter, PlanVersion, Price, RateCard, Tier};
use calendar::Instant;
use money::{Amount, AmountRefused, Decimal, Exact, Quantity, RoundingMode};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The whole quantity of one window of one item.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Usage {
    /// Where the window begins.
    pub window_start: Instant,
    /// Who used it, such as a resource's UID; part of the line key.
    pub item: String,
    /// The part of the item, such as an interface; part of the line key. Empty for the whole.
    pub cell: String,
    /// The plan generation in force in the window.
    pub generation: i64,
    /// Base units, ≥ 0.
    pub quantity: Quantity,
}

/// What one item, cell and version owe for one card.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RatedLine {
    /// As in [`Usage`].
    pub item: String,
    /// As in [`Usage`].
    pub cell: String,
    /// The plan generation that prices it.
    pub generation: i64,
    /// Base units; for a fee, microseconds subscribed.
    pub quantity: Quantity,
    /// After ROUND.
    pub amount: Amount,
    /// How the amount came about.
    pub explanation: Explanation,
}

/// How an amount came about: for people, and complete enough to compute it again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// From base units to the display unit.
    pub conversion: Conversion,
    /// Display units that cost nothing.
    pub free: String,
    /// What was charged at which price, in order.
    pub parts: Vec<PricedPart>,
    /// The sum of the parts in the currency, exact: a decimal, or a fraction where no decimal is.
    pub exact_amount: String,
    /// The one rounding.
    pub rounding: Rounding,
}

/// From base units to the display unit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Conversion {
    /// Base units.
    pub base_units: Quantity,
    /// Base units in one display unit.
    pub base_units_per_display_unit: Quantity,
    /// The display unit.
    pub display_unit: String,
    /// Display units, exact.
    pub quantity: String,
}

/// A price applied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PricedPart {
    /// Where the tier begins, in display units; absent outside of tiers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tier_from: Option<Decimal>,
    /// Display units, exact; for a fee or a tier's flat part the share of it that is due.
    pub quantity: String,
    /// The price of one.
    pub rate: Decimal,
    /// What that makes, exact.
    pub amount: String,
}

/// The one rounding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rounding {
    /// How.
    pub mode: RoundingMode,
    /// Digits after the point.
    pub digits: u8,
    /// The result, in the currency.
    pub amount: String,
}

/// Usage that cannot be rated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RatingRefused {
    /// Usage below nothing.
    #[error(
        "usage of {item} at {window_start} is {quantity}; usage is never negative, corrections lower the window"
    )]
    Negative {
        /// Whose.
        item: String,
        /// When.
        window_start: Instant,
        /// How much.
        quantity: Quantity,
    },
    /// A generation that was not handed in.
    #[error("usage of {item} names plan generation {generation}, which has no rate card `{card}`")]
    UnknownGeneration {
        /// Whose.
        item: String,
        /// The generation.
        generation: i64,
        /// The card.
        card: String,
    },
    /// Two versions in one period convert differently.
    #[error(
        "rate card `{card}` changes its unit within a period; give the new unit a card of its own"
    )]
    UnitChanged {
        /// The card.
        card: String,
    },
    /// A metered card where a fee was expected, or the reverse.
    #[error("rate card `{card}` changes between a fee and a price by quantity; give it a new id")]
    KindChanged {
        /// The card.
        card: String,
    },
    /// The period has no length.
    #[error("a fee needs a period with a length")]
    EmptyPeriod,
    /// Beyond 10^18 minor units.
    #[error(transparent)]
    Amount(#[from] AmountRefused),
}

/// One card as each generation of the plan in the period has it.
pub type CardVersions<'a> = BTreeMap<i64, (&'a PlanVersion, &'a RateCard)>;

/// Rates everything one subscription used of one metered card in one period. `usages`: whole quantities per window, in
/// any order; result: one line per (item, cell, generation), ascending.
///
/// # Errors
/// [`RatingRefused`]; nothing is rated then.
pub fn rate_metered(
    cards: &CardVersions<'_>,
    usages: &[Usage],
) -> Result<Vec<RatedLine>, RatingRefused> {
    let meter = common_meter(cards)?;
    let mut ordered: Vec<&Usage> = usages.iter().filter(|usage| usage.quantity.0 != 0).collect();
    ordered.sort_unstable();
    let mut lines: BTreeMap<(&str, &str, i64), Draft> = BTreeMap::new();
    let mut before = Exact::zero();
    for usage in ordered {
        let (item, generation) = (usage.item.clone(), usage.generation);
        if usage.quantity.0 < 0 {
            let (window_start, quantity) = (usage.window_start, usage.quantity);
            return Err(RatingRefused::Negative { item, window_start, quantity });
        }
        let Some((plan, card)) = cards.get(&generation) else {
            let card = cards.values().next().map_or_else(String::new, |(_, card)| card.id.clone());
            return Err(RatingRefused::UnknownGeneration { item, generation, card });
        };
        let after = before.plus(&display_units(usage.quantity, meter));
        let draft = lines
            .entry((&usage.item, &usage.cell, generation))
            .or_insert_with(|| Draft::new(plan, card));
        draft.add(usage.quantity, &before, &after);
        before = after;
    }
    lines
        .into_iter()
        .map(|((item, cell, generation), draft)| draft.finish(item, cell, generation, meter))
        .collect()
}

/// Rates a fee. `period_microseconds`: the length of the full period; `active`: microseconds subscribed under each
/// generation within it. One line per generation with a share.
///
/// # Errors
/// [`RatingRefused`].
pub fn rate_flat(
    cards: &CardVersions<'_>,
    item: &str,
    period_microseconds: i64,
    active: &BTreeMap<i64, i64>,
) -> Result<Vec<RatedLine>, RatingRefused> {
    let mut lines = Vec::new();
    for (generation, microseconds) in active.iter().filter(|(_, microseconds)| **microseconds > 0) {
        let Some((plan, card)) = cards.get(generation) else { continue };
        let Price::Flat { amount } = &card.price else {
            return Err(RatingRefused::KindChanged { card: card.id.clone() });
        };
        let share = Exact::ratio(i128::from(*microseconds), i128::from(period_microseconds))
            .ok_or(RatingRefused::EmptyPeriod)?;
        let exact = amount.exact().times(&share);
        let part = PricedPart {
            tier_from: None,
            quantity: share.to_string(),
            rate: *amount,
            amount: exact.to_string(),
        };
        let quantity = Quantity(i128::from(*microseconds));
        let conversion = Conversion {
            base_units: quantity,
            base_units_per_display_unit: Quantity(i128::from(period_microseconds)),
            display_unit: "period".to_owned(),
            quantity: share.to_string(),
        };
        let line = Draft { parts: Vec::new(), ..Draft::new(plan, card) };
        lines.push(line.round(item, "", *generation, quantity, conversion, vec![part], &exact)?);
    }
    Ok(lines)
}

fn common_meter<'a>(cards: &CardVersions<'a>) -> Result<&'a CardMeter, RatingRefused> {
    let mut found: Option<&CardMeter> = None;
    for (_, card) in cards.values() {
        let Some(meter) = &card.meter else {
            return Err(RatingRefused::KindChanged { card: card.id.clone() });
        };
        let differs = found.is_some_and(|first| {
            first.base_units_per_display_unit != meter.base_units_per_display_unit
                || first.name != meter.name
        });
        if differs {
            return Err(RatingRefused::UnitChanged { card: card.id.clone() });
        }
        found = found.or(Some(meter));
    }
    found.ok_or_else(|| RatingRefused::KindChanged { card: String::new() })
}

fn display_units(quantity: Quantity, meter: &CardMeter) -> Exact {
    // The conversion is at least 1: `PlanVersion` refuses anything else.
    Exact::ratio(quantity.0, i128::from(meter.base_units_per_display_unit))
        .unwrap_or_else(Exact::zero)
}

/// A line while its usage is laid end to end with that of the others.
struct Draft<'a> {
    plan: &'a PlanVersion,
    card: &'a RateCard,
    quantity: i128,
    free: Exact,
    /// Display units by tier; a price per unit is one tier.
    parts: Vec<TierSum>,
}

struct TierSum {
    units: Exact,
    is_reached: bool,
}

impl<'a> Draft<'a> {
    fn new(plan: &'a PlanVersion, card: &'a RateCard) -> Self {
        let count = tiers_of(card).len();
        let parts =
            (0..count).map(|_| TierSum { units: Exact::zero(), is_reached: false }).collect();
        Self { plan, card, quantity: 0, free: Exact::zero(), parts }
    }

    /// Takes in usage that reaches from position `before` to `after`, in display units of the whole card.
    fn add(&mut self, quantity: Quantity, before: &Exact, after: &Exact) {
        self.quantity = self.quantity.saturating_add(quantity.0);
        let allowance = self.card.free_quantity.exact();
        let start = before.clone().max(allowance.clone());
        let end = after.clone().max(allowance.clone());
        let charged = end.minus(&start);
        self.free = self.free.plus(&after.minus(before).minus(&charged));
        // Tiers see what the free quantity has left.
        let (start, end) = (start.minus(&allowance), end.minus(&allowance));
        let tiers = tiers_of(self.card);
        for (index, (tier, sum)) in tiers.iter().zip(self.parts.iter_mut()).enumerate() {
            let from = tier.from.exact();
            let to = tiers.get(index.saturating_add(1)).map(|next| next.from.exact());
            let low = start.clone().max(from.clone());
            let high = to.map_or_else(|| end.clone(), |to| end.clone().min(to));
            if high > low {
                sum.units = sum.units.plus(&high.minus(&low));
            }
            // Reached by this usage: the position crosses the beginning of the tier.
            sum.is_reached |= start <= from && end > from;
        }
    }

    fn finish(
        self,
        item: &str,
        cell: &str,
        generation: i64,
        meter: &CardMeter,
    ) -> Result<RatedLine, RatingRefused> {
        let is_tiered = matches!(self.card.price, Price::Graduated { .. });
        let mut parts = Vec::new();
        let mut total = Exact::zero();
        for (tier, sum) in tiers_of(self.card).iter().zip(&self.parts) {
            let tier_from = is_tiered.then_some(tier.from);
            let mut charge = |units: &Exact, rate: Decimal| {
                let amount = units.times(&rate.exact());
                total = total.plus(&amount);
                let (quantity, amount) = (units.to_string(), amount.to_string());
                parts.push(PricedPart { tier_from, quantity, rate, amount });
            };
            if !sum.units.is_zero() {
                charge(&sum.units, tier.rate);
            }
            if sum.is_reached && !tier.flat.is_zero() {
                charge(&Exact::whole(1), tier.flat);
            }
        }
        let quantity = Quantity(self.quantity);
        let conversion = Conversion {
            base_units: quantity,
            base_units_per_display_unit: Quantity(i128::from(meter.base_units_per_display_unit)),
            display_unit: meter.display_unit.clone(),
            quantity: display_units(quantity, meter).to_string(),
        };
        self.round(item, cell, generation, quantity, conversion, parts, &total)
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "the fields of one line, each named at its maker"
    )]
    fn round(
        &self,
        item: &str,
        cell: &str,
        generation: i64,
        quantity: Quantity,
        conversion: Conversion,
        parts: Vec<PricedPart>,
        exact: &Exact,
    ) -> Result<RatedLine, RatingRefused> {
        let currency = self.plan.currency;
        let minor = exact.times(&Exact::whole(i128::from(currency.minor_units())));
        let overflow = || AmountRefused::Overflow { minor: minor.to_string(), currency };
        let whole = self.plan.rounding.round(&minor).ok_or_else(overflow)?;
        let amount = Amount::of_minor(whole, currency)?;
        let explanation = Explanation {
            conversion,
            free: self.free.to_string(),
            parts,
            exact_amount: exact.to_string(),
            rounding: Rounding {
                mode: self.plan.rounding,
                digits: currency.digits(),
                amount: amount.decimal(),
            },
        };
        let (item, cell) = (item.to_owned(), cell.to_owned());
        Ok(RatedLine { item, cell, generation, quantity, amount, explanation })
    }
}

/// A price per unit is a single tier from 0; a fee has none.
fn tiers_of(card: &RateCard) -> Vec<Tier> {
    match &card.price {
        Price::Flat { .. } => Vec::new(),
        Price::PerUnit { rate } => {
            vec![Tier { from: Decimal::ZERO, rate: *rate, flat: Decimal::ZERO }]
        }
        Price::Graduated { tiers } => tiers.clone(),
    }
}
