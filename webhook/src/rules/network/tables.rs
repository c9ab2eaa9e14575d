//! What only the operator writes: the tables in which an address or an id has one owner.
//!
//! The operator passes by name before anybody is asked, so whoever comes here is somebody else. A status of these kinds
//! is not a report alone: a changed slot would give one address to two, so the whole of it is kept.

use crate::finding::Verdict;
use crate::review::{Operation, Request};

/// Kinds that are nothing but a table.
const INTERNAL: [&str; 2] = ["IPBlock", "VLANFabric"];

/// The verdict where the table is touched or meant alone; `None` where the rules of the kind decide.
pub fn judge(request: &Request) -> Option<Verdict> {
    let mut verdict = Verdict::default();
    let differs = |part: &str| request.object.get(part) != request.old_object.get(part);
    if request.sub_resource.as_deref() == Some("status") {
        if differs("status") {
            verdict.forbid(
                "status",
                "is written by the operator only, addresses and ids are booked in it; change spec instead",
            );
        }
        return Some(verdict);
    }
    if !INTERNAL.contains(&request.kind.kind.as_str()) {
        return None;
    }
    let kind = &request.kind.kind;
    match request.operation {
        Operation::Create => verdict.forbid(
            "metadata.name",
            format!("the operator makes a {kind} on first use; declare a pool and claim from it"),
        ),
        Operation::Update if differs("spec") => {
            verdict.forbid("spec", format!("a {kind} is written by the operator only; leave it"));
        }
        Operation::Delete => verdict.forbid(
            "metadata.name",
            format!("who owns what is booked in this {kind}; delete the claims, the operator does the rest"),
        ),
        Operation::Update | Operation::Connect => {}
    }
    Some(verdict)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::Finding;
    use serde_json::{Value, json};

    fn fields(
        kind: &str,
        operation: &str,
        door: &str,
        old: Value,
        new: Value,
    ) -> Option<Vec<String>> {
        let request: Request = serde_json::from_value(json!({
            "uid": "review", "operation": operation, "name": "x", "subResource": door,
            "kind": { "group": "network.freehold.dev", "kind": kind }, "userInfo": { "username": "somebody" },
            "object": new, "oldObject": old,
        }))
        .unwrap();
        let of = |finding: Finding| finding.field;
        judge(&request).map(|verdict| verdict.findings.into_iter().map(of).collect())
    }

    #[test]
    fn a_status_is_the_operators() {
        let with = |number: i64| json!({ "spec": {}, "status": { "sequence": number } });
        for kind in ["IPBlock", "Prefix", "VLANPool", "IPClaim"] {
            assert_eq!(
                fields(kind, "UPDATE", "status", with(1), with(2)).unwrap(),
                ["status"],
                "{kind}"
            );
            assert!(
                fields(kind, "UPDATE", "status", with(1), with(1)).unwrap().is_empty(),
                "{kind}"
            );
        }
    }

    #[test]
    fn a_table_is_neither_made_nor_changed_nor_deleted() {
        let at = |cidr: &str| json!({ "metadata": {}, "spec": { "cidr": cidr } });
        let labelled = json!({ "metadata": { "labels": { "a": "b" } }, "spec": { "cidr": "a" } });
        for kind in INTERNAL {
            assert_eq!(
                fields(kind, "CREATE", "", json!(null), at("a")).unwrap(),
                ["metadata.name"]
            );
            assert_eq!(fields(kind, "UPDATE", "", at("a"), at("b")).unwrap(), ["spec"]);
            assert_eq!(
                fields(kind, "DELETE", "", at("a"), json!(null)).unwrap(),
                ["metadata.name"]
            );
            assert!(fields(kind, "UPDATE", "", at("a"), labelled.clone()).unwrap().is_empty());
        }
        assert_eq!(fields("Prefix", "DELETE", "", at("a"), json!(null)), None);
    }
}
