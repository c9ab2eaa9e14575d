//! `cargo xtask demo`: a cloud on this machine, from `kubectl apply` to an itemised bill, and everything ended again.
//!
//! Every step says what it does; a failure says which step it was, why, where the logs are and what to do. What cannot go
//! well is refused before anything is started. All processes belong to one run (`run.rs`), so they end however the demo
//! ends: with the bills (exit code 0), by a failure (1), or interrupted before the bills (128 and the signal's number).

mod borrowed;
mod cloud;
mod programs;
mod result;

use crate::interrupt::{self, Interrupted};
use crate::kubernetes::{self, Cluster, NodeKind};
use crate::libvirt::{self, Guest, Libvirt};
use crate::packages::{self, POSTGRESQL, PROMETHEUS};
use crate::prometheus::{self, Configuration, Prometheus};
use crate::run::{self, Run};
use crate::{parts, postgres, tools};
use anyhow::{Context, Error, Result, anyhow, bail};
use borrowed::Before;
use programs::Addresses;
use std::path::{Path, PathBuf};
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
    Libvirt {
        /// The daemon.
        libvirt: Libvirt,
        /// What its guests boot.
        guest: Guest,
        /// `host:port` of what tells Prometheus about them.
        exporter: String,
    },
    /// None: machines that exist only in the operator's memory, which use no processor time.
    Simulator,
}

/// All that runs once the demo is up.
pub struct Demo {
    /// The cluster.
    pub cluster: Cluster,
    /// What runs machines.
    pub hypervisor: Hypervisor,
    /// Where the programs are.
    pub addresses: Addresses,
    /// The time series.
    pub prometheus: Prometheus,
}

/// Runs the demo.
pub fn run(wishes: &Wishes) -> Result<()> {
    wishes.json.as_deref().map_or(Ok(()), check_writable)?;
    let borrowed = match &wishes.kubeconfig {
        Some(path) => Some(borrowed::look(path, kubectl()?)?),
        None => None,
    };
    step("look for what is needed", || {
        packages::require(&[POSTGRESQL, PROMETHEUS])?;
        if borrowed.is_none() { tools::can_have_kubernetes() } else { Ok(()) }
    })?;
    let mut run = Run::temporary("demo")?;
    let result = perform(&mut run, borrowed.as_ref(), wishes);
    interrupt::ignore();
    let restored = match &borrowed {
        Some((cluster, before)) => before.restore(cluster, &mut run),
        None => Ok(()),
    };
    run::progress("ending everything that was started");
    let result = match (result, restored) {
        // Interrupted or not: somebody has to clean up, so it is a failure with its reason.
        (Err(error), Err(left)) => Err(anyhow!("{error:#}; {left:#}")),
        (result, restored) => result.and(restored),
    };
    match result {
        Err(error) if error.downcast_ref::<Interrupted>().is_none() => {
            Err(with_advice(&error, run))
        }
        result => result.and(run.remove()),
    }
}

/// A file that cannot be written is known before the work, not after it.
fn check_writable(path: &Path) -> Result<()> {
    let folder = match path.parent() {
        Some(folder) if folder.as_os_str().is_empty() => Path::new("."),
        Some(folder) => folder,
        None => path,
    };
    if path.is_dir() || !folder.is_dir() {
        bail!("--json {}: name a file in a folder that is there", path.display());
    }
    Ok(())
}

/// A failure with the place where the programs say more, which stays when they end.
fn with_advice(error: &Error, run: Run) -> Error {
    let logs = run.folder().join("logs");
    drop(run);
    anyhow!(
        "{error:#}\n  logs of all programs of the demo, kept for a week: {}\n  everything it started has been ended; \
         mend the cause and run it again",
        logs.display()
    )
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

fn perform(run: &mut Run, borrowed: Option<&(Cluster, Before)>, wishes: &Wishes) -> Result<()> {
    step("build the programs", parts::build_programs)?;
    let cluster = step("start a cluster", || match borrowed {
        Some((cluster, _)) => Ok(cluster.again()),
        None => kubernetes::start(run, NodeKind::None),
    })?;
    step("install the kinds", || match borrowed {
        Some((_, before)) => before.install_kinds(&cluster, run),
        None => cluster.install_definitions(&run.log("kubectl")),
    })?;
    let demo = start(run, cluster)?;
    step("apply examples/quickstart", || cloud::apply(&demo, run))?;
    let facts = step("wait for usage of every machine", || result::wait(&demo, run))?;
    step("show the bills", || result::show(&demo, &facts))?;
    if let Some(path) = &wishes.json {
        step("write the facts", || result::write(&demo, &facts, path))?;
    }
    if wishes.once {
        return Ok(());
    }
    step("say where to look next", || result::look_next(&demo, run))?;
    step("run until Ctrl-C", || run.until_interrupted())
}

/// Starts everything that stands on the cluster.
fn start(run: &mut Run, cluster: Cluster) -> Result<Demo> {
    step("make accounts for the programs", || cloud::accounts(&cluster, run))?;
    let database_url = step("start PostgreSQL", || postgres::start(run))?;
    let hypervisor = step("start libvirt", || hypervisor(run))?;
    let addresses = Addresses::free()?;
    let prometheus = step("start Prometheus", || observe(run, &hypervisor, &addresses))?;
    step("start the operator", || programs::operator(run, &cluster, &addresses))?;
    step("start the webhook", || programs::webhook(run, &cluster, &addresses))?;
    step("start the billing-controller", || {
        programs::billing(run, &cluster, &addresses, &database_url, &prometheus)
    })?;
    Ok(Demo { cluster, hypervisor, addresses, prometheus })
}

const SIMULATED: &str = "machines are simulated and use no processor time";

fn hypervisor(run: &mut Run) -> Result<Hypervisor> {
    if !packages::is_root() {
        run::progress(&format!("not root, so no libvirt of our own: {SIMULATED}"));
        return Ok(Hypervisor::Simulator);
    }
    match real_machines(run) {
        Ok(hypervisor) => Ok(hypervisor),
        Err(error) => {
            interrupt::check()?;
            run::progress(&format!("libvirt does not run here ({error:#}): {SIMULATED}"));
            // Dead or alive, they are not part of this demo.
            run.end_process(prometheus::EXPORTER)?;
            run.end_process(libvirt::DAEMON)?;
            Ok(Hypervisor::Simulator)
        }
    }
}

fn real_machines(run: &mut Run) -> Result<Hypervisor> {
    let libvirt = libvirt::start(run)?;
    let guest = libvirt::guest()?;
    let exporter = prometheus::start_exporter(run, &libvirt)?;
    Ok(Hypervisor::Libvirt { libvirt, guest, exporter })
}

fn observe(run: &mut Run, hypervisor: &Hypervisor, addresses: &Addresses) -> Result<Prometheus> {
    let exporter = match hypervisor {
        Hypervisor::Libvirt { exporter, .. } => Some(exporter.as_str()),
        Hypervisor::Simulator => None,
    };
    prometheus::start(
        run,
        &Configuration {
            exporter,
            programs: &addresses.programs(),
            scrape_seconds: SCRAPE_SECONDS,
            remote_write_url: &format!("http://127.0.0.1:{}/api/v1/write", addresses.intake),
        },
    )
}
