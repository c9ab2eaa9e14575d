//! Clusters, their hosts, and the machines on them.

pub mod allocation;
pub mod cluster;
pub mod host;
pub mod machine;

mod connection;
mod record;

pub use connection::Providers;
