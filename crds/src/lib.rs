//! The kinds people declare, one module each, and the generator of their definitions.
//!
//! Types here are loose on purpose: what the API server can judge (patterns, ranges, immutability, one-of) is in the
//! schema and its CEL rules; everything else is parsed once, at the edge, by the `validate` step of whoever acts on the
//! object. A field that is absent stays absent: no default is written into the schema, because a stored default shows
//! up as drift in a Git repository. `crds/yaml` is generated from this crate by `cargo xtask codegen`.

#![expect(
    clippy::doc_markdown,
    reason = "doc comments become descriptions in the cluster, where backticks are noise"
)]

pub mod compute;
pub mod definition;
pub mod network;
pub mod shared;
pub mod tenancy;

pub mod billing;

pub use billing::{Meter, PricePlan};
pub use compute::{ComputeCluster, InstanceType, PhysicalMachine, VirtualMachine};
pub use network::{
    AddressSpace, IPBlock, IPClaim, IPPool, Prefix, SecurityZone, VLAN, VLANFabric, VLANPool,
};
pub use shared::{Condition, ObjectName};
pub use tenancy::{Project, Tenant, TenantMember};
