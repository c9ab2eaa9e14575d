//! How the API server is told when to ask: two configurations, as narrow as they can be.
//!
//! - Requests about foreign objects never come here: rules name our groups, and for namespaces the API server itself
//!   looks (by CEL) whether a tenant's label or a kept name is involved. So a broken webhook stops nobody else.
//! - The operator, the billing-controller and Kubernetes' own controllers are let through by name before we are called:
//!   what has to be repaired can be repaired while this program is away.
//! - Deleting a machine or a claim needs no answer from us, so a cost can always be ended.
//! - System namespaces and our own are left out by label.

use crate::rules::namespace::GUARDED_LABELS;
use ids::names::NAMESPACE_PREFIX;
use ids::well_known::{
    BILLING_GROUP, CLAIM_FINALIZER, COMPUTE_GROUP, NETWORK_GROUP, TENANCY_GROUP, VERSION,
    VLAN_FINALIZER,
};
use k8s_openapi::ByteString;
use k8s_openapi::api::admissionregistration::v1::{
    MatchCondition, MutatingWebhook, MutatingWebhookConfiguration, RuleWithOperations,
    ServiceReference, ValidatingWebhook, ValidatingWebhookConfiguration, WebhookClientConfig,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{
    LabelSelector, LabelSelectorRequirement, ObjectMeta,
};
use std::str::FromStr;

/// The name of both configurations.
pub const NAME: &str = "freehold";
/// Longer than any answer takes, short enough to fail soon.
pub const TIMEOUT_SECONDS: i32 = 3;
/// Kubernetes' own hands: they finish what a person was allowed to begin.
const CONTROLLERS: [&str; 3] = [
    "system:serviceaccount:kube-system:namespace-controller",
    "system:serviceaccount:kube-system:generic-garbage-collector",
    "system:kube-controller-manager",
];
/// Namespaces that are never a tenant's.
const SYSTEM_NAMESPACES: [&str; 3] = ["kube-system", "kube-public", "kube-node-lease"];

/// The network's kinds that are in use by others. Claims and VLANs are not: giving something back asks nobody.
const NETWORK_KINDS: [&str; 7] = [
    "addressspaces",
    "prefixes",
    "ippools",
    "ipblocks",
    "vlanpools",
    "vlanfabrics",
    "securityzones",
];

/// How API servers reach this program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Advertise {
    /// By an address, such as `https://127.0.0.1:9443`.
    Url(String),
    /// Through a Service.
    Service {
        /// The Service's name.
        name: String,
        /// Its namespace.
        namespace: String,
    },
}

impl FromStr for Advertise {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let advice = "write url=https://HOST:PORT or service=NAME.NAMESPACE";
        match text.split_once('=') {
            Some(("url", url)) if host_of(url).is_some() => {
                Ok(Self::Url(url.trim_end_matches('/').to_owned()))
            }
            Some(("service", service)) => match service.split_once('.') {
                Some((name, namespace)) if !name.is_empty() && !namespace.is_empty() => {
                    Ok(Self::Service { name: name.to_owned(), namespace: namespace.to_owned() })
                }
                _ => Err(format!("`{text}` names no service and namespace; {advice}")),
            },
            _ => Err(format!("`{text}` is not a way to be reached; {advice}")),
        }
    }
}

/// The host of an `https` address, without port and brackets.
fn host_of(url: &str) -> Option<&str> {
    let authority = url.strip_prefix("https://")?.split('/').next()?;
    let host = match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next()?,
        None => authority.split(':').next()?,
    };
    (!host.is_empty()).then_some(host)
}

impl Advertise {
    /// The name that the serving certificate has to carry.
    pub fn certificate_name(&self) -> String {
        match self {
            Self::Url(url) => host_of(url).unwrap_or_default().to_owned(),
            Self::Service { name, namespace } => format!("{name}.{namespace}.svc"),
        }
    }

    fn client(&self, path: &str, bundle: &str) -> WebhookClientConfig {
        let ca_bundle = Some(ByteString(bundle.as_bytes().to_vec()));
        match self {
            Self::Url(url) => {
                WebhookClientConfig { ca_bundle, url: Some(format!("{url}{path}")), service: None }
            }
            Self::Service { name, namespace } => WebhookClientConfig {
                ca_bundle,
                url: None,
                service: Some(ServiceReference {
                    name: name.clone(),
                    namespace: namespace.clone(),
                    path: Some(path.to_owned()),
                    port: None,
                }),
            },
        }
    }
}

/// What the configurations are made from.
#[derive(Debug, Clone)]
pub struct Registration {
    /// How we are reached.
    pub advertise: Advertise,
    /// Users that are let through: the operator and the billing-controller.
    pub operators: Vec<String>,
    /// The namespace of our own installation.
    pub own_namespace: String,
}

impl Registration {
    /// The configuration for judging.
    pub fn validating(&self, bundle: &str) -> ValidatingWebhookConfiguration {
        let judge = |name: &str, rules, conditions| ValidatingWebhook {
            name: format!("{name}.freehold.dev"),
            admission_review_versions: vec!["v1".to_owned()],
            client_config: self.advertise.client("/validate", bundle),
            failure_policy: Some("Fail".to_owned()),
            match_conditions: Some(conditions),
            match_policy: Some("Equivalent".to_owned()),
            namespace_selector: Some(self.namespaces()),
            object_selector: None,
            rules: Some(rules),
            side_effects: "None".to_owned(),
            timeout_seconds: Some(TIMEOUT_SECONDS),
        };
        let ours = [TENANCY_GROUP, COMPUTE_GROUP, BILLING_GROUP, NETWORK_GROUP];
        let growth = rule(&ours, VERSION, &["*/*"], &["CREATE", "UPDATE"]);
        let removal = [
            (TENANCY_GROUP, &["tenants", "tenantmembers"][..]),
            (COMPUTE_GROUP, &["instancetypes", "computeclusters", "physicalmachines"][..]),
            (BILLING_GROUP, &["meters", "priceplans"][..]),
            (NETWORK_GROUP, &NETWORK_KINDS[..]),
        ]
        .map(|(group, kinds)| rule(&[group], VERSION, kinds, &["DELETE"]));
        let namespaces =
            rule(&[""], "v1", &["namespaces", "namespaces/*"], &["CREATE", "UPDATE", "DELETE"]);
        ValidatingWebhookConfiguration {
            metadata: metadata(),
            webhooks: Some(vec![
                judge("growth", vec![growth], vec![self.not_ours()]),
                judge("removal", removal.to_vec(), vec![self.not_ours()]),
                judge("namespaces", vec![namespaces], vec![self.not_ours(), about_tenants()]),
            ]),
        }
    }

    /// The configuration for filling in.
    pub fn mutating(&self, bundle: &str) -> MutatingWebhookConfiguration {
        let fill = |name: &str, condition, rule, policy: &str| MutatingWebhook {
            name: format!("{name}.freehold.dev"),
            admission_review_versions: vec!["v1".to_owned()],
            client_config: self.advertise.client("/mutate", bundle),
            failure_policy: Some(policy.to_owned()),
            match_conditions: Some(vec![condition]),
            match_policy: Some("Equivalent".to_owned()),
            namespace_selector: None,
            object_selector: None,
            reinvocation_policy: Some("Never".to_owned()),
            rules: Some(vec![rule]),
            side_effects: "None".to_owned(),
            timeout_seconds: Some(TIMEOUT_SECONDS),
        };
        let accounts = fill(
            "defaults",
            condition("account-id-is-absent", "!has(object.spec) || !has(object.spec.accountId)"),
            rule(&[TENANCY_GROUP], VERSION, &["tenants"], &["CREATE", "UPDATE"]),
            "Fail",
        );
        // Without it the operator puts the hold on, at the cost of a write, so nothing fails here.
        let hold = |name: &str, kind: &str, finalizer: &str| {
            let absent = format!(
                "!has(object.metadata.finalizers) || !({} in object.metadata.finalizers)",
                quoted(finalizer)
            );
            let rule = rule(&[NETWORK_GROUP], VERSION, &[kind], &["CREATE"]);
            fill(name, condition("hold-is-absent", &absent), rule, "Ignore")
        };
        let claims = hold("claims", "ipclaims", CLAIM_FINALIZER);
        let vlans = hold("vlans", "vlans", VLAN_FINALIZER);
        MutatingWebhookConfiguration {
            metadata: metadata(),
            webhooks: Some(vec![accounts, claims, vlans]),
        }
    }

    fn namespaces(&self) -> LabelSelector {
        let mut left_out: Vec<String> = SYSTEM_NAMESPACES.map(str::to_owned).to_vec();
        left_out.push(self.own_namespace.clone());
        LabelSelector {
            match_expressions: Some(vec![LabelSelectorRequirement {
                key: "kubernetes.io/metadata.name".to_owned(),
                operator: "NotIn".to_owned(),
                values: Some(left_out),
            }]),
            match_labels: None,
        }
    }

    fn not_ours(&self) -> MatchCondition {
        let users = self.operators.iter().map(String::as_str).chain(CONTROLLERS);
        let quoted: Vec<String> = users.map(quoted).collect();
        condition(
            "not-by-controllers",
            &format!("!(request.userInfo.username in [{}])", quoted.join(", ")),
        )
    }
}

/// Whether a tenant's label, or a name kept for tenants, is on the namespace before or after.
fn about_tenants() -> MatchCondition {
    let labels: Vec<String> = GUARDED_LABELS.iter().map(|label| quoted(label)).collect();
    let labels = labels.join(", ");
    let side = |object: &str| {
        format!(
            "({object} != null && has({object}.metadata.labels) && [{labels}].exists(label, label in {object}.metadata.labels))"
        )
    };
    let prefix = quoted(NAMESPACE_PREFIX);
    let name = ["name", "generateName"].map(|field| {
        format!(
            "(object != null && has(object.metadata.{field}) && object.metadata.{field}.startsWith({prefix}))"
        )
    });
    condition("about-tenants", &[side("object"), side("oldObject"), name.join(" || ")].join(" || "))
}

/// A text as CEL writes it.
fn quoted(text: &str) -> String {
    let escaped: String = text
        .chars()
        .flat_map(|character| match character {
            '\'' | '\\' => vec!['\\', character],
            other => vec![other],
        })
        .collect();
    format!("'{escaped}'")
}

fn condition(name: &str, expression: &str) -> MatchCondition {
    MatchCondition { name: name.to_owned(), expression: expression.to_owned() }
}

fn metadata() -> ObjectMeta {
    ObjectMeta { name: Some(NAME.to_owned()), ..ObjectMeta::default() }
}

fn rule(groups: &[&str], version: &str, kinds: &[&str], operations: &[&str]) -> RuleWithOperations {
    let owned = |list: &[&str]| Some(list.iter().map(|text| (*text).to_owned()).collect());
    RuleWithOperations {
        api_groups: owned(groups),
        api_versions: owned(&[version]),
        operations: owned(operations),
        resources: owned(kinds),
        scope: Some("*".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registration() -> Registration {
        Registration {
            advertise: "service=webhook.freehold-system".parse().unwrap(),
            operators: vec!["o'brien".to_owned()],
            own_namespace: "freehold-system".to_owned(),
        }
    }

    #[test]
    fn ways_to_be_reached_are_read_or_refused() {
        for (text, name) in [
            ("url=https://127.0.0.1:9443", "127.0.0.1"),
            ("url=https://[::1]:9443/", "::1"),
            ("url=https://hook.example", "hook.example"),
            ("service=a.b", "a.b.svc"),
        ] {
            assert_eq!(text.parse::<Advertise>().unwrap().certificate_name(), name);
        }
        for bad in ["", "url=http://x", "url=https://", "service=a", "service=.b", "a.b"] {
            let refusal = bad.parse::<Advertise>().unwrap_err();
            assert!(refusal.contains("service=NAME.NAMESPACE"), "{refusal}");
        }
    }

    #[test]
    fn every_rule_is_narrow_and_quick() {
        let configuration = registration().validating("bundle");
        for webhook in configuration.webhooks.unwrap() {
            assert_eq!(webhook.timeout_seconds, Some(3));
            assert_eq!(webhook.side_effects, "None");
            for rule in webhook.rules.unwrap() {
                let groups = rule.api_groups.unwrap();
                assert!(!groups.contains(&"*".to_owned()), "{groups:?}");
                assert!(
                    groups.iter().all(|group| group.is_empty() || group.ends_with("freehold.dev"))
                );
            }
            let conditions = webhook.match_conditions.unwrap();
            assert!(conditions[0].expression.contains(r"'o\'brien'"), "{conditions:?}");
        }
    }

    #[test]
    fn deleting_what_costs_asks_nobody() {
        let configuration = registration().validating("bundle");
        for rule in configuration.webhooks.unwrap().into_iter().flat_map(|hook| hook.rules.unwrap())
        {
            let deletes = rule.operations.unwrap().contains(&"DELETE".to_owned());
            let kinds = rule.resources.unwrap();
            let costing = ["*/*", "virtualmachines", "ipclaims", "vlans"];
            assert!(!deletes || !kinds.iter().any(|kind| costing.contains(&kind.as_str())));
        }
    }
}
