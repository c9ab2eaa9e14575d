//! The billing-controller as a program: arguments, wiring, the order of start and end.

use clap::Parser;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Debug, Parser)]
#[command(
    name = "freehold-billing-controller",
    version,
    about = "Meters usage, keeps bill lines live, issues invoices"
)]
struct Arguments {
    /// PostgreSQL, like postgres://user:password@host/database.
    #[arg(long, env = "FREEHOLD_DATABASE_URL", hide_env_values = true)]
    database_url: Option<String>,
    /// A file that holds the database's URL, for secrets that are mounted.
    #[arg(long, env = "FREEHOLD_DATABASE_URL_FILE")]
    database_url_file: Option<PathBuf>,
    /// Where Prometheus sends samples: POST /api/v1/write.
    #[arg(long, env = "FREEHOLD_INTAKE_ADDRESS", default_value = "127.0.0.1:9009")]
    intake_address: SocketAddr,
    /// Where bills, usage and invoices are asked for.
    #[arg(long, env = "FREEHOLD_QUERY_ADDRESS", default_value = "127.0.0.1:8083")]
    query_address: SocketAddr,
    /// Where health, readiness and metrics are served.
    #[arg(long, env = "FREEHOLD_HEALTH_ADDRESS", default_value = "127.0.0.1:8082")]
    health_address: SocketAddr,
    /// Prometheus, like http://prometheus:9090, to read what was missed; no backfill when left out.
    #[arg(long, env = "FREEHOLD_PROMETHEUS_URL")]
    prometheus_url: Option<String>,
    /// How many threads fold the usage log, 1 to 64.
    #[arg(long, env = "FREEHOLD_WORKERS", default_value_t = 1)]
    workers: usize,
    /// How often time itself is recorded, so that what is held is counted, in seconds.
    #[arg(long, env = "FREEHOLD_TICK_SECONDS", default_value_t = 60)]
    tick_seconds: u64,
    /// The billing-controller's own namespace, which holds its lease.
    #[arg(long, env = "FREEHOLD_NAMESPACE", default_value = "freehold-system")]
    namespace: String,
    /// A name that no other replica has; the host's name and process id when left out.
    #[arg(long, env = "FREEHOLD_IDENTITY")]
    identity: Option<String>,
}

fn main() -> ExitCode {
    let _arguments = Arguments::parse();
    ExitCode::FAILURE
}
