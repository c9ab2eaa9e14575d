//! PhysicalMachine: a host, what it has, and what is promised on it.
//!
//! The allocation table in the status is the one place that decides whether a machine fits: it changes only by a
//! compare-and-swap of this object, so two writers cannot promise the same share twice.

use crate::shared::{Condition, ObjectName};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A host and its inventory.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[kube(
    group = "compute.freehold.dev",
    version = "v1alpha1",
    kind = "PhysicalMachine",
    shortname = "pm",
    category = "freehold",
    status = "PhysicalMachineStatus",
    doc = "PhysicalMachine is a host: its inventory, its maintenance state and what is allocated on it.",
    derive = "PartialEq",
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status"
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].reason"
    ),
    printcolumn(name = "Cluster", type_ = "string", json_path = ".spec.clusterRef.name"),
    printcolumn(name = "vCPUs", type_ = "string", json_path = ".status.summary.vcpus"),
    printcolumn(name = "Memory", type_ = "string", json_path = ".status.summary.memory"),
    printcolumn(name = "Maintenance", type_ = "string", json_path = ".spec.maintenance"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct PhysicalMachineSpec {
    /// The cluster that the host belongs to.
    #[x_kube(validation = Rule::new("self == oldSelf").message("spec.clusterRef: is immutable, a host does not change its cluster"))]
    pub cluster_ref: ObjectName,
    /// The name by which the provider knows the host.
    #[schemars(length(min = 1, max = 253))]
    pub provider_host: String,
    /// What the host has, one entry per resource.
    #[schemars(length(min = 1, max = 64))]
    pub inventory: Vec<InventoryEntry>,
    /// Active takes machines, Cordoned takes no new ones, Draining is being emptied. Active when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maintenance: Option<Maintenance>,
}

/// An amount of one resource and the rules for parts of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.reserved) || self.reserved <= self.total").message("inventory[].reserved: must not exceed total"))]
pub struct InventoryEntry {
    /// Name of the resource, such as compute/vcpu.
    #[schemars(length(min = 1, max = 63))]
    pub resource: String,
    /// The real amount.
    #[schemars(range(min = 0))]
    pub total: i64,
    /// What the host keeps for itself; 0 when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub reserved: Option<i64>,
    /// Promised per real amount in thousandths; 1000 when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100_000))]
    pub ratio_thousandths: Option<i64>,
    /// The least amount a machine may take; 1 when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub min_unit: Option<i64>,
    /// The most a machine may take; no bound when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub max_unit: Option<i64>,
    /// Amounts must be multiples of this; 1 when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub step: Option<i64>,
}

/// Whether a host takes machines.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Maintenance {
    /// It does.
    #[default]
    Active,
    /// No new ones.
    Cordoned,
    /// It is being emptied.
    Draining,
}

/// What is promised on the host.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PhysicalMachineStatus {
    /// The generation that this status speaks about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Ready first, then what else is worth knowing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// One entry per machine placed here, sorted by UID.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allocations: Vec<Allocation>,
    /// Counts the changes of the allocation table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allocation_generation: Option<i64>,
    /// Allocated of capacity, as people read it, by resource (vcpus, memory).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub summary: BTreeMap<String, String>,
}

/// A machine's share of the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Allocation {
    /// UID of the VirtualMachine.
    pub uid: String,
    /// Namespace and name of the VirtualMachine, for people; the UID decides.
    pub machine: String,
    /// Amounts by resource name.
    pub amounts: BTreeMap<String, i64>,
    /// The allocation generation that wrote the entry.
    pub sequence: i64,
}
