//! What the built-in roles allow, as cluster roles that members are bound to in their tenant's namespaces.
//!
//! No role gives a write verb on namespaces, roles or bindings: who belongs to a tenant is said by `TenantMember` alone,
//! and what a tenant's namespaces are by the operator alone.

use crds::tenancy::BuiltInRole;
use ids::well_known;
use k8s_openapi::api::rbac::v1::{ClusterRole, PolicyRule};
use kube::api::ObjectMeta;
use operator_kit::Applier;
use operator_kit::apply::ApplyError;

const READ: [&str; 3] = ["get", "list", "watch"];
const WRITE: [&str; 8] =
    ["get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"];

/// All roles, in rising order of power from the last.
pub const ALL: [BuiltInRole; 5] = [
    BuiltInRole::Owner,
    BuiltInRole::Admin,
    BuiltInRole::Developer,
    BuiltInRole::Billing,
    BuiltInRole::Auditor,
];

/// The word for a role in names and messages.
pub fn word(role: BuiltInRole) -> &'static str {
    match role {
        BuiltInRole::Owner => "owner",
        BuiltInRole::Admin => "admin",
        BuiltInRole::Developer => "developer",
        BuiltInRole::Billing => "billing",
        BuiltInRole::Auditor => "auditor",
    }
}

/// The name of the cluster role behind a role.
pub fn cluster_role_name(role: BuiltInRole) -> String {
    format!("freehold-tenant-{}", word(role))
}

fn rule(group: &str, resources: &[&str], verbs: &[&str]) -> PolicyRule {
    let owned = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    PolicyRule {
        api_groups: Some(vec![group.to_owned()]),
        resources: Some(owned(resources)),
        verbs: owned(verbs),
        ..PolicyRule::default()
    }
}

fn rules(role: BuiltInRole) -> Vec<PolicyRule> {
    let tenancy =
        |verbs: &[&str]| rule(well_known::TENANCY_GROUP, &["projects", "tenantmembers"], verbs);
    let machines = |verbs: &[&str]| rule(well_known::COMPUTE_GROUP, &["virtualmachines"], verbs);
    let network = |verbs: &[&str]| rule(well_known::NETWORK_GROUP, &["ipclaims", "vlans"], verbs);
    let workloads =
        ["pods", "pods/log", "services", "configmaps", "persistentvolumeclaims", "events"];
    let apps = ["deployments", "statefulsets", "daemonsets", "replicasets"];
    match role {
        BuiltInRole::Owner | BuiltInRole::Admin => vec![
            tenancy(&WRITE),
            machines(&WRITE),
            network(&WRITE),
            rule("", &workloads, &WRITE),
            rule("", &["secrets"], &WRITE),
            rule("apps", &apps, &WRITE),
        ],
        BuiltInRole::Developer => vec![
            tenancy(&READ),
            machines(&WRITE),
            network(&WRITE),
            rule("", &workloads, &WRITE),
            rule("", &["secrets"], &WRITE),
            rule("apps", &apps, &WRITE),
        ],
        BuiltInRole::Billing => vec![tenancy(&READ), machines(&READ), network(&READ)],
        BuiltInRole::Auditor => {
            vec![
                tenancy(&READ),
                machines(&READ),
                network(&READ),
                rule("", &workloads, &READ),
                rule("apps", &apps, &READ),
            ]
        }
    }
}

/// The cluster role behind a role.
pub fn cluster_role(role: BuiltInRole) -> ClusterRole {
    ClusterRole {
        metadata: ObjectMeta {
            name: Some(cluster_role_name(role)),
            labels: Some(
                [(
                    well_known::MANAGED_BY_LABEL.to_owned(),
                    well_known::OPERATOR_MANAGER.to_owned(),
                )]
                .into(),
            ),
            ..ObjectMeta::default()
        },
        rules: Some(rules(role)),
        aggregation_rule: None,
    }
}

/// Declares all cluster roles.
///
/// # Errors
/// The API server refused or did not answer.
pub async fn declare(applier: &Applier) -> Result<(), ApplyError> {
    for role in ALL {
        applier.apply(&cluster_role(role)).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chart_declares_the_same_roles() {
        let items: Vec<_> = ALL
            .iter()
            .map(|role| {
                let role = cluster_role(*role);
                serde_json::json!({"metadata": {"name": role.metadata.name}, "rules": role.rules})
            })
            .collect();
        let wanted = serde_json::to_string_pretty(&serde_json::json!({"items": items})).unwrap();
        let chart = include_str!("../../../charts/freehold/files/tenant-roles.json");
        assert_eq!(
            chart.trim_end(),
            wanted,
            "write this into charts/freehold/files/tenant-roles.json"
        );
    }

    #[test]
    fn no_role_reaches_beyond_its_tenant() {
        for role in ALL {
            for rule in rules(role) {
                let resources = rule.resources.unwrap_or_default();
                let foreign = ["namespaces", "roles", "rolebindings", "nodes", "*"];
                assert!(
                    !resources.iter().any(|name| foreign.contains(&name.as_str())),
                    "{role:?}: {resources:?}"
                );
                assert!(
                    !rule.verbs.iter().any(|verb| verb == "*" || verb == "impersonate"),
                    "{role:?}"
                );
                let status = resources.iter().any(|name| name.ends_with("/status"));
                assert!(!status, "{role:?} may write status: {resources:?}");
            }
        }
    }
}
