//! Pieces of schema that several kinds share.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A condition as Kubernetes tools read it (`kubectl wait`, kstatus).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// What the condition is about, in CamelCase; unique within the list.
    #[serde(rename = "type")]
    pub type_: String,
    /// True, False or Unknown.
    #[schemars(regex(pattern = "^(True|False|Unknown)$"))]
    pub status: String,
    /// The generation of the object that this was concluded from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// When `status` last changed.
    pub last_transition_time: Time,
    /// A constant CamelCase word a program can act on.
    pub reason: String,
    /// One line for a person: what, where, what to do.
    pub message: String,
}

/// A reference to an object of a fixed kind by its name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ObjectName {
    /// metadata.name of the object referred to.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

impl ObjectName {
    /// A reference to `name`.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into() }
    }
}
