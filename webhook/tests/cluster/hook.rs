//! The real program against the real API server, and the doors by which objects reach it.

use anyhow::{Context, Result, bail};
use kube::api::{Api, DeleteParams, DynamicObject, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Client, Config};
use serde_json::{Value, json};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// The user name under which the operator is let through.
pub const OPERATOR: &str = "webhook-test-operator";
/// Where the program keeps its Secret.
pub const OWN_NAMESPACE: &str = "freehold-webhook-test";
/// Long enough for a watch to bring what was just written.
pub const LIMIT: Duration = Duration::from_secs(15);

/// One configuration is registered per cluster, so tests of this file take turns.
pub static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// The running program; ended and unregistered when dropped.
pub struct Hook {
    child: Child,
    pub address: String,
    kubeconfig: String,
}

fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

fn program(kubeconfig: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_freehold-webhook"));
    command.env("KUBECONFIG", kubeconfig).args(["--namespace", OWN_NAMESPACE]);
    command
}

impl Hook {
    /// Starts the program and waits until it is registered.
    pub async fn start(extra: &[&str]) -> Result<Self> {
        let kubeconfig = testkit::setting(testkit::KUBECONFIG)?;
        let admin = client_as(None).await?;
        let space = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": OWN_NAMESPACE } });
        through(&admin, Door::Apply, false, &space).await?;
        let (port, health) = (free_port()?, free_port()?);
        let child = program(&kubeconfig)
            .args(["--listen-address", &format!("127.0.0.1:{port}")])
            .args(["--health-address", &format!("127.0.0.1:{health}")])
            .args(["--advertise", &format!("url=https://127.0.0.1:{port}")])
            .args(["--operator-username", OPERATOR])
            .args(extra)
            .stdin(Stdio::null())
            .spawn()
            .context("start freehold-webhook")?;
        let mut hook = Self { child, address: format!("https://127.0.0.1:{port}"), kubeconfig };
        // Registered is when the API server asks: a kept name is refused.
        let probe =
            json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "tn-probe" } });
        let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
        loop {
            if let Some(status) = hook.child.try_wait()? {
                bail!("freehold-webhook ended by itself: {status}");
            }
            if refusal(&through(&admin, Door::Create, true, &probe).await).is_some() {
                return Ok(hook);
            }
            if tokio::time::Instant::now() >= deadline {
                bail!("freehold-webhook was not asked within 30 s");
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Ends the program as a crash does; it stays registered.
    pub fn crash(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Hook {
    fn drop(&mut self) {
        let ended = self.child.kill().and_then(|()| self.child.wait());
        let gone = program(&self.kubeconfig).arg("--unregister").status();
        if ended.is_err() || !gone.is_ok_and(|status| status.success()) {
            eprintln!(
                "the webhook's configuration may still be registered: delete both named freehold"
            );
        }
    }
}

/// A client for the test cluster, as another user when one is named. `system:masters` stays a group of his.
pub async fn client_as(user: Option<&str>) -> Result<Client> {
    client_of(user, &["system:masters"]).await
}

/// A client as a user with exactly these groups.
pub async fn client_of(user: Option<&str>, groups: &[&str]) -> Result<Client> {
    let file = Kubeconfig::read_from(testkit::setting(testkit::KUBECONFIG)?)?;
    let mut config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await?;
    config.default_retry = false;
    if let Some(user) = user {
        config.auth_info.impersonate = Some(user.to_owned());
        config.auth_info.impersonate_groups =
            Some(groups.iter().map(|group| (*group).to_owned()).collect());
    }
    Ok(Client::try_from(config)?)
}

/// A way to reach an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    Create,
    Replace,
    MergePatch,
    JsonPatch,
    Apply,
    ReplaceStatus,
    PatchStatus,
    Finalize,
    Delete,
}

/// Doors that make an object.
pub const MAKING: [Door; 2] = [Door::Create, Door::Apply];
/// Doors that change one.
pub const CHANGING: [Door; 4] = [Door::Replace, Door::MergePatch, Door::JsonPatch, Door::Apply];

/// The requests for the kind that `object` says it is.
pub fn api_of(client: &Client, object: &Value) -> Result<Api<DynamicObject>> {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str);
    let version = text("/apiVersion").context("apiVersion")?;
    let (group, version) = version.split_once('/').unwrap_or(("", version));
    let kind = GroupVersionKind::gvk(group, version, text("/kind").context("kind")?);
    let resource = ApiResource::from_gvk(&kind);
    Ok(match text("/metadata/namespace") {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
        None => Api::all_with(client.clone(), &resource),
    })
}

/// A JSON patch that puts every part of `object` over what is there.
fn edits_of(object: &Value) -> Result<Patch<()>, serde_json::Error> {
    let parts = ["/metadata/labels", "/metadata/annotations", "/metadata/ownerReferences", "/spec"];
    let edit =
        |place: &&str| Some(json!({ "op": "add", "path": place, "value": object.pointer(place)? }));
    Ok(Patch::Json(serde_json::from_value(parts.iter().filter_map(edit).collect())?))
}

/// Sends `object` through a door. Replacing takes the present resource version.
pub async fn through(
    client: &Client,
    door: Door,
    dry_run: bool,
    object: &Value,
) -> Result<(), kube::Error> {
    let api = api_of(client, object).map_err(|error| kube::Error::Service(error.into()))?;
    let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    let post = PostParams { dry_run, field_manager: Some("webhook-test".to_owned()) };
    let patch = PatchParams { dry_run, ..PatchParams::default() };
    let apply = PatchParams { dry_run, ..PatchParams::apply("webhook-test").force() };
    let versioned = async || -> Result<DynamicObject, kube::Error> {
        let current = api.get(&name).await?;
        let mut object = object.clone();
        object["metadata"]["resourceVersion"] = json!(current.metadata.resource_version);
        object["metadata"]["uid"] = json!(current.metadata.uid);
        serde_json::from_value(object).map_err(kube::Error::SerdeError)
    };
    match door {
        Door::Create => {
            let object = serde_json::from_value(object.clone()).map_err(kube::Error::SerdeError)?;
            api.create(&post, &object).await.map(drop)
        }
        Door::Replace => api.replace(&name, &post, &versioned().await?).await.map(drop),
        Door::MergePatch => api.patch(&name, &patch, &Patch::Merge(object)).await.map(drop),
        Door::JsonPatch => {
            let edits = edits_of(object).map_err(kube::Error::SerdeError)?;
            api.patch(&name, &patch, &edits).await.map(drop)
        }
        Door::Apply => api.patch(&name, &apply, &Patch::Apply(object)).await.map(drop),
        Door::ReplaceStatus => {
            api.replace_status(&name, &post, &versioned().await?).await.map(drop)
        }
        Door::PatchStatus => api.patch_status(&name, &patch, &Patch::Merge(object)).await.map(drop),
        Door::Finalize => {
            api.replace_subresource("finalize", &name, &post, &versioned().await?).await.map(drop)
        }
        Door::Delete => {
            let parameters = DeleteParams { dry_run, ..DeleteParams::default() };
            api.delete(&name, &parameters).await.map(drop)
        }
    }
}

/// The fields that a refusal by the webhook names; `None` when it was not refused by the webhook.
pub fn refusal(result: &Result<(), kube::Error>) -> Option<Vec<String>> {
    let Err(kube::Error::Api(status)) = result else { return None };
    if !status.message.contains("denied the request") {
        return None;
    }
    let causes = status.details.iter().flat_map(|details| &details.causes);
    let mut fields: Vec<String> = Vec::new();
    for cause in causes {
        if !fields.contains(&cause.field) {
            fields.push(cause.field.clone());
        }
    }
    Some(fields)
}

/// Waits until sending `object` through `door` (as a dry run) comes to `expected`: accepted, or refused for a field.
pub async fn comes_to(
    client: &Client,
    door: Door,
    object: &Value,
    expected: Option<&str>,
) -> Result<()> {
    let what = format!("{door:?} {} comes to {expected:?}", object["metadata"]["name"]);
    testkit::eventually(&what, LIMIT, || async {
        let result = through(client, door, true, object).await;
        match (expected, refusal(&result), result) {
            (None, None, Ok(())) => Ok(Some(())),
            (Some(field), Some(fields), _) if fields.iter().any(|found| found == field) => {
                Ok(Some(()))
            }
            (_, _, result) => bail!("came to {result:?}"),
        }
    })
    .await
}
