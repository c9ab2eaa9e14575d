//! TenantMember: a person, group or service account with roles in a tenant.

use crate::shared::Condition;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Who has which roles, in the tenant's home namespace.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[kube(
    group = "tenancy.freehold.dev",
    version = "v1alpha1",
    kind = "TenantMember",
    namespaced,
    shortname = "member",
    category = "freehold",
    status = "TenantMemberStatus",
    doc = "TenantMember gives a person, a group or a service account roles in a tenant.",
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
    printcolumn(name = "Subject", type_ = "string", json_path = ".spec.subject.name"),
    printcolumn(name = "Roles", type_ = "string", json_path = ".spec.roleRefs[*].name"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct TenantMemberSpec {
    /// The identity that Kubernetes authenticates.
    #[x_kube(validation = Rule::new("self == oldSelf").message("spec.subject: is immutable; create another member and delete this one"))]
    pub subject: MemberSubject,
    /// The roles given: owner, admin, developer, billing, auditor.
    #[schemars(length(min = 1, max = 5))]
    pub role_refs: Vec<RoleReference>,
    /// Names of the projects the roles apply to; all projects when empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100))]
    pub projects: Vec<String>,
    /// From this instant on the member has no rights; never when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Time>,
}

/// An identity as RBAC names it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.kind == 'ServiceAccount' ? has(self.namespace) : !has(self.namespace)").message("spec.subject.namespace: is required for kind ServiceAccount and refused for the others"),
    validation = Rule::new("!self.name.startsWith('system:')").message("spec.subject.name: names beginning with system: belong to Kubernetes; name a person, a group of people or a service account")
)]
pub struct MemberSubject {
    /// User, Group or ServiceAccount.
    pub kind: SubjectKind,
    /// The name that the API server sees after authentication.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Namespace of the service account; one of the tenant's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub namespace: Option<String>,
}

/// What sort of identity it is.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub enum SubjectKind {
    /// A person.
    User,
    /// All people of a group.
    Group,
    /// A program.
    ServiceAccount,
}

/// A role by name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RoleReference {
    /// owner, admin, developer, billing or auditor.
    pub name: BuiltInRole,
}

/// The roles that exist in every tenant.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum BuiltInRole {
    /// Everything in the tenant, members included.
    Owner,
    /// Everything but owners.
    Admin,
    /// Machines and workloads in projects.
    Developer,
    /// Bills, read only.
    Billing,
    /// Everything, read only.
    Auditor,
}

/// What the operator found out and did.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TenantMemberStatus {
    /// The generation that this status speaks about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Ready first, then what else is worth knowing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// Namespaces in which the member is bound, sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub bound_namespaces: Vec<String>,
}
