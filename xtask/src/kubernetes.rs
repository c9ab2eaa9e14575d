//! A real control plane on this machine: etcd, API server, controller manager; with a node, where one is asked for.
//!
//! The controller manager is part of it because namespaces vanish and owned objects are collected only while it runs:
//! without it no test of a deletion means anything. Pods stay pending unless there is a node ([`node`], [`kwok`]).

mod certificates;
mod kwok;
mod node;

use crate::run::{self, Run, free_port};
use crate::tools;
use anyhow::{Context, Result, bail};
use node::Ground;
use std::fs;
use std::net::TcpStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const START_LIMIT: Duration = Duration::from_secs(90);
/// How long the server may take until objects of every kind can be listed.
const LISTED_WITHIN: Duration = Duration::from_mins(1);
/// How often it is asked.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Services get addresses nobody else uses on this machine.
const SERVICE_RANGE: &str = "10.96.0.0/16";

/// What runs the pods of a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum NodeKind {
    /// Nothing: pods stay pending. The quickest, and enough for whatever only declares.
    None,
    /// A real node: pods run as containers. Needs root.
    Kubelet,
    /// Pretended nodes: pods turn Running without containers, by the thousand.
    Kwok,
}

/// A control plane that answers.
pub struct Cluster {
    /// Path of the administrator's kubeconfig.
    pub kubeconfig: PathBuf,
    /// Path of kubectl.
    pub kubectl: PathBuf,
    node: Option<Ground>,
}

/// Where the programs of a cluster are and where they keep things.
struct Place {
    tools: PathBuf,
    folder: PathBuf,
    /// What the names of the cluster's processes begin with.
    prefix: &'static str,
    /// Where the API server listens.
    address: String,
    port: u16,
}

impl Place {
    fn file(&self, name: &str) -> String {
        self.folder.join("certificates").join(name).display().to_string()
    }

    fn process(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }
}

/// Starts a control plane whose state is in the run's folder, with a node of this kind.
///
/// A cluster with a node has names of its own for its processes, so that one run can have one of each.
pub fn start(run: &mut Run, kind: NodeKind) -> Result<Cluster> {
    let tools = tools::kubernetes()?;
    let (name, prefix) = match kind {
        NodeKind::None | NodeKind::Kwok => ("kubernetes", ""),
        NodeKind::Kubelet => ("kubernetes-node", "node-"),
    };
    let folder = run.subfolder(name)?;
    let ground = match kind {
        NodeKind::Kubelet => {
            tools::node()?;
            tools::coredns()?;
            Some(node::prepare(run, &folder)?)
        }
        NodeKind::None | NodeKind::Kwok => None,
    };
    run::progress("starting a control plane");
    let address = match &ground {
        Some(ground) => ground.addresses.machine(),
        None => "127.0.0.1".to_owned(),
    };
    let place = Place { tools, folder, prefix, address, port: free_port()? };
    let cluster = start_control_plane(run, &place, ground)?;
    match (&cluster.node, kind) {
        (Some(ground), _) => {
            start_scheduler(run, &place, &cluster)?;
            ground.start(run, &place, &cluster)?;
        }
        (None, NodeKind::Kwok) => {
            tools::scheduler()?;
            start_scheduler(run, &place, &cluster)?;
            kwok::start(run, &cluster)?;
        }
        (None, _) => {}
    }
    Ok(cluster)
}

fn start_control_plane(run: &mut Run, place: &Place, node: Option<Ground>) -> Result<Cluster> {
    let kubeconfig =
        certificates::make(&place.folder.join("certificates"), &place.address, place.port)?;
    let etcd = start_etcd(run, place)?;
    start_api_server(run, place, etcd)?;
    let cluster = Cluster { kubeconfig, kubectl: place.tools.join("kubectl"), node };
    run.wait(&place.process("kube-apiserver"), "the API server is ready", START_LIMIT, || {
        cluster.answers("/readyz")
    })?;
    start_controller_manager(run, place, &cluster)?;
    run.wait(
        &place.process("kube-controller-manager"),
        "the default service account exists",
        START_LIMIT,
        || cluster.succeeds(&["get", "serviceaccount", "default", "--namespace", "default"]),
    )?;
    Ok(cluster)
}

/// Starts etcd; the port of its clients.
fn start_etcd(run: &mut Run, place: &Place) -> Result<u16> {
    let (client, peer) = (free_port()?, free_port()?);
    let (client_url, peer_url) =
        (format!("http://127.0.0.1:{client}"), format!("http://127.0.0.1:{peer}"));
    let name = place.process("etcd");
    run.start(
        &name,
        Command::new(place.tools.join("etcd"))
            .arg(format!("--data-dir={}", place.folder.join("etcd").display()))
            .args(["--listen-client-urls", &client_url, "--advertise-client-urls", &client_url])
            .args(["--listen-peer-urls", &peer_url, "--initial-advertise-peer-urls", &peer_url])
            .args(["--initial-cluster", &format!("default={peer_url}"), "--log-level", "warn"])
            .args(["--quota-backend-bytes", "4294967296"]),
    )?;
    run.wait(&name, "etcd listens", START_LIMIT, || {
        TcpStream::connect(("127.0.0.1", client)).is_ok()
    })?;
    Ok(client)
}

fn start_api_server(run: &mut Run, place: &Place, etcd: u16) -> Result<()> {
    let Place { address, port, .. } = place;
    run.start(
        &place.process("kube-apiserver"),
        Command::new(place.tools.join("kube-apiserver"))
            .arg(format!("--etcd-servers=http://127.0.0.1:{etcd}"))
            .arg(format!("--bind-address={address}"))
            .arg(format!("--advertise-address={address}"))
            .arg(format!("--secure-port={port}"))
            .arg(format!("--service-cluster-ip-range={SERVICE_RANGE}"))
            .arg(format!("--client-ca-file={}", place.file("ca.pem")))
            .arg(format!("--tls-cert-file={}", place.file("server.pem")))
            .arg(format!("--tls-private-key-file={}", place.file("server.key")))
            .arg("--service-account-issuer=https://kubernetes.default.svc")
            .arg(format!(
                "--service-account-signing-key-file={}",
                place.file("service-account.key")
            ))
            .arg(format!("--service-account-key-file={}", place.file("service-account.pub")))
            .arg(format!("--kubelet-client-certificate={}", place.file("administrator.pem")))
            .arg(format!("--kubelet-client-key={}", place.file("administrator.key")))
            .arg("--kubelet-preferred-address-types=InternalIP")
            // The machine has no packet filter rules for addresses of services: pods are reached directly.
            .arg("--enable-aggregator-routing=true")
            .args(["--authorization-mode=Node,RBAC", "--allow-privileged=true"])
            .args(["--enable-priority-and-fairness=true", "--v=1"]),
    )
}

fn start_controller_manager(run: &mut Run, place: &Place, cluster: &Cluster) -> Result<()> {
    let kubeconfig = cluster.kubeconfig.display().to_string();
    run.start(
        &place.process("kube-controller-manager"),
        Command::new(place.tools.join("kube-controller-manager"))
            .args(["--kubeconfig", &kubeconfig, "--authentication-kubeconfig", &kubeconfig])
            .args(["--authorization-kubeconfig", &kubeconfig, "--bind-address=127.0.0.1"])
            .arg(format!("--secure-port={}", free_port()?))
            .arg(format!("--root-ca-file={}", place.file("ca.pem")))
            .arg(format!(
                "--service-account-private-key-file={}",
                place.file("service-account.key")
            ))
            .args(["--use-service-account-credentials=true", "--leader-elect=false", "--v=1"]),
    )
}

fn start_scheduler(run: &mut Run, place: &Place, cluster: &Cluster) -> Result<()> {
    let kubeconfig = cluster.kubeconfig.display().to_string();
    run.start(
        &place.process("kube-scheduler"),
        Command::new(place.tools.join("kube-scheduler"))
            .args(["--kubeconfig", &kubeconfig, "--authentication-kubeconfig", &kubeconfig])
            .args(["--authorization-kubeconfig", &kubeconfig, "--bind-address=127.0.0.1"])
            .arg(format!("--secure-port={}", free_port()?))
            .args(["--leader-elect=false", "--v=1"]),
    )
}

impl Cluster {
    /// Somebody else's cluster, as its administrator's kubeconfig reaches it.
    pub fn of_others(kubeconfig: PathBuf, kubectl: PathBuf) -> Self {
        Self { kubeconfig, kubectl, node: None }
    }

    /// The same cluster, without its node.
    pub fn again(&self) -> Self {
        Self::of_others(self.kubeconfig.clone(), self.kubectl.clone())
    }

    /// kubectl as the administrator.
    pub fn kubectl(&self) -> Command {
        let mut command = Command::new(&self.kubectl);
        // Ctrl-C in a terminal is for us, not for what takes our objects away.
        command.process_group(0).arg("--kubeconfig").arg(&self.kubeconfig);
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

    /// Makes images known to the cluster's node.
    pub fn import(&self, log: &Path, archives: &[PathBuf]) -> Result<()> {
        let node = self.node.as_ref().context("the cluster has no node that takes images")?;
        archives.iter().try_for_each(|archive| node.import(log, archive))
    }

    /// Installs our kinds and waits until objects of each can be listed: the server establishes a kind before that, and
    /// answers "storage is (re)initializing" meanwhile.
    pub fn install_definitions(&self, log: &Path) -> Result<()> {
        let folder = crate::paths::repository()?.join("crds/yaml");
        self.install(log, std::slice::from_ref(&folder))?;
        let deadline = Instant::now() + LISTED_WITHIN;
        for file in std::fs::read_dir(&folder)? {
            let name = file?.file_name();
            let stem = name.to_str().and_then(|name| name.strip_suffix(".yaml"));
            let Some((plural, group)) = stem.and_then(|stem| stem.split_once('.')) else {
                continue;
            };
            let path = format!("/apis/{group}/v1alpha1/{plural}?limit=1");
            while !self.answers(&path) {
                crate::interrupt::check()?;
                if Instant::now() >= deadline {
                    bail!(
                        "{plural}.{group} cannot be listed within {LISTED_WITHIN:?}; log of kubectl: {}",
                        log.display()
                    );
                }
                std::thread::sleep(LOOK_EVERY);
            }
        }
        Ok(())
    }

    /// Installs the kinds of these files or folders and waits until the server serves them.
    pub fn install(&self, log: &Path, files: &[PathBuf]) -> Result<()> {
        let mut apply = self.kubectl();
        apply.args(["apply", "--server-side", "--force-conflicts"]);
        let mut wait = self.kubectl();
        wait.args(["wait", "--for=condition=Established", "--timeout=60s"]);
        for file in files {
            apply.arg("--filename").arg(file);
            wait.arg("--filename").arg(file);
        }
        run::finish("apply crds/yaml", log, &mut apply)?;
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
pub fn up(name: &str, kind: NodeKind) -> Result<()> {
    let mut run = Run::lasting(&run_name(name)?)?;
    run.end_on_drop();
    let cluster = start(&mut run, kind)?;
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
    let kubeconfigs = ["kubernetes", "kubernetes-node"]
        .map(|cluster| run.folder().join(cluster).join("certificates/kubeconfig"));
    let kubeconfig = kubeconfigs.into_iter().find(|path| path.exists()).unwrap_or_default();
    println!("kubeconfig: {}", fs::canonicalize(&kubeconfig).unwrap_or(kubeconfig).display());
    println!("logs: {}", run.folder().join("logs").display());
    println!(
        "{}",
        if dead.is_empty() { "running".to_owned() } else { format!("dead: {}", dead.join(", ")) }
    );
    Ok(dead.is_empty())
}
