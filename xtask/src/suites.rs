//! The test suites: what each needs, running them, one line each at the end.

use crate::kubernetes::{self, Cluster, NodeKind};
use crate::libvirt::{self, Guest, Libvirt};
use crate::run::{self, Run};
use crate::{images, paths, postgres, tools};
use anyhow::{Context, Result, bail};
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// A real part that tests need.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Kubernetes,
    Postgres,
    Libvirt,
    /// A second cluster with a node that has our images: what is installed there disturbs nobody.
    Node,
    Helm,
}

/// Tests that run together.
struct Suite {
    name: &'static str,
    /// What `cargo test` is told.
    arguments: &'static [&'static str],
    needs: &'static [Part],
}

/// From the quickest to refute a change to the slowest.
const SUITES: [Suite; 9] = [
    Suite { name: "pure and unit", arguments: &["--workspace", "--lib", "--bins"], needs: &[] },
    Suite {
        name: "command line",
        arguments: &["--package", "kubectl-freehold", "--tests"],
        needs: &[],
    },
    Suite {
        name: "usage log",
        arguments: &["--package", "stream", "--tests"],
        needs: &[Part::Postgres],
    },
    Suite {
        name: "providers",
        arguments: &["--package", "providers", "--test", "contract"],
        needs: &[Part::Libvirt],
    },
    Suite {
        name: "admission",
        arguments: &["--package", "webhook", "--test", "cluster"],
        needs: &[Part::Kubernetes],
    },
    Suite {
        name: "operator",
        arguments: &[
            "--package",
            "system-tests",
            "--test",
            "database",
            "--test",
            "schema",
            "--test",
            "operator",
        ],
        needs: &[Part::Kubernetes, Part::Postgres, Part::Libvirt],
    },
    Suite {
        name: "billing",
        arguments: &["--package", "system-tests", "--test", "billing"],
        needs: &[Part::Kubernetes, Part::Postgres],
    },
    Suite {
        name: "values of charts",
        arguments: &["--package", "chart-tests", "--test", "values"],
        needs: &[Part::Helm],
    },
    Suite {
        name: "charts on a node",
        arguments: &["--package", "chart-tests", "--test", "install"],
        needs: &[Part::Helm, Part::Node],
    },
];

/// What a suite came to.
struct Tally {
    passed: u64,
    failed: u64,
    ignored: u64,
    succeeded: bool,
    took: Duration,
}

/// The real parts that were started.
#[derive(Default)]
struct Parts {
    cluster: Option<Cluster>,
    database_url: Option<String>,
    libvirt: Option<(Libvirt, Guest)>,
    node: Option<Cluster>,
    helm: Option<PathBuf>,
    logs: PathBuf,
}

impl Parts {
    fn start(&mut self, run: &mut Run, part: Part) -> Result<()> {
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
            Part::Node if self.node.is_none() => {
                let mut archives = images::programs()?;
                archives.push(images::postgresql()?);
                let cluster = kubernetes::start(run, NodeKind::Kubelet)?;
                cluster.import(&run.log("import"), &archives)?;
                self.node = Some(cluster);
            }
            Part::Helm => self.helm = Some(tools::helm()?),
            Part::Kubernetes | Part::Postgres | Part::Libvirt | Part::Node => {}
        }
        Ok(())
    }

    fn tell(&self, command: &mut Command) -> Result<()> {
        // Programs under test stand beside this one: they come from the same build.
        let own = std::env::current_exe().context("find our own program")?;
        command
            .env("FREEHOLD_TEST_PROGRAMS", own.parent().context("our own program has no folder")?);
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
        Ok(())
    }
}

/// Runs the suites whose name contains `wanted`; true if all tests passed.
pub fn run(wanted: Option<&str>) -> Result<bool> {
    let mut run = Run::temporary("test")?;
    let mut parts = Parts { logs: run.subfolder("logs")?, ..Parts::default() };
    let mut tallies = Vec::new();
    build_programs()?;
    for suite in
        SUITES.iter().filter(|suite| wanted.is_none_or(|wanted| suite.name.contains(wanted)))
    {
        for part in suite.needs {
            parts.start(&mut run, *part)?;
        }
        run.check_interrupted()?;
        tallies.push((suite.name, perform(suite, &parts)?));
    }
    Ok(summarise(&tallies))
}

fn build_programs() -> Result<()> {
    run::progress("building all programs");
    let mut build = Command::new(env!("CARGO"));
    build.current_dir(paths::repository()?).args(["build", "--quiet", "--workspace", "--bins"]);
    let status = build.status()?;
    if !status.success() {
        bail!("the programs do not build ({status}); the compiler's words are above");
    }
    Ok(())
}

fn perform(suite: &Suite, parts: &Parts) -> Result<Tally> {
    run::progress(&format!("suite: {}", suite.name));
    let started = Instant::now();
    let mut command = Command::new(env!("CARGO"));
    command
        .current_dir(paths::repository()?)
        .args(["test", "--no-fail-fast"])
        .args(suite.arguments);
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    parts.tell(&mut command)?;
    let mut child = command.spawn()?;
    let mut tally =
        Tally { passed: 0, failed: 0, ignored: 0, succeeded: false, took: Duration::ZERO };
    if let Some(output) = child.stdout.take() {
        let mut terminal = std::io::stdout();
        for line in BufReader::new(output).lines() {
            let line = line?;
            writeln!(terminal, "{line}")?;
            tally.count(&line);
        }
    }
    tally.succeeded = child.wait()?.success();
    tally.took = started.elapsed();
    Ok(tally)
}

impl Tally {
    /// Adds up lines like `test result: ok. 5 passed; 0 failed; 0 ignored; …`.
    fn count(&mut self, line: &str) {
        let Some(rest) = line.strip_prefix("test result: ") else { return };
        for part in rest.split([';', '.']) {
            let mut words = part.split_whitespace();
            let number = words.next().and_then(|word| word.parse::<u64>().ok());
            match (number, words.next()) {
                (Some(number), Some("passed")) => self.passed += number,
                (Some(number), Some("failed")) => self.failed += number,
                (Some(number), Some("ignored")) => self.ignored += number,
                _ => {}
            }
        }
    }
}

#[expect(clippy::print_stdout, reason = "the summary is the result")]
fn summarise(tallies: &[(&str, Tally)]) -> bool {
    println!();
    for (name, tally) in tallies {
        let verdict = if tally.succeeded { "ok" } else { "FAILED" };
        println!(
            "{name}: {verdict}, {} passed, {} failed, {} ignored, {} s",
            tally.passed,
            tally.failed,
            tally.ignored,
            tally.took.as_secs()
        );
    }
    let sum = |of: fn(&Tally) -> u64| tallies.iter().map(|(_, tally)| of(tally)).sum::<u64>();
    println!("{} passed, {} failed", sum(|tally| tally.passed), sum(|tally| tally.failed));
    !tallies.is_empty() && tallies.iter().all(|(_, tally)| tally.succeeded && tally.failed == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn result_lines_are_added_up() {
        let mut tally =
            Tally { passed: 0, failed: 0, ignored: 0, succeeded: true, took: Duration::ZERO };
        tally.count("test result: ok. 5 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.02s");
        tally.count("test result: FAILED. 2 passed; 3 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.5s");
        tally.count("test foo ... ok");
        assert_eq!((tally.passed, tally.failed, tally.ignored), (7, 3, 1));
    }
}
