//! What whole-system suites share: our programs as processes, and a tenant of one's own on the real cluster.

pub mod billing;
pub mod ground;
pub mod prometheus;
pub mod samples;

use anyhow::{Context, Result, bail};
use crds::Tenant;
use kube::api::{Api, DeleteParams, Patch, PatchParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::fmt::Debug;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;
use testkit::{KUBECONFIG, eventually, setting};
use tokio::process::{Child, Command};
use tokio::sync::{Mutex, MutexGuard};

/// How long a change may take to show.
pub const SOON: Duration = Duration::from_mins(1);

/// A client of the cluster under test, as its administrator.
///
/// # Errors
/// There is no cluster.
pub async fn client() -> Result<Client> {
    client_as(None).await
}

/// A client that acts as `user`, or as the administrator.
///
/// # Errors
/// There is no cluster.
pub async fn client_as(user: Option<&str>) -> Result<Client> {
    let kubeconfig = Kubeconfig::read_from(setting(KUBECONFIG)?)?;
    let mut config =
        Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    config.auth_info.impersonate = user.map(str::to_owned);
    Ok(Client::try_from(config)?)
}

/// One program at a time leads, so tests that start one take turns.
static TURN: Mutex<()> = Mutex::const_new(());

/// The operator as a process; it ends with this value.
pub struct Operator {
    child: Child,
    log: PathBuf,
    is_metered: bool,
    turn: Option<MutexGuard<'static, ()>>,
}

impl Operator {
    /// Starts the operator once no other test runs one.
    ///
    /// # Errors
    /// The program is not built, or there is no cluster.
    pub async fn start() -> Result<Self> {
        Self::start_with(false).await
    }

    /// Starts the operator; a metered one holds machines for billing.
    ///
    /// # Errors
    /// The program is not built, or there is no cluster.
    pub async fn start_with(is_metered: bool) -> Result<Self> {
        let turn = TURN.lock().await;
        ensure_namespace(&client().await?, "freehold-system").await?;
        let mut operator = Self::spawn(is_metered)?;
        operator.turn = Some(turn);
        Ok(operator)
    }

    fn spawn(is_metered: bool) -> Result<Self> {
        let program = PathBuf::from(setting("FREEHOLD_TEST_PROGRAMS")?).join("freehold-operator");
        let log = PathBuf::from(setting("FREEHOLD_TEST_LOGS")?)
            .join(format!("operator-{}.log", uuid::Uuid::new_v4().simple()));
        let output =
            std::fs::File::create(&log).with_context(|| format!("create {}", log.display()))?;
        let child = Command::new(&program)
            .args(["--health-address", "127.0.0.1:0"])
            .args(is_metered.then_some("--metering"))
            .env("KUBECONFIG", setting(KUBECONFIG)?)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(output)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("start {}", program.display()))?;
        Ok(Self { child, log, is_metered, turn: None })
    }

    /// Resident memory.
    ///
    /// # Errors
    /// It has ended.
    pub fn resident_mib(&self) -> Result<u64> {
        let pid = self.child.id().context("the operator has ended already")?;
        let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib: u64 = line
            .and_then(|rest| rest.split_whitespace().next())
            .context("no VmRSS")?
            .parse()
            .context("VmRSS is no number")?;
        Ok(kib / 1024)
    }

    /// Kills it without warning and starts another, as a crash would.
    ///
    /// # Errors
    /// The program cannot be started again.
    pub async fn crash(&mut self) -> Result<()> {
        self.child.kill().await?;
        let next = Self::spawn(self.is_metered)?;
        self.child = next.child;
        self.log = next.log;
        Ok(())
    }

    /// Another one beside it, which leads when the lease of this one runs out.
    ///
    /// # Errors
    /// The program cannot be started.
    pub fn rival(&self) -> Result<Self> {
        Self::spawn(self.is_metered)
    }

    /// Holds it still, as a paused virtual machine would be, or lets it go on.
    ///
    /// # Errors
    /// It has ended.
    pub async fn pause(&self, is_paused: bool) -> Result<()> {
        let pid = self.child.id().context("the operator has ended already")?;
        let signal = if is_paused { "-STOP" } else { "-CONT" };
        let status = Command::new("kill").args([signal, &pid.to_string()]).status().await?;
        if !status.success() {
            bail!("kill {signal} {pid}: {status}");
        }
        Ok(())
    }

    /// Asks it to stop and waits; the lease is given back.
    ///
    /// # Errors
    /// It did not end, or not well; its log is named.
    pub async fn stop(mut self) -> Result<()> {
        let pid = self.child.id().context("the operator has ended already")?;
        let status = Command::new("kill").arg(pid.to_string()).status().await?;
        if !status.success() {
            bail!("kill {pid}: {status}");
        }
        let ended = tokio::time::timeout(SOON, self.child.wait())
            .await
            .context("the operator did not stop")??;
        if !ended.success() {
            bail!("the operator ended with {ended}; its log: {}", self.log.display());
        }
        Ok(())
    }
}

pub(crate) async fn ensure_namespace(client: &Client, name: &str) -> Result<()> {
    let namespaces: Api<k8s_openapi::api::core::v1::Namespace> = Api::all(client.clone());
    let namespace =
        serde_json::json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
    namespaces.patch(name, &PatchParams::apply("system-tests"), &Patch::Apply(namespace)).await?;
    Ok(())
}

/// Declares an object by server-side apply, as `kubectl apply --server-side` does.
///
/// # Errors
/// The API server refused.
pub async fn apply<K>(api: &Api<K>, object: Value) -> Result<K>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
{
    let name =
        object.pointer("/metadata/name").and_then(Value::as_str).context("no name")?.to_owned();
    let mut object = object;
    if let Some(map) = object.as_object_mut() {
        map.insert("apiVersion".to_owned(), K::api_version(&()).into());
        map.insert("kind".to_owned(), K::kind(&()).into());
    }
    Ok(api.patch(&name, &PatchParams::apply("system-tests").force(), &Patch::Apply(object)).await?)
}

/// Waits until the object satisfies `holds`, and returns it.
///
/// # Errors
/// It did not in time; the message shows it as it was.
pub async fn until<K>(api: &Api<K>, name: &str, what: &str, holds: impl Fn(&K) -> bool) -> Result<K>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Serialize,
{
    eventually(&format!("{} {name}: {what}", K::kind(&())), SOON, async || {
        let Some(object) = api.get_opt(name).await? else { bail!("it is not there") };
        if holds(&object) {
            Ok(Some(object))
        } else {
            bail!("it is {}", serde_json::to_string(&object)?)
        }
    })
    .await
}

/// Waits until the object is gone.
///
/// # Errors
/// It is still there after a while.
pub async fn until_gone<K>(api: &Api<K>, name: &str) -> Result<()>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Serialize,
{
    eventually(&format!("{} {name} is gone", K::kind(&())), SOON, async || {
        match api.get_opt(name).await? {
            None => Ok(Some(())),
            Some(object) => bail!("it is {}", serde_json::to_string(&object)?),
        }
    })
    .await
}

/// A tenant with one project, of names nobody else uses; it is deleted by [`Home::close`].
pub struct Home {
    /// The tenant's name.
    pub tenant: String,
    /// The tenant's home namespace.
    pub namespace: String,
    /// The namespace of its project.
    pub project: String,
    client: Client,
}

impl Home {
    /// Declares the tenant and the project, and waits until both are ready.
    ///
    /// # Errors
    /// The operator does not run, or refuses.
    pub async fn open(client: &Client) -> Result<Self> {
        let tenant = unique("t");
        let tenants: Api<Tenant> = Api::all(client.clone());
        apply(&tenants, tenant_declaration(&tenant)).await?;
        until(&tenants, &tenant, "is ready", is_ready).await?;
        let namespace = format!("tn-{tenant}");
        let projects: Api<crds::Project> = Api::namespaced(client.clone(), &namespace);
        let declaration =
            serde_json::json!({"metadata": {"name": "main"}, "spec": {"displayName": "Main"}});
        apply(&projects, declaration).await?;
        until(&projects, "main", "is ready", is_ready).await?;
        Ok(Self { project: format!("{namespace}-main"), tenant, namespace, client: client.clone() })
    }

    /// Deletes the tenant and waits until nothing is left.
    ///
    /// # Errors
    /// Something is left.
    pub async fn close(self) -> Result<()> {
        let tenants: Api<Tenant> = Api::all(self.client.clone());
        tenants.delete(&self.tenant, &DeleteParams::default()).await?;
        until_gone(&tenants, &self.tenant).await?;
        let namespaces: Api<k8s_openapi::api::core::v1::Namespace> = Api::all(self.client.clone());
        for name in [&self.project, &self.namespace] {
            if namespaces.get_opt(name).await?.is_some() {
                bail!("namespace {name} is left");
            }
        }
        Ok(())
    }
}

/// A valid tenant of this name.
pub fn tenant_declaration(name: &str) -> Value {
    serde_json::json!({
        "metadata": {"name": name},
        "spec": {
            "type": "Enterprise", "displayName": "Test", "currency": "EUR", "paymentMode": "Postpaid",
            "planRef": {"name": "standard"},
        },
    })
}

pub(crate) fn free_port() -> Result<u16> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// A name that no other test has.
pub fn unique(prefix: &str) -> String {
    let random = uuid::Uuid::new_v4().simple().to_string();
    format!("{prefix}{}", random.get(..8).unwrap_or_default())
}

/// The status of the Ready condition is True, for the generation that is declared.
pub fn is_ready<K: ResourceExt + Serialize>(object: &K) -> bool {
    condition(object, "Ready").is_some_and(|condition| {
        condition.pointer("/status") == Some(&"True".into())
            && condition.pointer("/observedGeneration").and_then(Value::as_i64)
                == object.meta().generation
    })
}

/// The reason of the Ready condition.
pub fn reason<K: Serialize>(object: &K) -> String {
    let reason = condition(object, "Ready").and_then(|condition| condition.get("reason").cloned());
    reason.as_ref().and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn condition<K: Serialize>(object: &K, type_: &str) -> Option<Value> {
    let object = serde_json::to_value(object).ok()?;
    let conditions = object.pointer("/status/conditions")?.as_array()?.clone();
    conditions.into_iter().find(|condition| condition.get("type") == Some(&type_.into()))
}
