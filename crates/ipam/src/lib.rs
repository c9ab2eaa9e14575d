//! Addresses and VLANs: who holds which, who gets which next, and why.
#![cfg_attr(
    not(test),
    deny(clippy::float_arithmetic, clippy::as_conversions, clippy::arithmetic_side_effects)
)]
#![deny(clippy::wildcard_enum_match_arm)]

pub mod address;
pub mod block;
pub mod plan;
pub mod pool;
pub mod space;
pub mod strategy;
pub mod vlan;
