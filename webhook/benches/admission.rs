//! How quickly questions are answered at a steady rate, with the real API server.
//!
//! Requests start on a fixed beat whether earlier ones have ended or not, and each is timed from the instant it was due,
//! so a pause is not hidden by waiting for it. Three figures: the API server alone (a namespace that no rule matches), the
//! API server asking the webhook (a machine, judged against other objects), and the webhook alone, asked over its own
//! TLS port. Run it as `FREEHOLD_TEST_KUBECONFIG=… cargo bench --package webhook`.

#![expect(clippy::print_stdout, reason = "the figures are the result")]
#![expect(clippy::indexing_slicing, reason = "indexing JSON gives null where there is nothing")]

#[path = "../tests/cluster/hook.rs"]
#[expect(dead_code, reason = "shared with the tests, which use all of it")]
mod hook;

use anyhow::{Context, Result};
use hook::{Door, Hook, client_as, through};
use kube::{Client, Config};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior};

const RATE_PER_SECOND: u32 = 200;
const SECONDS: u32 = 20;

fn main() -> Result<()> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(measure())
}

async fn measure() -> Result<()> {
    let hook = Hook::start(&[]).await?;
    let operator = client_as(Some(hook::OPERATOR)).await?;
    let somebody = client_as(Some("somebody")).await?;
    furnish(&operator).await?;
    println!("{RATE_PER_SECOND} requests/s for {SECONDS} s each, dry runs");

    let free =
        json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "bench-free" } });
    report("API server alone", &dry_runs(&somebody, free).await?);
    let machine = machine();
    report("API server and webhook", &dry_runs(&somebody, machine.clone()).await?);
    report("webhook alone", &questions(&hook.address, machine).await?);
    for (version, kind, name) in
        [("tenancy.freehold.dev/v1alpha1", "Tenant", "bench"), ("v1", "Namespace", "tn-bench-web")]
    {
        let made = json!({ "apiVersion": version, "kind": kind, "metadata": { "name": name } });
        through(&operator, Door::Delete, false, &made).await?;
    }
    Ok(())
}

fn machine() -> Value {
    json!({ "apiVersion": "compute.freehold.dev/v1alpha1", "kind": "VirtualMachine",
        "metadata": { "name": "bench", "namespace": "tn-bench-web" },
        "spec": { "instanceTypeRef": { "name": "bench" }, "image": "linux" } })
}

async fn furnish(operator: &Client) -> Result<()> {
    let tenant = json!({ "apiVersion": "tenancy.freehold.dev/v1alpha1", "kind": "Tenant",
        "metadata": { "name": "bench" }, "spec": { "type": "Enterprise", "displayName": "Bench",
        "currency": "EUR", "paymentMode": "Postpaid", "planRef": { "name": "bench" } } });
    through(operator, Door::Apply, false, &tenant).await?;
    let stored = hook::api_of(operator, &tenant)?.get("bench").await?;
    let room = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "tn-bench-web",
        "labels": { "tenancy.freehold.dev/tenant": "bench", "tenancy.freehold.dev/role": "project",
            "tenancy.freehold.dev/tenant-uid": stored.metadata.uid.context("uid")? } } });
    through(operator, Door::Apply, false, &room).await?;
    hook::comes_to(&client_as(Some("somebody")).await?, Door::Create, &machine(), None).await
}

async fn dry_runs(client: &Client, object: Value) -> Result<Vec<Duration>> {
    let object = Arc::new(object);
    steadily(|| {
        let (client, object) = (client.clone(), object.clone());
        async move { Ok(through(&client, Door::Create, true, &object).await?) }
    })
    .await
}

async fn questions(address: &str, object: Value) -> Result<Vec<Duration>> {
    let mut config = Config::new(address.parse()?);
    config.accept_invalid_certs = true;
    let client = Client::try_from(config)?;
    let question = json!({ "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "request": { "uid": "u", "operation": "CREATE", "name": "bench", "namespace": "tn-bench-web",
            "userInfo": { "username": "somebody" }, "object": object, "oldObject": null,
            "kind": { "group": "compute.freehold.dev", "version": "v1alpha1", "kind": "VirtualMachine" } } });
    let body = Arc::new(serde_json::to_vec(&question)?);
    steadily(|| {
        let (client, body) = (client.clone(), body.clone());
        async move {
            let request = http::Request::post("/validate").body(body.to_vec())?;
            let answer: Value = serde_json::from_str(&client.request_text(request).await?)?;
            anyhow::ensure!(answer["response"]["allowed"] == true, "refused: {answer}");
            Ok(())
        }
    })
    .await
}

/// Starts a request on every beat and returns how long each took from its beat on.
async fn steadily<F, Fut>(request: F) -> Result<Vec<Duration>>
where
    F: Fn() -> Fut,
    Fut: Future<Output = Result<()>> + Send + 'static,
{
    let mut beat = tokio::time::interval(Duration::from_secs(1) / RATE_PER_SECOND);
    beat.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut requests: JoinSet<Result<Duration>> = JoinSet::new();
    for _ in 0..RATE_PER_SECOND * SECONDS {
        let due = beat.tick().await;
        let request = request();
        requests.spawn(async move {
            request.await?;
            Ok(Instant::now().duration_since(due))
        });
    }
    let mut took = Vec::new();
    while let Some(result) = requests.join_next().await {
        took.push(result??);
    }
    took.sort();
    Ok(took)
}

fn report(what: &str, sorted: &[Duration]) {
    let at = |thousandths: usize| {
        let index = (sorted.len() * thousandths / 1000).min(sorted.len().saturating_sub(1));
        sorted.get(index).copied().unwrap_or_default()
    };
    println!(
        "{what:<24} {:>6} requests  p50 {:>9.3?}  p99 {:>9.3?}  p99.9 {:>9.3?}  longest {:>9.3?}",
        sorted.len(),
        at(500),
        at(990),
        at(999),
        at(1000)
    );
}
