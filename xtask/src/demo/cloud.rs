//! What the demo declares in the cluster: accounts, the hypervisor, the quickstart, each once what it needs is there.

use super::{Demo, Hypervisor};
use crate::kubernetes::Cluster;
use crate::run::{self, Run};
use crate::{interrupt, paths};
use anyhow::{Context, Result};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// The namespace of the programs.
pub const NAMESPACE: &str = "freehold-system";
/// Accounts, one for each program.
pub const ACCOUNTS: [&str; 3] =
    ["freehold-operator", "freehold-webhook", "freehold-billing-controller"];
/// In the order in which they can become true.
pub const QUICKSTART: [&str; 4] =
    ["1-catalogue.yaml", "2-tenants.yaml", "3-projects.yaml", "4-machines.yaml"];
/// Machines start after what runs guests was found out, which may take twenty seconds.
const READY_SECONDS: u64 = 240;

/// An account for each program, allowed everything: the demo shows the cloud, the charts show the rights.
pub fn accounts(cluster: &Cluster, run: &Run) -> Result<()> {
    let mut items = vec![json!({
        "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE},
    })];
    for account in ACCOUNTS {
        items.push(json!({
            "apiVersion": "v1", "kind": "ServiceAccount",
            "metadata": {"name": account, "namespace": NAMESPACE},
        }));
        items.push(json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
            "metadata": {"name": format!("{account}-demo")},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
            "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": NAMESPACE}],
        }));
    }
    apply_document(
        cluster,
        run,
        "accounts",
        &json!({"apiVersion": "v1", "kind": "List", "items": items}),
    )
}

/// A kubeconfig with a token of the account of that name.
pub fn kubeconfig_of(cluster: &Cluster, run: &Run, account: &str) -> Result<PathBuf> {
    let token = cluster.output(&[
        "create",
        "token",
        account,
        "--namespace",
        NAMESPACE,
        "--duration=168h",
    ])?;
    let view =
        cluster.output(&["config", "view", "--raw", "--minify", "--flatten", "-o", "json"])?;
    let mut document: Value = serde_json::from_str(&view).context("read the kubeconfig")?;
    let user = document.pointer_mut("/users/0/user").context("the kubeconfig has no user")?;
    *user = json!({"token": token.trim()});
    let path = run.folder().join(format!("{account}.kubeconfig"));
    fs::write(&path, "")
        .and_then(|()| fs::set_permissions(&path, fs::Permissions::from_mode(0o600)))?;
    fs::write(&path, document.to_string())?;
    Ok(path)
}

/// Declares everything, each part once what it needs is there.
pub fn apply(demo: &Demo, run: &Run) -> Result<()> {
    let cluster = &demo.cluster;
    let (name, provider) = match &demo.hypervisor {
        Hypervisor::Libvirt { libvirt, guest, .. } => (
            "local",
            json!({"kind": "Libvirt", "libvirt": {
                "socket": libvirt.socket,
                "images": [{
                    "name": "tiny", "kernelPath": guest.kernel, "initrdPath": guest.initrd,
                    "kernelArguments": "console=ttyS0 quiet",
                }],
            }}),
        ),
        Hypervisor::Simulator => (
            "simulated",
            json!({"kind": "Simulator", "simulator": {
                "hosts": 3, "vcpusPerHost": 8, "memoryMibPerHost": 16384,
            }}),
        ),
    };
    run::progress(&format!("applying ComputeCluster {name}"));
    let document = json!({
        "apiVersion": "compute.freehold.dev/v1alpha1", "kind": "ComputeCluster",
        "metadata": {"name": name},
        "spec": {"provider": provider, "overcommit": {"vcpuThousandths": 4000}},
    });
    apply_document(cluster, run, "cluster", &document)?;
    wait_ready(cluster, run, &["computecluster", name])?;
    let folder = paths::repository()?.join("examples/quickstart");
    for file in QUICKSTART {
        interrupt::check()?;
        run::progress(&format!("applying examples/quickstart/{file}"));
        let path = folder.join(file);
        apply_file(cluster, run, &path)?;
        // Sizes, meters and plans are read, not reconciled.
        if file != "1-catalogue.yaml" {
            wait_ready(cluster, run, &["--filename", &path.display().to_string()])?;
        }
    }
    Ok(())
}

fn apply_document(cluster: &Cluster, run: &Run, name: &str, document: &Value) -> Result<()> {
    let path = run.folder().join(format!("{name}.json"));
    fs::write(&path, document.to_string())?;
    apply_file(cluster, run, &path)
}

fn apply_file(cluster: &Cluster, run: &Run, path: &Path) -> Result<()> {
    let mut command = cluster.kubectl();
    command.args(["apply", "--filename"]).arg(path);
    run.finish(&format!("kubectl apply -f {}", path.display()), "kubectl", &mut command)
}

fn wait_ready(cluster: &Cluster, run: &Run, what: &[&str]) -> Result<()> {
    let mut command = cluster.kubectl();
    command
        .args(["wait", "--for=condition=Ready", &format!("--timeout={READY_SECONDS}s")])
        .args(what);
    let waiting = format!("wait until {} is ready", what.join(" "));
    run.finish(&waiting, "kubectl", &mut command)
}
