use super::*;
use crate::plan::{Batch, Claim, Families, Released, Verdict};
use crate::pool::{Pool, Strategy};
use crate::vlan::{VlanBatch, VlanClaim, VlanPool};
use ids::AccountId;
use std::sync::Arc;
use uuid::Uuid;

const POOL: ResourceUid = ResourceUid(Uuid::from_u128(1));

fn at(seconds: i64) -> Instant {
    Instant::EPOCH.plus_microseconds(seconds * 1_000_000)
}

fn uid(number: u128) -> ResourceUid {
    ResourceUid(Uuid::from_u128(100 + number))
}

fn claim(number: u128) -> Claim {
    Claim {
        uid: uid(number),
        created: at(0),
        reference: Arc::from("tn-acme-web/address"),
        tenant: AccountId(Uuid::from_u128(7)),
        pools: vec![POOL],
        families: Families::V4,
        count: 1,
        address: None,
        sticky_key: None,
        waiting_since: None,
    }
}

/// A space with three claims that have .0, .1 and .2.
fn three() -> (Space, Owners<Address>) {
    let pool = Pool::plain(POOL, vec!["10.0.0.0/24".parse().unwrap()], Strategy::Sequential);
    let mut space = Space::new([pool], []).unwrap();
    let outcome =
        space.plan(&Batch { claims: (0..3).map(claim).collect(), ..Batch::default() }, at(0));
    let has = |verdict: &Verdict| match verdict {
        Verdict::Bound(bound) => bound.iter().map(|one| one.address).collect(),
        Verdict::Refused(_) => BTreeSet::new(),
    };
    let claims = outcome.verdicts.iter().map(|(uid, verdict)| (*uid, has(verdict))).collect();
    (space, Owners { claims, is_complete: true })
}

#[test]
fn everything_agrees() {
    let (space, owners) = three();
    let published = recount(&space);
    let report = examine(&space, &published, &owners, at(0));
    assert!(report.matches(), "{report:?}");
    assert_eq!(report.generation, 3);
}

#[test]
fn a_slot_without_owner_is_reported_first_and_given_up_later() {
    let (mut space, mut owners) = three();
    owners.claims.remove(&uid(1));
    let first = examine(&space, &BTreeMap::new(), &owners, at(0));
    let address: Address = "10.0.0.1".parse().unwrap();
    assert_eq!(first.findings, [Finding::OwnerGone { place: address, owner: uid(1), seq: 2 }]);
    assert!(first.releases(&first).is_empty(), "one pass gives up nothing");
    let early = examine(&space, &BTreeMap::new(), &owners, at(599));
    assert!(early.releases(&first).is_empty());
    let partial = Owners { is_complete: false, ..owners.clone() };
    let partial = examine(&space, &BTreeMap::new(), &partial, at(700));
    assert!(partial.findings.is_empty() && !partial.matches());
    assert!(partial.releases(&first).is_empty());
    let second = examine(&space, &BTreeMap::new(), &owners, at(600));
    let releases = second.releases(&first);
    assert_eq!(releases, [Release { address, owner: uid(1), seq: 2 }]);
    // In between the slot was given back and taken again under the same UID: another number, so a new finding.
    let mut other = space.clone();
    other.plan(&Batch { releases: releases.clone(), ..Batch::default() }, at(0));
    other.plan(&Batch { claims: vec![claim(1)], ..Batch::default() }, at(300));
    let changed = examine(&other, &BTreeMap::new(), &owners, at(600));
    assert_eq!(changed.findings.len(), 1);
    assert!(changed.releases(&first).is_empty());
    let outcome = space.plan(&Batch { releases, ..Batch::default() }, at(600));
    assert_eq!(outcome.releases, [Released::Quarantined(at(900))]);
}

#[test]
fn claims_that_say_too_much_and_counters_that_drift_are_found() {
    let (space, mut owners) = three();
    let address: Address = "10.0.0.0".parse().unwrap();
    owners.claims.insert(uid(9), [address].into());
    let mut published = recount(&space);
    published.get_mut(&(POOL, Family::V4)).unwrap().free = 999;
    let report = examine(&space, &published, &owners, at(0));
    assert_eq!(
        report.findings,
        [
            Finding::OwnerWithoutSlot { place: address, owner: uid(9) },
            Finding::SeveralOwners { place: address, owners: vec![uid(0), uid(9)] },
        ]
    );
    let [drift] = report.drifts.as_slice() else { panic!("{report:?}") };
    assert_eq!((drift.kept.free, drift.counted.free), (999, 253));
    assert!(!report.matches());
}

#[test]
fn ids_are_audited_alike() {
    let pool = VlanPool {
        ranges: vec!["10-20".parse().unwrap()],
        quarantine_seconds: 300,
        allowed: crate::pool::Allowed::Everybody,
        disabled: false,
    };
    let claim = VlanClaim {
        uid: uid(1),
        created: at(0),
        reference: Arc::from("tn-acme-web/vlan"),
        tenant: AccountId(Uuid::from_u128(7)),
        id: None,
    };
    let mut table = Table::default();
    table.plan(&pool, &VlanBatch { claims: vec![claim], ..VlanBatch::default() }, at(0));
    let id: VlanId = "10".parse().unwrap();
    let there = Owners { claims: [(uid(1), [id].into())].into(), is_complete: true };
    assert!(examine_vlans(&table, &there, at(0)).matches());
    let gone = Owners { claims: BTreeMap::new(), is_complete: true };
    let first = examine_vlans(&table, &gone, at(0));
    let second = examine_vlans(&table, &gone, at(600));
    assert_eq!(second.confirmed(&first), [(id, uid(1), 1)]);
}
