//! Plans and meters as people write them.
//!
//! The same JSON as the `spec` of a `PricePlan` and a `Meter` object, in plain types, so that webhook, billing and the
//! offline rating of a file read plans by one parser and refuse the same mistakes in the same words.

use serde::{Deserialize, Serialize};

/// `spec` of a `PricePlan`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PlanInput {
    /// ISO 4217 code.
    pub currency: String,
    /// RFC 3339.
    pub effective_from: String,
    /// Exactly one.
    pub phases: Vec<PhaseInput>,
    /// `Monthly`, which is also the default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub billing_cycle: Option<String>,
    /// 1 to 31; 1 when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub anchor_day: Option<i64>,
    /// A [`money::RoundingMode`] by name; `HalfAwayFromZero` when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rounding: Option<String>,
    /// Who may see the plan; of no account here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub visibility: Option<String>,
}

/// One phase.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PhaseInput {
    /// Its name.
    pub name: String,
    /// One price each.
    pub rate_cards: Vec<CardInput>,
}

/// One rate card.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CardInput {
    /// Unique within the plan.
    pub id: String,
    /// What people read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The meter that is priced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub meter_ref: Option<NameInput>,
    /// Exactly one kind.
    pub price: PriceInput,
    /// Display units per period that cost nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub free_quantity: Option<String>,
    /// A price of zero is meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub free: Option<bool>,
}

/// A reference by name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NameInput {
    /// The name.
    pub name: String,
}

/// One of the kinds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PriceInput {
    /// An amount once per period.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flat: Option<FlatInput>,
    /// Quantity × rate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_unit: Option<PerUnitInput>,
    /// Each unit at its tier's rate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub graduated: Option<GraduatedInput>,
}

/// An amount once per period.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FlatInput {
    /// A decimal in the plan's currency.
    pub amount: String,
}

/// Quantity × rate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PerUnitInput {
    /// A decimal per display unit.
    pub rate: String,
}

/// Tiers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GraduatedInput {
    /// Rising, from 0.
    pub tiers: Vec<TierInput>,
}

/// One tier.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TierInput {
    /// Where it begins, in display units.
    pub from: String,
    /// A decimal per display unit.
    pub rate: String,
    /// Due once when the tier is reached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flat: Option<String>,
    /// A rate of zero is meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub free: Option<bool>,
}

/// What pricing needs of a Meter's `spec`; other fields are of no account here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MeterInput {
    /// Base units in one unit.
    pub base_units_per_unit: i64,
    /// The unit on the bill.
    pub display_unit: DisplayUnitInput,
}

/// The unit on the bill.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DisplayUnitInput {
    /// Its name.
    pub name: String,
    /// Units in one display unit.
    pub units: i64,
}
