//! A plan version: prices that can be applied, because everything that could be wrong with them has been refused.
//!
//! Publishing is where a silent zero is stopped. A rate of zero has to be meant (`free: true`), every quantity falls
//! into exactly one tier because tiers are given by their beginnings alone and have to rise from 0, and a card names a
//! meter that exists. All mistakes are reported at once, each with the path of its field.

use crate::input::{CardInput, MeterInput, PhaseInput, PlanInput, PriceInput, TierInput};
use calendar::Instant;
use money::{Currency, Decimal, RoundingMode};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};

/// Prices of one generation of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanVersion {
    /// Of every amount in it.
    pub currency: Currency,
    /// From when it applies.
    pub effective_from: Instant,
    /// Day of the month on which billing periods begin.
    pub anchor_day: i64,
    /// How a line is rounded.
    pub rounding: RoundingMode,
    /// The name of the one phase.
    pub phase: String,
    /// In the plan's order; ids are unique, and no two price the same meter.
    pub cards: Vec<RateCard>,
}

/// One price.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RateCard {
    /// Unique within the plan.
    pub id: String,
    /// What people read.
    pub description: String,
    /// What is priced; absent for a fee.
    pub meter: Option<CardMeter>,
    /// The price.
    pub price: Price,
    /// Display units per period that cost nothing.
    pub free_quantity: Decimal,
}

/// The meter of a card, with its conversion.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CardMeter {
    /// The meter's name.
    pub name: String,
    /// Name of the display unit.
    pub display_unit: String,
    /// Base units in one display unit, at least 1.
    pub base_units_per_display_unit: i64,
}

/// How an amount follows from a quantity.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Price {
    /// Once per period, by the share of the period that was subscribed.
    Flat {
        /// In the currency.
        amount: Decimal,
    },
    /// Quantity × rate.
    PerUnit {
        /// Per display unit.
        rate: Decimal,
    },
    /// Each unit at the rate of its tier.
    Graduated {
        /// Rising, the first from 0.
        tiers: Vec<Tier>,
    },
}

/// One tier: from its beginning to that of the next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tier {
    /// In display units.
    pub from: Decimal,
    /// Per display unit.
    pub rate: Decimal,
    /// Due once per period when the tier is reached.
    pub flat: Decimal,
}

/// One mistake in a plan.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
#[error("{field}: {problem}")]
pub struct PlanRefused {
    /// Path of the field, like `spec.phases[0].rateCards[2].price.perUnit.rate`.
    pub field: String,
    /// What is wrong and what to do.
    pub problem: Problem,
}

/// What is wrong with a field.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum Problem {
    /// The value cannot be read.
    #[error("{reason}")]
    Unreadable {
        /// The reader's words: what, and how to write it.
        reason: String,
    },
    /// Not one of the words.
    #[error("`{text}` is unknown; use one of {known}")]
    UnknownWord {
        /// The word as given.
        text: String,
        /// Those that are known.
        known: &'static str,
    },
    /// A list of the wrong length.
    #[error("has {found} entries and needs {wanted}")]
    Count {
        /// How many there are.
        found: usize,
        /// What is wanted, in words.
        wanted: &'static str,
    },
    /// A price that costs nothing without saying so.
    #[error("is 0; set `free: true` beside it when nothing is to be charged, else give a price")]
    SilentZero,
    /// `free: true` beside a price.
    #[error("says free beside a price that is not 0; drop one of them")]
    FreeWithPrice,
    /// Two cards of one id, or two prices for one meter.
    #[error("repeats `{text}`, which {other} has already; remove one of them")]
    Repeated {
        /// What is repeated.
        text: String,
        /// Path of the first.
        other: String,
    },
    /// No such meter.
    #[error("meter `{name}` does not exist; create the Meter first or correct the name")]
    UnknownMeter {
        /// The name as given.
        name: String,
    },
    /// A metered price without a meter.
    #[error("is required for a price by quantity")]
    MeterMissing,
    /// A fee with a meter or a free quantity.
    #[error("has no place on a flat price, which is due whatever is used; remove it")]
    NotOnFlat,
    /// The first tier begins late, or one does not begin after the one before.
    #[error("is {found}; tiers begin at 0 and rise, so this has to be {wanted}")]
    TierOrder {
        /// Where it begins.
        found: Decimal,
        /// Where it should.
        wanted: String,
    },
    /// The conversion of the meter is not usable.
    #[error(
        "meter `{name}` has no usable display unit; its factors are at least 1 and their product below 10^18"
    )]
    Conversion {
        /// The meter.
        name: String,
    },
}

impl PlanVersion {
    /// Reads and checks a plan. `meters`: every declared meter by name.
    ///
    /// # Errors
    /// Every mistake found, in the order of the fields.
    pub fn from_input(
        input: &PlanInput,
        meters: &BTreeMap<String, MeterInput>,
    ) -> Result<Self, Vec<PlanRefused>> {
        let mut check = Check { refusals: Vec::new(), meters };
        let currency: Option<Currency> = check.read("spec.currency", &input.currency);
        let effective_from: Option<Instant> =
            check.read("spec.effectiveFrom", &input.effective_from);
        if let Some(cycle) = input.billing_cycle.as_deref().filter(|cycle| *cycle != "Monthly") {
            let problem = Problem::UnknownWord { text: cycle.to_owned(), known: "Monthly" };
            check.refuse("spec.billingCycle", problem);
        }
        let anchor_day = input.anchor_day.unwrap_or(1);
        if let Err(reason) = calendar::Periods::monthly("UTC", anchor_day) {
            check.refuse("spec.anchorDay", Problem::Unreadable { reason: reason.to_string() });
        }
        let rounding = check.rounding(input.rounding.as_deref());
        let (phase, cards) = check.phases(&input.phases);
        match (currency, effective_from) {
            (Some(currency), Some(effective_from)) if check.refusals.is_empty() => {
                Ok(Self { currency, effective_from, anchor_day, rounding, phase, cards })
            }
            _ => Err(check.refusals),
        }
    }

    /// SHA-256 of the priced fields, hexadecimal. `effectiveFrom` and descriptions are no prices: the same prices from
    /// another day, or in other words, are the same version.
    pub fn hash(&self) -> String {
        let mut priced = Self { effective_from: Instant::EPOCH, ..self.clone() };
        for card in &mut priced.cards {
            card.description.clear();
        }
        // Serialising plain structs of text and numbers into memory has no way to fail.
        let bytes = serde_json::to_vec(&priced).unwrap_or_default();
        let digits = |byte: &u8| {
            let digit = |value: u8| char::from_digit(u32::from(value), 16).unwrap_or('0');
            [digit(byte >> 4), digit(byte & 15)]
        };
        Sha256::digest(&bytes).iter().flat_map(digits).collect()
    }

    /// The card that prices `meter`.
    pub fn card_of(&self, meter: &str) -> Option<&RateCard> {
        self.cards.iter().find(|card| card.meter.as_ref().is_some_and(|one| one.name == meter))
    }

    /// Which of `meters` nobody is charged for, because no card prices them: what a product creates and a plan forgot.
    pub fn unpriced<'a>(&self, meters: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
        meters.into_iter().filter(|meter| self.card_of(meter).is_none()).collect()
    }
}

struct Check<'a> {
    refusals: Vec<PlanRefused>,
    meters: &'a BTreeMap<String, MeterInput>,
}

impl Check<'_> {
    fn refuse(&mut self, field: impl Into<String>, problem: Problem) {
        self.refusals.push(PlanRefused { field: field.into(), problem });
    }

    fn read<T: std::str::FromStr<Err: std::fmt::Display>>(
        &mut self,
        field: &str,
        text: &str,
    ) -> Option<T> {
        text.parse()
            .map_err(|reason: T::Err| {
                self.refuse(field, Problem::Unreadable { reason: reason.to_string() });
            })
            .ok()
    }

    fn rounding(&mut self, word: Option<&str>) -> RoundingMode {
        match word {
            None | Some("HalfAwayFromZero") => RoundingMode::HalfAwayFromZero,
            Some("HalfEven") => RoundingMode::HalfEven,
            Some("Up") => RoundingMode::Up,
            Some("Down") => RoundingMode::Down,
            Some(text) => {
                let known = "HalfAwayFromZero, HalfEven, Up, Down";
                let problem = Problem::UnknownWord { text: text.to_owned(), known };
                self.refuse("spec.rounding", problem);
                RoundingMode::default()
            }
        }
    }

    fn phases(&mut self, phases: &[PhaseInput]) -> (String, Vec<RateCard>) {
        let [phase] = phases else {
            let problem = Problem::Count { found: phases.len(), wanted: "exactly one" };
            self.refuse("spec.phases", problem);
            return (String::new(), Vec::new());
        };
        if phase.rate_cards.is_empty() {
            let problem = Problem::Count { found: 0, wanted: "at least one" };
            self.refuse("spec.phases[0].rateCards", problem);
        }
        let mut ids: BTreeMap<&str, String> = BTreeMap::new();
        let mut metered: BTreeMap<&str, String> = BTreeMap::new();
        let mut cards = Vec::new();
        for (index, card) in phase.rate_cards.iter().enumerate() {
            let path = format!("spec.phases[0].rateCards[{index}]");
            self.unique(&mut ids, &card.id, format!("{path}.id"));
            if let Some(meter) = &card.meter_ref {
                self.unique(&mut metered, &meter.name, format!("{path}.meterRef.name"));
            }
            cards.extend(self.card(card, &path));
        }
        (phase.name.clone(), cards)
    }

    fn unique<'a>(&mut self, seen: &mut BTreeMap<&'a str, String>, text: &'a str, path: String) {
        if let Some(other) = seen.get(text) {
            let problem = Problem::Repeated { text: text.to_owned(), other: other.clone() };
            self.refuse(path, problem);
        } else {
            seen.insert(text, path);
        }
    }

    fn card(&mut self, card: &CardInput, path: &str) -> Option<RateCard> {
        let is_free = card.free.unwrap_or(false);
        let price = self.price(&card.price, is_free, path)?;
        let is_flat = matches!(price, Price::Flat { .. });
        let meter = match &card.meter_ref {
            None if is_flat => None,
            None => {
                self.refuse(format!("{path}.meterRef"), Problem::MeterMissing);
                return None;
            }
            Some(_) if is_flat => {
                self.refuse(format!("{path}.meterRef"), Problem::NotOnFlat);
                return None;
            }
            Some(reference) => Some(self.meter(&reference.name, path)?),
        };
        let free_quantity = match &card.free_quantity {
            None => Decimal::ZERO,
            Some(_) if is_flat => {
                self.refuse(format!("{path}.freeQuantity"), Problem::NotOnFlat);
                return None;
            }
            Some(text) => self.read(&format!("{path}.freeQuantity"), text)?,
        };
        let description = card.description.clone().unwrap_or_else(|| card.id.clone());
        Some(RateCard { id: card.id.clone(), description, meter, price, free_quantity })
    }

    fn meter(&mut self, name: &str, path: &str) -> Option<CardMeter> {
        let field = format!("{path}.meterRef.name");
        let Some(meter) = self.meters.get(name) else {
            self.refuse(field, Problem::UnknownMeter { name: name.to_owned() });
            return None;
        };
        let factors = [meter.base_units_per_unit, meter.display_unit.units];
        let product = factors
            .into_iter()
            .try_fold(1_i64, |product, factor| product.checked_mul(factor).filter(|_| factor >= 1));
        match product {
            Some(base_units_per_display_unit) => Some(CardMeter {
                name: name.to_owned(),
                display_unit: meter.display_unit.name.clone(),
                base_units_per_display_unit,
            }),
            None => {
                self.refuse(field, Problem::Conversion { name: name.to_owned() });
                None
            }
        }
    }

    fn price(&mut self, price: &PriceInput, is_free: bool, path: &str) -> Option<Price> {
        let path = format!("{path}.price");
        match (&price.flat, &price.per_unit, &price.graduated) {
            (Some(flat), None, None) => {
                let field = format!("{path}.flat.amount");
                let amount = self.read(&field, &flat.amount)?;
                self.meant(&field, amount, Decimal::ZERO, is_free);
                Some(Price::Flat { amount })
            }
            (None, Some(per_unit), None) => {
                let field = format!("{path}.perUnit.rate");
                let rate = self.read(&field, &per_unit.rate)?;
                self.meant(&field, rate, Decimal::ZERO, is_free);
                Some(Price::PerUnit { rate })
            }
            (None, None, Some(graduated)) => {
                let tiers =
                    self.tiers(&graduated.tiers, is_free, &format!("{path}.graduated.tiers"));
                Some(Price::Graduated { tiers })
            }
            (flat, per_unit, graduated) => {
                let given = [flat.is_some(), per_unit.is_some(), graduated.is_some()];
                let found = given.into_iter().filter(|given| *given).count();
                let wanted = "exactly one of flat, perUnit and graduated";
                self.refuse(path, Problem::Count { found, wanted });
                None
            }
        }
    }

    /// Refuses a price of zero that is not meant, and a free one that costs.
    fn meant(&mut self, field: &str, rate: Decimal, flat: Decimal, is_free: bool) {
        let is_zero = rate.is_zero() && flat.is_zero();
        if is_zero && !is_free {
            self.refuse(field, Problem::SilentZero);
        } else if is_free && !is_zero {
            self.refuse(field, Problem::FreeWithPrice);
        }
    }

    fn tiers(&mut self, inputs: &[TierInput], is_free: bool, path: &str) -> Vec<Tier> {
        if inputs.is_empty() {
            self.refuse(path, Problem::Count { found: 0, wanted: "at least one" });
        }
        let mut tiers: Vec<Tier> = Vec::new();
        for (index, input) in inputs.iter().enumerate() {
            let path = format!("{path}[{index}]");
            let from: Option<Decimal> = self.read(&format!("{path}.from"), &input.from);
            let rate: Option<Decimal> = self.read(&format!("{path}.rate"), &input.rate);
            let flat = match &input.flat {
                None => Some(Decimal::ZERO),
                Some(text) => self.read(&format!("{path}.flat"), text),
            };
            let (Some(from), Some(rate), Some(flat)) = (from, rate, flat) else { continue };
            let wanted = match tiers.last() {
                None if from.is_zero() => None,
                None => Some("0".to_owned()),
                Some(last) if last.from < from => None,
                Some(last) => Some(format!("above {}", last.from)),
            };
            if let Some(wanted) = wanted {
                let problem = Problem::TierOrder { found: from, wanted };
                self.refuse(format!("{path}.from"), problem);
            }
            let is_free = input.free.unwrap_or(is_free);
            self.meant(&format!("{path}.rate"), rate, Decimal::ZERO, is_free);
            tiers.push(Tier { from, rate, flat });
        }
        tiers
    }
}

/// The words of all refusals, one line each, without repeats.
pub fn refusal_lines(refusals: &[PlanRefused]) -> Vec<String> {
    let lines: BTreeSet<String> = refusals.iter().map(ToString::to_string).collect();
    lines.into_iter().collect()
}
