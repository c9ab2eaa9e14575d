//! SecurityZone: how far tenants are kept apart, and who may begin to talk to whom.

use crate::shared::{Condition, ObjectName};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Trust, isolation, and allowed peers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[kube(
    group = "network.freehold.dev",
    version = "v1alpha1",
    kind = "SecurityZone",
    shortname = "zone",
    category = "freehold",
    status = "SecurityZoneStatus",
    doc = "SecurityZone says how far tenants are kept apart in a part of the network, and which zones may be reached from it; an allocation never crosses a zone.",
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
    printcolumn(name = "Trust", type_ = "integer", json_path = ".spec.trust"),
    printcolumn(name = "Isolation", type_ = "string", json_path = ".spec.isolation"),
    printcolumn(name = "Prefixes", type_ = "integer", json_path = ".status.members.prefixes"),
    printcolumn(name = "Policies", type_ = "integer", json_path = ".status.policies.generated"),
    printcolumn(
        name = "Enforced",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"PolicyEnforced\")].status"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct SecurityZoneSpec {
    /// How far the zone is trusted; connections may begin towards equal or lower trust.
    #[schemars(range(min = 0, max = 100))]
    pub trust: i64,
    /// Shared lets tenants share blocks and VLANs, PerTenantBlock gives each tenant blocks of its own, PerTenantVlan a VLAN of its own as well. Shared when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub isolation: Option<Isolation>,
    /// Zones of higher trust that connections may begin towards all the same.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub peers: Vec<ObjectName>,
}

/// How far tenants are kept apart.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub enum Isolation {
    /// Not by addresses.
    Shared,
    /// By blocks.
    PerTenantBlock,
    /// By blocks and VLANs.
    PerTenantVlan,
}

/// What is in the zone, and what was generated for it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(oldSelf.observedGeneration) || (has(self.observedGeneration) && self.observedGeneration >= oldSelf.observedGeneration)").message("status.observedGeneration: never goes back to an older generation"))]
pub struct SecurityZoneStatus {
    /// The generation that this status speaks about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Ready first, then what else is worth knowing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// How much is in the zone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub members: Option<ZoneMembers>,
    /// The fewest networks that cover the zone's prefixes, sorted; peers are allowed by these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1024))]
    pub cidrs: Vec<String>,
    /// The NetworkPolicies generated from the zone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policies: Option<ZonePolicies>,
}

/// How much is in a zone.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ZoneMembers {
    /// Prefixes, of all levels.
    pub prefixes: i64,
    /// Pools of addresses.
    pub pools: i64,
    /// Pools of VLAN ids.
    pub vlan_pools: i64,
    /// Tenants that hold something here.
    pub tenants: i64,
}

/// What was generated.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ZonePolicies {
    /// How many NetworkPolicies there are.
    pub generated: i64,
    /// How many had been changed by somebody else and were put right, since the zone was made.
    pub repaired: i64,
    /// Namespaces that have one, at most 20, sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20))]
    pub namespaces: Vec<String>,
}

impl SecurityZoneSpec {
    /// The isolation that holds.
    pub fn isolation(&self) -> Isolation {
        self.isolation.unwrap_or(Isolation::Shared)
    }
}
