//! The guard of tenants' namespaces.
//!
//! A namespace belongs to a tenant by labels that only the operator sets; whoever could set, change or drop them would
//! move workloads and their bills to another tenant. The guard looks at the labels before and after, whatever the door:
//! the object, `status`, `finalize`. The operator and Kubernetes' own namespace controller never get here, see
//! `registration`.

use super::Change;
use crate::finding::Verdict;
use crate::review::Operation;
use ids::names::NAMESPACE_PREFIX;
use ids::well_known::{PROJECT_LABEL, ROLE_LABEL, TENANT_LABEL, TENANT_UID_LABEL};
use k8s_openapi::api::core::v1::Namespace;
use kube::ResourceExt;

/// The labels by which a namespace belongs to a tenant.
pub const GUARDED_LABELS: [&str; 4] = [TENANT_LABEL, TENANT_UID_LABEL, PROJECT_LABEL, ROLE_LABEL];

/// Refuses whatever would make, take, hide or remove a tenant's namespace.
pub fn check(change: &Change<Namespace>) -> Verdict {
    let mut verdict = Verdict::default();
    match (change.operation, &change.old, &change.new) {
        (Operation::Create, _, Some(new)) => claims(new, &mut verdict),
        (Operation::Update, Some(old), Some(new)) => {
            labels_kept(old, new, &mut verdict);
            if is_guarded(old) {
                owners_kept(old, new, &mut verdict);
                finalizers_kept(change, old, new, &mut verdict);
            }
        }
        (Operation::Delete, Some(old), _) if is_guarded(old) => verdict.forbid(
            "metadata",
            "this namespace belongs to a tenant and goes with it; delete the Tenant or the Project instead",
        ),
        _ => {}
    }
    verdict
}

/// Whether the operator made this namespace for a tenant.
pub fn is_guarded(namespace: &Namespace) -> bool {
    GUARDED_LABELS.iter().any(|label| namespace.labels().contains_key(*label))
}

fn claims(new: &Namespace, verdict: &mut Verdict) {
    let name = new.metadata.name.as_deref().or(new.metadata.generate_name.as_deref());
    if name.is_some_and(|name| name.starts_with(NAMESPACE_PREFIX)) {
        verdict.forbid(
            "metadata.name",
            format!(
                "names beginning with {NAMESPACE_PREFIX} are kept for tenants; choose another name, or create a Tenant or a Project"
            ),
        );
    }
    for label in GUARDED_LABELS {
        if new.labels().contains_key(label) {
            verdict.forbid(
                format!("metadata.labels[{label}]"),
                "only the operator gives a namespace to a tenant; remove the label, or create a Project",
            );
        }
    }
}

fn labels_kept(old: &Namespace, new: &Namespace, verdict: &mut Verdict) {
    for label in GUARDED_LABELS {
        if old.labels().get(label) != new.labels().get(label) {
            let was = old.labels().get(label).map_or("absent", String::as_str);
            verdict.forbid(
                format!("metadata.labels[{label}]"),
                format!(
                    "is set by the operator only, it decides who owns and pays; leave it as it was ({was})"
                ),
            );
        }
    }
}

fn owners_kept(old: &Namespace, new: &Namespace, verdict: &mut Verdict) {
    if old.owner_references() != new.owner_references() {
        verdict.forbid(
            "metadata.ownerReferences",
            "are set by the operator only on a tenant's namespace; leave them as they were",
        );
    }
}

/// Before deletion began nobody may ease it; after that the finalizers are the controllers' to drop.
fn finalizers_kept(
    change: &Change<Namespace>,
    old: &Namespace,
    new: &Namespace,
    verdict: &mut Verdict,
) {
    if old.metadata.deletion_timestamp.is_some() {
        return;
    }
    let of = |namespace: &Namespace| {
        namespace.spec.as_ref().and_then(|spec| spec.finalizers.clone()).unwrap_or_default()
    };
    if of(old) != of(new) {
        let door = change.subresource.as_deref().unwrap_or("update");
        verdict.forbid(
            "spec.finalizers",
            format!("are kept on a tenant's namespace while it lives, also through {door}; leave them as they were"),
        );
    }
    if old.finalizers() != new.finalizers() {
        verdict.forbid(
            "metadata.finalizers",
            "are kept on a tenant's namespace while it lives; leave them as they were",
        );
    }
}

#[cfg(test)]
mod tests {
    use super::super::scene::change;
    use super::*;
    use serde_json::{Value, json};

    fn namespace(name: &str, labels: Value) -> Value {
        json!({ "metadata": { "name": name, "labels": labels }, "spec": { "finalizers": ["kubernetes"] } })
    }

    fn theirs() -> Value {
        namespace(
            "tn-acme",
            json!({ TENANT_LABEL: "acme", TENANT_UID_LABEL: "u", ROLE_LABEL: "home" }),
        )
    }

    fn allows(operation: &str, old: Value, new: Value) -> bool {
        check(&change::<Namespace>(operation, old, new)).allows()
    }

    #[test]
    fn creating_is_refused_for_kept_names_and_labels_only() {
        assert!(allows("CREATE", json!(null), namespace("shop", json!({ "team": "a" }))));
        assert!(!allows("CREATE", json!(null), namespace("tn-acme-shop", json!({}))));
        for label in GUARDED_LABELS {
            assert!(!allows("CREATE", json!(null), namespace("shop", json!({ label: "x" }))));
        }
        let generated = json!({ "metadata": { "generateName": "tn-" } });
        assert!(!allows("CREATE", json!(null), generated));
    }

    #[test]
    fn labels_can_be_neither_changed_nor_dropped_nor_added() {
        let with = |label: &str, value: Value| {
            let mut changed = theirs();
            changed["metadata"]["labels"][label] = value;
            changed
        };
        assert!(allows("UPDATE", theirs(), with("team", json!("b"))));
        for label in GUARDED_LABELS {
            assert!(!allows("UPDATE", theirs(), with(label, json!("thief"))), "{label}");
        }
        let bare = namespace("tn-acme", json!({}));
        assert!(!allows("UPDATE", theirs(), bare.clone()));
        assert!(!allows("UPDATE", bare, theirs()));
    }

    #[test]
    fn owners_and_finalizers_stay_while_it_lives() {
        let mut owned = theirs();
        owned["metadata"]["ownerReferences"] =
            json!([{ "apiVersion": "v1", "kind": "Node", "name": "n", "uid": "u" }]);
        assert!(!allows("UPDATE", theirs(), owned));
        let mut eased = theirs();
        eased["spec"]["finalizers"] = json!([]);
        assert!(!allows("UPDATE", theirs(), eased.clone()));
        let mut dying = theirs();
        dying["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        eased["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        assert!(allows("UPDATE", dying, eased));
    }

    #[test]
    fn deleting_is_refused_for_tenants_namespaces_only() {
        assert!(!allows("DELETE", theirs(), json!(null)));
        assert!(allows("DELETE", namespace("shop", json!({})), json!(null)));
    }
}
