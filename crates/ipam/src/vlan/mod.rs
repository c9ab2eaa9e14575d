//! VLANs: who has which id on a fabric.
//!
//! A pool's ids are a table in one object ([`Table`]), changed by the same rules as a block of addresses: one writer, slots
//! with an owner's UID and a number, quarantine as a state. The ranges of all pools of a fabric are booked in one register
//! ([`Fabric`]), so an id has one owner on its fabric although pools do not know one another.

mod fabric;
mod id;
mod table;
#[cfg(test)]
mod tests;

pub use fabric::{Fabric, FabricRefused};
pub use id::{VlanId, VlanRange, VlanRefused};
pub use table::{
    BITMAP_BYTES, Table, TableRefused, Tag, VlanBatch, VlanClaim, VlanOutcome, VlanPool,
    VlanRefusal, VlanRelease, VlanVerdict,
};
