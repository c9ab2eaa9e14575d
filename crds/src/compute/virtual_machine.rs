//! VirtualMachine: a machine a tenant runs, and the numbered record of what it held.
//!
//! Every change of what a machine holds is a transition in the status, numbered from 1 without holes. The
//! billing-controller acknowledges up to a number once those transitions are durable in its log; the operator drops
//! acknowledged ones only, and the metering finalizer keeps the object until the last one is acknowledged.

use crate::network::{AddressFamily, LabelSelector};
use crate::shared::{Condition, ObjectName};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What a tenant declares about a machine, in a project's namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[kube(
    group = "compute.freehold.dev",
    version = "v1alpha1",
    kind = "VirtualMachine",
    namespaced,
    shortname = "fvm",
    category = "freehold",
    status = "VirtualMachineStatus",
    doc = "VirtualMachine is a machine that a tenant runs and pays for.",
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
    printcolumn(name = "Type", type_ = "string", json_path = ".spec.instanceTypeRef.name"),
    printcolumn(name = "Host", type_ = "string", json_path = ".status.host"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.networks) == has(oldSelf.networks) && (!has(self.networks) || self.networks == oldSelf.networks)").message("spec.networks: is immutable, interfaces are made with the machine; create another machine"))]
pub struct VirtualMachineSpec {
    /// The size; changing it resizes the machine where the provider can, else it is refused in the status.
    pub instance_type_ref: ObjectName,
    /// Name of the image to boot, one of the cluster's; immutable.
    #[schemars(length(min = 1, max = 63))]
    #[x_kube(validation = Rule::new("self == oldSelf").message("spec.image: is immutable, a machine boots what it was made from; create another machine"))]
    pub image: String,
    /// Whether the machine should be switched on; true when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub running: Option<bool>,
    /// Where the machine may go.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub placement: Option<MachinePlacement>,
    /// The machine's interfaces in order; none when left out. Immutable.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub networks: Vec<MachineNetwork>,
}

/// An interface of a machine, and where its addresses come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("(has(self.ipClaimRef) ? 1 : 0) + (has(self.poolRef) ? 1 : 0) + (has(self.poolSelector) ? 1 : 0) == 1").message("networks[]: needs exactly one of ipClaimRef, poolRef and poolSelector"),
    validation = Rule::new("!has(self.ipClaimRef) || !has(self.families)").message("networks[].families: is refused with ipClaimRef, the claim says it"),
    validation = Rule::new("!has(self.poolRef) || !has(self.families) || self.families.size() == 1").message("networks[].families: a pool has one family; for both write a poolSelector that finds a pool of each")
)]
pub struct MachineNetwork {
    /// The interface's name, unique within the machine.
    #[schemars(length(min = 1, max = 15), regex(pattern = "^[a-z][a-z0-9-]*$"))]
    pub name: String,
    /// An IPClaim of the machine's namespace, whose addresses the interface gets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip_claim_ref: Option<ObjectName>,
    /// A pool to claim an address of, for as long as the machine lives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool_ref: Option<ObjectName>,
    /// Labels of pools to claim an address of, for as long as the machine lives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool_selector: Option<LabelSelector>,
    /// A VLAN of the machine's namespace that the interface is in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vlan_ref: Option<ObjectName>,
    /// The security zone that the addresses have to be of; any when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone_ref: Option<ObjectName>,
    /// IPv4, IPv6, or both; the pool's with poolRef, else IPv4, when left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 2))]
    pub families: Vec<AddressFamily>,
}

/// Wishes about the place.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MachinePlacement {
    /// The cluster to use; any when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster_ref: Option<ObjectName>,
}

/// What the operator found out and did, and what billing acknowledged.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct VirtualMachineStatus {
    /// Pending, Placing, Provisioning, Running, Stopped, Frozen, Deleting or Failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<MachinePhase>,
    /// The generation that this status speaks about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Ready first, then what else is worth knowing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// The cluster that the machine was placed in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
    /// The PhysicalMachine that the machine was placed on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// The provider's name for the machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider_id: Option<String>,
    /// The addresses of the machine's interfaces, in order of interface.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 4096))]
    pub addresses: Vec<MachineAddress>,
    /// Why hosts were passed over, when none fits.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refusals: Vec<Refusal>,
    /// What the machine held and from when, in order of number; only acknowledged ones are ever dropped.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub transitions: Vec<Transition>,
    /// The number of the last transition ever written, so that numbering survives dropping.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_transition_number: Option<i64>,
    /// Written by the billing-controller only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metering: Option<MeteringStatus>,
}

/// An address of an interface.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MachineAddress {
    /// The name of the interface in spec.networks.
    pub network: String,
    /// The IPClaim that holds the address.
    pub claim: String,
    /// The address.
    pub address: String,
    /// The length of the prefix it is in.
    #[schemars(range(min = 0, max = 128))]
    pub prefix_length: i64,
    /// The router's address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<String>,
    /// IPv4 or IPv6.
    pub family: AddressFamily,
    /// The VLAN id that the interface is in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 4094))]
    pub vlan: Option<i64>,
}

/// Where a machine is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum MachinePhase {
    /// Declared, waiting for something named in the Ready condition.
    Pending,
    /// A host is being chosen.
    Placing,
    /// The provider is making it.
    Provisioning,
    /// Switched on.
    Running,
    /// Switched off; what is held while off is still held.
    Stopped,
    /// Switched off because the tenant is suspended.
    Frozen,
    /// Going away.
    Deleting,
    /// Something a person has to look at.
    Failed,
}

/// Why a number of hosts did not do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Refusal {
    /// The first filter that refused, such as InsufficientVcpus.
    pub reason: String,
    /// How many hosts it refused.
    pub count: i64,
    /// Up to 20 of them by name, sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<String>,
}

/// What the machine holds from an instant on, until the next transition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Transition {
    /// Counts from 1 without holes.
    #[schemars(range(min = 1))]
    pub number: i64,
    /// The instant from which the amounts hold, with microseconds.
    pub at: MicroTime,
    /// Amounts held, as decimal strings by resource name; empty when nothing is held.
    pub holds: BTreeMap<String, String>,
    /// What happened: Created, Started, Stopped, Resized, Failed or Deleted.
    pub reason: TransitionReason,
    /// True on the last transition of the machine's life.
    #[serde(rename = "final")]
    pub is_final: bool,
}

/// What changed the amounts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum TransitionReason {
    /// The provider made the machine.
    Created,
    /// It was switched on.
    Started,
    /// It was switched off.
    Stopped,
    /// Its size changed.
    Resized,
    /// It ended without being asked to.
    Failed,
    /// It is gone.
    Deleted,
}

/// The billing-controller's side of the record.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MeteringStatus {
    /// All transitions up to this number are durable in the usage log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub acknowledged_number: Option<i64>,
}
