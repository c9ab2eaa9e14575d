//! The admission API as it travels: what the API server asks, and how it is answered.
//!
//! Objects stay JSON until the rules of their kind decode them: an object that cannot be decoded is one finding about
//! that object, never a failure of the whole review.

use crate::finding::{Cause, Verdict};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// The envelope of a question.
#[derive(Debug, Deserialize)]
pub struct Review {
    /// The question; an envelope without one is malformed.
    pub request: Option<Request>,
}

/// What somebody wants to do to one object.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Request {
    /// Names this question and its answer.
    pub uid: String,
    /// The kind of the object.
    pub kind: Kind,
    /// `status`, `finalize` and the like; `None` for the object itself.
    #[serde(default)]
    pub sub_resource: Option<String>,
    /// The object's name; empty where the server has not generated it yet.
    #[serde(default)]
    pub name: String,
    /// The object's namespace; `None` for cluster-scoped kinds.
    #[serde(default)]
    pub namespace: Option<String>,
    /// What is to be done.
    pub operation: Operation,
    /// Who asks.
    pub user_info: User,
    /// The object as it would be; null on delete.
    #[serde(default)]
    pub object: Value,
    /// The object as it is; null on create.
    #[serde(default)]
    pub old_object: Value,
}

/// A kind by its group and name.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Kind {
    /// API group; empty for the core one.
    pub group: String,
    /// Name, such as `Tenant`.
    pub kind: String,
}

/// What is to be done to an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Operation {
    /// Make it.
    Create,
    /// Change it, by update, patch or apply.
    Update,
    /// Delete it.
    Delete,
    /// Open a stream to it.
    Connect,
}

/// Who asks, as the API server authenticated him.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct User {
    /// The user name.
    #[serde(default)]
    pub username: String,
    /// The groups.
    #[serde(default)]
    pub groups: Vec<String>,
}

/// One edit of the object, as RFC 6902 writes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Edit {
    /// Always `add` here: defaults only ever fill in.
    pub op: &'static str,
    /// Pointer to the field.
    pub path: String,
    /// The value.
    pub value: Value,
}

/// The answer to a validating question.
pub fn judged(request: &Request, verdict: &Verdict) -> Value {
    let mut response = answer_to(request, verdict.allows());
    if !verdict.warnings.is_empty() {
        response.insert("warnings".to_owned(), json!(verdict.warnings));
    }
    if !verdict.allows() {
        response.insert("status".to_owned(), refusal(request, verdict));
    }
    envelope(response)
}

fn refusal(request: &Request, verdict: &Verdict) -> Value {
    let forbidden = verdict.findings.iter().all(|finding| finding.cause == Cause::Forbidden);
    let (code, reason) = if forbidden { (403, "Forbidden") } else { (422, "Invalid") };
    let messages: Vec<String> = verdict.findings.iter().map(ToString::to_string).collect();
    let causes: Vec<Value> = verdict
        .findings
        .iter()
        .map(|finding| {
            json!({
                "reason": finding.cause.reason(),
                "field": finding.field,
                "message": finding.message,
            })
        })
        .collect();
    json!({
        "status": "Failure",
        "code": code,
        "reason": reason,
        "message": messages.join("; "),
        "details": {
            "group": request.kind.group,
            "kind": request.kind.kind,
            "name": request.name,
            "causes": causes,
        },
    })
}

/// The answer to a mutating question: allowed, with edits where there are any.
///
/// # Errors
/// Edits that cannot be written as JSON, which would be a fault of this program.
pub fn edited(request: &Request, edits: &[Edit]) -> Result<Value, serde_json::Error> {
    let mut response = answer_to(request, true);
    if !edits.is_empty() {
        let patch = serde_json::to_vec(edits)?;
        response.insert("patchType".to_owned(), json!("JSONPatch"));
        // The API carries bytes in base64, which is how this type writes itself.
        let patch = serde_json::to_value(k8s_openapi::ByteString(patch))?;
        response.insert("patch".to_owned(), patch);
    }
    Ok(envelope(response))
}

fn answer_to(request: &Request, allowed: bool) -> Map<String, Value> {
    let fields = [("uid", json!(request.uid)), ("allowed", json!(allowed))];
    fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn envelope(response: Map<String, Value>) -> Value {
    json!({ "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> Request {
        serde_json::from_value(json!({
            "uid": "u-1",
            "kind": { "group": "tenancy.freehold.dev", "version": "v1alpha1", "kind": "Tenant" },
            "name": "acme",
            "operation": "UPDATE",
            "userInfo": { "username": "ann" },
            "object": {},
        }))
        .unwrap()
    }

    #[test]
    fn a_refusal_carries_every_finding_for_people_and_programs() {
        let mut verdict = Verdict::default();
        verdict.invalid("spec.timeZone", "is unknown; write it like Europe/Berlin");
        verdict.forbid("metadata", "is guarded; ask the operator");
        let answer = judged(&request(), &verdict);
        let response = &answer["response"];
        assert_eq!((&response["uid"], &response["allowed"]), (&json!("u-1"), &json!(false)));
        assert_eq!(response["status"]["code"], 422);
        assert_eq!(
            response["status"]["message"],
            "spec.timeZone: is unknown; write it like Europe/Berlin; metadata: is guarded; ask the operator"
        );
        assert_eq!(response["status"]["details"]["causes"][0]["field"], "spec.timeZone");
        assert_eq!(response["status"]["details"]["causes"][1]["reason"], "FieldValueForbidden");
    }

    #[test]
    fn an_edit_is_a_json_patch_in_base64() {
        let edit = Edit { op: "add", path: "/spec/accountId".to_owned(), value: json!("x") };
        let answer = edited(&request(), &[edit]).unwrap();
        assert_eq!(answer["response"]["patchType"], "JSONPatch");
        assert!(answer["response"]["patch"].as_str().unwrap().starts_with("W3si"), "{answer}");
        assert!(edited(&request(), &[]).unwrap()["response"].get("patch").is_none());
    }
}
