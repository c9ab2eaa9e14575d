//! The programs of Freehold, each under an account of its own in the cluster.

use super::cloud::kubeconfig_of;
use crate::kubernetes::Cluster;
use crate::parts::programs_folder;
use crate::prometheus::Prometheus;
use crate::run::{self, Run, free_port};
use crate::{http, paths};
use anyhow::Result;
use std::process::Command;
use std::time::Duration;

const READY_LIMIT: Duration = Duration::from_secs(90);
const WEBHOOK: &str = "freehold-webhook";
/// How often the billing-controller counts what is held: quick enough to watch.
const TICK_SECONDS: &str = "5";

/// Ports of the billing-controller on the loopback address.
pub struct Addresses {
    /// Where Prometheus writes.
    pub intake: u16,
    /// Where bills are asked for.
    pub query: u16,
    /// Where the operator, the webhook and the billing-controller tell how they are.
    pub health: [u16; 3],
}

impl Addresses {
    /// Ports that nobody uses now.
    pub fn free() -> Result<Self> {
        let health = [free_port()?, free_port()?, free_port()?];
        Ok(Self { intake: free_port()?, query: free_port()?, health })
    }

    /// Where Prometheus finds the programs.
    pub fn programs(&self) -> [String; 3] {
        self.health.map(|port| format!("127.0.0.1:{port}"))
    }

    /// The query API, as `kubectl freehold --server` takes it.
    pub fn server(&self) -> String {
        format!("http://127.0.0.1:{}", self.query)
    }
}

/// Starts the operator.
pub fn operator(run: &mut Run, cluster: &Cluster, addresses: &Addresses) -> Result<()> {
    let [health, ..] = addresses.health;
    start(run, cluster, "freehold-operator", health, &["--metering"], &[])
}

/// Starts the webhook, where the API server can reach it.
pub fn webhook(run: &mut Run, cluster: &Cluster, addresses: &Addresses) -> Result<()> {
    if !cluster.is_on_this_machine()? {
        run::progress(
            "the API server is on another machine and cannot reach a webhook on this one: left out",
        );
        return Ok(());
    }
    let port = free_port()?;
    let (listen, advertise) =
        (format!("127.0.0.1:{port}"), format!("url=https://127.0.0.1:{port}"));
    let [_, health, _] = addresses.health;
    let arguments = ["--listen-address", &listen, "--advertise", &advertise];
    start(run, cluster, WEBHOOK, health, &arguments, &[])?;
    if cannot_be_reached(cluster)? {
        run.end_process(WEBHOOK)?;
        unregister(cluster, run)?;
        run::progress(
            "the API server runs in a container or behind a tunnel and cannot reach a webhook of this machine: left out",
        );
    }
    Ok(())
}

/// Whether the API server, asked to judge a change that is not made, finds nobody to ask.
fn cannot_be_reached(cluster: &Cluster) -> Result<bool> {
    let file =
        paths::repository()?.join("examples/quickstart/1-catalogue.yaml").display().to_string();
    let answer = cluster.output(&["apply", "--dry-run=server", "--filename", &file]);
    Ok(answer.is_err_and(|error| format!("{error:#}").contains("failed calling webhook")))
}

/// Takes the webhook's registration out of the cluster again.
pub fn unregister(cluster: &Cluster, run: &Run) -> Result<()> {
    let mut command = Command::new(programs_folder()?.join("freehold-webhook"));
    command.arg("--unregister").env("KUBECONFIG", &cluster.kubeconfig);
    run::finish("freehold-webhook --unregister", &run.log("unregister"), &mut command)
}

/// Starts the billing-controller.
pub fn billing(
    run: &mut Run,
    cluster: &Cluster,
    addresses: &Addresses,
    database_url: &str,
    prometheus: &Prometheus,
) -> Result<()> {
    let (intake, query) =
        (format!("127.0.0.1:{}", addresses.intake), format!("127.0.0.1:{}", addresses.query));
    let mut arguments = vec!["--intake-address", &intake, "--query-address", &query];
    arguments.extend(["--tick-seconds", TICK_SECONDS]);
    let url = format!("http://127.0.0.1:{}", prometheus.port);
    arguments.extend(["--prometheus-url", &url]);
    // In the environment, because the list of processes is for everybody's eyes.
    let environment = [("FREEHOLD_DATABASE_URL", database_url)];
    let [.., health] = addresses.health;
    start(run, cluster, "freehold-billing-controller", health, &arguments, &environment)
}

fn start(
    run: &mut Run,
    cluster: &Cluster,
    name: &str,
    health: u16,
    arguments: &[&str],
    environment: &[(&str, &str)],
) -> Result<()> {
    run::progress(&format!("starting {name}"));
    let mut command = Command::new(programs_folder()?.join(name));
    command.env("KUBECONFIG", kubeconfig_of(cluster, run, name)?);
    command.envs(environment.iter().copied());
    command.arg("--health-address").arg(format!("127.0.0.1:{health}")).args(arguments);
    run.start(name, &mut command)?;
    run.wait(name, &format!("{name} is ready"), READY_LIMIT, || {
        http::get(health, "/readyz").is_ok()
    })
}
