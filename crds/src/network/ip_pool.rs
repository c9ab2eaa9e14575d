//! IPPool: a part of a prefix that is handed out address by address, and how.

use super::{AddressFamily, AddressRange, IpAddress, TenantPattern};
use crate::shared::{Condition, ObjectName};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What is handed out, to whom, and how.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[kube(
    group = "network.freehold.dev",
    version = "v1alpha1",
    kind = "IPPool",
    plural = "ippools",
    shortname = "ippool",
    category = "freehold",
    status = "IPPoolStatus",
    doc = "IPPool hands out the addresses of a prefix, or of some ranges of it; one family in one pool.",
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
    printcolumn(name = "Prefix", type_ = "string", json_path = ".spec.prefixRef.name"),
    printcolumn(name = "Strategy", type_ = "string", json_path = ".spec.strategy"),
    printcolumn(name = "Total", type_ = "string", json_path = ".status.total"),
    printcolumn(name = "Free", type_ = "string", json_path = ".status.free"),
    printcolumn(name = "Used", type_ = "string", json_path = ".status.used"),
    printcolumn(
        name = "Quarantined",
        type_ = "string",
        json_path = ".status.quarantined",
        priority = 1
    ),
    printcolumn(name = "Excluded", type_ = "string", json_path = ".status.excluded", priority = 1),
    printcolumn(name = "Waiting", type_ = "integer", json_path = ".status.waiting", priority = 1),
    printcolumn(name = "Disabled", type_ = "boolean", json_path = ".spec.disabled", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.strict) || (has(self.strategy) && self.strategy == 'Dispersed')").message("spec.strict: applies to strategy Dispersed only; remove it or change the strategy")
)]
pub struct IPPoolSpec {
    /// The prefix, of role Pool, that the addresses are from; immutable.
    #[x_kube(validation = Rule::new("self == oldSelf").message("spec.prefixRef: is immutable, the prefix books the ranges; create another IPPool"))]
    pub prefix_ref: ObjectName,
    /// What of the prefix is handed out: addresses, networks or first-last; the whole prefix when left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub ranges: Vec<AddressRange>,
    /// Addresses that are never handed out, written as ranges are.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub exclude: Vec<AddressRange>,
    /// The router's address within the prefix; told to who gets an address, and never handed out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<IpAddress>,
    /// Name servers told to who gets an address, in order of preference.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub dns: Vec<IpAddress>,
    /// How addresses are chosen: Sequential takes the lowest, TenantRun keeps a tenant's together, Dispersed keeps tenants apart, ExclusiveBlock gives a tenant a whole block (/24 or /120), LeastRecentlyUsed takes what rested longest. Sequential when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strategy: Option<PoolStrategy>,
    /// With Dispersed: whether a claim waits (true) or gets the address farthest from other tenants (false) when none is without a foreign neighbour. true when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strict: Option<bool>,
    /// How long a released address rests before anybody else gets it; 300 when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 2_592_000))]
    pub quarantine_seconds: Option<i64>,
    /// Whether a claim's stickyKey brings back the address that the same tenant had under the same key, while it rests. true when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sticky: Option<bool>,
    /// Whether the network and broadcast address (IPv6: the lowest) are handed out too, as in routed pools. false when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow_reserved_addresses: Option<bool>,
    /// Whether IPv4 addresses that end in 0 or 255 are left out even where they are usable. false when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[serde(rename = "avoidZeroAnd255")]
    pub avoid_zero_and_255: Option<bool>,
    /// Names of tenants that may claim here, or * for all. Nobody when left out or empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1000))]
    #[x_kube(validation = Rule::new("!('*' in self) || self.size() == 1").message("spec.allowedTenants: * stands for all, so it stands alone"))]
    pub allowed_tenants: Option<Vec<TenantPattern>>,
    /// The security zone; the prefix's when left out, and never another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone_ref: Option<ObjectName>,
    /// The VLAN by which the addresses are reached; its zone is the pool's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vlan_ref: Option<VlanName>,
    /// Which pool a selector takes first, highest first; 0 when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = -1000, max = 1000))]
    pub priority: Option<i64>,
    /// Whether nothing new is handed out; what is out stays. false when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disabled: Option<bool>,
}

/// A VLAN by its namespace and name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct VlanName {
    /// metadata.namespace of the VLAN.
    #[schemars(length(min = 1, max = 63))]
    pub namespace: String,
    /// metadata.name of the VLAN.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// How addresses are chosen.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub enum PoolStrategy {
    /// The lowest free one of the lowest block.
    Sequential,
    /// Beside the tenant's others.
    TenantRun,
    /// Away from other tenants.
    Dispersed,
    /// From a block that is the tenant's alone.
    ExclusiveBlock,
    /// Never used ones, then what was released longest ago.
    LeastRecentlyUsed,
}

/// How full the pool is, and how well it is packed.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(oldSelf.observedGeneration) || (has(self.observedGeneration) && self.observedGeneration >= oldSelf.observedGeneration)").message("status.observedGeneration: never goes back to an older generation"),
    validation = Rule::new("!has(oldSelf.generation) || (has(self.generation) && self.generation >= oldSelf.generation)").message("status.generation: never falls, counts are known by it")
)]
pub struct IPPoolStatus {
    /// The generation that this status speaks about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Ready first, then what else is worth knowing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// IPv4 or IPv6, as the prefix.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub family: Option<AddressFamily>,
    /// The space at the top of the prefix's tree.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub space: Option<String>,
    /// The zone that holds here, own or the prefix's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// Counts the changes of what the counts below are computed from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub generation: Option<i64>,
    /// All addresses of the ranges, as a decimal; free, used, quarantined and excluded add up to it at every generation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<String>,
    /// Addresses that can be handed out now, as a decimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub free: Option<String>,
    /// Addresses that claims hold, as a decimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used: Option<String>,
    /// Addresses that rest after their release, as a decimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quarantined: Option<String>,
    /// Addresses that are never handed out: excluded, reserved, the gateway, the edges; as a decimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub excluded: Option<String>,
    /// Addresses that claims hold although the ranges no longer hold them, as a decimal; they stay until released.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub out_of_range: Option<String>,
    /// How many claims wait for room.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting: Option<i64>,
    /// How well the addresses are laid out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scores: Option<PoolScores>,
    /// The generation at which all counts were last recomputed from the blocks and matched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audited_generation: Option<i64>,
}

/// How well addresses are laid out; decimals.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PoolScores {
    /// 1 less the largest free block by the largest power of two that is free, from 0 to 1; 0 is not fragmented.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fragmentation: Option<String>,
    /// Pairs of neighbours of one tenant by all that could be, from 0 to 1; 1 is each tenant in one run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adjacency: Option<String>,
    /// Pairs of neighbours of different tenants; 0 is wanted of Dispersed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub foreign_neighbours: Option<String>,
    /// The fewest networks that cover each tenant's addresses, summed over tenants.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant_cidrs: Option<String>,
    /// Free aligned blocks by length, such as "/28": "2".
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub free_by_size: BTreeMap<String, String>,
}

impl IPPoolSpec {
    /// Whether a tenant may claim here; nobody may unless it is said.
    pub fn allows(&self, tenant: &str) -> bool {
        super::allows(self.allowed_tenants.as_deref(), tenant)
    }
}
