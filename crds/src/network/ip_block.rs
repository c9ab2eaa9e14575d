//! IPBlock: who holds which of 256 addresses. One object for one block of a space, so an address has one owner.

use super::Cidr;
use crate::shared::{Condition, ObjectName};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which block it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[kube(
    group = "network.freehold.dev",
    version = "v1alpha1",
    kind = "IPBlock",
    plural = "ipblocks",
    shortname = "ipblk",
    category = "freehold",
    status = "IPBlockStatus",
    doc = "IPBlock says who holds which of 256 addresses; the operator makes it on first use and is the only one to write it.",
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
    printcolumn(name = "Space", type_ = "string", json_path = ".spec.spaceRef.name"),
    printcolumn(name = "CIDR", type_ = "string", json_path = ".spec.cidr"),
    printcolumn(name = "Tenant", type_ = "string", json_path = ".status.tenant"),
    printcolumn(name = "Sequence", type_ = "integer", json_path = ".status.sequence"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self == oldSelf").message("spec: is immutable, the block is named after its space and network"))]
pub struct IPBlockSpec {
    /// The space that the addresses are in.
    pub space_ref: ObjectName,
    /// The block: a /24 of IPv4 or a /120 of IPv6.
    #[x_kube(validation = Rule::new("!isCIDR(self) || cidr(self).prefixLength() == (cidr(self).ip().family() == 4 ? 24 : 120)").message("spec.cidr: a block is a /24 of IPv4 or a /120 of IPv6"))]
    pub cidr: Cidr,
}

/// The slots.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(oldSelf.observedGeneration) || (has(self.observedGeneration) && self.observedGeneration >= oldSelf.observedGeneration)").message("status.observedGeneration: never goes back to an older generation"),
    validation = Rule::new("!has(oldSelf.sequence) || (has(self.sequence) && self.sequence >= oldSelf.sequence)").message("status.sequence: never falls, a slot is known by it")
)]
pub struct IPBlockStatus {
    /// The generation that this status speaks about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Ready first, then what else is worth knowing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// Counts the changes of the slots.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub sequence: Option<i64>,
    /// Account of the tenant that the whole block is kept for while any of its addresses is held or rests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// The slots that are or were in use, in order of index; a slot that is not listed was never used.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub slots: Vec<Slot>,
    /// The sequence at which the slots were last compared with the claims and matched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audited_sequence: Option<i64>,
}

/// One address of a block.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.state == 'Released' || (self.pool != '' && self.uid != '' && self.tenant != '')").message("slots[]: a slot that is held, allocated or rests names its pool, uid and tenant"),
    validation = Rule::new("(self.state == 'Quarantined') == has(self.until)").message("slots[].until: says when a slot that rests is free, and belongs to no other")
)]
pub struct Slot {
    /// The address less the first of the block.
    #[schemars(range(min = 0, max = 255))]
    pub index: i64,
    /// Held until all of a claim is found, Allocated to it, Quarantined while it rests, Released when it can be had again.
    pub state: SlotState,
    /// UID of the IPPool that it is or was handed out by; empty once it is Released.
    pub pool: String,
    /// UID of the claim that holds it, or did last.
    pub uid: String,
    /// Kind, namespace and name of that claim, for people; the UID decides.
    #[serde(rename = "ref")]
    pub reference: String,
    /// Account of the tenant whose claim that is.
    pub tenant: String,
    /// The claim's stickyKey, by which the tenant gets the address back while it rests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sticky_key: Option<String>,
    /// Since when it is in this state.
    pub since: Time,
    /// Until when it rests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Time>,
    /// The sequence of this block that wrote the allocation or the release.
    #[schemars(range(min = 0))]
    pub seq: i64,
}

/// What a slot is doing.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub enum SlotState {
    /// Set aside until everything the claim asks for is found.
    Held,
    /// A claim's.
    Allocated,
    /// Resting after its release.
    Quarantined,
    /// To be had again; its release is remembered for LeastRecentlyUsed.
    Released,
}

impl SlotState {
    /// Whether a claim holds the slot now.
    pub const fn is_live(self) -> bool {
        matches!(self, Self::Held | Self::Allocated)
    }
}
