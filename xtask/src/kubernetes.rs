//! A real control plane on this machine: etcd, API server, controller manager.
//!
//! The controller manager is part of it because namespaces vanish and owned objects are collected only while it runs:
//! without it no test of a deletion means anything. There is no node yet; objects that need one stay pending.

mod certificates;

use crate::run::{self, Run, free_port};
use crate::tools;
use anyhow::{Context, Result, bail};
use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

const START_LIMIT: Duration = Duration::from_secs(90);
/// Services get addresses nobody else uses on this machine.
const SERVICE_RANGE: &str = "10.96.0.0/16";

/// A control plane that answers.
pub struct Cluster {
    /// Path of the administrator's kubeconfig.
    pub kubeconfig: PathBuf,
    /// Path of kubectl.
    pub kubectl: PathBuf,
}

/// Starts a control plane whose state is in the run's folder.
pub fn start(run: &mut Run) -> Result<Cluster> {
    let tools = tools::kubernetes()?;
    run::progress("starting a control plane");
    let folder = run.subfolder("kubernetes")?;
    let (client_port, peer_port, api_port) = (free_port()?, free_port()?, free_port()?);
    let credentials = certificates::make(&folder.join("certificates"), api_port)?;
    start_etcd(run, &tools, &folder, client_port, peer_port)?;
    start_api_server(run, &tools, &folder, client_port, api_port)?;
    let cluster = Cluster { kubeconfig: credentials, kubectl: tools.join("kubectl") };
    run.wait("kube-apiserver", "the API server is ready", START_LIMIT, || {
        cluster.answers("/readyz")
    })?;
    start_controller_manager(run, &tools, &folder, &cluster)?;
    run.wait("kube-controller-manager", "the default service account exists", START_LIMIT, || {
        cluster.succeeds(&["get", "serviceaccount", "default", "--namespace", "default"])
    })?;
    Ok(cluster)
}

fn start_etcd(run: &mut Run, tools: &Path, folder: &Path, client: u16, peer: u16) -> Result<()> {
    let (client_url, peer_url) =
        (format!("http://127.0.0.1:{client}"), format!("http://127.0.0.1:{peer}"));
    run.start(
        "etcd",
        Command::new(tools.join("etcd"))
            .arg(format!("--data-dir={}", folder.join("etcd").display()))
            .args(["--listen-client-urls", &client_url, "--advertise-client-urls", &client_url])
            .args(["--listen-peer-urls", &peer_url, "--initial-advertise-peer-urls", &peer_url])
            .args(["--initial-cluster", &format!("default={peer_url}"), "--log-level", "warn"])
            .args(["--quota-backend-bytes", "4294967296"]),
    )?;
    run.wait("etcd", "etcd listens", START_LIMIT, || {
        TcpStream::connect(("127.0.0.1", client)).is_ok()
    })
}

fn start_api_server(
    run: &mut Run,
    tools: &Path,
    folder: &Path,
    etcd: u16,
    port: u16,
) -> Result<()> {
    let file = |name: &str| folder.join("certificates").join(name).display().to_string();
    run.start(
        "kube-apiserver",
        Command::new(tools.join("kube-apiserver"))
            .arg(format!("--etcd-servers=http://127.0.0.1:{etcd}"))
            .args(["--bind-address=127.0.0.1", "--advertise-address=127.0.0.1"])
            .arg(format!("--secure-port={port}"))
            .arg(format!("--service-cluster-ip-range={SERVICE_RANGE}"))
            .arg(format!("--client-ca-file={}", file("ca.pem")))
            .arg(format!("--tls-cert-file={}", file("server.pem")))
            .arg(format!("--tls-private-key-file={}", file("server.key")))
            .arg("--service-account-issuer=https://kubernetes.default.svc")
            .arg(format!("--service-account-signing-key-file={}", file("service-account.key")))
            .arg(format!("--service-account-key-file={}", file("service-account.pub")))
            .args(["--authorization-mode=Node,RBAC", "--allow-privileged=true"])
            .args(["--enable-priority-and-fairness=true", "--v=1"]),
    )
}

fn start_controller_manager(
    run: &mut Run,
    tools: &Path,
    folder: &Path,
    cluster: &Cluster,
) -> Result<()> {
    let file = |name: &str| folder.join("certificates").join(name).display().to_string();
    let kubeconfig = cluster.kubeconfig.display().to_string();
    run.start(
        "kube-controller-manager",
        Command::new(tools.join("kube-controller-manager"))
            .args(["--kubeconfig", &kubeconfig, "--authentication-kubeconfig", &kubeconfig])
            .args(["--authorization-kubeconfig", &kubeconfig, "--bind-address=127.0.0.1"])
            .arg(format!("--secure-port={}", free_port()?))
            .arg(format!("--root-ca-file={}", file("ca.pem")))
            .arg(format!("--service-account-private-key-file={}", file("service-account.key")))
            .args(["--use-service-account-credentials=true", "--leader-elect=false", "--v=1"]),
    )
}

impl Cluster {
    /// kubectl as the administrator.
    pub fn kubectl(&self) -> Command {
        let mut command = Command::new(&self.kubectl);
        command.arg("--kubeconfig").arg(&self.kubeconfig);
        command
    }

    /// What kubectl prints.
    pub fn output(&self, arguments: &[&str]) -> Result<String> {
        let output = self.kubectl().args(arguments).stdin(Stdio::null()).output()?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            bail!("kubectl {}: {}", arguments.join(" "), said.trim());
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Whether the API server can reach what listens on this machine's loopback address.
    pub fn is_on_this_machine(&self) -> Result<bool> {
        let server = self.output(&[
            "config",
            "view",
            "--minify",
            "-o",
            "jsonpath={.clusters[0].cluster.server}",
        ])?;
        let host = server.split_once("://").map_or(server.as_str(), |(_, rest)| rest);
        Ok(["127.", "localhost", "[::1]"].iter().any(|own| host.starts_with(own)))
    }

    /// Whether kubectl says yes.
    pub fn succeeds(&self, arguments: &[&str]) -> bool {
        let mut command = self.kubectl();
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    }

    fn answers(&self, path: &str) -> bool {
        self.succeeds(&["get", "--raw", path])
    }

    /// Installs our kinds and waits until the server serves them.
    pub fn install_definitions(&self, log: &Path) -> Result<()> {
        let folder = crate::paths::repository()?.join("crds/yaml");
        let mut apply = self.kubectl();
        apply.args(["apply", "--server-side", "--force-conflicts", "--filename"]).arg(&folder);
        run::finish("apply crds/yaml", log, &mut apply)?;
        let mut wait = self.kubectl();
        wait.args(["wait", "--for=condition=Established", "--timeout=60s", "--filename"])
            .arg(&folder);
        run::finish("wait until the kinds are served", log, &mut wait)
    }
}

fn run_name(name: &str) -> Result<String> {
    let is_plain =
        name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    if name.is_empty() || !is_plain {
        bail!("--name {name}: use lower-case letters, digits and hyphens");
    }
    Ok(format!("cluster-{name}"))
}

/// `cluster up`.
#[expect(clippy::print_stdout, reason = "the path is the result, for scripts to read")]
pub fn up(name: &str) -> Result<()> {
    let mut run = Run::lasting(&run_name(name)?)?;
    run.end_on_drop();
    let cluster = start(&mut run)?;
    cluster.install_definitions(&run.log("kubectl"))?;
    println!("{}", cluster.kubeconfig.display());
    run.keep();
    Ok(())
}

/// `cluster down`.
pub fn down(name: &str) -> Result<()> {
    let run =
        Run::open(&run_name(name)?)?.with_context(|| format!("there is no cluster {name}"))?;
    run.remove()
}

/// `cluster status`: true if all its processes are alive.
#[expect(clippy::print_stdout, reason = "the state is the result")]
pub fn status(name: &str) -> Result<bool> {
    let Some(run) = Run::open(&run_name(name)?)? else {
        println!("no cluster {name}; `cargo xtask cluster up --name {name}` starts one");
        return Ok(false);
    };
    let dead = run.dead();
    let kubeconfig = run.folder().join("kubernetes/certificates/kubeconfig");
    println!("kubeconfig: {}", fs::canonicalize(&kubeconfig).unwrap_or(kubeconfig).display());
    println!("logs: {}", run.folder().join("logs").display());
    println!(
        "{}",
        if dead.is_empty() { "running".to_owned() } else { format!("dead: {}", dead.join(", ")) }
    );
    Ok(dead.is_empty())
}
