use super::*;
use calendar::Instant as At;
use crds::network::VLANPoolSpec;
use ids::AccountId;
use operator_kit::SystemClock;

fn pool(ranges: &[&str]) -> Objects<VLANPool> {
    let spec: VLANPoolSpec =
        serde_json::from_value(serde_json::json!({"fabric": "f", "ranges": ranges})).unwrap();
    Objects::from([("p".to_owned(), Arc::new(VLANPool::new("p", spec)))])
}

fn uid(number: u8) -> ResourceUid {
    format!("123e4567-e89b-12d3-a456-4266141740{number:02}").parse().unwrap()
}

fn claim(number: u8) -> Ask {
    let claim = VlanClaim {
        uid: uid(number),
        created: At::EPOCH,
        reference: Arc::from("n/v"),
        tenant: AccountId(uid(90).0),
        id: None,
    };
    Ask::Claim { pool: "p".to_owned(), claim }
}

fn registered(texts: &[&str]) -> Ask {
    let ranges = texts.iter().map(|text| text.parse().unwrap()).collect();
    Ask::Registered { pool: "p".to_owned(), ranges }
}

/// Plans, and takes every write for done; the ids that claims got.
fn commit(objects: &mut Objects<VLANPool>, asks: &[Ask]) -> Vec<Result<Option<u16>, Unreadable>> {
    let mut tables = Tables::new(Arc::new(SystemClock));
    let plan = tables.plan(objects, &asks.iter().collect::<Vec<_>>());
    objects.extend(plan.next.into_iter().map(|(name, object)| (name, Arc::new(object))));
    let id = |verdict| match verdict {
        Some(VlanVerdict::Bound { id, .. }) => Some(id.number()),
        Some(VlanVerdict::Refused(_)) | None => None,
    };
    plan.decisions.into_iter().map(|decision| decision.answer.map(id)).collect()
}

#[test]
fn only_what_stands_in_the_register_is_handed_out() {
    let mut objects = pool(&["100-101"]);
    assert_eq!(commit(&mut objects, &[claim(1)]), [Ok(None)], "nothing stands there yet");
    assert_eq!(commit(&mut objects, &[registered(&["101-110"])]), [Ok(None)]);
    assert_eq!(commit(&mut objects, &[claim(1)]), [Ok(Some(101))], "declared and registered");
    assert_eq!(commit(&mut objects, &[claim(2)]), [Ok(None)]);
    assert_eq!(commit(&mut objects, &[claim(1)]), [Ok(Some(101))], "found again by its owner");
    let sequence = Tables::sequence(&objects["p"]);
    commit(&mut objects, &[registered(&["101-110"]), claim(1)]);
    assert_eq!(Tables::sequence(&objects["p"]), sequence, "nothing was to be done");
    commit(&mut objects, &[registered(&[])]);
    assert_eq!(commit(&mut objects, &[claim(3)]), [Ok(None)], "closed");
}

#[test]
fn a_release_finds_its_owner_wherever_it_is() {
    let mut objects = pool(&["7"]);
    commit(&mut objects, &[registered(&["7"]), claim(1)]);
    assert_eq!(commit(&mut objects, &[Ask::Release { owner: uid(2) }]), [Ok(None)]);
    assert_eq!(objects["p"].status.as_ref().unwrap().owners.len(), 1);
    commit(&mut objects, &[Ask::Release { owner: uid(1) }]);
    let owners = &objects["p"].status.as_ref().unwrap().owners;
    assert!(owners[0].until.is_some(), "it rests");
}

#[test]
fn a_table_that_cannot_be_read_says_so_to_whom_it_concerns() {
    let mut objects = pool(&["7"]);
    commit(&mut objects, &[registered(&["7"]), claim(1)]);
    let mut broken = VLANPool::clone(&objects["p"]);
    broken.status.as_mut().unwrap().owners[0].tenant = "nobody".to_owned();
    objects.insert("p".to_owned(), Arc::new(broken));
    let unreadable = Err(Unreadable("p".to_owned()));
    let asks = [Ask::Release { owner: uid(1) }, claim(2), Ask::Release { owner: uid(3) }];
    assert_eq!(commit(&mut objects, &asks), [unreadable.clone(), unreadable, Ok(None)]);
}
