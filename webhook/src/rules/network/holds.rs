//! The holds under which what was claimed is given back before a claim goes. Put on in the create they cost no write of
//! their own; where the webhook was passed by, the operator puts them on.

use crate::review::{Edit, Operation, Request};
use ids::well_known::{CLAIM_FINALIZER, VLAN_FINALIZER};
use serde_json::{Value, json};

/// What a new claim still needs.
pub fn missing(request: &Request) -> Vec<Edit> {
    let hold = match request.kind.kind.as_str() {
        "IPClaim" => json!(CLAIM_FINALIZER),
        "VLAN" => json!(VLAN_FINALIZER),
        _ => return Vec::new(),
    };
    if request.operation != Operation::Create {
        return Vec::new();
    }
    let present = request.object.pointer("/metadata/finalizers").and_then(Value::as_array);
    let (path, value) = match present {
        Some(holds) if holds.contains(&hold) => return Vec::new(),
        Some(_) => ("/metadata/finalizers/-", hold),
        None => ("/metadata/finalizers", json!([hold])),
    };
    vec![Edit { op: "add", path: path.to_owned(), value }]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_claim_is_held_once() {
        let edits = |kind: &str, operation: &str, metadata: Value| {
            let request: Request = serde_json::from_value(json!({
                "uid": "u", "operation": operation, "kind": { "group": "", "kind": kind },
                "userInfo": {}, "object": { "metadata": metadata } }))
            .unwrap();
            serde_json::to_value(missing(&request)).unwrap()
        };
        let edit =
            |path: &str, value: Value| json!([{ "op": "add", "path": path, "value": value }]);
        let (hold, other) = ("network.freehold.dev/claim", "example.com/other");
        assert_eq!(
            edits("IPClaim", "CREATE", json!({})),
            edit("/metadata/finalizers", json!([hold]))
        );
        let present = json!({ "finalizers": [other] });
        assert_eq!(
            edits("IPClaim", "CREATE", present),
            edit("/metadata/finalizers/-", json!(hold))
        );
        assert_eq!(edits("IPClaim", "CREATE", json!({ "finalizers": [other, hold] })), json!([]));
        let vlan = json!(["network.freehold.dev/vlan"]);
        assert_eq!(edits("VLAN", "CREATE", json!({})), edit("/metadata/finalizers", vlan));
        assert_eq!(edits("IPPool", "CREATE", json!({})), json!([]));
        assert_eq!(
            edits("IPClaim", "UPDATE", json!({})),
            json!([]),
            "who lets go of a claim is not undone"
        );
    }
}
