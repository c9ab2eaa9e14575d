//! Project: a tenant's namespace for machines, with its own isolation.

use crate::shared::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What a tenant declares about a project, in its home namespace.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[kube(
    group = "tenancy.freehold.dev",
    version = "v1alpha1",
    kind = "Project",
    namespaced,
    shortname = "proj",
    category = "freehold",
    status = "ProjectStatus",
    doc = "Project is a tenant's room for machines: one namespace, isolated from the others.",
    derive = "PartialEq",
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].reason"),
    printcolumn(name = "Namespace", type_ = "string", json_path = ".status.namespace"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = Rule::new("self.metadata.name.matches('^[a-z]([a-z0-9-]{0,27}[a-z0-9])?$')").message("metadata.name: must be 1 to 29 lower-case letters, digits or hyphens, starting with a letter, since a namespace is named after it")
)]
#[serde(rename_all = "camelCase")]
pub struct ProjectSpec {
    /// The name people read.
    #[schemars(length(min = 1, max = 200))]
    pub display_name: String,
    /// Labels copied to the namespace; keys of freehold.dev and kubernetes.io are refused.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[x_kube(validation = Rule::new("self.all(key, !key.contains('freehold.dev/') && !key.contains('kubernetes.io/'))").message("spec.labels: keys of freehold.dev and kubernetes.io are the operator's; choose another prefix"))]
    #[schemars(extend("maxProperties" = 32))]
    pub labels: BTreeMap<String, ShortText>,
    /// Whether pods of the tenant's other projects may reach this one: Project (no) or Tenant (yes). Tenant when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network_isolation: Option<NetworkIsolation>,
}

/// A label's value: at most 63 characters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct ShortText(
    #[schemars(length(max = 63), regex(pattern = "^([A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?)?$"))]
    pub String,
);

/// Who may reach a project's pods.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum NetworkIsolation {
    /// Only the project itself.
    Project,
    /// All projects of the tenant.
    Tenant,
}

/// What the operator found out and did.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProjectStatus {
    /// The generation that this status speaks about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Ready first, then what else is worth knowing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// The namespace made for the project.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
}
