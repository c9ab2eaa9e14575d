//! VLAN: a tenant's wish for a VLAN id, and which one it got.

use super::{ClaimPhase, LabelSelector};
use crate::shared::{Condition, ObjectName};
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

/// What a tenant asks for, in a project's namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[kube(
    group = "network.freehold.dev",
    version = "v1alpha1",
    kind = "VLAN",
    plural = "vlans",
    namespaced,
    shortname = "vlan",
    category = "freehold",
    status = "VLANStatus",
    doc = "VLAN asks for an id of a pool; it is the claim's, by its UID, until it is deleted.",
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
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase"),
    printcolumn(name = "Id", type_ = "integer", json_path = ".status.id"),
    printcolumn(name = "Pool", type_ = "string", json_path = ".status.pool"),
    printcolumn(name = "Fabric", type_ = "string", json_path = ".status.fabric"),
    printcolumn(name = "Zone", type_ = "string", json_path = ".status.zone", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self == oldSelf").message("spec: is immutable, the id was chosen by it; create another VLAN"),
    validation = Rule::new("has(self.poolRef) != has(self.poolSelector)").message("spec: needs exactly one of poolRef and poolSelector")
)]
pub struct VLANSpec {
    /// The pool to take from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool_ref: Option<ObjectName>,
    /// Labels of pools to take from; the first by name with room is taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool_selector: Option<LabelSelector>,
    /// This id or none; the lowest free one when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self >= 1 && self <= 4094").message("VLAN id is outside of 1 to 4094"))]
    pub id: Option<i64>,
    /// What it is for, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 200))]
    pub purpose: Option<String>,
    /// The Prefix whose addresses are reached by the VLAN; its zone is the pool's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix_ref: Option<ObjectName>,
}

/// What the claim got, or why not.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(oldSelf.observedGeneration) || (has(self.observedGeneration) && self.observedGeneration >= oldSelf.observedGeneration)").message("status.observedGeneration: never goes back to an older generation"),
    validation = Rule::new("!has(oldSelf.attempt) || (has(self.attempt) && self.attempt >= oldSelf.attempt)").message("status.attempt: never falls, a late answer is known by it")
)]
pub struct VLANStatus {
    /// The generation that this status speaks about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Ready first, then what else is worth knowing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// Pending until an id is found, then Bound; Releasing while it goes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<ClaimPhase>,
    /// Raised before a hold of an earlier attempt is freed, so that its late answer is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub attempt: Option<i64>,
    /// The id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 4094))]
    pub id: Option<i64>,
    /// The VLANPool it is from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<String>,
    /// The fabric of that pool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fabric: Option<String>,
    /// The zone of that pool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// The sequence of the id's allocation, which a release has to match.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub seq: Option<i64>,
}
