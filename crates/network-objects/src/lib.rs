//! Objects of the network as `ipam` reads them, and back: what the operator writes and the command line looks at is
//! understood in one place.
//!
//! | Module | Holds |
//! | --- | --- |
//! | [`block`] | an IPBlock and its slots |
//! | [`pool`] | an IPPool as declared, within its prefix |
//! | [`vlan`] | a VLANPool with its table of ids |
//! | [`text`] | single fields; what cannot be read names its field |
//!
//! Nothing here asks a clock or a server. Decision 0072 says why it is a crate of its own.
#![cfg_attr(
    not(test),
    deny(clippy::float_arithmetic, clippy::as_conversions, clippy::arithmetic_side_effects)
)]
#![deny(clippy::wildcard_enum_match_arm)]

pub mod block;
pub mod pool;
pub mod text;
pub mod vlan;
