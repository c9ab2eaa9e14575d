//! Every task of a developer, and nothing that is part of the product: clusters, tests, checks, generated files.
//!
//! A task sets up by itself what it needs, says what it is doing on every long step, and leaves nothing running that it
//! started, however it ends (`run.rs`). What is slow to make is cached outside the checkout, by content.

mod bench;
mod check;
mod codegen;
mod demo;
mod http;
mod images;
mod interrupt;
mod kubernetes;
mod libvirt;
mod packages;
mod parts;
mod paths;
mod postgres;
mod prometheus;
mod run;
mod suites;
mod tidy;
mod tools;

use anyhow::Result;
use clap::{Parser, Subcommand};
use interrupt::Interrupted;
use kubernetes::NodeKind;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Tasks of a developer of Freehold", version)]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Start, stop or look at a real Kubernetes on this machine.
    Cluster {
        #[command(subcommand)]
        act: ClusterAct,
    },
    /// Run every test suite with the real parts it needs.
    Test {
        /// Run only the suites whose name contains this.
        suite: Option<String>,
    },
    /// Make the programs' container images, as archives that engines load, and print their paths.
    Images,
    /// Show everything at work: a cloud on this machine, from `kubectl apply` to an itemised bill.
    Demo {
        /// End after the bills instead of running until Ctrl-C.
        #[arg(long)]
        once: bool,
        /// Write what was shown, and the facts behind it, to this file.
        #[arg(long, value_name = "FILE")]
        json: Option<PathBuf>,
        /// Use this cluster instead of starting one; what the demo made in it is taken away again.
        #[arg(long, value_name = "PATH")]
        kubeconfig: Option<PathBuf>,
    },
    /// Run the benchmarks with the real parts they need, and name the machine.
    Bench {
        /// Run only the benchmarks whose name contains this.
        name: Option<String>,
    },
    /// Check format, lints, generated files, dependency direction, licences.
    Check,
    /// Write the generated files, or say which are out of date.
    Codegen {
        /// Write nothing; fail if a file is out of date.
        #[arg(long)]
        check: bool,
    },
}

#[derive(Subcommand)]
enum ClusterAct {
    /// Start it and print the path of its kubeconfig.
    Up {
        /// A name, to have several.
        #[arg(long, default_value = "default")]
        name: String,
        /// What runs its pods.
        #[arg(long, value_enum, default_value = "none")]
        node: NodeKind,
    },
    /// Stop it and remove its state.
    Down {
        /// The name it was started under.
        #[arg(long, default_value = "default")]
        name: String,
    },
    /// Say whether it runs, and where its kubeconfig and logs are.
    Status {
        /// The name it was started under.
        #[arg(long, default_value = "default")]
        name: String,
    },
}

fn main() -> ExitCode {
    let task = Arguments::parse().task;
    match interrupt::listen().and_then(|()| perform(task)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            // A terminal that is gone cannot be told.
            writeln!(std::io::stderr(), "error: {error:#}").ok();
            match error.downcast_ref::<Interrupted>() {
                Some(interrupted) => interrupted.exit_code().into(),
                None => ExitCode::FAILURE,
            }
        }
    }
}

fn perform(task: Task) -> Result<bool> {
    match task {
        Task::Cluster { act: ClusterAct::Up { name, node } } => {
            kubernetes::up(&name, node).map(|()| true)
        }
        Task::Cluster { act: ClusterAct::Down { name } } => kubernetes::down(&name).map(|()| true),
        Task::Cluster { act: ClusterAct::Status { name } } => kubernetes::status(&name),
        Task::Test { suite } => suites::run(suite.as_deref()),
        Task::Images => images::run().map(|()| true),
        Task::Demo { once, json, kubeconfig } => {
            demo::run(&demo::Wishes { once, json, kubeconfig }).map(|()| true)
        }
        Task::Bench { name } => bench::run(name.as_deref()),
        Task::Check => check::run(),
        Task::Codegen { check } => codegen::run(check),
    }
}
