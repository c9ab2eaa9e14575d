//! AddressSpace: a room in which every address means one thing (a VRF); the roots of its prefixes are booked here.

use super::AddressCounts;
use crate::shared::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A room for addresses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[kube(
    group = "network.freehold.dev",
    version = "v1alpha1",
    kind = "AddressSpace",
    shortname = "vrf",
    category = "freehold",
    status = "AddressSpaceStatus",
    doc = "AddressSpace is a room in which every address means one thing; prefixes in it never overlap, save parent and child.",
    derive = "PartialEq",
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].reason"),
    printcolumn(name = "Prefixes", type_ = "string", json_path = ".status.totals.prefixes"),
    printcolumn(name = "IPv4 used", type_ = "string", json_path = ".status.totals.ipv4.used"),
    printcolumn(name = "IPv4 free", type_ = "string", json_path = ".status.totals.ipv4.free"),
    printcolumn(name = "IPv6 used", type_ = "string", json_path = ".status.totals.ipv6.used"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = Rule::new("self.metadata.name.matches('^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$')").message("metadata.name: must be 1 to 40 lower-case letters, digits or hyphens, since the blocks of addresses are named after it")
)]
#[serde(rename_all = "camelCase")]
pub struct AddressSpaceSpec {
    /// What the space is for, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 500))]
    pub description: Option<String>,
    /// Names of spaces that may use the same addresses as this one, or * for all; none when left out. It is enough that one of two spaces names the other.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    #[x_kube(validation = Rule::new("!('*' in self) || self.size() == 1").message("spec.overlapAllowedWith: * stands for all, so it stands alone"))]
    pub overlap_allowed_with: Vec<SpacePattern>,
}

/// The name of a space, or `*` for all.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct SpacePattern(
    #[schemars(
        length(min = 1, max = 40),
        regex(pattern = "^([a-z0-9]([a-z0-9-]*[a-z0-9])?|[*])$")
    )]
    pub String,
);

/// The table of roots, and what the space holds in sum.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(oldSelf.observedGeneration) || (has(self.observedGeneration) && self.observedGeneration >= oldSelf.observedGeneration)").message("status.observedGeneration: never goes back to an older generation"),
    validation = Rule::new("!has(oldSelf.sequence) || (has(self.sequence) && self.sequence >= oldSelf.sequence)").message("status.sequence: never falls, a slot is known by it")
)]
pub struct AddressSpaceStatus {
    /// The generation that this status speaks about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Ready first, then what else is worth knowing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// Counts the changes of the table of roots.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub sequence: Option<i64>,
    /// The prefixes without a parent, sorted by network; two never overlap. What is not booked here is not given out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1024))]
    pub roots: Vec<BookedPrefix>,
    /// What is below the roots, in sum.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub totals: Option<SpaceTotals>,
    /// The sequence at which all counts were last recomputed from the tables and matched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audited_sequence: Option<i64>,
}

/// A prefix in the table of its parent or space.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BookedPrefix {
    /// metadata.name of the Prefix, for people; the UID decides.
    pub name: String,
    /// UID of the Prefix.
    pub uid: String,
    /// The network it holds.
    pub cidr: String,
    /// The sequence of this table that wrote the entry.
    #[schemars(range(min = 0))]
    pub seq: i64,
}

/// Sums over a space.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SpaceTotals {
    /// Prefixes of all levels, as a decimal.
    pub prefixes: String,
    /// Pools, as a decimal.
    pub pools: String,
    /// Addresses of IPv4.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ipv4: Option<AddressCounts>,
    /// Addresses of IPv6.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ipv6: Option<AddressCounts>,
}
