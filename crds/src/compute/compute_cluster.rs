//! ComputeCluster: a set of hosts behind one provider.

use crate::shared::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How to reach a set of hosts, and how to fill them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[kube(
    group = "compute.freehold.dev",
    version = "v1alpha1",
    kind = "ComputeCluster",
    shortname = "cc",
    category = "freehold",
    status = "ComputeClusterStatus",
    doc = "ComputeCluster is a set of hosts behind one provider; its hosts are discovered as PhysicalMachines.",
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
    printcolumn(name = "Provider", type_ = "string", json_path = ".spec.provider.kind"),
    printcolumn(name = "Hosts", type_ = "integer", json_path = ".status.hosts"),
    printcolumn(name = "Machines", type_ = "integer", json_path = ".status.machines"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct ComputeClusterSpec {
    /// The provider behind the cluster; its kind is immutable.
    #[x_kube(validation = Rule::new("self.kind == oldSelf.kind").message("spec.provider.kind: is immutable, machines live there; create another ComputeCluster"))]
    pub provider: ProviderSpec,
    /// How hosts are chosen: Pack fills one before the next, Spread keeps them even. Pack when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub placement_policy: Option<PlacementPolicy>,
    /// How much more than the real amount may be promised.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overcommit: Option<Overcommit>,
}

/// A provider and what it needs; exactly the member of the kind is set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("(self.kind == 'Libvirt') == has(self.libvirt)").message("spec.provider.libvirt: is required for kind Libvirt and refused for the others"),
    validation = Rule::new("(self.kind == 'Simulator') == has(self.simulator)").message("spec.provider.simulator: is required for kind Simulator and refused for the others")
)]
pub struct ProviderSpec {
    /// Libvirt: real guests on the host that libvirt manages. Simulator: none, for tests and scale.
    pub kind: ProviderKind,
    /// Where libvirt listens, and the images it can boot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub libvirt: Option<LibvirtProvider>,
    /// What is simulated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub simulator: Option<SimulatorProvider>,
}

/// The adapters there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ProviderKind {
    /// QEMU guests through libvirt.
    Libvirt,
    /// A deterministic model of hosts and machines.
    Simulator,
}

/// A libvirt daemon.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LibvirtProvider {
    /// Path of the daemon's unix socket on the operator's machine, such as /run/libvirt/libvirt-sock.
    #[schemars(regex(pattern = "^/.+"), length(max = 107))]
    pub socket: String,
    /// How guests execute: Kvm by the processor, Emulation in software. Tried by running a guest when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acceleration: Option<Acceleration>,
    /// Images that machines of this cluster may name.
    #[schemars(length(min = 1, max = 100))]
    pub images: Vec<MachineImage>,
}

/// How guests execute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Acceleration {
    /// By the processor's virtualisation.
    Kvm,
    /// In software, where there is none.
    Emulation,
}

/// Something a machine boots from: a kernel with an initial RAM disk, a disk image, or both.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.kernelPath) || has(self.diskPath)").message("images[]: needs kernelPath or diskPath, else there is nothing to boot"),
    validation = Rule::new("has(self.kernelPath) || !has(self.initrdPath) && !has(self.kernelArguments)").message("images[].initrdPath and kernelArguments: need kernelPath")
)]
pub struct MachineImage {
    /// The name by which machines ask for the image.
    #[schemars(length(min = 1, max = 63), regex(pattern = "^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$"))]
    pub name: String,
    /// Path of a kernel on the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = "^/.+"), length(max = 4096))]
    pub kernel_path: Option<String>,
    /// Path of an initial RAM disk on the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = "^/.+"), length(max = 4096))]
    pub initrd_path: Option<String>,
    /// Arguments for the kernel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048))]
    pub kernel_arguments: Option<String>,
    /// Path of a qcow2 image on the host that machines boot from, never written to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = "^/.+"), length(max = 4096))]
    pub disk_path: Option<String>,
}

/// What the simulator pretends to have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SimulatorProvider {
    /// How many hosts there are.
    #[schemars(range(min = 1, max = 5000))]
    pub hosts: i64,
    /// Virtual CPUs of each host.
    #[schemars(range(min = 1, max = 4096))]
    pub vcpus_per_host: i64,
    /// Memory of each host in MiB.
    #[schemars(range(min = 128, max = 67_108_864))]
    pub memory_mib_per_host: i64,
    /// The seed of everything the simulator decides; 0 when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub seed: Option<i64>,
}

/// Which host a machine goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum PlacementPolicy {
    /// Fill one host before the next.
    Pack,
    /// Keep hosts evenly filled.
    Spread,
}

/// Ratios of promised to real amounts, in thousandths.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Overcommit {
    /// Promised virtual CPUs per real one, in thousandths; 1000 when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 100, max = 100_000))]
    pub vcpu_thousandths: Option<i64>,
    /// Promised memory per real memory, in thousandths; 1000 when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 100, max = 2_000))]
    pub memory_thousandths: Option<i64>,
}

/// What the operator found out.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ComputeClusterStatus {
    /// The generation that this status speaks about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Ready first, then what else is worth knowing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// How many hosts were discovered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hosts: Option<i64>,
    /// How many machines are allocated on them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machines: Option<i64>,
    /// UIDs the provider has and nobody declared, sorted, at most 20; a report, never a deletion.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub orphans: Vec<String>,
}
