//! IPClaim: a tenant's wish for addresses, and which ones it got.

use super::{AddressFamily, IpAddress, LabelSelector};
use crate::shared::{Condition, ObjectName};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a tenant asks for, in a project's namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[kube(
    group = "network.freehold.dev",
    version = "v1alpha1",
    kind = "IPClaim",
    plural = "ipclaims",
    namespaced,
    shortname = "ipc",
    category = "freehold",
    status = "IPClaimStatus",
    doc = "IPClaim asks for addresses of a pool; they are the claim's, by its UID, until it is deleted.",
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
    printcolumn(name = "Address", type_ = "string", json_path = ".status.addresses[0].address"),
    printcolumn(name = "Pool", type_ = "string", json_path = ".status.addresses[0].pool"),
    printcolumn(name = "Count", type_ = "integer", json_path = ".spec.count", priority = 1),
    printcolumn(
        name = "Gateway",
        type_ = "string",
        json_path = ".status.addresses[0].gateway",
        priority = 1
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self == oldSelf").message("spec: is immutable, the addresses were chosen by it; create another IPClaim"),
    validation = Rule::new("has(self.poolRef) != has(self.poolSelector)").message("spec: needs exactly one of poolRef and poolSelector"),
    validation = Rule::new("!has(self.address) || !has(self.count) || self.count == 1").message("spec.count: must be 1 with an address, which names one"),
    validation = Rule::new("!has(self.address) || !has(self.families) || self.families.size() == 1").message("spec.families: must name one family with an address, which has one"),
    validation = Rule::new("!has(self.address) || !has(self.families) || !isIP(self.address) || ((ip(self.address).family() == 4) == ('IPv4' in self.families))").message("spec.address: is of another family than spec.families says"),
    validation = Rule::new("!has(self.poolRef) || !has(self.families) || self.families.size() == 1").message("spec.families: a pool has one family; for both write a poolSelector that finds a pool of each")
)]
pub struct IPClaimSpec {
    /// The pool to take from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool_ref: Option<ObjectName>,
    /// Labels of pools to take from; the one of the highest priority with room is taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool_selector: Option<LabelSelector>,
    /// IPv4, IPv6, or both: then both are found or none. The pool's with poolRef, the address's with address, else IPv4, when left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 2))]
    pub families: Vec<AddressFamily>,
    /// How many addresses of each family; 1 when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 256))]
    pub count: Option<i64>,
    /// This address or none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<IpAddress>,
    /// A name under which the tenant gets the same address back while it rests after a release.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 63),
        regex(pattern = "^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$")
    )]
    pub sticky_key: Option<String>,
    /// What the addresses are for, for people and for what attaches them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource_ref: Option<ResourceReference>,
}

/// An object of the claim's own namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ResourceReference {
    /// Its group and version, such as compute.freehold.dev/v1alpha1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 317))]
    pub api_version: Option<String>,
    /// Its kind, such as VirtualMachine.
    #[schemars(length(min = 1, max = 63))]
    pub kind: String,
    /// Its metadata.name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// The claim's own namespace, which is meant when left out; any other is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub namespace: Option<String>,
}

/// What the claim got, or why not.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(oldSelf.observedGeneration) || (has(self.observedGeneration) && self.observedGeneration >= oldSelf.observedGeneration)").message("status.observedGeneration: never goes back to an older generation"),
    validation = Rule::new("!has(oldSelf.attempt) || (has(self.attempt) && self.attempt >= oldSelf.attempt)").message("status.attempt: never falls, a late answer is known by it")
)]
pub struct IPClaimStatus {
    /// The generation that this status speaks about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Ready first, then what else is worth knowing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// Pending until everything is found, then Bound; Releasing while it goes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<ClaimPhase>,
    /// Raised before holds of an earlier attempt are freed, so that its late answer is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub attempt: Option<i64>,
    /// The addresses, in order of family and address; all of them or none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 512))]
    pub addresses: Vec<ClaimedAddress>,
    /// Name servers of the pools, in order of preference.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub dns: Vec<String>,
    /// How the addresses were chosen, and what was passed over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub explanation: Option<ClaimExplanation>,
}

/// Where a claim is in its life.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub enum ClaimPhase {
    /// Waiting for something named in the Bound condition.
    Pending,
    /// Everything is found and published.
    Bound,
    /// Going away.
    Releasing,
}

/// One address of a claim.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClaimedAddress {
    /// The address.
    pub address: String,
    /// The length of the prefix it is in, as an interface is configured with it.
    #[schemars(range(min = 0, max = 128))]
    pub prefix_length: i64,
    /// The router's address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<String>,
    /// IPv4 or IPv6.
    pub family: AddressFamily,
    /// The IPPool it is from.
    pub pool: String,
    /// The IPBlock that books it.
    pub block: String,
    /// Its slot in the block.
    #[schemars(range(min = 0, max = 255))]
    pub index: i64,
    /// The sequence of the slot's allocation, which a release has to match.
    #[schemars(range(min = 0))]
    pub seq: i64,
}

/// How addresses were chosen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClaimExplanation {
    /// The rule that chose: the pool's strategy, or Explicit, or Sticky.
    pub strategy: String,
    /// Pools and blocks that were passed over and why, at most 20.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20))]
    pub passed_over: Vec<PassedOver>,
}

/// A candidate that did not do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PassedOver {
    /// The pool, the block or the address.
    pub candidate: String,
    /// Why, as a constant CamelCase word such as Disabled or Full.
    pub reason: String,
}
