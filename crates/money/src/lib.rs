//! Exact numbers: quantities of base units now, amounts of a currency beside them.
#![cfg_attr(
    not(test),
    deny(clippy::float_arithmetic, clippy::as_conversions, clippy::arithmetic_side_effects)
)]
#![deny(clippy::wildcard_enum_match_arm)]

mod quantity;

pub use quantity::{Quantity, QuantityRefused};
