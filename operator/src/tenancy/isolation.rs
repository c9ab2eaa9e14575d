//! The network policy that every namespace of a tenant begins with: closed to other tenants, open to DNS.

use ids::well_known;
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::ResourceExt;
use serde_json::json;

/// Who may reach the pods of a namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Only pods of the namespace itself.
    Namespace,
    /// All pods of the tenant.
    Tenant,
}

/// The policy's name in each namespace.
const NAME: &str = "freehold-default";

/// The policy of `namespace`; its tenant is read from the namespace's own labels.
///
/// # Errors
/// Never for the fixed shape below; the conversion is checked nevertheless.
pub fn policy(namespace: &Namespace, reach: Reach) -> Result<NetworkPolicy, serde_json::Error> {
    let uid = namespace.labels().get(well_known::TENANT_UID_LABEL);
    let tenant =
        json!({ "namespaceSelector": { "matchLabels": { (well_known::TENANT_UID_LABEL): uid } } });
    let own = json!({ "podSelector": {} });
    let peers = match reach {
        Reach::Namespace => json!([own]),
        Reach::Tenant => json!([tenant]),
    };
    let dns = json!([{ "protocol": "UDP", "port": 53 }, { "protocol": "TCP", "port": 53 }]);
    serde_json::from_value(json!({
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {
            "name": NAME,
            "namespace": namespace.name_any(),
            "labels": { (well_known::MANAGED_BY_LABEL): well_known::OPERATOR_MANAGER },
        },
        "spec": {
            "podSelector": {},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [{ "from": peers }],
            "egress": [{ "to": peers }, { "ports": dns }],
        },
    }))
}
