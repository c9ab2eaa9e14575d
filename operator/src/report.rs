//! How a pass ends for most kinds: a Ready condition in the words of the pass.

use crds::Condition;
use operator_kit::controller::Outcome;
use operator_kit::status::{self, Change, Progress, Truth};
use std::time::Duration;

/// What a pass found out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// All is as declared; the constant word and the line for people.
    Ready(&'static str, String),
    /// Something else has to happen first.
    Waiting(&'static str, String),
    /// The author has to change something.
    Refused(&'static str, String),
}

/// How soon to look again while waiting, besides events.
const WAIT: Duration = Duration::from_secs(5);

impl Verdict {
    /// Writes the verdict into `conditions`.
    pub fn write(
        &self,
        conditions: &mut Vec<Condition>,
        generation: Option<i64>,
        now: jiff::Timestamp,
    ) {
        let (truth, reason, message, progress) = match self {
            Self::Ready(reason, message) => (Truth::True, *reason, message, Progress::Done),
            Self::Waiting(reason, message) => (Truth::False, *reason, message, Progress::Working),
            Self::Refused(reason, message) => (Truth::False, *reason, message, Progress::Refused),
        };
        let change =
            Change { type_: status::READY, status: truth, reason, message: message.clone() };
        status::set_ready(conditions, &change, generation, now, progress);
    }

    /// What the loop is told.
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::Ready(..) => Outcome::Converged,
            Self::Waiting(..) => Outcome::Waiting(WAIT),
            Self::Refused(..) => Outcome::Refused,
        }
    }
}
