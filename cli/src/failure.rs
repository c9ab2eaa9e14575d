//! Why a command did not do its work, and the exit code that says who has to act.

use std::path::PathBuf;
use std::process::ExitCode;

/// Something that a check of `doctor` found is not well.
pub const EXIT_UNWELL: u8 = 4;

/// Why a command did not do its work.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
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
    /// The server refused what was asked.
    #[error("{error}")]
    ServerRefused {
        /// Its words.
        error: String,
        /// What to do.
        hint: String,
    },
    /// The server could not be asked, or had trouble of its own.
    #[error("{error}")]
    Trouble {
        /// What happened, where.
        error: String,
        /// What to do.
        hint: String,
    },
}

impl Failure {
    /// An input that was understood and refused.
    pub fn refused(reason: impl ToString) -> Self {
        Self::Refused(vec![reason.to_string()])
    }

    /// Trouble on the way to the server or in it.
    pub fn trouble(error: impl ToString, hint: impl ToString) -> Self {
        Self::Trouble { error: error.to_string(), hint: hint.to_string() }
    }

    /// What to do; empty when the failure says it all.
    pub fn hint(&self) -> &str {
        match self {
            Self::ServerRefused { hint, .. } | Self::Trouble { hint, .. } => hint,
            Self::Read { .. } | Self::Write(_) | Self::Refused(_) => "",
        }
    }

    /// 1: this machine or the way to the server; 3: the input was refused.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::Read { .. } | Self::Write(_) | Self::Trouble { .. } => ExitCode::from(1),
            Self::Refused(_) | Self::ServerRefused { .. } => ExitCode::from(3),
        }
    }
}
