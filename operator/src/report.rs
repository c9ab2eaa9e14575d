//! How a pass ends for most kinds: a Ready condition in the words of the pass.

use crate::world::World;
use crds::Condition;
use crds::network::{
    AddressSpaceStatus, IPClaimStatus, IPPoolStatus, PrefixStatus, SecurityZoneStatus,
    VLANPoolStatus, VLANStatus,
};
use crds::tenancy::{ProjectStatus, TenantMemberStatus, TenantStatus};
use operator_kit::apply::Object;
use operator_kit::controller::Outcome;
use operator_kit::status::{self, Change, Progress, ReportError, Truth};
use serde::Serialize;
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

/// Why a status was not told.
#[derive(Debug, thiserror::Error)]
pub enum TellError {
    /// It could not be written.
    #[error("write the status")]
    Report(#[from] ReportError),
    /// It could not be built.
    #[error("build the status")]
    Build(#[from] serde_json::Error),
}

/// A status that says which generation it speaks about, and has conditions.
pub trait Told: Serialize + Clone + Default {
    /// Where both stand.
    fn parts(&mut self) -> (&mut Option<i64>, &mut Vec<Condition>);

    /// Without what another field manager writes.
    #[must_use]
    fn own(self) -> Self {
        self
    }
}

macro_rules! told {
    ($($status:ty $(: $($table:ident),+)?;)+) => {
        $(impl Told for $status {
            fn parts(&mut self) -> (&mut Option<i64>, &mut Vec<Condition>) {
                (&mut self.observed_generation, &mut self.conditions)
            }

            $(fn own(self) -> Self {
                let nothing = Self::default();
                Self { $($table: nothing.$table,)+ ..self }
            })?
        })+
    };
}

// After the colon: tables that a group commit writes under a manager of its own.
told! {
    TenantStatus;
    ProjectStatus;
    TenantMemberStatus;
    AddressSpaceStatus: roots, sequence;
    PrefixStatus: children, pools, sequence;
    IPPoolStatus;
    IPClaimStatus;
    VLANPoolStatus: owners, registered, bitmap, sequence;
    VLANStatus;
    SecurityZoneStatus;
}

/// Writes what a pass found into the object's status, if it says anything new; how the loop goes on.
///
/// # Errors
/// See [`TellError`].
pub async fn tell<K: Object, S: Told>(
    world: &World,
    object: &K,
    before: Option<&S>,
    mut after: S,
    verdict: &Verdict,
) -> Result<Outcome, TellError> {
    let generation = object.meta().generation;
    let (observed_generation, conditions) = after.parts();
    *observed_generation = generation;
    verdict.write(conditions, generation, world.clock.now());
    let before = serde_json::to_value(before.cloned().unwrap_or_default().own())?;
    world.reporter.report(object, &before, &serde_json::to_value(after.own())?).await?;
    Ok(verdict.outcome())
}
