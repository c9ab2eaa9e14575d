//! Instants, intervals and billing periods.
//!
//! Usage is stamped in UTC microseconds, kept in UTC hours and billed in the tenant's own months. This crate holds the
//! three notions and the only conversion between them, so that no other crate does arithmetic on time by hand: a
//! period that is a microsecond too short loses money, one too long bills it twice. Every interval is half-open; the
//! time zone data is the copy compiled in, so that a period does not depend on the machine that computes it.
#![cfg_attr(
    not(test),
    deny(clippy::float_arithmetic, clippy::as_conversions, clippy::arithmetic_side_effects)
)]
#![deny(clippy::wildcard_enum_match_arm)]

mod instant;
mod period;

pub use instant::{HOUR_MICROSECONDS, Instant, InstantRefused, Interval};
pub use period::{AnchorRefused, Period, Periods};
