//! `kubectl freehold`: the command line of Freehold, as a kubectl plug-in.
//!
//! Exit codes: 0 done; 1 something on this machine failed (a file that cannot be read); 2 the arguments are wrong; 3 the
//! input was understood and refused.

mod catalogue;
mod output;
mod rate;
mod usage_file;

use clap::{CommandFactory, Parser, Subcommand};
use output::Format;
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Debug, Parser)]
#[command(
    name = "kubectl-freehold",
    bin_name = "kubectl freehold",
    version,
    about = "The command line of Freehold"
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Rate a usage file under a price plan, offline: what would this usage cost?
    Rate {
        /// YAML or JSON with one `PricePlan` and the Meters it prices, as they are applied to the cluster.
        #[arg(long, value_name = "FILE")]
        plan: PathBuf,
        /// CSV with the columns meter, resource, `window_start`, quantity (docs/usage-file.md).
        #[arg(long, value_name = "FILE")]
        usage: PathBuf,
        /// IANA time zone in which the billing period begins and ends.
        #[arg(long, value_name = "ZONE", default_value = "UTC")]
        time_zone: String,
        /// How to print the lines.
        #[arg(long, short, value_enum, default_value_t = Format::Table)]
        output: Format,
    },
    /// Print a completion script for a shell.
    Completion {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

/// Why a command did not do its work.
#[derive(Debug, thiserror::Error)]
enum Failure {
    /// A file could not be read.
    #[error("read {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The result could not be written.
    #[error("write the result: {0}")]
    Write(String),
    /// The input was refused, for all these reasons.
    #[error("{}", .0.join("\n"))]
    Refused(Vec<String>),
}

impl Failure {
    fn refused(reason: impl ToString) -> Self {
        Self::Refused(vec![reason.to_string()])
    }

    fn exit_code(&self) -> ExitCode {
        match self {
            Self::Read { .. } | Self::Write(_) => ExitCode::from(1),
            Self::Refused(_) => ExitCode::from(3),
        }
    }
}

#[expect(clippy::print_stdout, clippy::print_stderr, reason = "a command line program prints")]
fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Rate { plan, usage, time_zone, output } => {
            rate::run(&plan, &usage, &time_zone, output)
        }
        Command::Completion { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(
                shell,
                &mut Arguments::command(),
                "kubectl-freehold",
                &mut script,
            );
            Ok(String::from_utf8_lossy(&script).into_owned())
        }
    };
    match result {
        Ok(text) => {
            print!("{text}");
            ExitCode::SUCCESS
        }
        Err(failure) => {
            for line in failure.to_string().lines() {
                eprintln!("error: {line}");
            }
            failure.exit_code()
        }
    }
}

fn read(path: &std::path::Path) -> Result<String, Failure> {
    std::fs::read_to_string(path).map_err(|source| Failure::Read { path: path.to_owned(), source })
}
