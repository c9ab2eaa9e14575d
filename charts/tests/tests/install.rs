//! The charts on a real node: installed, tested, used, upgraded, rolled back, uninstalled, and nothing left.

use anyhow::{Context, Result, bail};
use chart_tests::{NAMESPACE, done, helm, items, kubectl, repository, text};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;
use testkit::{eventually, setting};

/// Pods of a loaded machine take their time.
const LIMIT: Duration = Duration::from_mins(3);
const RELEASE: &str = "freehold";
/// The bundled database, and its Secret.
const DATABASE: &str = "freehold-postgresql";

/// Values for images that the node has, and a change of them.
fn install(act: &str, more: &[&str]) -> Result<()> {
    let chart = repository("charts/freehold").display().to_string();
    let busybox = format!("tests.image={}", setting("FREEHOLD_TEST_IMAGE_BUSYBOX")?);
    let database =
        format!("postgresql.bundled.image={}", setting("FREEHOLD_TEST_IMAGE_POSTGRESQL")?);
    let mut words = vec![act, RELEASE, &chart, "--namespace", NAMESPACE, "--wait"];
    words.extend(["--timeout", "5m", "--set", "image.pullPolicy=Never", "--set", &busybox]);
    words.extend(["--set", "billing.enabled=true,billing.tickSeconds=2"]);
    words.extend(["--set", "postgresql.bundled.enabled=true", "--set", &database]);
    words.extend(more);
    done(helm(&words)?).with_context(|| format!("helm {act}"))?;
    Ok(())
}

/// Asks for admission without pause until it is told to stop; every request has to be answered well.
struct Asking {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<u32>>,
}

impl Asking {
    fn start() -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let until = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let file = repository("charts/tests/fixtures/tenant.yaml").display().to_string();
            let mut asked = 0;
            while !until.load(Ordering::Acquire) {
                done(kubectl(&[
                    "create",
                    "--dry-run=server",
                    "--filename",
                    &file,
                    "--output=name",
                ])?)
                .with_context(|| format!("request {asked} was refused"))?;
                asked += 1;
            }
            Ok(asked)
        });
        Self { stop, thread }
    }

    /// How many requests were answered; an error if one was not.
    fn stop(self) -> Result<u32> {
        self.stop.store(true, Ordering::Release);
        let Ok(result) = self.thread.join() else { bail!("the asking thread panicked") };
        result
    }
}

fn pods() -> Result<BTreeSet<String>> {
    let pods = items(&["pods", "--namespace", NAMESPACE])?;
    Ok(pods.iter().map(|pod| text(pod, "/metadata/uid")).collect())
}

/// Nobody was refused by the API server: the rights of the chart are enough.
fn nothing_was_forbidden() -> Result<()> {
    for program in ["freehold-operator", "freehold-webhook", "freehold-billing-controller"] {
        let selector = format!("app.kubernetes.io/name={program}");
        let log = done(kubectl(&[
            "logs",
            "--namespace",
            NAMESPACE,
            "--selector",
            &selector,
            "--tail=-1",
        ])?)?;
        let refusal = log.lines().find(|line| line.to_lowercase().contains("forbidden"));
        assert_eq!(refusal, None, "{program} lacks a right");
    }
    Ok(())
}

async fn apply_until_taken(words: &[&str]) -> Result<()> {
    // A namespace that a tenant's objects need is made a moment after its tenant.
    eventually(&format!("kubectl {words:?}"), LIMIT, async || done(kubectl(words)?).map(Some))
        .await?;
    Ok(())
}

async fn machines_run() -> Result<()> {
    eventually("all machines run", LIMIT, async || {
        let machines = items(&["virtualmachines", "--all-namespaces"])?;
        let phases: Vec<_> =
            machines.iter().map(|machine| text(machine, "/status/phase")).collect();
        if phases.len() >= 3 && phases.iter().all(|phase| phase == "Running") {
            return Ok(Some(()));
        }
        bail!("phases: {phases:?}")
    })
    .await
}

/// The live bill of a tenant, by the way a person's kubectl takes: through the API server to the Service.
async fn bill_has_lines(tenant: &str) -> Result<()> {
    let path = format!(
        "/api/v1/namespaces/{NAMESPACE}/services/freehold-billing-controller:query/proxy/api/v1/bill?tenant={tenant}"
    );
    eventually(&format!("the bill of {tenant} has lines"), LIMIT, async || {
        let answer = done(kubectl(&["get", "--raw", &path])?)?;
        let bill: Value = serde_json::from_str(&answer)?;
        let lines = bill.pointer("/lines").and_then(Value::as_array);
        if lines.is_some_and(|lines| !lines.is_empty()) {
            return Ok(Some(()));
        }
        bail!("the answer is {answer}")
    })
    .await
}

/// What of the release is left, apart from what is documented to stay.
fn left_over() -> Result<Vec<String>> {
    let mut left = Vec::new();
    let selector = format!("app.kubernetes.io/instance={RELEASE}");
    let kinds = "clusterroles,clusterrolebindings,roles,rolebindings,serviceaccounts,services,deployments,statefulsets,\
                 jobs,pods,secrets,leases,configmaps,networkpolicies,poddisruptionbudgets";
    for item in items(&[kinds, "--all-namespaces", "--selector", &selector])? {
        left.push(format!("{} {}", text(&item, "/kind"), text(&item, "/metadata/name")));
    }
    for item in items(&["leases,secrets,pods,jobs", "--namespace", NAMESPACE])? {
        left.push(format!("{} {}", text(&item, "/kind"), text(&item, "/metadata/name")));
    }
    for item in items(&["validatingwebhookconfigurations,mutatingwebhookconfigurations"])? {
        left.push(format!("{} {}", text(&item, "/kind"), text(&item, "/metadata/name")));
    }
    // The database's Secret, which the operator made, stays with its volume, and the other chart is still there.
    let stays = ["Secret freehold-postgresql", "Secret sh.helm.release.v1.freehold-crds.v1"];
    left.retain(|name| !stays.contains(&name.as_str()));
    left.sort();
    left.dedup();
    Ok(left)
}

#[tokio::test]
async fn the_charts_live_a_whole_life() -> Result<()> {
    let label = "pod-security.kubernetes.io/enforce=restricted";
    done(kubectl(&["create", "namespace", NAMESPACE])?)?;
    done(kubectl(&["label", "namespace", NAMESPACE, label])?)?;
    let definitions = repository("charts/freehold-crds").display().to_string();
    let in_namespace = ["--namespace", NAMESPACE];
    done(helm(&[&["install", "freehold-crds", &definitions], &in_namespace[..]].concat())?)?;
    install("install", &[])?;
    done(helm(&[&["test", RELEASE, "--logs"], &in_namespace[..]].concat())?)?;

    use_it().await?;
    roll().await?;
    lose_the_password().await?;
    nothing_was_forbidden()?;
    clear()?;

    done(helm(&[&["uninstall", RELEASE, "--wait"], &in_namespace[..]].concat())?)?;
    eventually("nothing is left of the release", LIMIT, async || match left_over()? {
        left if left.is_empty() => Ok(Some(())),
        left => bail!("left: {left:?}"),
    })
    .await?;
    let claims = items(&["persistentvolumeclaims", "--namespace", NAMESPACE])?;
    assert_eq!(claims.len(), 1, "the books stay: {claims:?}");
    password().context("the password stays with the books")?;
    let selector = format!("app.kubernetes.io/name={DATABASE}");
    let both = ["persistentvolumeclaims,secrets", "--selector", &selector];
    done(kubectl(&[&["delete", "--timeout=120s"], &both[..], &in_namespace[..]].concat())?)?;
    let left = items(&[&["persistentvolumeclaims,secrets"], &in_namespace[..]].concat())?;
    let left: Vec<_> = left.iter().map(|item| text(item, "/metadata/name")).collect();
    assert_eq!(left, ["sh.helm.release.v1.freehold-crds.v1"], "one selector takes both away");
    done(helm(&[&["uninstall", "freehold-crds", "--wait"], &in_namespace[..]].concat())?)?;
    done(kubectl(&["get", "customresourcedefinition", "tenants.tenancy.freehold.dev"])?)
        .context("definitions stay, with whatever is declared")?;
    Ok(())
}

async fn use_it() -> Result<()> {
    let simulator = repository("examples/clusters/simulator.yaml").display().to_string();
    let quickstart = repository("examples/quickstart").display().to_string();
    apply_until_taken(&["apply", "--filename", &simulator]).await?;
    apply_until_taken(&["apply", "--kustomize", &quickstart]).await?;
    machines_run().await?;
    bill_has_lines("acme").await
}

/// The Secret of the database: which one it is, its entries, and every write to it.
fn password() -> Result<Value> {
    let words = ["get", "secret", DATABASE, "--namespace", NAMESPACE, "--output=json"];
    let secret: Value = serde_json::from_str(&done(kubectl(&words)?)?)?;
    let metadata = secret.get("metadata").context("metadata")?;
    assert_eq!(metadata.get("ownerReferences"), None, "it goes with nobody");
    assert_eq!(metadata.pointer("/labels/app.kubernetes.io~1instance"), None, "it is no release's");
    let of = |name: &str| metadata.get(name).cloned().unwrap_or_default();
    let data = secret.get("data").cloned().unwrap_or_default();
    assert_eq!(data.as_object().map(serde_json::Map::len), Some(2), "password and url");
    Ok(json!({"uid": of("uid"), "resourceVersion": of("resourceVersion"), "data": data}))
}

/// A Secret that was deleted comes back with another password, which the database takes at its next start.
async fn lose_the_password() -> Result<()> {
    let lost = password()?;
    done(kubectl(&["delete", "secret", DATABASE, "--namespace", NAMESPACE])?)?;
    let made =
        eventually("the Secret is there again", LIMIT, async || password().map(Some)).await?;
    for part in ["/uid", "/data/password", "/data/url"] {
        assert_ne!(text(&made, part), text(&lost, part), "{part}");
        assert!(!text(&made, part).is_empty(), "{part}");
    }
    for program in ["statefulset/freehold-postgresql", "deployment/freehold-billing-controller"] {
        for act in ["restart", "status"] {
            let mut words = vec!["rollout", act, program, "--namespace", NAMESPACE];
            words.extend((act == "status").then_some("--timeout=3m"));
            done(kubectl(&words)?).with_context(|| format!("rollout {act} {program}"))?;
        }
    }
    bill_has_lines("acme").await?;
    assert_eq!(password()?, made, "it is written once");
    Ok(())
}

/// An upgrade and its undoing each replace pods, nobody is refused meanwhile, and the password is the same throughout.
async fn roll() -> Result<()> {
    let (before, known) = (pods()?, password()?);
    let asking = Asking::start();
    install(
        "upgrade",
        &["--set-string", "operator.podAnnotations.round=2,webhook.podAnnotations.round=2"],
    )?;
    let asked = asking.stop().context("during the upgrade")?;
    assert!(asked > 0, "nothing was asked during the upgrade");
    let between = replaced(before).await?;
    assert_eq!(password()?, known, "the upgrade touched the password");
    let asking = Asking::start();
    done(helm(&[
        "rollback",
        RELEASE,
        "1",
        "--namespace",
        NAMESPACE,
        "--wait",
        "--timeout",
        "5m",
    ])?)?;
    let asked = asking.stop().context("during the rollback")?;
    assert!(asked > 0, "nothing was asked during the rollback");
    replaced(between).await?;
    assert_eq!(password()?, known, "the rollback touched the password");
    machines_run().await?;
    bill_has_lines("acme").await
}

/// Waits until the pods of the two programs have others' identities.
async fn replaced(before: BTreeSet<String>) -> Result<BTreeSet<String>> {
    eventually("four pods are replaced", LIMIT, async || {
        let now = pods()?;
        let fresh = now.difference(&before).count();
        if fresh == 4 { Ok(Some(now)) } else { bail!("{fresh} new pods") }
    })
    .await
}

/// What was declared goes first: its finalizers are the operator's.
fn clear() -> Result<()> {
    let words = ["virtualmachines", "--all", "--all-namespaces", "--timeout=120s"];
    done(kubectl(&[&["delete"], &words[..]].concat())?)?;
    done(kubectl(&["delete", "projects", "--all", "--all-namespaces", "--timeout=120s"])?)?;
    let tenants = ["delete", "tenants", "--all", "--timeout=120s"];
    done(kubectl(&tenants)?)?;
    done(kubectl(&["delete", "computeclusters", "--all", "--timeout=120s"])?)?;
    Ok(())
}
