//! `compute.freehold.dev`: clusters, hosts, and the machines tenants run on them.

mod compute_cluster;
mod instance_type;
mod physical_machine;
mod virtual_machine;

pub use compute_cluster::{
    Acceleration, ComputeCluster, ComputeClusterSpec, ComputeClusterStatus, LibvirtProvider,
    MachineImage, Overcommit, PlacementPolicy, ProviderKind, ProviderSpec, SimulatorProvider,
};
pub use instance_type::{InstanceType, InstanceTypeSpec, InstanceTypeStatus};
pub use physical_machine::{
    Allocation, InventoryEntry, Maintenance, PhysicalMachine, PhysicalMachineSpec,
    PhysicalMachineStatus,
};
pub use virtual_machine::{
    MachineAddress, MachineNetwork, MachinePhase, MachinePlacement, MeteringStatus, Refusal,
    Transition, TransitionReason, VirtualMachine, VirtualMachineSpec, VirtualMachineStatus,
};
