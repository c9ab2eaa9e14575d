//! The numbered record of what a machine held.
//!
//! Pure: from what the record says already and what the machine holds now to the record as it must be. Numbers have no
//! holes and never go back; only acknowledged transitions are dropped, and the last one stays so that what is held can
//! always be read.

use crds::compute::{Transition, TransitionReason, VirtualMachineStatus};
use ids::well_known;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use providers::{Machine, Power};
use std::collections::BTreeMap;

/// Amounts held, by resource name.
pub type Holds = BTreeMap<String, String>;

/// What a machine holds while it is on. Switched off it holds nothing that is metered: no disk of its own is kept yet.
pub fn holds(machine: Option<&Machine>) -> Holds {
    match machine {
        Some(machine) if machine.power == Power::On => [
            (well_known::VCPU.to_owned(), machine.size.vcpus.to_string()),
            (well_known::MEMORY_MIB.to_owned(), machine.size.memory_mib.to_string()),
        ]
        .into(),
        Some(_) | None => Holds::new(),
    }
}

/// Whether the record has begun and not ended.
pub fn is_open(status: &VirtualMachineStatus) -> bool {
    status.transitions.last().is_some_and(|last| !last.is_final)
}

/// Adds a transition when the amounts held have changed; the first one only when something is held at all.
pub fn note(
    status: &mut VirtualMachineStatus,
    holds: Holds,
    reason: TransitionReason,
    now: Timestamp,
) {
    let changed = match status.transitions.last() {
        Some(last) => last.holds != holds && !last.is_final,
        None => !holds.is_empty(),
    };
    if changed {
        push(status, holds, reason, false, now);
    }
}

/// Ends the record; one that never began has nothing to end.
pub fn end(status: &mut VirtualMachineStatus, now: Timestamp) {
    if is_open(status) {
        push(status, Holds::new(), TransitionReason::Deleted, true, now);
    }
}

fn push(
    status: &mut VirtualMachineStatus,
    holds: Holds,
    reason: TransitionReason,
    is_final: bool,
    now: Timestamp,
) {
    let number = status.last_transition_number.unwrap_or(0).saturating_add(1);
    // Kubernetes keeps microseconds; an instant never lies before the one it follows, whatever the clock did.
    let now = Timestamp::from_microsecond(now.as_microsecond()).unwrap_or(now);
    let at = status.transitions.last().map_or(now, |last| now.max(last.at.0));
    status.transitions.push(Transition { number, at: MicroTime(at), holds, reason, is_final });
    status.last_transition_number = Some(number);
}

/// Drops what billing has acknowledged, all but the last.
pub fn trim(status: &mut VirtualMachineStatus) {
    let acknowledged =
        status.metering.as_ref().and_then(|metering| metering.acknowledged_number).unwrap_or(0);
    let last = status.last_transition_number.unwrap_or(0);
    status
        .transitions
        .retain(|transition| transition.number > acknowledged || transition.number == last);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crds::compute::MeteringStatus;
    use providers::Size;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn machine(power: Power, vcpus: i64) -> Machine {
        Machine {
            uid: "123e4567-e89b-12d3-a456-426614174000".parse().unwrap(),
            provider_id: "x".to_owned(),
            host: "h".to_owned(),
            power,
            size: Size { vcpus, memory_mib: 128 },
        }
    }

    fn numbers(status: &VirtualMachineStatus) -> Vec<i64> {
        status.transitions.iter().map(|transition| transition.number).collect()
    }

    #[test]
    fn a_life_is_recorded_without_holes() {
        let mut status = VirtualMachineStatus::default();
        note(&mut status, holds(None), TransitionReason::Created, at(1));
        assert!(status.transitions.is_empty(), "nothing was held yet");
        note(&mut status, holds(Some(&machine(Power::On, 1))), TransitionReason::Started, at(2));
        note(&mut status, holds(Some(&machine(Power::On, 1))), TransitionReason::Started, at(3));
        note(&mut status, holds(Some(&machine(Power::Off, 1))), TransitionReason::Stopped, at(4));
        note(&mut status, holds(Some(&machine(Power::On, 2))), TransitionReason::Started, at(5));
        end(&mut status, at(6));
        end(&mut status, at(7));
        note(&mut status, holds(Some(&machine(Power::On, 2))), TransitionReason::Started, at(8));
        assert_eq!(numbers(&status), [1, 2, 3, 4]);
        assert!(status.transitions[3].is_final && status.transitions[3].holds.is_empty());
        assert_eq!(status.transitions[2].holds["compute/vcpu"], "2");
    }

    #[test]
    fn only_acknowledged_transitions_are_dropped_and_numbers_go_on() {
        let mut status = VirtualMachineStatus::default();
        for (second, power) in [(1, Power::On), (2, Power::Off), (3, Power::On)] {
            note(
                &mut status,
                holds(Some(&machine(power, 1))),
                TransitionReason::Started,
                at(second),
            );
        }
        trim(&mut status);
        assert_eq!(numbers(&status), [1, 2, 3], "nothing was acknowledged");
        status.metering = Some(MeteringStatus { acknowledged_number: Some(2) });
        trim(&mut status);
        assert_eq!(numbers(&status), [3]);
        status.metering = Some(MeteringStatus { acknowledged_number: Some(3) });
        trim(&mut status);
        assert_eq!(numbers(&status), [3], "the last one shows what is held");
        note(&mut status, Holds::new(), TransitionReason::Stopped, at(4));
        assert_eq!(numbers(&status), [3, 4]);
    }

    #[test]
    fn a_clock_that_goes_back_does_not_turn_the_record_round() {
        let mut status = VirtualMachineStatus::default();
        note(&mut status, holds(Some(&machine(Power::On, 1))), TransitionReason::Started, at(10));
        note(&mut status, Holds::new(), TransitionReason::Stopped, at(5));
        assert_eq!(status.transitions[1].at.0, at(10));
    }
}
