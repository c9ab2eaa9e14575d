//! InstanceType: a size that machines are sold in.

use crate::shared::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A size of machine; immutable, because machines and bills refer to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[kube(
    group = "compute.freehold.dev",
    version = "v1alpha1",
    kind = "InstanceType",
    shortname = "itype",
    category = "freehold",
    status = "InstanceTypeStatus",
    doc = "InstanceType is a size that machines are sold in.",
    derive = "PartialEq",
    printcolumn(name = "vCPUs", type_ = "integer", json_path = ".spec.vcpus"),
    printcolumn(name = "Memory", type_ = "string", json_path = ".spec.memory"),
    printcolumn(name = "Tier", type_ = "string", json_path = ".spec.serviceTier"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self == oldSelf").message("spec: an InstanceType is immutable, machines are billed by it; create another one under a new name"))]
pub struct InstanceTypeSpec {
    /// Virtual CPUs.
    #[schemars(range(min = 1, max = 512))]
    pub vcpus: i64,
    /// Memory as a whole number of Mi, Gi or Ti, such as 2Gi.
    #[schemars(regex(pattern = "^[1-9][0-9]{0,6}(Mi|Gi|Ti)$"))]
    pub memory: String,
    /// Name of the service tier, for price plans that distinguish tiers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub service_tier: Option<String>,
}

impl InstanceTypeSpec {
    /// Memory in MiB; `None` when the text is not a whole number of Mi, Gi or Ti.
    pub fn memory_mib(&self) -> Option<i64> {
        let units = [("Mi", 1_i64), ("Gi", 1 << 10), ("Ti", 1 << 20)];
        let (digits, factor) = units
            .iter()
            .find_map(|(unit, factor)| Some((self.memory.strip_suffix(unit)?, *factor)))?;
        digits.parse::<i64>().ok().filter(|count| *count > 0)?.checked_mul(factor)
    }
}

/// How the size is used.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct InstanceTypeStatus {
    /// The generation that this status speaks about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Ready first, then what else is worth knowing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_exactly_or_not_at_all() {
        let of = |memory: &str| {
            InstanceTypeSpec { vcpus: 1, memory: memory.to_owned(), service_tier: None }
                .memory_mib()
        };
        assert_eq!(of("128Mi"), Some(128));
        assert_eq!(of("2Gi"), Some(2048));
        assert_eq!(of("1Ti"), Some(1_048_576));
        for bad in ["", "2", "2G", "-1Gi", "0Mi", "1.5Gi", "9223372036854775807Ti"] {
            assert_eq!(of(bad), None, "{bad}");
        }
    }
}
