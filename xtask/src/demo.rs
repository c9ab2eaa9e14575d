//! `cargo xtask demo`: a cloud on this machine, from `kubectl apply` to an itemised bill, and everything ended again.
//!
//! Every step says what it does; a failure says which step it was, why, and where the logs are. All processes belong to
//! one run (`run.rs`), so they end however the demo ends. In a cluster of somebody else's it begins only where nothing of
//! Freehold is, and takes away what it made.

mod cloud;
mod programs;
mod result;

use crate::kubernetes::{self, Cluster, NodeKind};
use crate::libvirt::{self, Guest, Libvirt};
use crate::prometheus::{self, Configuration, Prometheus};
use crate::run::{self, Run};
use crate::{packages, parts, postgres, tools};
use anyhow::{Context, Error, Result, anyhow};
use programs::Addresses;
use std::path::PathBuf;
use std::process::Command;

/// How often Prometheus asks the exporter, in seconds.
const SCRAPE_SECONDS: u64 = 5;

/// What the person asked for.
pub struct Wishes {
    /// End after the bills.
    pub once: bool,
    /// Where to write what was shown.
    pub json: Option<PathBuf>,
    /// A cluster to use.
    pub kubeconfig: Option<PathBuf>,
}

/// What runs machines.
pub enum Hypervisor {
    /// Real guests.
    Libvirt(Libvirt, Guest),
    /// None: machines that exist only in the operator's memory, which use no processor time.
    Simulator,
}

/// All that runs once the demo is up.
pub struct Demo {
    /// The cluster.
    pub cluster: Cluster,
    /// What runs machines.
    pub hypervisor: Hypervisor,
    /// Where the billing-controller is.
    pub addresses: Addresses,
    /// The time series; none with simulated machines.
    pub prometheus: Option<Prometheus>,
}

/// Runs the demo.
pub fn run(wishes: &Wishes) -> Result<()> {
    let mut run = Run::temporary("demo")?;
    parts::build_programs().context("demo, step: build the programs")?;
    let mut before = None;
    let cluster = step("get a cluster", || match &wishes.kubeconfig {
        Some(path) => {
            let cluster = Cluster::of_others(path.clone(), kubectl()?);
            before = Some(cloud::look(&cluster, &run)?);
            Ok(cluster)
        }
        None => kubernetes::start(&mut run, NodeKind::None),
    })
    .map_err(|error| with_logs(error, &run))?;
    let borrowed = Cluster::of_others(cluster.kubeconfig.clone(), cluster.kubectl.clone());
    let result = perform(&mut run, cluster, wishes).map_err(|error| with_logs(error, &run));
    if let Some(before) = before {
        cloud::give_back(&borrowed, before, &run);
    }
    run::progress("ending everything that was started");
    drop(run);
    result
}

/// A failure with the place where the programs say more.
fn with_logs(error: Error, run: &Run) -> Error {
    let logs = run.folder().join("logs");
    anyhow!("{error:#}\n  logs of all programs of the demo: {}", logs.display())
}

fn step<T>(what: &str, act: impl FnOnce() -> Result<T>) -> Result<T> {
    act().with_context(|| format!("demo, step: {what}"))
}

/// The person's own, else the one we build.
fn kubectl() -> Result<PathBuf> {
    let own = Command::new("kubectl").args(["version", "--client"]).output();
    if own.is_ok_and(|output| output.status.success()) {
        return Ok("kubectl".into());
    }
    Ok(tools::kubernetes()?.join("kubectl"))
}

fn perform(run: &mut Run, cluster: Cluster, wishes: &Wishes) -> Result<()> {
    step("install the kinds", || cluster.install_definitions(&run.log("kubectl")))?;
    step("make accounts for the programs", || cloud::accounts(&cluster, run))?;
    let database_url = step("start PostgreSQL", || postgres::start(run))?;
    let hypervisor = step("start libvirt", || hypervisor(run))?;
    let addresses = Addresses::free()?;
    let prometheus = match &hypervisor {
        Hypervisor::Libvirt(libvirt, _) => {
            Some(step("start Prometheus", || observe(run, libvirt, &addresses))?)
        }
        Hypervisor::Simulator => None,
    };
    step("start the operator", || programs::operator(run, &cluster))?;
    step("start the webhook", || programs::webhook(run, &cluster))?;
    step("start the billing-controller", || {
        programs::billing(run, &cluster, &addresses, &database_url, prometheus.as_ref())
    })?;
    let demo = Demo { cluster, hypervisor, addresses, prometheus };
    step("apply examples/quickstart", || cloud::apply(&demo, run))?;
    let facts = step("wait for usage of every machine", || result::wait(&demo, run))?;
    result::show(&demo, &facts)?;
    if let Some(path) = &wishes.json {
        step("write the facts", || result::write(&demo, &facts, path))?;
    }
    if wishes.once {
        return Ok(());
    }
    result::look_next(&demo, run);
    run.until_interrupted()
}

fn hypervisor(run: &mut Run) -> Result<Hypervisor> {
    if !packages::is_root() {
        run::progress(
            "not root, so no libvirt of our own: machines are simulated and use no processor time",
        );
        return Ok(Hypervisor::Simulator);
    }
    match libvirt::start(run).and_then(|libvirt| Ok((libvirt, libvirt::guest()?))) {
        Ok((libvirt, guest)) => Ok(Hypervisor::Libvirt(libvirt, guest)),
        Err(error) => {
            run.check_interrupted()?;
            run::progress(&format!(
                "libvirt does not run here ({error:#}): machines are simulated and use no processor time"
            ));
            Ok(Hypervisor::Simulator)
        }
    }
}

fn observe(run: &mut Run, libvirt: &Libvirt, addresses: &Addresses) -> Result<Prometheus> {
    let exporter = prometheus::start_exporter(run, libvirt)?;
    prometheus::start(
        run,
        &Configuration {
            targets: &[exporter],
            scrape_seconds: SCRAPE_SECONDS,
            remote_write_url: &format!("http://127.0.0.1:{}/api/v1/write", addresses.intake),
        },
    )
}
