//! A cluster of somebody else's: used only where nothing of Freehold is, and given back as it was.
//!
//! What was there is written down before anything is made. At the end the demo's objects are deleted as a person would,
//! while the programs that carry it out are alive; where those are dead, finalizers are removed by force: nothing stands
//! behind simulated machines, and real guests end with the demo's libvirt.

use super::cloud::{ACCOUNTS, NAMESPACE, QUICKSTART};
use super::programs;
use crate::kubernetes::Cluster;
use crate::paths;
use crate::run::{self, Run};
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::cell::Cell;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// The label on namespaces that the operator made.
const TENANT_LABEL: &str = "tenancy.freehold.dev/tenant";
/// What names of roles that the operator made contain.
const ROLE_PREFIX: &str = "/freehold-tenant-";
const ADVICE: &str =
    "nothing was changed; leave out --kubeconfig, or name a cluster without Freehold";
/// A server that does not answer within this time is not there.
const ASK: &str = "--request-timeout=10s";

/// What was in the cluster before the demo.
pub struct Before {
    kinds: BTreeSet<String>,
    namespaces: BTreeSet<String>,
    roles: BTreeSet<String>,
    /// Whether the demo has begun to make something.
    is_touched: Cell<bool>,
}

/// The cluster of that kubeconfig, if it is one that the demo may use.
pub fn look(path: &Path, kubectl: PathBuf) -> Result<(Cluster, Before)> {
    run::progress("looking at the cluster that was named");
    let path = path
        .canonicalize()
        .with_context(|| format!("--kubeconfig {}; nothing was changed", path.display()))?;
    let cluster = Cluster::of_others(path, kubectl);
    let before = judge(&cluster)
        .with_context(|| format!("--kubeconfig {}", cluster.kubeconfig.display()))?;
    Ok((cluster, before))
}

fn judge(cluster: &Cluster) -> Result<Before> {
    let ask = |arguments: &[&str]| cluster.output(&[arguments, &[ASK]].concat());
    if let Err(error) = ask(&["get", "--raw", "/version"]) {
        let text = format!("{error:#}");
        let last = text.lines().last().unwrap_or_default();
        bail!("its API server does not answer: {last}; nothing was changed");
    }
    if ask(&["auth", "can-i", "*", "*", "--all-namespaces"]).is_err() {
        bail!(
            "its user may not do everything there, and the demo makes kinds and accounts; nothing was changed"
        );
    }
    let names = |arguments: &[&str]| -> Result<BTreeSet<String>> {
        let text = ask(&[arguments, &["--ignore-not-found", "--output=name"]].concat())?;
        Ok(text.lines().map(str::to_owned).collect())
    };
    let namespaces = names(&["get", "namespaces"])?;
    if namespaces.contains(&format!("namespace/{NAMESPACE}")) {
        bail!("namespace {NAMESPACE} is there: {ADVICE}");
    }
    let registrations = "validatingwebhookconfigurations,mutatingwebhookconfigurations";
    if let Some(found) =
        names(&["get", registrations])?.iter().find(|name| name.ends_with("/freehold"))
    {
        bail!("{found} is there: {ADVICE}");
    }
    let served = names(&["get", "customresourcedefinitions"])?;
    let kinds: BTreeSet<String> = kinds()?
        .into_iter()
        .filter(|kind| served.iter().any(|name| name.ends_with(&format!("/{kind}"))))
        .collect();
    if !kinds.is_empty() {
        let list = kinds.iter().map(String::as_str).collect::<Vec<_>>().join(",");
        let objects = names(&["get", &list, "--all-namespaces"])?;
        if let Some(first) = objects.first() {
            bail!("it has {} objects of Freehold, such as {first}: {ADVICE}", objects.len());
        }
        differs(cluster, &kinds)?;
    }
    let roles = names(&["get", "clusterroles"])?;
    Ok(Before { kinds, namespaces, roles, is_touched: Cell::new(false) })
}

/// Kinds that are there stay untouched, so they have to be the ones the programs speak.
fn differs(cluster: &Cluster, kinds: &BTreeSet<String>) -> Result<()> {
    let mut arguments = vec!["diff", "--server-side", "--force-conflicts"];
    let files: Vec<String> =
        kinds.iter().map(|kind| Ok(file_of(kind)?.display().to_string())).collect::<Result<_>>()?;
    arguments.extend(files.iter().flat_map(|file| ["--filename", file]));
    if !cluster.succeeds(&arguments) {
        bail!(
            "its kinds of Freehold are not those of crds/yaml; nothing was changed; \
             `kubectl apply --server-side --filename crds/yaml` changes them"
        );
    }
    Ok(())
}

/// Names of our kinds' definitions, each the name of its file.
fn kinds() -> Result<Vec<String>> {
    let folder = paths::repository()?.join("crds/yaml");
    let mut kinds = Vec::new();
    for entry in folder.read_dir().with_context(|| format!("read {}", folder.display()))? {
        let name = entry?.file_name();
        kinds.extend(name.to_str().and_then(|name| name.strip_suffix(".yaml")).map(str::to_owned));
    }
    Ok(kinds)
}

fn file_of(kind: &str) -> Result<PathBuf> {
    Ok(paths::repository()?.join("crds/yaml").join(format!("{kind}.yaml")))
}

impl Before {
    /// Installs the kinds that were not there.
    pub fn install_kinds(&self, cluster: &Cluster, run: &Run) -> Result<()> {
        self.is_touched.set(true);
        match self.missing_kinds()?.as_slice() {
            [] => Ok(()),
            files => cluster.install(&run.log("kubectl"), files),
        }
    }

    /// Files of the kinds that were not there.
    fn missing_kinds(&self) -> Result<Vec<PathBuf>> {
        kinds()?
            .iter()
            .filter(|kind| !self.kinds.contains(*kind))
            .map(|kind| file_of(kind))
            .collect()
    }

    /// Takes away what the demo made, in reverse order; fails with everything that is left.
    pub fn restore(&self, cluster: &Cluster, run: &mut Run) -> Result<()> {
        if !self.is_touched.get() {
            return Ok(());
        }
        run::progress("taking the demo's objects out of the cluster");
        let mut left = Vec::new();
        let all_live = run.dead().is_empty();
        let is_carried_out = all_live
            && run.is_alive("freehold-operator")
            && run.is_alive("freehold-billing-controller");
        // Whoever judges deletions goes first, so that none is refused.
        note(&mut left, run.end_process("freehold-webhook"));
        note(&mut left, programs::unregister(cluster, run));
        if is_carried_out {
            // What is not gone in time goes by force, below.
            delete_orderly(cluster, run).unwrap_or_else(|error| {
                run::progress(&format!("not deleted in the usual way: {error:#}"));
            });
        }
        for program in ["freehold-billing-controller", "freehold-operator"] {
            note(&mut left, run.end_process(program));
        }
        note(&mut left, self.delete_by_force(cluster, run));
        for account in ACCOUNTS {
            let name = format!("{account}-demo");
            note(&mut left, delete(cluster, run, &["clusterrolebinding", &name]));
        }
        note(&mut left, delete(cluster, run, &["namespace", NAMESPACE]));
        for file in self.missing_kinds()? {
            note(&mut left, delete(cluster, run, &["--filename", &file.display().to_string()]));
        }
        if left.is_empty() {
            return Ok(());
        }
        bail!("left behind in the cluster: {}", left.join("; "));
    }

    /// Objects of our kinds that are still there, the namespaces of tenants, and the roles in them.
    fn delete_by_force(&self, cluster: &Cluster, run: &Run) -> Result<()> {
        let served = cluster.output(&["get", "customresourcedefinitions", "--output=name"])?;
        for kind in kinds()?.iter().filter(|kind| served.contains(&format!("/{kind}\n"))) {
            let text = cluster.output(&["get", kind, "--all-namespaces", "--output=json"])?;
            let list: Value = serde_json::from_str(&text).context("read kubectl's list")?;
            for item in list.pointer("/items").and_then(Value::as_array).into_iter().flatten() {
                let part =
                    |path: &str| item.pointer(path).and_then(Value::as_str).unwrap_or_default();
                let mut object = vec![kind.as_str(), part("/metadata/name")];
                if !part("/metadata/namespace").is_empty() {
                    object.extend(["--namespace", part("/metadata/namespace")]);
                }
                run::progress(&format!("deleting {} by force", object.join(" ")));
                let free = ["--type=merge", r#"--patch={"metadata":{"finalizers":null}}"#];
                // It may be gone meanwhile; if not, the deletion says so.
                cluster.succeeds(&[&["patch"], object.as_slice(), &free].concat());
                delete(cluster, run, &object)?;
            }
        }
        let text =
            cluster.output(&["get", "namespaces", "--selector", TENANT_LABEL, "--output=name"])?;
        for namespace in text.lines().filter(|name| !self.namespaces.contains(*name)) {
            delete(cluster, run, &[namespace])?;
        }
        let text = cluster.output(&["get", "clusterroles", "--output=name"])?;
        let made = |role: &&str| role.contains(ROLE_PREFIX) && !self.roles.contains(*role);
        for role in text.lines().filter(made) {
            delete(cluster, run, &[role])?;
        }
        Ok(())
    }
}

fn note(left: &mut Vec<String>, result: Result<()>) {
    if let Err(error) = result {
        left.push(format!("{error:#}"));
    }
}

fn delete_orderly(cluster: &Cluster, run: &Run) -> Result<()> {
    let folder = paths::repository()?.join("examples/quickstart");
    for file in QUICKSTART.iter().rev() {
        delete(cluster, run, &["--filename", &folder.join(file).display().to_string()])?;
    }
    delete(cluster, run, &["computeclusters.compute.freehold.dev", "local", "simulated"])
}

fn delete(cluster: &Cluster, run: &Run, what: &[&str]) -> Result<()> {
    let mut command = cluster.kubectl();
    command.args(["delete", "--ignore-not-found", "--timeout=60s"]).args(what);
    run::finish(&format!("kubectl delete {}", what.join(" ")), &run.log("give-back"), &mut command)
}
