use super::*;
use crate::plan::Released;
use crate::pool::Allowed;
use calendar::Instant;
use ids::{AccountId, ResourceUid};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use uuid::Uuid;

fn at(seconds: i64) -> Instant {
    Instant::EPOCH.plus_microseconds(seconds * 1_000_000)
}

fn uid(number: u64) -> ResourceUid {
    ResourceUid(Uuid::from_u64_pair(2, number))
}

fn id(number: u16) -> VlanId {
    VlanId::new(number).unwrap()
}

fn pool(ranges: &[&str]) -> VlanPool {
    VlanPool {
        ranges: ranges.iter().map(|text| text.parse().unwrap()).collect(),
        quarantine_seconds: 300,
        allowed: Allowed::Everybody,
        disabled: false,
    }
}

fn claim(number: u64, wanted: Option<u16>) -> VlanClaim {
    VlanClaim {
        uid: uid(number),
        created: at(i64::try_from(number).unwrap()),
        reference: Arc::from("tn-acme-web/vlan"),
        tenant: AccountId(Uuid::from_u128(1)),
        id: wanted.map(id),
    }
}

fn ask(table: &mut Table, pool: &VlanPool, claim: VlanClaim, now: i64) -> VlanVerdict {
    let batch = VlanBatch { claims: vec![claim], ..VlanBatch::default() };
    table.plan(pool, &batch, at(now)).verdicts.pop().unwrap().1
}

#[test]
fn an_id_is_the_lowest_or_the_one_by_name() {
    let (mut table, pool) = (Table::default(), pool(&["200-201", "100"]));
    let bound = |number, seq| VlanVerdict::Bound { id: id(number), seq, had_before: false };
    assert_eq!(ask(&mut table, &pool, claim(1, None), 0), bound(100, 1));
    assert_eq!(ask(&mut table, &pool, claim(2, Some(201)), 0), bound(201, 2));
    let again = VlanVerdict::Bound { id: id(100), seq: 1, had_before: true };
    assert_eq!(ask(&mut table, &pool, claim(1, Some(200)), 0), again, "its UID decides");
    let refused = |table: &mut Table, wanted, now| match ask(table, &pool, claim(9, wanted), now) {
        VlanVerdict::Refused(refusal) => refusal.to_string(),
        VlanVerdict::Bound { id, .. } => format!("bound {id}"),
    };
    assert_eq!(refused(&mut table, Some(201), 0), "spec.id: 201 is in use");
    assert_eq!(refused(&mut table, Some(300), 0), "spec.id: 300 is out of the pool's ranges");
    assert_eq!(ask(&mut table, &pool, claim(3, None), 0), bound(200, 3));
    assert_eq!(refused(&mut table, None, 0), "the pool has no free id");
    let release = VlanRelease { id: id(200), owner: uid(3), seq: 3 };
    let wrong = VlanRelease { seq: 2, ..release };
    let batch = VlanBatch { releases: vec![wrong, release, release], ..VlanBatch::default() };
    let outcome = table.plan(&pool, &batch, at(10));
    assert_eq!(
        outcome.releases,
        [Released::NoMatch, Released::Quarantined(at(310)), Released::NoMatch]
    );
    assert_eq!(
        refused(&mut table, Some(200), 309),
        "spec.id: 200 was given back and rests until 1970-01-01T00:05:10Z"
    );
    assert_eq!(table.next_expiry(), Some(at(310)));
    let outcome = table.plan(&pool, &VlanBatch::default(), at(310));
    assert_eq!((outcome.freed, outcome.is_changed), (1, true));
    assert_eq!(table.free_count(&pool), 1);
    let stored = Table::from_parts(table.generation(), table.tags().clone()).unwrap();
    assert_eq!(stored, table);
    assert!(Table::from_parts(1, table.tags().clone()).is_err());
}

#[test]
fn a_closed_pool_gives_nothing_and_a_shrink_names_what_is_in_the_way() {
    let mut table = Table::default();
    let open = pool(&["10-20"]);
    ask(&mut table, &open, claim(1, Some(15)), 0);
    let disabled = VlanPool { disabled: true, ..open.clone() };
    assert_eq!(
        ask(&mut table, &disabled, claim(2, None), 0),
        VlanVerdict::Refused(VlanRefusal::PoolDisabled)
    );
    let closed = VlanPool { allowed: Allowed::Nobody, ..open.clone() };
    assert_eq!(
        ask(&mut table, &closed, claim(2, None), 0),
        VlanVerdict::Refused(VlanRefusal::NotAllowed)
    );
    assert_eq!(table.in_the_way(&pool(&["10-14", "16-20"])), [id(15)]);
    let bitmap = table.bitmap();
    assert_eq!((bitmap[1], bitmap.iter().map(|byte| byte.count_ones()).sum::<u32>()), (0x80, 1));
}

#[test]
fn ranges_of_a_fabric_are_disjoint() {
    let range = |text: &str| text.parse::<VlanRange>().unwrap();
    let mut fabric = Fabric::default();
    fabric.book(uid(1), &[range("1-99"), range("200")]).unwrap();
    let before = fabric.clone();
    assert_eq!(
        fabric.book(uid(2), &[range("100-200")]).unwrap_err().to_string(),
        format!("range 100-200 overlaps 200 of pool {} on this fabric", uid(1))
    );
    assert_eq!(
        fabric.book(uid(2), &[range("300-400"), range("400")]).unwrap_err().to_string(),
        "ranges 400 and 300-400 of the pool overlap"
    );
    assert!(fabric.book(uid(2), &[]).is_err());
    assert_eq!(fabric, before);
    fabric.book(uid(1), &[range("1-99")]).unwrap();
    fabric.book(uid(2), &[range("100-200")]).unwrap();
    assert_eq!(Fabric::from_parts(fabric.ranges()).unwrap(), fabric);
    assert!(Fabric::from_parts([(range("1-9"), uid(1)), (range("9"), uid(2))]).is_err());
    fabric.release(uid(1));
    assert_eq!(fabric.ranges().count(), 1);
}

proptest! {
    /// Against two plain maps: who has an id, and until when others rest.
    #[test]
    fn the_table_agrees_with_plain_maps(steps in prop::collection::vec((0_u8..4, 0_u64..12, prop::option::of(95_u16..112), 0_i64..200), 1..120)) {
        let pool = pool(&["100-104", "107-109"]);
        let in_pool = |id: &VlanId| pool.ranges.iter().any(|range| range.contains(*id));
        let mut table = Table::default();
        let (mut live, mut resting) = (BTreeMap::<VlanId, ResourceUid>::new(), BTreeMap::<VlanId, Instant>::new());
        let mut now = 0;
        for (what, number, wanted, seconds) in steps {
            now += seconds;
            resting.retain(|_, until| *until > at(now));
            if what == 0 {
                let releases: Vec<VlanRelease> = table.tags().iter()
                    .filter(|(_, tag)| tag.owner == uid(number) && tag.state.is_live())
                    .map(|(id, tag)| VlanRelease { id: *id, owner: tag.owner, seq: tag.seq }).collect();
                for release in &releases {
                    live.remove(&release.id);
                    resting.insert(release.id, at(now + 300));
                }
                table.plan(&pool, &VlanBatch { releases, ..VlanBatch::default() }, at(now));
            } else {
                let expected = match (live.iter().find(|(_, owner)| **owner == uid(number)), wanted.map(id)) {
                    (Some((had, _)), _) => Some(*had),
                    (None, Some(id)) => (in_pool(&id) && !live.contains_key(&id) && !resting.contains_key(&id)).then_some(id),
                    (None, None) => pool.ranges.iter().flat_map(VlanRange::ids)
                        .find(|id| !live.contains_key(id) && !resting.contains_key(id)),
                };
                let got = match ask(&mut table, &pool, claim(number, wanted), now) {
                    VlanVerdict::Bound { id, .. } => Some(id),
                    VlanVerdict::Refused(_) => None,
                };
                prop_assert_eq!(got, expected);
                if let Some(id) = got {
                    live.insert(id, uid(number));
                }
            }
            let owners: BTreeMap<VlanId, ResourceUid> = table.tags().iter()
                .filter(|(_, tag)| tag.state.is_live()).map(|(id, tag)| (*id, tag.owner)).collect();
            prop_assert_eq!(&owners, &live);
            let rests: BTreeSet<VlanId> = table.tags().iter().filter(|(_, tag)| !tag.state.is_live()).map(|(id, _)| *id).collect();
            prop_assert_eq!(rests, resting.keys().copied().collect::<BTreeSet<_>>());
            let stored = Table::from_parts(table.generation(), table.tags().clone());
            prop_assert_eq!(stored.as_ref(), Ok(&table));
        }
    }
}
