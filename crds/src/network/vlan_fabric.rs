//! VLANFabric: the register of one fabric, in which an id stands under one pool.

use crate::shared::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Nothing: a register is known by its name, the fabric's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[kube(
    group = "network.freehold.dev",
    version = "v1alpha1",
    kind = "VLANFabric",
    plural = "vlanfabrics",
    shortname = "vlanfabric",
    category = "freehold",
    status = "VLANFabricStatus",
    doc = "VLANFabric is the register of VLAN ids of one fabric; the operator makes it and is the only one to write it.",
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
    printcolumn(name = "Pools", type_ = "string", json_path = ".status.pools[*].name"),
    printcolumn(name = "Sequence", type_ = "integer", json_path = ".status.sequence"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct VLANFabricSpec {}

/// Which pool holds which ids.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(oldSelf.observedGeneration) || (has(self.observedGeneration) && self.observedGeneration >= oldSelf.observedGeneration)").message("status.observedGeneration: never goes back to an older generation"),
    validation = Rule::new("!has(oldSelf.sequence) || (has(self.sequence) && self.sequence >= oldSelf.sequence)").message("status.sequence: never falls, a slot is known by it")
)]
pub struct VLANFabricStatus {
    /// The generation that this status speaks about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Ready first, then what else is worth knowing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// Counts the changes of the register.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub sequence: Option<i64>,
    /// The pools of the fabric, sorted by name; no id is under two of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1024))]
    pub pools: Vec<RegisteredPool>,
}

/// A pool in the register.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RegisteredPool {
    /// metadata.name of the VLANPool, for people; the UID decides.
    pub name: String,
    /// UID of the VLANPool.
    pub uid: String,
    /// The ids that stand under it.
    #[schemars(length(max = 64))]
    pub ranges: Vec<String>,
    /// The sequence of this register that wrote the entry.
    #[schemars(range(min = 0))]
    pub seq: i64,
}
