//! What the billing-controller answers and `kubectl freehold` reads.
//!
//! Both sides use these types and neither knows the other. Readers ignore fields they do not know, so the server may
//! grow; amounts and quantities are decimal strings, because a JSON number is a float to most readers. The endpoints
//! are listed in `docs/query-api.md`.

use crate::bill::Unpriced;
use crate::rate::Explanation;
use calendar::Instant;
use ids::{AccountId, ResourceUid};
use money::{Currency, Quantity};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// An instant as RFC 3339 text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct InstantText(pub Instant);

impl Serialize for InstantText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for InstantText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map(Self).map_err(serde::de::Error::custom)
    }
}

/// A billing period.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PeriodReport {
    /// The local date it begins on, like `2026-11-01`.
    pub name: String,
    /// The first instant.
    pub from: InstantText,
    /// The first instant after.
    pub to: InstantText,
}

/// `GET /api/v1/bill?tenant=NAME[&period=DATE]`: a tenant's live bill.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BillReport {
    /// The tenant's name.
    pub tenant: String,
    /// The tenant's account.
    pub account: AccountId,
    /// The plan's name.
    pub plan: String,
    /// Of every amount.
    pub currency: Currency,
    /// The period.
    pub period: PeriodReport,
    /// Usage is counted up to here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub as_of: Option<InstantText>,
    /// Ascending by key.
    pub lines: Vec<LineReport>,
    /// The sum of the lines, a decimal in the currency.
    pub total: String,
    /// Usage that no card prices.
    #[serde(default)]
    pub unpriced: Vec<Unpriced>,
    /// Gaps that hold the close.
    #[serde(default)]
    pub open_gaps: u64,
}

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LineReport {
    /// The line's key.
    pub key: String,
    /// What is charged.
    pub description: String,
    /// The project; empty for a fee.
    #[serde(default)]
    pub project: String,
    /// Kind and name of the object, like `VirtualMachine/web`; empty for a fee.
    #[serde(default)]
    pub object: String,
    /// The part of the object; empty for the whole.
    #[serde(default)]
    pub part: String,
    /// Display units, exact: a decimal or a fraction.
    pub quantity: String,
    /// The display unit.
    pub unit: String,
    /// A decimal in the currency.
    pub amount: String,
    /// Words such as `estimated`.
    #[serde(default)]
    pub flags: Vec<String>,
}

/// `GET /api/v1/usage?tenant=NAME[&from=INSTANT][&to=INSTANT][&meter=NAME]`: quantities by window.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UsageReport {
    /// The tenant's name.
    pub tenant: String,
    /// Ascending by meter, object, part and start.
    pub windows: Vec<WindowReport>,
}

/// One usage window.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WindowReport {
    /// The meter.
    pub meter: String,
    /// The object's UID.
    pub resource: ResourceUid,
    /// Kind and name of the object.
    #[serde(default)]
    pub object: String,
    /// The part; empty for the whole.
    #[serde(default)]
    pub part: String,
    /// Where it begins.
    pub start: InstantText,
    /// Base units.
    pub base_units: Quantity,
    /// Display units, exact.
    pub quantity: String,
    /// The display unit.
    pub unit: String,
    /// Facts in it.
    pub facts: u64,
    /// The plan generation that prices it; absent while none does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<i64>,
}

/// `GET /api/v1/lines/explain?key=KEY`: a line down to its facts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExplainReport {
    /// The line.
    pub line: LineReport,
    /// Of its amounts.
    pub currency: Currency,
    /// How the amount came about.
    pub explanation: Explanation,
    /// Name of the plan.
    pub plan: String,
    /// The plan generation.
    pub generation: i64,
    /// SHA-256 of the priced fields.
    pub version_hash: String,
    /// From when the version applies.
    pub effective_from: InstantText,
    /// The object's UID; absent for a fee.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource: Option<ResourceUid>,
    /// The windows that add up to the quantity.
    #[serde(default)]
    pub windows: Vec<WindowReport>,
    /// What was held, for allocation meters.
    #[serde(default)]
    pub spans: Vec<SpanReport>,
    /// The raw samples, for sampled meters, ascending by time; the first bounds the usage from below.
    #[serde(default)]
    pub samples: Vec<SampleReport>,
    /// Time nobody vouches for.
    #[serde(default)]
    pub gaps: Vec<GapReport>,
}

/// An amount held over a time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SpanReport {
    /// Number of the transition that opened it.
    pub transition: u64,
    /// What is held.
    pub sku: String,
    /// How much, a decimal.
    pub quantity: String,
    /// From when.
    pub from: InstantText,
    /// Until when; open while absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<InstantText>,
}

/// A raw sample.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SampleReport {
    /// When.
    pub at: InstantText,
    /// Base units.
    pub base_units: Quantity,
}

/// Time nobody vouches for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GapReport {
    /// Kind and name of the object.
    #[serde(default)]
    pub object: String,
    /// The meter.
    pub meter: String,
    /// From when.
    pub from: InstantText,
    /// Until when; open while absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<InstantText>,
    /// Why, such as `noSeries`.
    pub cause: String,
    /// The total is exact all the same.
    #[serde(default)]
    pub informational: bool,
    /// Data has come.
    #[serde(default)]
    pub filled: bool,
}

/// `POST /api/v1/invoices`: asks for an off-cycle invoice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InvoiceOrder {
    /// The tenant's name.
    pub tenant: String,
    /// `now`, by the server's clock.
    pub through: String,
}

/// `GET /api/v1/invoices?tenant=NAME`: a tenant's invoices.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InvoiceList {
    /// Newest first.
    pub invoices: Vec<InvoiceSummary>,
}

/// An invoice without its lines.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InvoiceSummary {
    /// The gapless number, such as `FH-000001`.
    pub number: String,
    /// The tenant's name.
    pub tenant: String,
    /// When it was issued.
    pub issued_at: InstantText,
    /// Usage up to here is in it.
    pub through: InstantText,
    /// Of every amount.
    pub currency: Currency,
    /// A decimal in the currency.
    pub total: String,
}

/// `GET /api/v1/invoices/{number}`, and the answer to an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InvoiceReport {
    /// Number, tenant, total.
    #[serde(flatten)]
    pub summary: InvoiceSummary,
    /// Their amounts sum to the total.
    pub lines: Vec<LineReport>,
}

/// `GET /api/v1/doctor`: what is well and what is not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DoctorReport {
    /// In the order to look at them.
    pub checks: Vec<CheckReport>,
}

/// One check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CheckReport {
    /// What was looked at, such as `unpriced usage`.
    pub name: String,
    /// Whether it is well.
    pub ok: bool,
    /// What was found, one line.
    pub message: String,
    /// What to do; empty when well.
    #[serde(default)]
    pub remedy: String,
}

/// The body of every refusal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ErrorReport {
    /// What, where, which input; one line.
    pub error: String,
    /// What to do; empty when that is plain.
    #[serde(default)]
    pub hint: String,
}
