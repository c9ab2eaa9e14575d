//! The real parts that tests, benchmarks and the demo stand on: started at most once in a run, and where they are.

use crate::kubernetes::{self, Cluster, NodeKind};
use crate::libvirt::{self, Guest, Libvirt};
use crate::packages::{self, FAKETIME};
use crate::run::{self, Run};
use crate::{images, paths, postgres, prometheus, tools};
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A real part that somebody needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// A control plane with our kinds.
    Kubernetes,
    /// A PostgreSQL.
    Postgres,
    /// A libvirt daemon and a guest to boot.
    Libvirt,
    /// A second cluster with a node that has our images: what is installed there disturbs nobody.
    Node,
    /// The program of Helm.
    Helm,
    /// The programs of Prometheus and its libvirt exporter: whoever needs them starts its own, which knows where to write.
    Prometheus,
    /// The library by which a program's clock is wrong.
    WrongClock,
}

/// The real parts that were started.
#[derive(Default)]
pub struct Parts {
    cluster: Option<Cluster>,
    database_url: Option<String>,
    libvirt: Option<(Libvirt, Guest)>,
    prometheus: Option<(&'static Path, &'static Path)>,
    node: Option<Cluster>,
    helm: Option<PathBuf>,
    wrong_clock: Option<&'static str>,
    logs: PathBuf,
}

impl Parts {
    /// None started yet.
    pub fn of(run: &Run) -> Result<Self> {
        Ok(Self { logs: run.subfolder("logs")?, ..Self::default() })
    }

    /// Starts a part, unless it was.
    pub fn start(&mut self, run: &mut Run, part: Part) -> Result<()> {
        match part {
            Part::Kubernetes if self.cluster.is_none() => {
                let cluster = kubernetes::start(run, NodeKind::None)?;
                cluster.install_definitions(&run.log("kubectl"))?;
                self.cluster = Some(cluster);
            }
            Part::Postgres if self.database_url.is_none() => {
                self.database_url = Some(postgres::start(run)?);
            }
            Part::Libvirt if self.libvirt.is_none() => {
                self.libvirt = Some((libvirt::start(run)?, libvirt::guest()?));
            }
            Part::Prometheus if self.prometheus.is_none() => {
                self.prometheus = Some(prometheus::programs()?);
            }
            Part::Node if self.node.is_none() => {
                let mut archives = images::programs()?;
                archives.push(images::postgresql()?);
                let cluster = kubernetes::start(run, NodeKind::Kubelet)?;
                cluster.import(&run.log("import"), &archives)?;
                self.node = Some(cluster);
            }
            Part::Helm => self.helm = Some(tools::helm()?),
            Part::WrongClock => {
                packages::require(&[FAKETIME])?;
                self.wrong_clock = Some(FAKETIME.file);
            }
            Part::Kubernetes | Part::Postgres | Part::Libvirt | Part::Prometheus | Part::Node => {}
        }
        Ok(())
    }

    /// Says in the environment of a test or benchmark where the parts are.
    pub fn tell(&self, command: &mut Command) -> Result<()> {
        command.env("FREEHOLD_TEST_PROGRAMS", programs_folder()?);
        command.env("FREEHOLD_TEST_LOGS", &self.logs);
        if let Some(cluster) = &self.cluster {
            command.env("FREEHOLD_TEST_KUBECONFIG", &cluster.kubeconfig);
            command.env("FREEHOLD_TEST_KUBECTL", &cluster.kubectl);
        }
        if let Some(url) = &self.database_url {
            command.env("FREEHOLD_TEST_DATABASE_URL", url);
        }
        if let Some((libvirt, guest)) = &self.libvirt {
            command.env("FREEHOLD_TEST_LIBVIRT_SOCKET", &libvirt.socket);
            command.env("FREEHOLD_TEST_GUEST_KERNEL", &guest.kernel);
            command.env("FREEHOLD_TEST_GUEST_INITRD", &guest.initrd);
        }
        if let Some(cluster) = &self.node {
            command.env("FREEHOLD_TEST_NODE_KUBECONFIG", &cluster.kubeconfig);
            command.env("FREEHOLD_TEST_NODE_KUBECTL", &cluster.kubectl);
            command.env("FREEHOLD_TEST_IMAGE_BUSYBOX", images::BUSYBOX);
            command.env("FREEHOLD_TEST_IMAGE_POSTGRESQL", images::POSTGRESQL);
        }
        if let Some(helm) = &self.helm {
            command.env("FREEHOLD_TEST_HELM", helm);
        }
        if let Some(library) = self.wrong_clock {
            command.env("FREEHOLD_TEST_FAKETIME", library);
        }
        if let Some((server, exporter)) = self.prometheus {
            command.env("FREEHOLD_TEST_PROMETHEUS", server);
            command.env("FREEHOLD_TEST_LIBVIRT_EXPORTER", exporter);
        }
        Ok(())
    }
}

/// Builds every program beside this one.
pub fn build_programs() -> Result<()> {
    run::progress("building all programs");
    let mut build = Command::new(env!("CARGO"));
    build.current_dir(paths::repository()?).args(["build", "--quiet", "--workspace", "--bins"]);
    let status = run::attend("cargo build --workspace --bins", &mut build, || Ok(()))?;
    if !status.success() {
        bail!("the programs do not build ({status}); the compiler's words are above");
    }
    Ok(())
}

/// The folder of the programs: this one comes from the same build.
pub fn programs_folder() -> Result<PathBuf> {
    let own = std::env::current_exe().context("find our own program")?;
    Ok(own.parent().context("our own program has no folder")?.to_owned())
}
