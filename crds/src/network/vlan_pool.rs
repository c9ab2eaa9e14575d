//! VLANPool: ids of one fabric that are handed out, and who holds which.

use super::{TenantPattern, VlanRange};
use crate::shared::{Condition, ObjectName};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which ids, and for whom.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[kube(
    group = "network.freehold.dev",
    version = "v1alpha1",
    kind = "VLANPool",
    plural = "vlanpools",
    shortname = "vlanpool",
    category = "freehold",
    status = "VLANPoolStatus",
    doc = "VLANPool hands out VLAN ids of one fabric; no id is in two pools of a fabric.",
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
    printcolumn(name = "Fabric", type_ = "string", json_path = ".spec.fabric"),
    printcolumn(name = "Zone", type_ = "string", json_path = ".spec.zoneRef.name"),
    printcolumn(name = "Total", type_ = "string", json_path = ".status.total"),
    printcolumn(name = "Free", type_ = "string", json_path = ".status.free"),
    printcolumn(name = "Used", type_ = "string", json_path = ".status.used"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct VLANPoolSpec {
    /// The network whose switches know the ids; a VLANFabric of this name is the register. Immutable.
    #[schemars(length(min = 1, max = 63), regex(pattern = "^[a-z0-9]([a-z0-9-]*[a-z0-9])?$"))]
    #[x_kube(validation = Rule::new("self == oldSelf").message("spec.fabric: is immutable, the ids stand in its register; create another VLANPool"))]
    pub fabric: String,
    /// The security zone that the ids belong to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone_ref: Option<ObjectName>,
    /// Ids from 1 to 4094: one, or first-last.
    #[schemars(length(min = 1, max = 64))]
    pub ranges: Vec<VlanRange>,
    /// How long a released id rests before anybody else gets it; 300 when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 2_592_000))]
    pub quarantine_seconds: Option<i64>,
    /// Names of tenants that may claim here, or * for all. Nobody when left out or empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1000))]
    #[x_kube(validation = Rule::new("!('*' in self) || self.size() == 1").message("spec.allowedTenants: * stands for all, so it stands alone"))]
    pub allowed_tenants: Option<Vec<TenantPattern>>,
    /// Whether nothing new is handed out; what is out stays. false when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disabled: Option<bool>,
}

/// Who holds which id.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(oldSelf.observedGeneration) || (has(self.observedGeneration) && self.observedGeneration >= oldSelf.observedGeneration)").message("status.observedGeneration: never goes back to an older generation"),
    validation = Rule::new("!has(oldSelf.sequence) || (has(self.sequence) && self.sequence >= oldSelf.sequence)").message("status.sequence: never falls, a slot is known by it")
)]
pub struct VLANPoolStatus {
    /// The generation that this status speaks about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Ready first, then what else is worth knowing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// Counts the changes of the owners.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub sequence: Option<i64>,
    /// 512 bytes in base64: bit n, counted from the lowest bit of the first byte, is set when id n is held or rests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 684, max = 684), regex(pattern = "^[A-Za-z0-9+/]{683}=$"))]
    pub bitmap: Option<String>,
    /// The ranges that stand in the fabric's register; only ids of these are handed out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub registered: Vec<String>,
    /// Who holds each id that is held or rests, in order of id.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 4094))]
    pub owners: Vec<VlanOwner>,
    /// All ids, as a decimal; free, used and quarantined add up to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<String>,
    /// Ids that can be handed out now, as a decimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub free: Option<String>,
    /// Ids that claims hold, as a decimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used: Option<String>,
    /// Ids that rest after their release, as a decimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quarantined: Option<String>,
    /// Ids that claims hold although the ranges no longer hold them, as a decimal; they stay until released.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub out_of_range: Option<String>,
    /// The sequence at which the owners were last compared with the claims and matched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audited_sequence: Option<i64>,
}

/// The holder of an id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct VlanOwner {
    /// The id.
    #[schemars(range(min = 1, max = 4094))]
    pub id: i64,
    /// Allocated to a VLAN, or Quarantined while it rests.
    pub state: VlanState,
    /// UID of the VLAN that holds it, or did last.
    pub uid: String,
    /// Kind, namespace and name of that VLAN, for people; the UID decides.
    #[serde(rename = "ref")]
    pub reference: String,
    /// Account id of the tenant of that VLAN, which no later tenant of the same name has.
    pub tenant: String,
    /// Since when it is in this state.
    pub since: Time,
    /// Until when it rests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Time>,
    /// The sequence of this pool that wrote the allocation or the release.
    #[schemars(range(min = 0))]
    pub seq: i64,
}

/// What an id that is not free is doing. One object holds all of a claim, so an id is never held for later.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub enum VlanState {
    /// A VLAN's.
    Allocated,
    /// Resting after its release.
    Quarantined,
}

impl VLANPoolSpec {
    /// Whether a tenant may claim here; nobody may unless it is said.
    pub fn allows(&self, tenant: &str) -> bool {
        super::allows(self.allowed_tenants.as_deref(), tenant)
    }
}
