//! Clusters, their hosts, and the machines on them.

pub mod cluster;
pub mod host;
pub mod machine;

mod allocation;
mod connection;
mod record;

pub use connection::Providers;
