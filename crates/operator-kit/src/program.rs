//! The start and the end of a program: what each is told, logs, signals.

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// For collectors: one JSON object a line.
    Json,
}

impl std::str::FromStr for LogFormat {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            other => Err(format!("`{other}` is no log format; use text or json")),
        }
    }
}

/// What every program is told.
#[derive(Debug, Clone, clap::Args)]
pub struct ProgramArguments {
    /// The program's own namespace, with what it keeps for itself.
    #[arg(long, env = "FREEHOLD_NAMESPACE", default_value = "freehold-system")]
    pub namespace: String,
    /// How log lines are written: text or json.
    #[arg(long, env = "FREEHOLD_LOG_FORMAT", default_value = "text")]
    pub log_format: LogFormat,
}

impl ProgramArguments {
    /// Starts logs; the token is cancelled by SIGTERM or SIGINT.
    ///
    /// # Errors
    /// Signal handlers cannot be installed.
    pub fn start(&self) -> std::io::Result<CancellationToken> {
        start_logs(self.log_format);
        stop_on_signals()
    }
}

/// What a program of which one replica leads is told besides.
#[derive(Debug, Clone, clap::Args)]
pub struct CandidateArguments {
    /// A name that no other replica has; the host's name and process id when left out.
    #[arg(long, env = "FREEHOLD_IDENTITY")]
    pub identity: Option<String>,
}

impl CandidateArguments {
    /// The name to lead by.
    pub fn identity(&self) -> String {
        self.identity.clone().unwrap_or_else(own_name)
    }
}

/// Sends log lines to standard error, filtered by `RUST_LOG` (info when unset).
pub fn start_logs(format: LogFormat) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        LogFormat::Text => builder.with_ansi(false).init(),
        LogFormat::Json => builder.json().init(),
    }
}

/// A name that no other replica has: the host's name and this process's id.
pub fn own_name() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    format!("{}-{}", host.trim(), std::process::id())
}

/// A token that is cancelled by SIGTERM or SIGINT.
///
/// # Errors
/// Signal handlers cannot be installed.
pub fn stop_on_signals() -> std::io::Result<CancellationToken> {
    let stop = CancellationToken::new();
    let (mut terminate, mut interrupt) =
        (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let cancel = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("asked to stop");
        cancel.cancel();
    });
    Ok(stop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{CommandFactory, Parser};

    #[derive(Debug, Parser)]
    struct Arguments {
        #[command(flatten)]
        program: ProgramArguments,
        #[command(flatten)]
        candidate: CandidateArguments,
    }

    #[test]
    fn flags_and_variables_keep_their_names() {
        let command = Arguments::command();
        let names: Vec<_> = command
            .get_arguments()
            .filter_map(|argument| Some((argument.get_long()?, argument.get_env()?.to_str()?)))
            .collect();
        let expected = [
            ("namespace", "FREEHOLD_NAMESPACE"),
            ("log-format", "FREEHOLD_LOG_FORMAT"),
            ("identity", "FREEHOLD_IDENTITY"),
        ];
        assert_eq!(names, expected);
    }

    #[test]
    fn who_is_given_no_name_takes_its_own() {
        let given = Arguments::try_parse_from(["p", "--identity", "a", "--log-format", "json"]);
        let given = given.unwrap();
        assert_eq!(
            (given.candidate.identity(), given.program.log_format),
            ("a".to_owned(), LogFormat::Json)
        );
        let none = CandidateArguments { identity: None };
        assert!(none.identity().ends_with(&std::process::id().to_string()));
        assert!(Arguments::try_parse_from(["p", "--log-format", "xml"]).is_err());
    }
}
