//! `kubectl freehold`: the command line of Freehold, as a kubectl plug-in.
//!
//! Exit codes: 0 done; 1 something on this machine or on the way to the server failed; 2 the arguments are wrong; 3 the
//! input was understood and refused; 4 `doctor` or `network audit` found something that is not well.

mod bill;
mod catalogue;
mod doctor;
mod explain;
mod failure;
mod invoice;
mod network;
mod output;
mod rate;
mod server;
mod usage_file;

use calendar::Instant;
use clap::{CommandFactory, Parser, Subcommand};
use failure::{EXIT_UNWELL, Failure};
use invoice::FileFormat;
use output::Format;
use server::{Server, ServerArguments};
use std::path::{Path, PathBuf};
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
    /// A tenant's bill of the current period, or of another, live.
    Bill {
        /// The tenant's name.
        #[arg(long, short, value_name = "NAME")]
        tenant: String,
        /// The local date that the period begins on, like 2026-11-01; the current one when left out.
        #[arg(long, value_name = "DATE")]
        period: Option<String>,
        #[command(flatten)]
        how: How,
    },
    /// What a tenant used, by meter, object and hour.
    Usage {
        /// The tenant's name.
        #[arg(long, short, value_name = "NAME")]
        tenant: String,
        /// Windows that begin here or later, in RFC 3339.
        #[arg(long, value_name = "INSTANT")]
        from: Option<Instant>,
        /// Windows that begin before this, in RFC 3339.
        #[arg(long, value_name = "INSTANT")]
        to: Option<Instant>,
        /// Only this meter.
        #[arg(long, value_name = "NAME")]
        meter: Option<String>,
        #[command(flatten)]
        how: How,
    },
    /// Issue, list, show and export invoices.
    Invoice {
        #[command(subcommand)]
        act: InvoiceAct,
    },
    /// Where one amount comes from: its line down to price version, windows, samples or spans, and the object.
    Explain {
        /// The line's key, as `bill -o json` lists it.
        line: String,
        #[command(flatten)]
        how: How,
    },
    /// The network as it is booked: the tree, why a claim has its address, whether all agrees, trunks.
    Network {
        #[command(subcommand)]
        act: network::Act,
    },
    /// Look whether everything is well; exit code 4 when something is not.
    Doctor {
        #[command(flatten)]
        how: How,
    },
    /// Print a completion script for a shell.
    Completion {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

/// Where to ask and how to print.
#[derive(Debug, clap::Args)]
struct How {
    /// How to print the result.
    #[arg(long, short, value_enum, default_value_t = Format::Table)]
    output: Format,
    #[command(flatten)]
    server: ServerArguments,
}

#[derive(Debug, Subcommand)]
enum InvoiceAct {
    /// Issue an off-cycle invoice.
    Issue {
        /// The tenant's name.
        #[arg(long, short, value_name = "NAME")]
        tenant: String,
        /// Usage up to here goes in: `now`, by the server's clock, or an instant in RFC 3339.
        #[arg(long, value_name = "INSTANT", value_parser = now_or_instant)]
        through: String,
        /// The same key with the same order gives the same invoice; a new one each time when left out.
        #[arg(long, value_name = "KEY")]
        idempotency_key: Option<String>,
        #[command(flatten)]
        how: How,
    },
    /// A tenant's invoices, newest first.
    List {
        /// The tenant's name.
        #[arg(long, short, value_name = "NAME")]
        tenant: String,
        #[command(flatten)]
        how: How,
    },
    /// One invoice with its lines.
    Show {
        /// The invoice's number, like FH-000001.
        number: String,
        #[command(flatten)]
        how: How,
    },
    /// Write an invoice for other programs.
    Export {
        /// The invoice's number, like FH-000001.
        number: String,
        /// json: the whole invoice; csv: a row per line.
        #[arg(long, value_enum)]
        format: FileFormat,
        /// Where to; the terminal when left out. A file that is there is replaced.
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
        #[command(flatten)]
        server: ServerArguments,
    },
}

fn now_or_instant(text: &str) -> Result<String, String> {
    if text == "now" {
        return Ok(text.to_owned());
    }
    text.parse::<Instant>().map(|instant| instant.to_string()).map_err(|error| error.to_string())
}

#[expect(clippy::print_stdout, clippy::print_stderr, reason = "a command line program prints")]
fn main() -> ExitCode {
    match perform(Arguments::parse().command) {
        Ok((text, code)) => {
            print!("{text}");
            code
        }
        Err(failure) => {
            for line in failure.to_string().lines() {
                eprintln!("error: {}", output::plain(line));
            }
            if !failure.hint().is_empty() {
                eprintln!("hint: {}", output::plain(failure.hint()));
            }
            failure.exit_code()
        }
    }
}

fn perform(command: Command) -> Result<(String, ExitCode), Failure> {
    let text = match command {
        Command::Rate { plan, usage, time_zone, output } => {
            rate::run(&plan, &usage, &time_zone, output)?
        }
        Command::Completion { shell } => {
            let mut script = Vec::new();
            let mut arguments = Arguments::command();
            clap_complete::generate(shell, &mut arguments, "kubectl-freehold", &mut script);
            String::from_utf8_lossy(&script).into_owned()
        }
        asking => return run_to_end(ask(asking)),
    };
    Ok((text, ExitCode::SUCCESS))
}

fn run_to_end<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::trouble(format!("start: {error}"), ""))?
        .block_on(work)
}

/// Commands that ask the server.
async fn ask(command: Command) -> Result<(String, ExitCode), Failure> {
    let text = match command {
        Command::Bill { tenant, period, how } => {
            let server = Server::find(&how.server).await?;
            let bill = bill::bill(&server, &tenant, period.as_deref()).await?;
            output::print(how.output, &bill, bill::bill_text)?
        }
        Command::Usage { tenant, from, to, meter, how } => {
            let server = Server::find(&how.server).await?;
            let usage = bill::usage(&server, &tenant, (from, to), meter.as_deref()).await?;
            output::print(how.output, &usage, bill::usage_text)?
        }
        Command::Invoice { act } => invoice(act).await?,
        Command::Explain { line, how } => {
            let server = Server::find(&how.server).await?;
            let report = explain::explain(&server, &line).await?;
            output::print(how.output, &report, explain::text)?
        }
        Command::Network { act } => return network::perform(act).await,
        Command::Doctor { how } => {
            let report = doctor::doctor(&how.server).await;
            let code = if doctor::is_well(&report) { 0 } else { EXIT_UNWELL };
            let text = output::print(how.output, &report, doctor::text)?;
            return Ok((text, ExitCode::from(code)));
        }
        Command::Rate { .. } | Command::Completion { .. } => String::new(),
    };
    Ok((text, ExitCode::SUCCESS))
}

async fn invoice(act: InvoiceAct) -> Result<String, Failure> {
    match act {
        InvoiceAct::Issue { tenant, through, idempotency_key, how } => {
            let server = Server::find(&how.server).await?;
            let key = idempotency_key.as_deref();
            let invoice = invoice::issue(&server, &tenant, &through, key).await?;
            output::print(how.output, &invoice, invoice::text)
        }
        InvoiceAct::List { tenant, how } => {
            let server = Server::find(&how.server).await?;
            let list = invoice::list(&server, &tenant).await?;
            output::print(how.output, &list, invoice::list_text)
        }
        InvoiceAct::Show { number, how } => {
            let server = Server::find(&how.server).await?;
            let invoice = invoice::show(&server, &number).await?;
            output::print(how.output, &invoice, invoice::text)
        }
        InvoiceAct::Export { number, format, file, server } => {
            let server = Server::find(&server).await?;
            let text = invoice::exported(&invoice::show(&server, &number).await?, format)?;
            let Some(path) = file else { return Ok(text) };
            std::fs::write(&path, text)
                .map_err(|error| Failure::Write(format!("{}: {error}", path.display())))?;
            Ok(String::new())
        }
    }
}

fn read(path: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(path).map_err(|source| Failure::Read { path: path.to_owned(), source })
}
