//! The benchmarks: what each needs, running them, and the machine the figures belong to.

use crate::parts::{self, Part, Parts};
use crate::run::{self, Run};
use crate::{interrupt, paths};
use anyhow::{Result, bail};
use std::fs;
use std::process::Command;

/// A benchmark of a package.
struct Bench {
    name: &'static str,
    package: &'static str,
    target: &'static str,
    needs: &'static [Part],
}

const BENCHES: [Bench; 6] = [
    Bench {
        name: "admission",
        package: "webhook",
        target: "admission",
        needs: &[Part::Kubernetes],
    },
    Bench {
        name: "durable",
        package: "billing-controller",
        target: "durable",
        needs: &[Part::Postgres],
    },
    Bench { name: "allocate", package: "ipam", target: "allocate", needs: &[] },
    Bench { name: "intake", package: "billing-controller", target: "intake", needs: &[] },
    Bench { name: "claims", package: "system-tests", target: "claims", needs: &[Part::Kubernetes] },
    Bench { name: "memory", package: "system-tests", target: "memory", needs: &[Part::Kubernetes] },
];

/// Runs the benchmarks whose name contains `wanted`; true if all ended well.
#[expect(clippy::print_stdout, reason = "the machine is part of the result")]
pub fn run(wanted: Option<&str>) -> Result<bool> {
    let chosen: Vec<&Bench> = BENCHES
        .iter()
        .filter(|bench| wanted.is_none_or(|name| bench.name.contains(name)))
        .collect();
    if chosen.is_empty() {
        let known: Vec<&str> = BENCHES.iter().map(|bench| bench.name).collect();
        bail!("no benchmark is called that; there are: {}", known.join(", "));
    }
    let mut run = Run::temporary("bench")?;
    let mut parts = Parts::of(&run)?;
    parts::build_programs()?;
    println!("machine: {}", machine());
    let mut all_well = true;
    for bench in chosen {
        for part in bench.needs {
            parts.start(&mut run, *part)?;
        }
        interrupt::check()?;
        run::progress(&format!("benchmark: {}", bench.name));
        let mut command = Command::new(env!("CARGO"));
        command.current_dir(paths::repository()?).args([
            "bench",
            "--quiet",
            "--package",
            bench.package,
            "--bench",
            bench.target,
        ]);
        parts.tell(&mut command)?;
        all_well &= command.status()?.success();
    }
    Ok(all_well)
}

/// Processors, memory and kernel, as the system names them.
fn machine() -> String {
    let first = |file: &str, prefix: &str| {
        let text = fs::read_to_string(file).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix(prefix)).unwrap_or_default();
        line.trim_start_matches([':', ' ', '\t']).trim().to_owned()
    };
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    format!(
        "{cores} × {}, memory {}, Linux {}",
        first("/proc/cpuinfo", "model name"),
        first("/proc/meminfo", "MemTotal"),
        first("/proc/sys/kernel/osrelease", "")
    )
}
