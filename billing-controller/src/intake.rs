//! Where facts come in.
//!
//! Prometheus pushes samples by remote write ([`server`]); what was missed while nobody listened is read back from it
//! ([`backfill`], started by [`outages`]). Both ways end in the same place: [`normalise`] turns a series and its samples
//! into records of the usage log, by shard, and an answer or a report follows only when the log has them.
//!
//! Nothing in here decides who pays, and nothing in here drops a sample that a meter asks for: a number that cannot be
//! used and a resource that nobody can name become records too, which wait in suspense where a person sees them. The
//! wire formats are read by hand ([`protocol`], decision 0031).

pub mod backfill;
pub mod cache;
pub mod figures;
pub mod meters;
pub mod normalise;
pub mod outages;
pub mod prometheus;
pub mod protocol;
pub mod received;
pub mod server;
mod wire;

#[cfg(test)]
mod messages;
#[cfg(test)]
mod support;

pub use backfill::backfill;
pub use meters::{Identity, MeterIndex, SampledMeter};
pub use normalise::{Batch, Normaliser, NormaliserSettings};
pub use outages::{OutageSettings, OutageWatch, watch_outages};
pub use prometheus::PrometheusClient;
pub use received::LastReceived;
pub use server::{IntakeSettings, IntakeState, router};
