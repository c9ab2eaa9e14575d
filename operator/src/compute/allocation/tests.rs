use super::*;
use crds::ObjectName;
use crds::compute::{InventoryEntry, PhysicalMachineSpec};
use proptest::prelude::*;

const VCPU: &str = well_known::VCPU;

fn host(name: &str, vcpus: i64) -> Arc<PhysicalMachine> {
    let entry = InventoryEntry {
        resource: VCPU.to_owned(),
        total: vcpus,
        reserved: None,
        ratio_thousandths: None,
        min_unit: None,
        max_unit: None,
        step: None,
    };
    Arc::new(PhysicalMachine::new(
        name,
        PhysicalMachineSpec {
            cluster_ref: ObjectName::new("c"),
            provider_host: name.to_owned(),
            inventory: vec![entry],
            maintenance: None,
        },
    ))
}

fn hosts(sizes: &[(&str, i64)]) -> Objects<PhysicalMachine> {
    sizes.iter().map(|(name, vcpus)| ((*name).to_owned(), host(name, *vcpus))).collect()
}

fn request(vcpus: i64) -> Request {
    Request { amounts: [(VCPU.to_owned(), vcpus)].into(), cluster: None }
}

fn ask(uid: &str, what: What) -> Ask {
    let created = Some(Timestamp::from_second(uid.len().try_into().unwrap()).unwrap());
    Ask { who: Who { created, uid: uid.to_owned(), key: format!("n/{uid}") }, what }
}

fn book(uid: &str, vcpus: i64) -> Ask {
    let policies = BTreeMap::from([("c".to_owned(), Policy::Pack)]);
    ask(uid, What::Book { request: request(vcpus), policies })
}

fn resize(uid: &str, host: &str, vcpus: i64) -> Ask {
    ask(uid, What::Resize { request: request(vcpus), host: host.to_owned() })
}

/// Plans, and takes every write for done.
fn commit(objects: &mut Objects<PhysicalMachine>, asks: &[Ask]) -> Vec<String> {
    let plan = Tables.plan(objects, &asks.iter().collect::<Vec<_>>());
    assert_eq!(plan.decisions.len(), asks.len());
    for decision in &plan.decisions {
        assert!(decision.rests_on.iter().all(|name| objects.contains_key(name)));
    }
    objects.extend(plan.next.into_iter().map(|(name, host)| (name, Arc::new(host))));
    let host = |decision: Decision<Answer>| match decision.answer {
        Answer::Booked(place) => place.host,
        Answer::NoRoom(_) => "no room".to_owned(),
        Answer::Released => "released".to_owned(),
    };
    plan.decisions.into_iter().map(host).collect()
}

fn promised(host: &PhysicalMachine) -> i64 {
    table::table(host).iter().map(|share| share.amounts[VCPU]).sum()
}

#[test]
fn a_batch_is_placed_on_one_copy_and_the_oldest_first() {
    let mut hosts = hosts(&[("a", 4)]);
    let answers = commit(&mut hosts, &[book("young", 2), book("old", 2), book("mid-age", 2)]);
    assert_eq!(answers, ["a", "a", "no room"], "by age, then by UID");
    assert_eq!(hosts["a"].status.as_ref().unwrap().summary["vcpus"], "4/4");
}

#[test]
fn what_was_done_is_found_done() {
    let mut hosts = hosts(&[("a", 4), ("b", 4)]);
    let first = commit(&mut hosts, &[book("m", 2)]);
    let generation = table::generation(&hosts[&first[0]]);
    assert_eq!(commit(&mut hosts, &[book("m", 2)]), first);
    assert_eq!(table::generation(&hosts[&first[0]]), generation);
    assert_eq!(commit(&mut hosts, &[ask("m", What::Release), ask("n", What::Release)]).len(), 2);
    assert_eq!(hosts.values().map(|host| promised(host)).sum::<i64>(), 0);
}

#[test]
fn what_is_given_back_is_booked_in_the_same_batch() {
    let mut hosts = hosts(&[("a", 4)]);
    commit(&mut hosts, &[book("m", 4)]);
    assert_eq!(commit(&mut hosts, &[book("n", 4), ask("m", What::Release)])[0], "a");
    assert_eq!(promised(&hosts["a"]), 4);
}

#[test]
fn a_share_changes_only_within_its_host() {
    let mut hosts = hosts(&[("a", 4)]);
    commit(&mut hosts, &[book("m", 1), book("n", 1)]);
    assert_eq!(commit(&mut hosts, &[resize("m", "a", 4)]), ["no room"]);
    assert_eq!(commit(&mut hosts, &[resize("m", "a", 3)]), ["a"]);
    assert_eq!(commit(&mut hosts, &[resize("m", "gone", 1)]), ["no room"]);
    assert_eq!(promised(&hosts["a"]), 4);
}

/// One step of a random life: of which machine, and how many units it wants; 0 gives back.
fn steps() -> impl Strategy<Value = Vec<Vec<(usize, i64)>>> {
    prop::collection::vec(prop::collection::vec((0_usize..12, 0_i64..5), 1..8), 1..20)
}

proptest! {
    #[test]
    fn no_host_is_overfilled_and_nobody_has_two(batches in steps()) {
        let mut hosts = hosts(&[("a", 8), ("b", 5), ("c", 3)]);
        for batch in batches {
            let mut asks: BTreeMap<usize, Ask> = BTreeMap::new();
            for (machine, wish) in batch {
                let uid = format!("m{machine}");
                let what = if wish == 0 { ask(&uid, What::Release) } else { book(&uid, wish) };
                asks.insert(machine, what);
            }
            let mut asks: Vec<Ask> = asks.into_values().collect();
            let mut other = hosts.clone();
            let answers = commit(&mut hosts, &asks);
            asks.reverse();
            let mut reversed = commit(&mut other, &asks);
            reversed.reverse();
            prop_assert_eq!((&hosts, answers), (&other, reversed), "the order of asking decides nothing");
            let mut uids: Vec<&str> = Vec::new();
            for host in hosts.values() {
                prop_assert!(promised(host) <= host.spec.inventory[0].total);
                prop_assert!(table::table(host).is_sorted_by_key(|share| &share.uid));
                uids.extend(table::table(host).iter().map(|share| share.uid.as_str()));
            }
            let count = uids.len();
            uids.sort_unstable();
            uids.dedup();
            prop_assert_eq!(uids.len(), count, "a machine has two shares");
        }
    }
}

#[test]
fn only_more_room_wakes_who_waits() {
    let (rooms, mut hosts) = (room::Rooms::default(), hosts(&[("a", 4)]));
    assert!(rooms.has_grown(&hosts["a"]), "a new host");
    assert!(!rooms.has_grown(&hosts["a"]), "nothing changed");
    commit(&mut hosts, &[book("m", 2), book("n", 1)]);
    assert!(!rooms.has_grown(&hosts["a"]), "less room");
    commit(&mut hosts, &[ask("n", What::Release)]);
    assert!(rooms.has_grown(&hosts["a"]), "a share came back");
    let mut cordoned = PhysicalMachine::clone(&hosts["a"]);
    cordoned.spec.maintenance = Some(crds::compute::Maintenance::Cordoned);
    assert!(!rooms.has_grown(&cordoned));
    assert!(rooms.has_grown(&hosts["a"]), "it takes machines again");
}
