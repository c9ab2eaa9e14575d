//! Conditions, and writing status.

use crate::apply::{Object, api_of};
use crate::{Fence, client, lease::NotLeader};
use crds::Condition;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{Patch, PatchParams};
use kube::{Client, ResourceExt};
use serde_json::{Value, json};

/// What a pass concludes about one aspect of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// `Ready` or another aspect, in CamelCase.
    pub type_: &'static str,
    /// True, False or Unknown.
    pub status: Truth,
    /// A constant CamelCase word.
    pub reason: &'static str,
    /// One line; the same for the same state of the world, so without times and counters that move.
    pub message: String,
}

/// The values of a condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Truth {
    /// It holds.
    True,
    /// It does not.
    False,
    /// Nobody can say.
    Unknown,
}

impl Truth {
    fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}

/// The name of the condition every kind has.
pub const READY: &str = "Ready";
/// Present and True only while the controller is at work: tools that wait read it.
pub const RECONCILING: &str = "Reconciling";
/// Present and True only while the author has to act.
pub const STALLED: &str = "Stalled";

/// Sets `change` in `conditions`, sorted by type with `Ready` first; true if anything but the order changed.
///
/// The transition time moves with the status only.
pub fn set(
    conditions: &mut Vec<Condition>,
    change: &Change,
    generation: Option<i64>,
    now: Timestamp,
) -> bool {
    let wanted = |last_transition_time: Time| Condition {
        type_: change.type_.to_owned(),
        status: change.status.as_str().to_owned(),
        observed_generation: generation,
        last_transition_time,
        reason: change.reason.to_owned(),
        message: change.message.clone(),
    };
    let changed = match conditions.iter_mut().find(|condition| condition.type_ == change.type_) {
        Some(known) => {
            let since = if known.status == change.status.as_str() {
                known.last_transition_time.clone()
            } else {
                whole_seconds(now)
            };
            let next = wanted(since);
            let changed = *known != next;
            *known = next;
            changed
        }
        None => {
            conditions.push(wanted(whole_seconds(now)));
            true
        }
    };
    conditions.sort_by(|a, b| (a.type_ != READY, &a.type_).cmp(&(b.type_ != READY, &b.type_)));
    changed
}

/// The condition of a type.
pub fn find<'a>(conditions: &'a [Condition], type_: &str) -> Option<&'a Condition> {
    conditions.iter().find(|condition| condition.type_ == type_)
}

/// Whether the object says that it is as declared.
pub fn is_ready(conditions: &[Condition]) -> bool {
    find(conditions, READY).is_some_and(|ready| ready.status == Truth::True.as_str())
}

/// Removes a condition that is present only while true.
pub fn clear(conditions: &mut Vec<Condition>, type_: &str) {
    conditions.retain(|condition| condition.type_ != type_);
}

/// Sets Ready, and Reconciling or Stalled beside it where the state calls for them, as waiting tools expect.
pub fn set_ready(
    conditions: &mut Vec<Condition>,
    ready: &Change,
    generation: Option<i64>,
    now: Timestamp,
    progress: Progress,
) {
    set(conditions, ready, generation, now);
    for (type_, present) in
        [(RECONCILING, progress == Progress::Working), (STALLED, progress == Progress::Refused)]
    {
        if present {
            let change = Change { type_, status: Truth::True, ..ready.clone() };
            set(conditions, &change, generation, now);
        } else {
            clear(conditions, type_);
        }
    }
}

/// Who has to act next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// Nobody.
    Done,
    /// The controller.
    Working,
    /// The author.
    Refused,
}

/// The API server stores condition times in whole seconds.
fn whole_seconds(now: Timestamp) -> Time {
    Time(Timestamp::from_second(now.as_second()).unwrap_or(now))
}

/// Why a status was not written.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// Another process may lead; nothing was sent.
    #[error("report status of {kind} {object}")]
    NotLeader {
        /// The kind.
        kind: String,
        /// `namespace/name`.
        object: String,
        /// Why not.
        #[source]
        source: NotLeader,
    },
    /// The API server refused, or did not answer.
    #[error("report status of {kind} {object}")]
    Request {
        /// The kind.
        kind: String,
        /// `namespace/name`.
        object: String,
        /// The server's answer.
        #[source]
        source: Box<kube::Error>,
    },
}

impl ReportError {
    /// Whether the object has changed since it was read.
    pub fn is_conflict(&self) -> bool {
        matches!(self, Self::Request { source, .. } if client::is_conflict(source))
    }
}

/// The right to write the status of our own kinds under one field manager.
#[derive(Clone)]
pub struct Reporter {
    client: Client,
    manager: &'static str,
    fence: Fence,
}

impl Reporter {
    /// Writes as `manager` while `fence` is open.
    pub fn new(client: Client, manager: &'static str, fence: Fence) -> Self {
        Self { client, manager, fence }
    }

    /// Replaces our part of the object's status, as a compare-and-swap on the version that was read.
    ///
    /// `status` is the whole of what this manager has to say; fields of other managers stay. Nothing is sent when
    /// `before` says the same already.
    ///
    /// # Errors
    /// A conflict when the object has changed since; the next pass sees the newer one.
    pub async fn report<K: Object>(
        &self,
        object: &K,
        before: &Value,
        status: &Value,
    ) -> Result<Option<K>, ReportError> {
        if before == status {
            return Ok(None);
        }
        let kind = K::kind(&()).into_owned();
        let key = crate::cache::key_of(object);
        self.fence.check().map_err(|source| ReportError::NotLeader {
            kind: kind.clone(),
            object: key.clone(),
            source,
        })?;
        let name = object.name_any();
        let patch = json!({
            "apiVersion": K::api_version(&()),
            "kind": kind,
            "metadata": {
                "name": name,
                "namespace": object.namespace(),
                "resourceVersion": object.resource_version(),
            },
            "status": status,
        });
        let api = api_of(self.client.clone(), object);
        api.patch_status(&name, &PatchParams::apply(self.manager).force(), &Patch::Apply(&patch))
            .await
            .map(Some)
            .map_err(|source| ReportError::Request { kind, object: key, source: Box::new(source) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(status: Truth, message: &str) -> Change {
        Change { type_: READY, status, reason: "Because", message: message.to_owned() }
    }

    #[test]
    fn the_transition_time_moves_with_the_status_only() {
        let (early, late) =
            (Timestamp::from_second(100).unwrap(), Timestamp::from_second(200).unwrap());
        let mut conditions = Vec::new();
        assert!(set(&mut conditions, &change(Truth::False, "a"), Some(1), early));
        assert!(
            !set(&mut conditions, &change(Truth::False, "a"), Some(1), late),
            "nothing changed"
        );
        assert!(set(&mut conditions, &change(Truth::False, "b"), Some(2), late));
        assert_eq!(conditions[0].last_transition_time.0, early);
        assert!(set(&mut conditions, &change(Truth::True, "b"), Some(2), late));
        assert_eq!(conditions[0].last_transition_time.0, late);
    }

    #[test]
    fn ready_stands_first_and_progress_beside_it() {
        let now = Timestamp::from_second(100).unwrap();
        let mut conditions = Vec::new();
        set_ready(&mut conditions, &change(Truth::False, "a"), Some(1), now, Progress::Refused);
        let types = |conditions: &[Condition]| {
            conditions.iter().map(|condition| condition.type_.clone()).collect::<Vec<_>>()
        };
        assert_eq!(types(&conditions), [READY, STALLED]);
        set_ready(&mut conditions, &change(Truth::True, "a"), Some(1), now, Progress::Done);
        assert_eq!(types(&conditions), [READY]);
    }
}
