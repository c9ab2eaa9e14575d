//! Addresses and VLANs: who holds which, who gets which next, and why.
//!
//! | Module | Holds |
//! | --- | --- |
//! | [`address`] | addresses, prefixes, ranges and sets, parsed strictly; the 256 addresses of a block |
//! | [`tree`] | what a prefix has given to its children, and what is left |
//! | [`pool`] | which addresses are handed out, to whom, in which order; counts |
//! | [`block`] | the slots that one object stores |
//! | [`space`] | blocks and pools as their one writer sees them, indexed |
//! | [`strategy`] | the rule by which a free address is chosen, and why |
//! | [`plan`] | a batch of claims and releases against a space: what changes, a verdict for each, who waits |
//! | [`vlan`] | VLAN ids by the same rules, and the register of a fabric |
//! | [`audit`] | everything counted again and compared |
//! | [`fairness`] | whose request is next |
//!
//! Nothing in here reads a clock, rolls dice or touches the world: time is an argument, and what looks like chance is a
//! hash of UIDs. The same objects and the same batch give the same allocation, byte for byte. Bad input is a typed
//! refusal that says what would be right, and never a panic. Decision 0070 says what the rules left open.
#![cfg_attr(
    not(test),
    deny(clippy::float_arithmetic, clippy::as_conversions, clippy::arithmetic_side_effects)
)]
#![deny(clippy::wildcard_enum_match_arm)]

pub mod address;
pub mod audit;
pub mod block;
pub mod fairness;
pub mod plan;
pub mod pool;
pub mod space;
pub mod strategy;
pub mod tree;
pub mod vlan;
