//! VLANs: ids and ranges.

mod id;

pub use id::{VlanId, VlanRange, VlanRefused};
