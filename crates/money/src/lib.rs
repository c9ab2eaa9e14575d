//! Exact numbers: quantities, decimals, ratios, and amounts of a currency.
//!
//! Three kinds of number meet in a bill and are kept apart by type: a [`Quantity`] counts base units, an [`Exact`]
//! number is anything between usage and amount, and an [`Amount`] is whole minor units of one [`Currency`]. There is
//! one way from the second to the third, [`RoundingMode::round`], and rating takes it once per line.
#![cfg_attr(
    not(test),
    deny(clippy::float_arithmetic, clippy::as_conversions, clippy::arithmetic_side_effects)
)]
#![deny(clippy::wildcard_enum_match_arm)]

mod currency;
mod exact;
mod quantity;

pub use currency::{AMOUNT_MINOR_MAX, Amount, AmountRefused, Currency, CurrencyRefused};
pub use exact::{
    DECIMAL_PLACES_MAX, Decimal, DecimalRefused, Exact, RoundingMode, largest_remainder,
};
pub use quantity::{Quantity, QuantityRefused};
