//! PricePlan: what usage costs, in one object per plan; each accepted generation becomes an immutable version.

use crate::shared::{Condition, ObjectName};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What usage costs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[kube(
    group = "billing.freehold.dev",
    version = "v1alpha1",
    kind = "PricePlan",
    shortname = "plan",
    category = "freehold",
    status = "PricePlanStatus",
    doc = "PricePlan says what usage costs; each accepted change is a version that starts at its effectiveFrom.",
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
    printcolumn(name = "Currency", type_ = "string", json_path = ".spec.currency"),
    printcolumn(name = "Effective", type_ = "string", json_path = ".spec.effectiveFrom"),
    printcolumn(name = "Cycle", type_ = "string", json_path = ".spec.billingCycle"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct PricePlanSpec {
    /// ISO 4217 code of all amounts in the plan; immutable.
    #[schemars(regex(pattern = "^[A-Z]{3}$"))]
    #[x_kube(validation = Rule::new("self == oldSelf").message("spec.currency: is immutable; create another PricePlan"))]
    pub currency: String,
    /// The instant from which this version applies, to the second. A change of prices needs a later one.
    pub effective_from: Time,
    /// The plan's phases in order. One phase for now: it lasts until the plan is left.
    #[schemars(length(min = 1, max = 1))]
    pub phases: Vec<Phase>,
    /// How long a billing period is; Monthly when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub billing_cycle: Option<BillingCycle>,
    /// Day of the month on which periods begin, in the tenant's time zone; shorter months begin on their last day. 1 when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 31))]
    pub anchor_day: Option<i64>,
    /// How a line is rounded to the minor unit, once; HalfAwayFromZero when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rounding: Option<RoundingMode>,
    /// Who may see the plan; Public when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub visibility: Option<Visibility>,
}

/// The length of billing periods.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum BillingCycle {
    /// A calendar month from the anchor day.
    Monthly,
}

/// How a line is rounded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RoundingMode {
    /// To the nearest, a half away from zero.
    HalfAwayFromZero,
    /// To the nearest, a half to the even one.
    HalfEven,
    /// Away from zero.
    Up,
    /// Towards zero.
    Down,
}

/// Who may see a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Visibility {
    /// Everybody.
    Public,
    /// Tenants that have it.
    Private,
}

/// A stretch of a subscription with its own prices.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Phase {
    /// Its name, such as evergreen.
    #[schemars(length(min = 1, max = 63), regex(pattern = "^[a-z0-9]([a-z0-9-]*[a-z0-9])?$"))]
    pub name: String,
    /// One price each; ids are unique, and no two price the same meter.
    #[schemars(length(min = 1, max = 200))]
    pub rate_cards: Vec<RateCard>,
}

/// One price over one meter, or a fee without a meter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.meterRef) || has(self.price.flat)").message("rateCards[].meterRef: is required unless the price is flat"),
    validation = Rule::new("has(self.meterRef) || !has(self.freeQuantity)").message("rateCards[].freeQuantity: needs a meterRef")
)]
pub struct RateCard {
    /// Unique within the plan; appears in line keys, so it never changes its meaning.
    #[schemars(length(min = 1, max = 63), regex(pattern = "^[a-z0-9]([a-z0-9-]*[a-z0-9])?$"))]
    pub id: String,
    /// What people read on the bill; the id when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 200))]
    pub description: Option<String>,
    /// The meter that is priced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub meter_ref: Option<ObjectName>,
    /// The price; exactly one kind.
    pub price: Price,
    /// Display units per period that cost nothing, as a decimal; 0 when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^(0|[1-9][0-9]{0,17})(\.[0-9]{1,12})?$"))]
    pub free_quantity: Option<String>,
    /// Says that a price of zero is meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub free: Option<bool>,
}

/// Exactly one kind of price.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("(has(self.flat) ? 1 : 0) + (has(self.perUnit) ? 1 : 0) + (has(self.graduated) ? 1 : 0) == 1").message("rateCards[].price: needs exactly one of flat, perUnit and graduated"))]
pub struct Price {
    /// An amount once per period.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flat: Option<FlatPrice>,
    /// Quantity × rate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_unit: Option<PerUnitPrice>,
    /// Each unit at the rate of the tier it falls in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub graduated: Option<GraduatedPrice>,
}

/// An amount once per period.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FlatPrice {
    /// A decimal in the plan's currency, up to 12 places.
    #[schemars(regex(pattern = r"^(0|[1-9][0-9]{0,15})(\.[0-9]{1,12})?$"))]
    pub amount: String,
}

/// Quantity × rate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PerUnitPrice {
    /// A decimal per display unit of the meter, up to 12 places.
    #[schemars(regex(pattern = r"^(0|[1-9][0-9]{0,15})(\.[0-9]{1,12})?$"))]
    pub rate: String,
}

/// Tiers over the period's quantity.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GraduatedPrice {
    /// Contiguous tiers in rising order: the first begins at 0, each ends where the next begins, the last is open.
    #[schemars(length(min = 1, max = 50))]
    pub tiers: Vec<Tier>,
}

/// One tier.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Tier {
    /// Where the tier begins, in display units, as a decimal.
    #[schemars(regex(pattern = r"^(0|[1-9][0-9]{0,17})(\.[0-9]{1,12})?$"))]
    pub from: String,
    /// A decimal per display unit within the tier.
    #[schemars(regex(pattern = r"^(0|[1-9][0-9]{0,15})(\.[0-9]{1,12})?$"))]
    pub rate: String,
    /// An amount due once per period when the tier is reached; none when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^(0|[1-9][0-9]{0,15})(\.[0-9]{1,12})?$"))]
    pub flat: Option<String>,
    /// Says that a rate of zero is meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub free: Option<bool>,
}

/// What became of the declaration.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PricePlanStatus {
    /// The generation that this status speaks about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Ready first, then what else is worth knowing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// Versions known to billing, newest first, at most 20.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub versions: Vec<PlanVersionStatus>,
}

/// One immutable version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlanVersionStatus {
    /// The generation that made it.
    pub number: i64,
    /// The instant from which it applies.
    pub effective_from: Time,
    /// SHA-256 of the canonical priced fields, hexadecimal.
    pub hash: String,
}
