//! `kubectl freehold doctor`: is everything well, and if not, what is to be done?
//!
//! The billing-controller judges its own affairs; what lies around it (kinds, leases, admission, workloads) is looked at
//! through the Kubernetes API. So there is an answer also while the billing-controller is down.

use crate::failure::Failure;
use crate::output::{self, plain};
use crate::server::{Server, ServerArguments, chain, encoded};
use http::Request;
use ids::well_known::{BILLING_GROUP, COMPUTE_GROUP, NETWORK_GROUP, TENANCY_GROUP};
use jiff::{SignedDuration, Timestamp};
use kube::Client;
use kube::client::Body;
use pricing::report::{CheckReport, DoctorReport};
use serde_json::Value;
use std::time::Duration;

/// The kinds that have to be served, by group and plural.
const KINDS: [(&str, &[&str]); 4] = [
    (TENANCY_GROUP, &["tenants", "projects", "tenantmembers"]),
    (COMPUTE_GROUP, &["instancetypes", "computeclusters", "physicalmachines", "virtualmachines"]),
    (BILLING_GROUP, &["meters", "priceplans"]),
    (
        NETWORK_GROUP,
        &[
            "addressspaces",
            "prefixes",
            "ippools",
            "ipblocks",
            "ipclaims",
            "vlanpools",
            "vlans",
            "vlanfabrics",
            "securityzones",
        ],
    ),
];
/// Programs that hold a lease while they lead.
const LEADERS: [&str; 2] = ["freehold-operator", "freehold-billing-controller"];
/// The name of the webhook's configurations.
const ADMISSION: &str = "freehold";

/// All checks, the server's first.
pub async fn doctor(arguments: &ServerArguments) -> DoctorReport {
    let mut checks = match ask_server(arguments).await {
        Ok(report) => {
            let mut checks = vec![well("billing-controller", "answers")];
            checks.extend(report.checks);
            checks
        }
        Err(failure) => vec![unwell("billing-controller", failure.to_string(), failure.hint())],
    };
    match arguments.cluster().await {
        Ok(client) => {
            let cluster = Cluster { client, timeout: arguments.timeout() };
            checks.extend(cluster.checks(&arguments.freehold_namespace).await);
        }
        // Who names a server and has no cluster at hand did not ask about one.
        Err(_) if arguments.server.is_some() && arguments.cluster.kubeconfig.is_none() => {}
        Err(failure) => checks.push(unwell("cluster", failure.to_string(), failure.hint())),
    }
    DoctorReport { checks }
}

async fn ask_server(arguments: &ServerArguments) -> Result<DoctorReport, Failure> {
    Server::find(arguments).await?.get("/api/v1/doctor", &[]).await
}

/// Whether all is well.
pub fn is_well(report: &DoctorReport) -> bool {
    report.checks.iter().all(|check| check.ok)
}

/// The checks for people.
pub fn text(report: &DoctorReport) -> String {
    let mut table = output::table(&["check", "", "found", "what to do"], &[]);
    for check in &report.checks {
        let verdict = if check.ok { "ok" } else { "FAILED" };
        table.add_row([
            plain(&check.name),
            verdict.to_owned(),
            plain(&check.message),
            plain(&check.remedy),
        ]);
    }
    format!("{table}\n")
}

fn check(name: &str, ok: bool, message: String, remedy: &str) -> CheckReport {
    let remedy = if ok { String::new() } else { remedy.to_owned() };
    CheckReport { name: name.to_owned(), ok, message, remedy }
}

fn well(name: &str, message: impl Into<String>) -> CheckReport {
    check(name, true, message.into(), "")
}

fn unwell(name: &str, message: String, remedy: &str) -> CheckReport {
    check(name, false, message, remedy)
}

/// The Kubernetes API, asked without types: whatever is not understood is a finding, not a failure.
struct Cluster {
    client: Client,
    timeout: Duration,
}

/// An answer of the API server, and its own time.
struct Answer {
    body: Value,
    now: Option<Timestamp>,
}

impl Cluster {
    async fn checks(&self, namespace: &str) -> Vec<CheckReport> {
        let mut checks = Vec::new();
        for (group, plurals) in KINDS {
            checks.push(self.kinds(group, plurals).await);
        }
        for name in LEADERS {
            checks.push(self.lease(namespace, name).await);
        }
        checks.push(self.admission().await);
        checks.push(self.deployments(namespace).await);
        checks
    }

    async fn get(&self, path: &str) -> Result<Answer, String> {
        let request = Request::get(path).body(Body::empty()).map_err(|error| error.to_string())?;
        let exchange = async {
            let answer = self.client.send(request).await?;
            let (status, headers) = (answer.status(), answer.headers().clone());
            Ok::<_, kube::Error>((status, headers, answer.into_body().collect_bytes().await?))
        };
        let (status, headers, bytes) = match tokio::time::timeout(self.timeout, exchange).await {
            Ok(answer) => answer.map_err(|error| chain(&error))?,
            Err(_) => return Err(format!("no answer within {} s", self.timeout.as_secs())),
        };
        let body: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        if !status.is_success() {
            return Err(text_at(&body, "/message").unwrap_or_else(|| status.to_string()));
        }
        let date = headers.get(http::header::DATE).and_then(|date| date.to_str().ok());
        let parser = jiff::fmt::rfc2822::DateTimeParser::new();
        let now = date.and_then(|date| parser.parse_timestamp(date).ok());
        Ok(Answer { body, now })
    }

    async fn kinds(&self, group: &str, plurals: &[&str]) -> CheckReport {
        let name = format!("kinds of {group}");
        let remedy = "install the definitions: kubectl apply --server-side -f crds/yaml";
        match self.get(&format!("/apis/{group}/v1alpha1")).await {
            Err(reason) => unwell(&name, reason, remedy),
            Ok(answer) => {
                let served: Vec<&str> = answer
                    .body
                    .get("resources")
                    .and_then(Value::as_array)
                    .into_iter()
                    .flatten()
                    .filter_map(|resource| resource.get("name")?.as_str())
                    .collect();
                let missing: Vec<&str> =
                    plurals.iter().filter(|plural| !served.contains(plural)).copied().collect();
                if missing.is_empty() {
                    well(&name, format!("{} are served", plurals.join(", ")))
                } else {
                    unwell(&name, format!("not served: {}", missing.join(", ")), remedy)
                }
            }
        }
    }

    /// A leader renews its lease; both times are the cluster's, so this machine's clock does not matter.
    async fn lease(&self, namespace: &str, name: &str) -> CheckReport {
        let title = format!("leader of {name}");
        let remedy = format!("look whether {name} runs, and at its log");
        let path =
            format!("/apis/coordination.k8s.io/v1/namespaces/{}/leases/{name}", encoded(namespace));
        match self.get(&path).await {
            Err(reason) => unwell(&title, reason, &remedy),
            Ok(answer) => {
                let (alive, message) = judge_lease(&answer.body, answer.now);
                check(&title, alive, message, &remedy)
            }
        }
    }

    async fn admission(&self) -> CheckReport {
        let name = "admission";
        let remedy = "look whether freehold-webhook runs, and at its log";
        let path = format!(
            "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/{ADMISSION}"
        );
        match self.get(&path).await {
            Err(reason) => unwell(name, reason, remedy),
            Ok(answer) => {
                let bundle = text_at(&answer.body, "/webhooks/0/clientConfig/caBundle");
                if bundle.is_some_and(|bundle| !bundle.is_empty()) {
                    well(name, "registered, with a certificate authority")
                } else {
                    unwell(name, "registered without a certificate authority".to_owned(), remedy)
                }
            }
        }
    }

    async fn deployments(&self, namespace: &str) -> CheckReport {
        let name = "deployments";
        let path = format!("/apis/apps/v1/namespaces/{}/deployments", encoded(namespace));
        match self.get(&path).await {
            Err(reason) => unwell(name, reason, "ask for the right to list them"),
            Ok(answer) => {
                let (ready, message) = judge_deployments(&answer.body);
                check(name, ready, message, "kubectl describe the Deployment and its Pods")
            }
        }
    }
}

fn text_at(value: &Value, pointer: &str) -> Option<String> {
    value.pointer(pointer).and_then(Value::as_str).map(str::to_owned)
}

fn judge_lease(lease: &Value, now: Option<Timestamp>) -> (bool, String) {
    let holder = text_at(lease, "/spec/holderIdentity").unwrap_or_default();
    if holder.is_empty() {
        return (false, "nobody leads".to_owned());
    }
    let renewed = text_at(lease, "/spec/renewTime").and_then(|text| text.parse::<Timestamp>().ok());
    let duration = lease.pointer("/spec/leaseDurationSeconds").and_then(Value::as_i64);
    let (Some(renewed), Some(duration), Some(now)) = (renewed, duration, now) else {
        return (false, format!("{holder} holds it, but its times cannot be read"));
    };
    let age = now.duration_since(renewed);
    if age > SignedDuration::from_secs(duration) {
        return (false, format!("{holder} renewed it {} s ago, too long", age.as_secs()));
    }
    (true, format!("{holder} leads"))
}

fn judge_deployments(list: &Value) -> (bool, String) {
    let (mut ready, mut waiting) = (0_u64, Vec::new());
    for item in list.pointer("/items").and_then(Value::as_array).into_iter().flatten() {
        let count = |pointer: &str| item.pointer(pointer).and_then(Value::as_i64).unwrap_or(0);
        if count("/status/readyReplicas") >= count("/spec/replicas") {
            ready = ready.saturating_add(1);
        } else {
            waiting.push(text_at(item, "/metadata/name").unwrap_or_default());
        }
    }
    match (ready, waiting.is_empty()) {
        (0, true) => (true, "none here: the programs run outside of the cluster".to_owned()),
        (_, true) => (true, format!("all {ready} are ready")),
        (_, false) => (false, format!("not ready: {}", waiting.join(", "))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_lease_is_alive_while_it_is_renewed() {
        let lease = |holder: &str, renewed: &str| {
            json!({"spec": {
                "holderIdentity": holder, "renewTime": renewed, "leaseDurationSeconds": 15,
            }})
        };
        let now = "2026-11-01T00:00:20Z".parse().ok();
        let cases = [
            (lease("a", "2026-11-01T00:00:10.000000Z"), true, "a leads"),
            (lease("a", "2026-11-01T00:00:04.000000Z"), false, "16 s ago"),
            (lease("", "2026-11-01T00:00:10.000000Z"), false, "nobody leads"),
            (lease("a", "soon"), false, "cannot be read"),
            (json!({}), false, "nobody leads"),
        ];
        for (lease, alive, words) in cases {
            let (is_alive, message) = judge_lease(&lease, now);
            assert!(is_alive == alive && message.contains(words), "{lease}: {message}");
        }
    }

    #[test]
    fn deployments_are_ready_together() {
        let deployment = |name: &str, wanted: i64, ready: i64| {
            json!({"metadata": {"name": name}, "spec": {"replicas": wanted},
                "status": {"readyReplicas": ready}})
        };
        let judged = |items: Value| judge_deployments(&json!({ "items": items }));
        assert!(judged(json!([])).0);
        assert!(judged(json!([deployment("a", 2, 2), deployment("b", 0, 0)])).0);
        let (ready, message) = judged(json!([deployment("a", 1, 1), deployment("b", 1, 0)]));
        assert!(!ready && message == "not ready: b", "{message}");
    }
}
