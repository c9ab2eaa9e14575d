//! Tenant: a person or an enterprise that uses the cloud and owes or prepays for it.

use crate::shared::{Condition, ObjectName};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the operator of the cloud declares about a tenant.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[kube(
    group = "tenancy.freehold.dev",
    version = "v1alpha1",
    kind = "Tenant",
    shortname = "tn",
    category = "freehold",
    status = "TenantStatus",
    doc = "Tenant is a person or an enterprise that uses the cloud; its namespaces, access and bills follow from it.",
    derive = "PartialEq",
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].reason"),
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase"),
    printcolumn(name = "Type", type_ = "string", json_path = ".spec.type"),
    printcolumn(name = "Plan", type_ = "string", json_path = ".spec.planRef.name"),
    printcolumn(name = "Currency", type_ = "string", json_path = ".spec.currency", priority = 1),
    printcolumn(name = "Home", type_ = "string", json_path = ".status.homeNamespace", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = Rule::new("self.metadata.name.matches('^[a-z]([a-z0-9-]{0,28}[a-z0-9])?$')").message("metadata.name: must be 1 to 30 lower-case letters, digits or hyphens, starting with a letter, since namespaces are named after it")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.accountId) == has(oldSelf.accountId) && (!has(self.accountId) || self.accountId == oldSelf.accountId)").message("spec.accountId: is immutable, the books are kept under it; create another tenant instead"),
    validation = Rule::new("!has(self.suspended) || !self.suspended || has(self.suspendReason)").message("spec.suspendReason: is required while spec.suspended is true; say why"),
    validation = Rule::new("!has(self.creditLimit) || self.paymentMode == 'Postpaid'").message("spec.creditLimit: applies to paymentMode Postpaid only; remove it or change the mode")
)]
pub struct TenantSpec {
    /// Whether the tenant is one person (Individual) or an organisation (Enterprise).
    #[serde(rename = "type")]
    pub type_: TenantType,
    /// The name people read in consoles and on invoices.
    #[schemars(length(min = 1, max = 200))]
    pub display_name: String,
    /// The tenant above this one, for departments and resellers' customers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent_ref: Option<ObjectName>,
    /// UUID under which the books are kept; chosen at creation when left out, immutable after.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"))]
    pub account_id: Option<String>,
    /// ISO 4217 code of the account's one currency; immutable.
    #[schemars(regex(pattern = "^[A-Z]{3}$"))]
    #[x_kube(validation = Rule::new("self == oldSelf").message("spec.currency: is immutable, an account has one currency; create another tenant instead"))]
    pub currency: String,
    /// IANA time zone in which billing periods begin and end; UTC when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub time_zone: Option<String>,
    /// BCP 47 language of documents and messages; en when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 35))]
    pub locale: Option<String>,
    /// Prepaid: usage burns a balance. Postpaid: usage is invoiced.
    pub payment_mode: PaymentMode,
    /// The most a postpaid tenant may owe, as a decimal in the account's currency, such as "5000.00".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^(0|[1-9][0-9]{0,15})(\.[0-9]{1,4})?$"))]
    pub credit_limit: Option<String>,
    /// The price plan by which usage is rated.
    pub plan_ref: ObjectName,
    /// Service tier, for price plans that distinguish tiers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub tier: Option<String>,
    /// Whom to reach about what.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub contacts: Vec<Contact>,
    /// Stops every machine of the tenant and refuses new ones; data stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspended: Option<bool>,
    /// Why the tenant is suspended; shown to its people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 500))]
    pub suspend_reason: Option<String>,
    /// What becomes of the namespaces when the tenant is deleted: Delete removes them, Retain refuses to close while machines live. Delete when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deletion_policy: Option<DeletionPolicy>,
    /// While true the tenant cannot be deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protected: Option<bool>,
}

/// Person or organisation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum TenantType {
    /// One person.
    Individual,
    /// An organisation.
    Enterprise,
}

/// When money is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum PaymentMode {
    /// Before use.
    Prepaid,
    /// After use, by invoice.
    Postpaid,
}

/// What deletion does to what the tenant still has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum DeletionPolicy {
    /// Wait until the tenant's people have removed their machines.
    Retain,
    /// Remove machines, projects and namespaces.
    Delete,
}

/// A person or mailbox responsible for something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Contact {
    /// What this contact is asked about: Owner, Billing or Technical.
    pub role: ContactRole,
    /// Mail address.
    #[schemars(regex(pattern = r"^[^@\s]+@[^@\s]+$"), length(max = 254))]
    pub email: String,
    /// Name of the person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 200))]
    pub name: Option<String>,
}

/// What a contact is asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ContactRole {
    /// Everything.
    Owner,
    /// Bills and payments.
    Billing,
    /// Outages and maintenance.
    Technical,
}

/// What the operator found out and did.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TenantStatus {
    /// Pending, Active, Suspended, Closing or Closed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<TenantPhase>,
    /// The generation that this status speaks about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Ready first, then what else is worth knowing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// UUID under which the books are kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account_id: Option<String>,
    /// The namespace that holds the tenant's projects and members.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub home_namespace: Option<String>,
    /// Every namespace of the tenant, sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub namespaces: Vec<String>,
    /// How many members are bound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub members: Option<i64>,
}

/// Where a tenant is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum TenantPhase {
    /// Declared, not yet usable.
    Pending,
    /// In use.
    Active,
    /// Machines are stopped, data is kept.
    Suspended,
    /// Being deleted; machines and namespaces are going.
    Closing,
    /// Nothing is left but the books.
    Closed,
}

impl Tenant {
    /// The UUID of the tenant's books: the declared one, else the object's own UID, which is as unique and as final.
    ///
    /// `None` only for an object that the API server has not stored yet.
    pub fn account_id(&self) -> Option<&str> {
        self.spec.account_id.as_deref().or(self.metadata.uid.as_deref())
    }
}
