//! The test suites: what each needs, running them, one line each at the end.

use crate::parts::{self, Part, Parts};
use crate::run::{self, Run};
use crate::{interrupt, paths};
use anyhow::Result;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Tests that run together.
struct Suite {
    name: &'static str,
    /// What `cargo test --workspace` is told.
    arguments: &'static [&'static str],
    needs: &'static [Part],
}

/// From the quickest to refute a change to the slowest. All are picked from the whole workspace, so that dependencies are
/// built with the same features, once.
const SUITES: [Suite; 14] = [
    Suite { name: "pure and unit", arguments: &["--lib", "--bins"], needs: &[] },
    Suite {
        name: "models",
        arguments: &["--test", "model", "--test", "waiting", "--test", "extremes"],
        needs: &[],
    },
    Suite {
        name: "command line",
        arguments: &["--test", "rate", "--test", "server", "--test", "network"],
        needs: &[],
    },
    Suite { name: "oracle", arguments: &["--test", "oracle"], needs: &[] },
    Suite { name: "usage log", arguments: &["--test", "exactly_once"], needs: &[Part::Postgres] },
    Suite { name: "providers", arguments: &["--test", "contract"], needs: &[Part::Libvirt] },
    Suite { name: "admission", arguments: &["--test", "cluster"], needs: &[Part::Kubernetes] },
    Suite {
        name: "operator",
        arguments: &[
            "--test", "database", "--test", "schema", "--test", "secret", "--test", "operator",
        ],
        needs: &[Part::Kubernetes, Part::Postgres, Part::Libvirt],
    },
    Suite { name: "network", arguments: &["--test", "addresses"], needs: &[Part::Kubernetes] },
    Suite {
        name: "billing",
        arguments: &["--test", "billing"],
        needs: &[Part::Kubernetes, Part::Postgres, Part::WrongClock],
    },
    Suite {
        name: "guest",
        arguments: &["--test", "guest"],
        needs: &[Part::Kubernetes, Part::Postgres, Part::Libvirt, Part::Prometheus],
    },
    Suite {
        name: "exactness",
        arguments: &["--test", "exactness"],
        needs: &[Part::Kubernetes, Part::Postgres],
    },
    Suite { name: "values of charts", arguments: &["--test", "values"], needs: &[Part::Helm] },
    Suite {
        name: "charts on a node",
        arguments: &["--test", "install"],
        needs: &[Part::Helm, Part::Node],
    },
];

/// Whether a suite runs the test target of this name.
pub fn runs(target: &str) -> bool {
    SUITES.iter().any(|suite| suite.arguments.contains(&target))
}

/// What a suite came to.
struct Tally {
    passed: u64,
    failed: u64,
    ignored: u64,
    succeeded: bool,
    took: Duration,
}

/// Runs the suites whose name contains `wanted`; true if all tests passed.
pub fn run(wanted: Option<&str>) -> Result<bool> {
    let mut run = Run::temporary("test")?;
    let mut parts = Parts::of(&run)?;
    let mut tallies = Vec::new();
    parts::build_programs()?;
    for suite in
        SUITES.iter().filter(|suite| wanted.is_none_or(|wanted| suite.name.contains(wanted)))
    {
        for part in suite.needs {
            parts.start(&mut run, *part)?;
        }
        interrupt::check()?;
        tallies.push((suite.name, perform(suite, &parts)?));
    }
    Ok(summarise(&tallies))
}

fn perform(suite: &Suite, parts: &Parts) -> Result<Tally> {
    run::progress(&format!("suite: {}", suite.name));
    let started = Instant::now();
    let mut command = Command::new(env!("CARGO"));
    command
        .current_dir(paths::repository()?)
        .args(["test", "--workspace", "--no-fail-fast"])
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
