//! Pricing: plans, and what usage costs under them.
//!
//! A plan is read once ([`PlanVersion::from_input`]) from the same JSON everywhere and refused with field paths when a
//! price could turn out to be a silent zero. Rating ([`bill`]) is exact fractions until one rounding per line, and every
//! line carries the explanation it can be computed again from. Nothing in here knows a clock, a database or Kubernetes.
#![cfg_attr(
    not(test),
    deny(clippy::float_arithmetic, clippy::as_conversions, clippy::arithmetic_side_effects)
)]
#![deny(clippy::wildcard_enum_match_arm)]

mod bill;
mod input;
mod plan;
mod rate;
pub mod report;
#[cfg(test)]
mod tests;

pub use bill::{Bill, BillInput, BillLine, Unpriced, bill, rate_card};
pub use input::{
    CardInput, DisplayUnitInput, FlatInput, GraduatedInput, MeterInput, NameInput, PerUnitInput,
    PhaseInput, PlanInput, PriceInput, TierInput,
};
pub use plan::{
    CardMeter, PlanRefused, PlanVersion, Price, Problem, RateCard, Tier, refusal_lines,
};
pub use rate::{
    CardVersions, Conversion, Explanation, PricedPart, RatedLine, RatingRefused, Rounding, Usage,
    rate_flat, rate_metered,
};
