//! Groups, labels, finalizers and field managers: the words programs meet in.

/// What every API group of ours ends with.
pub const GROUP_SUFFIX: &str = "freehold.dev";
/// Tenants, projects, members.
pub const TENANCY_GROUP: &str = "tenancy.freehold.dev";
/// Clusters, hosts, machines.
pub const COMPUTE_GROUP: &str = "compute.freehold.dev";
/// Meters and price plans.
pub const BILLING_GROUP: &str = "billing.freehold.dev";
/// Address spaces, prefixes, pools, claims, VLANs, zones.
pub const NETWORK_GROUP: &str = "network.freehold.dev";
/// The version that every kind has.
pub const VERSION: &str = "v1alpha1";
/// `kubectl get freehold` lists every kind of this category.
pub const CATEGORY: &str = "freehold";

/// On a namespace: the tenant it belongs to. Guarded by the webhook, set by the operator only.
pub const TENANT_LABEL: &str = "tenancy.freehold.dev/tenant";
/// On a namespace: the UID of that tenant, so that a later tenant of the same name inherits nothing.
pub const TENANT_UID_LABEL: &str = "tenancy.freehold.dev/tenant-uid";
/// On a namespace: the project, where it is one.
pub const PROJECT_LABEL: &str = "tenancy.freehold.dev/project";
/// On a namespace: `home` or `project`.
pub const ROLE_LABEL: &str = "tenancy.freehold.dev/role";
/// The value of [`ROLE_LABEL`] on a home namespace.
pub const ROLE_HOME: &str = "home";
/// The value of [`ROLE_LABEL`] on a project's namespace.
pub const ROLE_PROJECT: &str = "project";
/// On what a controller made: the controller's name, by which it finds and prunes its own.
pub const MANAGED_BY_LABEL: &str = "app.kubernetes.io/managed-by";
/// On what was made for an object: that object's UID.
pub const OWNER_UID_LABEL: &str = "freehold.dev/owner-uid";

/// Held by the operator on a tenant until its namespaces are gone.
pub const TENANT_FINALIZER: &str = "tenancy.freehold.dev/tenant";
/// Held by the operator on a project until its namespace is gone.
pub const PROJECT_FINALIZER: &str = "tenancy.freehold.dev/project";
/// Held by the operator on a member until its bindings are gone.
pub const MEMBER_FINALIZER: &str = "tenancy.freehold.dev/member";
/// Held by the operator on a machine until the provider has none of that UID.
pub const MACHINE_FINALIZER: &str = "compute.freehold.dev/machine";
/// Holds an `IPClaim` until its addresses are given back.
pub const CLAIM_FINALIZER: &str = "network.freehold.dev/claim";
/// Held by the billing-controller on a metered object until its last transition is durable.
pub const METERING_FINALIZER: &str = "billing.freehold.dev/metering";

/// Field manager of the operator's writes.
pub const OPERATOR_MANAGER: &str = "freehold-operator";
/// Field manager of the billing-controller's writes.
pub const BILLING_MANAGER: &str = "freehold-billing";
/// Field manager of the webhook's own objects.
pub const WEBHOOK_MANAGER: &str = "freehold-webhook";

/// The resource name of virtual CPUs, counted whole.
pub const VCPU: &str = "compute/vcpu";
/// The resource name of memory, counted in MiB.
pub const MEMORY_MIB: &str = "compute/memory-mib";
/// The resource name of disk, counted in GiB.
pub const DISK_GIB: &str = "storage/gib";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_group_carries_the_suffix() {
        for group in [TENANCY_GROUP, COMPUTE_GROUP, BILLING_GROUP, NETWORK_GROUP] {
            assert!(group.ends_with(&format!(".{GROUP_SUFFIX}")), "{group}");
        }
    }
}
