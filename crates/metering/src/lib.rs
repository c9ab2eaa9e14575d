//! Metering: from the usage log to quantities that can be priced.
//!
//! One shard of the log is folded by [`step`] into a [`ShardState`]; what changed comes back as [`Changes`], absolute
//! values that can be written again without harm. The fold reads no clock, no table and no configuration: everything
//! that can alter a quantity is a [`Record`] of the log, so the state is a function of the log prefix alone, whatever
//! the batches it was read in. Integers only; a float never gets past [`scale`].
//!
//! A shard belongs to 1/64 of the accounts ([`ShardNumber::of`]); all facts of an account meet in one state, and no
//! two shards ever need to talk.
#![cfg_attr(
    not(test),
    deny(clippy::float_arithmetic, clippy::as_conversions, clippy::arithmetic_side_effects)
)]
#![deny(clippy::wildcard_enum_match_arm)]

mod changes;
mod key;
mod lifecycle;
mod record;
mod sampled;
pub mod scale;
mod state;
mod step;
mod table;
#[cfg(test)]
mod tests;
mod timeline;
mod waiting;

pub use changes::{
    Changes, Gap, GapCause, GapKey, Span, SpanKey, StateDelta, StepCounts, SuspenseCause,
    SuspenseEntry, SuspenseKey, TouchedLine, UsageWindow, WindowKey,
};
pub use key::{MeterName, Part, SHARD_COUNT, SeriesHash, ShardNumber, hash_labels};
pub use record::{
    GapPolicy, MeterKind, MeterRule, PlanUid, PlanVersionStart, Reading, Record, RegistryEntry,
    Sample, Subscription, Transition, VersionKey,
};
pub use scale::ReadingRefused;
pub use state::ShardState;
pub use step::step;
pub use table::{Table, TableDelta};
