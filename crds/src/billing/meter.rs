//! Meter: what is counted, in which unit, and where the facts come from.
//!
//! Quantities travel as integers of the base unit, `baseUnitsPerUnit` to one unit; a price is per display unit. So a
//! CPU meter counts microseconds (base), is named in seconds (unit) and priced per hour (display unit of 3600 units).

use crate::shared::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What is counted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[kube(
    group = "billing.freehold.dev",
    version = "v1alpha1",
    kind = "Meter",
    shortname = "mtr",
    category = "freehold",
    status = "MeterStatus",
    doc = "Meter says what is counted, in which unit, and where the facts come from.",
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
    printcolumn(name = "Kind", type_ = "string", json_path = ".spec.kind"),
    printcolumn(name = "Unit", type_ = "string", json_path = ".spec.unit"),
    printcolumn(name = "Priced per", type_ = "string", json_path = ".spec.displayUnit.name"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.kind == 'Allocation' ? has(self.source.lifecycle) : has(self.source.prometheus)").message("spec.source: kind Allocation needs lifecycle, kinds Counter and Gauge need prometheus"),
    validation = Rule::new("self.kind == 'Gauge' ? has(self.intervalSeconds) : true").message("spec.intervalSeconds: is required for kind Gauge, a held value counts only as long as it is vouched for")
)]
pub struct MeterSpec {
    /// Allocation: an amount times the time it is held. Counter: the growth of a counter. Gauge: a sampled value times the time it held. Immutable.
    #[x_kube(validation = Rule::new("self == oldSelf").message("spec.kind: is immutable, recorded usage was counted that way; create another Meter"))]
    pub kind: MeterKind,
    /// The unit people know the quantity by, such as vcpu-second, second or byte. Immutable.
    #[schemars(length(min = 1, max = 63))]
    #[x_kube(validation = Rule::new("self == oldSelf").message("spec.unit: is immutable, recorded usage is in it; create another Meter"))]
    pub unit: String,
    /// How many integer base units make one unit: 1000000 for a meter kept in millionths. Immutable.
    #[schemars(range(min = 1, max = 1_000_000_000_000_i64))]
    #[x_kube(validation = Rule::new("self == oldSelf").message("spec.baseUnitsPerUnit: is immutable, recorded usage is in base units; create another Meter"))]
    pub base_units_per_unit: i64,
    /// The unit that prices are for and bills show.
    pub display_unit: DisplayUnit,
    /// Where the facts come from; exactly one member.
    pub source: MeterSource,
    /// How often a sample is expected, in seconds; 15 when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 3600))]
    pub interval_seconds: Option<i64>,
    /// What is plausible; beyond it usage waits in suspense for a person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bounds: Option<MeterBounds>,
    /// What becomes of time nobody can vouch for: Hold, Estimate or Waive. Hold when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gap_policy: Option<GapPolicy>,
}

/// How a quantity arises.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum MeterKind {
    /// Amount held × time.
    Allocation,
    /// Growth of a counter.
    Counter,
    /// Sampled value × time.
    Gauge,
}

/// The unit on the bill.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DisplayUnit {
    /// Its name, such as vCPU-hour.
    #[schemars(length(min = 1, max = 63))]
    pub name: String,
    /// How many units make one display unit, such as 3600.
    #[schemars(range(min = 1, max = 1_000_000_000_000_000_i64))]
    pub units: i64,
}

/// Exactly one place that facts come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.lifecycle) != has(self.prometheus)").message("spec.source: needs exactly one of lifecycle and prometheus"))]
pub struct MeterSource {
    /// Transitions that reconcilers record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lifecycle: Option<LifecycleSource>,
    /// Samples that Prometheus sends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prometheus: Option<PrometheusSource>,
}

/// Facts from the numbered transitions of an object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LifecycleSource {
    /// The resource whose held amount is counted, such as compute/vcpu.
    #[schemars(length(min = 1, max = 63))]
    pub resource: String,
}

/// Facts from samples.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PrometheusSource {
    /// Name of the metric.
    #[schemars(regex(pattern = "^[a-zA-Z_:][a-zA-Z0-9_:]*$"), length(max = 200))]
    pub metric: String,
    /// Labels that a series must carry with exactly these values; any when empty.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 16))]
    pub match_labels: BTreeMap<String, String>,
    /// The label whose value is the UID of the metered object.
    #[schemars(regex(pattern = "^[a-zA-Z_][a-zA-Z0-9_]*$"), length(max = 100))]
    pub resource_label: String,
    /// The label that tells parts of one object apart, such as an interface; none when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = "^[a-zA-Z_][a-zA-Z0-9_]*$"), length(max = 100))]
    pub part_label: Option<String>,
}

/// What is plausible for one object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MeterBounds {
    /// The most units that can arise in one second, as a decimal.
    #[schemars(regex(pattern = r"^(0|[1-9][0-9]{0,17})(\.[0-9]{1,6})?$"))]
    pub units_per_second_max: String,
}

/// What becomes of time nobody can vouch for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum GapPolicy {
    /// The period cannot close until data comes or a person decides.
    Hold,
    /// Charge the last known rate, flagged; real data replaces it.
    Estimate,
    /// Charge nothing; the forgone amount is recorded.
    Waive,
}

/// What became of the declaration.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MeterStatus {
    /// The generation that this status speaks about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Ready first, then what else is worth knowing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}
