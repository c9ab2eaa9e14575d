//! Prefix: a network in the tree of an AddressSpace; the table of what is below it is the one place that keeps it apart.

use super::{BookedPrefix, Cidr, LabelSelector};
use crate::shared::{Condition, ObjectName};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A network in a tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[kube(
    group = "network.freehold.dev",
    version = "v1alpha1",
    kind = "Prefix",
    shortname = "pfx",
    category = "freehold",
    status = "PrefixStatus",
    doc = "Prefix is a network in the tree of an AddressSpace: a container of smaller ones, a source of addresses for pools, or kept unused.",
    derive = "PartialEq",
    printcolumn(name = "Parent", type_ = "string", json_path = ".status.parent"),
    printcolumn(name = "CIDR", type_ = "string", json_path = ".status.cidr"),
    printcolumn(name = "Class", type_ = "string", json_path = ".status.class"),
    printcolumn(name = "Role", type_ = "string", json_path = ".spec.role", priority = 1),
    printcolumn(name = "Zone", type_ = "string", json_path = ".status.zone", priority = 1),
    printcolumn(name = "Tenant", type_ = "string", json_path = ".status.tenant", priority = 1),
    printcolumn(name = "Free", type_ = "string", json_path = ".status.free"),
    printcolumn(name = "Fragmentation", type_ = "string", json_path = ".status.fragmentation"),
    printcolumn(name = "Utilisation", type_ = "string", json_path = ".status.utilisation"),
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
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("(has(self.spaceRef) ? 1 : 0) + (has(self.parentRef) ? 1 : 0) + (has(self.parentSelector) ? 1 : 0) == 1").message("spec: needs exactly one of spaceRef (a root), parentRef and parentSelector"),
    validation = Rule::new("(has(self.cidr) ? 1 : 0) + (has(self.length) ? 1 : 0) + (has(self.class) ? 1 : 0) == 1").message("spec: needs exactly one of cidr, length and class"),
    validation = Rule::new("!has(self.spaceRef) || has(self.cidr)").message("spec.cidr: is required for a root, there is nothing to carve it from"),
    validation = Rule::new("!has(self.parentSelector) || !has(self.cidr)").message("spec.cidr: is refused with parentSelector, whose parent is chosen by room; name the parent with parentRef"),
    validation = Rule::new("has(self.spaceRef) == has(oldSelf.spaceRef) && (!has(self.spaceRef) || self.spaceRef == oldSelf.spaceRef)").message("spec.spaceRef: is immutable, addresses do not change their space; create another Prefix"),
    validation = Rule::new("has(self.parentRef) == has(oldSelf.parentRef) && (!has(self.parentRef) || self.parentRef == oldSelf.parentRef)").message("spec.parentRef: is immutable, the parent books the network; create another Prefix"),
    validation = Rule::new("has(self.parentSelector) == has(oldSelf.parentSelector) && (!has(self.parentSelector) || self.parentSelector == oldSelf.parentSelector)").message("spec.parentSelector: is immutable, the parent books the network; create another Prefix"),
    validation = Rule::new("has(oldSelf.cidr) || has(self.cidr) || (has(self.length) == has(oldSelf.length) && (!has(self.length) || self.length == oldSelf.length) && (!has(self.class) || self.class == oldSelf.class))").message("spec.length: is immutable, the network was carved by it; to change the size set spec.cidr instead"),
    validation = Rule::new("!has(oldSelf.cidr) || has(self.cidr)").message("spec.cidr: cannot be taken back, the network is booked; leave it or change it")
)]
pub struct PrefixSpec {
    /// The space that this prefix is a root of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub space_ref: Option<ObjectName>,
    /// The Prefix that this one is a part of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent_ref: Option<ObjectName>,
    /// Labels of prefixes to carve from; the one where the fit is best becomes the parent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent_selector: Option<LabelSelector>,
    /// The network, in canonical form: no host bits, IPv6 shortened and in lower case.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cidr: Option<Cidr>,
    /// How long a network to carve from the parent: up to 32 for IPv4 and 128 for IPv6.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 128))]
    pub length: Option<i64>,
    /// Another word for the length of an IPv4 network: A is 8, B is 16, C is 24.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<NetworkClass>,
    /// How children are carved from this prefix: BestFit takes the smallest free block that is large enough, Sequential the lowest. BestFit when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strategy: Option<CarvingStrategy>,
    /// Container holds other prefixes, Pool is what pools hand out, Reserved is kept. Container when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<PrefixRole>,
    /// The security zone; the parent's when left out, and never another than the parent's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone_ref: Option<ObjectName>,
    /// The tenant that the prefix is kept for; the parent's when left out, and never another than the parent's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant_ref: Option<ObjectName>,
}

/// Historical names of lengths.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub enum NetworkClass {
    /// Length 8.
    A,
    /// Length 16.
    B,
    /// Length 24.
    C,
}

impl NetworkClass {
    /// The length that the class stands for.
    pub const fn length(self) -> u8 {
        match self {
            Self::A => 8,
            Self::B => 16,
            Self::C => 24,
        }
    }
}

/// How children are carved.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub enum CarvingStrategy {
    /// From the smallest free block that is large enough.
    BestFit,
    /// From the lowest free block that is large enough.
    Sequential,
}

/// What a prefix is for.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub enum PrefixRole {
    /// Holds other prefixes.
    Container,
    /// Is handed out by pools.
    Pool,
    /// Is kept, nothing is given out of it.
    Reserved,
}

/// The table of what is below, and how full it is.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(oldSelf.observedGeneration) || (has(self.observedGeneration) && self.observedGeneration >= oldSelf.observedGeneration)").message("status.observedGeneration: never goes back to an older generation"),
    validation = Rule::new("!has(oldSelf.sequence) || (has(self.sequence) && self.sequence >= oldSelf.sequence)").message("status.sequence: never falls, a slot is known by it")
)]
pub struct PrefixStatus {
    /// The generation that this status speaks about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Ready first, then what else is worth knowing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// The space at the top of the tree.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub space: Option<String>,
    /// The parent: a Prefix by its name, or vrf/ and the name of the space for a root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
    /// UID of the parent, whose table holds this prefix.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent_uid: Option<String>,
    /// The network that is booked in the parent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cidr: Option<String>,
    /// A, B or C where the length is 8, 16 or 24 and the family IPv4.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<NetworkClass>,
    /// The zone that holds here, own or inherited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// The tenant that the prefix is kept for, own or inherited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// Counts the changes of the tables of children and pools.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub sequence: Option<i64>,
    /// The prefixes below, sorted by network; two never overlap, nor do they overlap a pool's ranges.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1024))]
    pub children: Vec<BookedPrefix>,
    /// The pools that hand out of this prefix, sorted by name; their ranges never overlap.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1024))]
    pub pools: Vec<BookedPool>,
    /// All addresses, as a decimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<String>,
    /// Addresses that neither a child nor a pool nor a claim holds, as a decimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub free: Option<String>,
    /// Addresses that claims hold here and below, as a decimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used: Option<String>,
    /// Free aligned blocks as decimals by length, such as "/24": "13".
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub free_by_size: BTreeMap<String, String>,
    /// 1 less the largest free block by the largest power of two that is free, as a decimal from 0 to 1; 0 is not fragmented.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fragmentation: Option<String>,
    /// What is not free by all, as a decimal from 0 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub utilisation: Option<String>,
    /// The sequence at which all counts were last recomputed from the tables and matched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audited_sequence: Option<i64>,
}

/// A pool in the table of its prefix.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BookedPool {
    /// metadata.name of the IPPool, for people; the UID decides.
    pub name: String,
    /// UID of the IPPool.
    pub uid: String,
    /// The ranges it hands out, before anything is excluded.
    #[schemars(length(max = 256))]
    pub ranges: Vec<String>,
    /// The sequence of this table that wrote the entry.
    #[schemars(range(min = 0))]
    pub seq: i64,
}

impl Prefix {
    /// The network that holds: the declared one, else the one that was carved.
    pub fn cidr(&self) -> Option<&str> {
        let declared = self.spec.cidr.as_ref().map(Cidr::as_str);
        declared.or_else(|| self.status.as_ref()?.cidr.as_deref())
    }

    /// The name of the parent: the declared one, else the one that was chosen; `None` for a root.
    pub fn parent(&self) -> Option<&str> {
        if self.spec.space_ref.is_some() {
            return None;
        }
        let declared = self.spec.parent_ref.as_ref().map(|parent| parent.name.as_str());
        declared.or_else(|| self.status.as_ref()?.parent.as_deref())
    }

    /// The role that holds.
    pub fn role(&self) -> PrefixRole {
        self.spec.role.unwrap_or(PrefixRole::Container)
    }
}
