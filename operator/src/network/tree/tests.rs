use super::*;
use crds::network::{Cidr as CidrText, PrefixSpec};
use proptest::prelude::*;

fn parent(cidr: &str) -> Objects<Prefix> {
    let spec: PrefixSpec =
        serde_json::from_value(serde_json::json!({"spaceRef": {"name": "s"}, "cidr": cidr}))
            .unwrap();
    assert_eq!(spec.cidr, Some(CidrText::from(cidr)));
    let mut prefix = Prefix::new("p", spec);
    prefix.status.get_or_insert_default().cidr = Some(cidr.to_owned());
    Objects::from([("p".to_owned(), Arc::new(prefix))])
}

fn ask(number: u8, want: Want) -> Ask {
    let uid = format!("123e4567-e89b-12d3-a456-4266141740{number:02}").parse().unwrap();
    Ask { parent: "p".to_owned(), name: format!("n{number}"), uid, want }
}

/// Plans, and takes every write for done.
fn commit(objects: &mut Objects<Prefix>, asks: &[Ask]) -> Vec<Answer> {
    let plan = Tables::<Prefix>::new().plan(objects, &asks.iter().collect::<Vec<_>>());
    objects.extend(plan.next.into_iter().map(|(name, object)| (name, Arc::new(object))));
    plan.decisions.into_iter().map(|decision| decision.answer).collect()
}

fn one(objects: &mut Objects<Prefix>, number: u8, want: Want) -> Result<String, String> {
    let answer = commit(objects, &[ask(number, want)]).remove(0);
    let text =
        |place: Option<Place>| place.map_or_else(String::new, |place| place.cidr.to_string());
    answer.map(text).map_err(|refused| refused.to_string())
}

fn place(cidr: &str) -> Want {
    Want::Place(cidr.parse().unwrap())
}

fn ranges(texts: &[&str]) -> Want {
    Want::Pool(texts.iter().map(|text| text.parse().unwrap()).collect())
}

fn sequence(objects: &Objects<Prefix>) -> i64 {
    Tables::<Prefix>::sequence(&objects["p"])
}

#[test]
fn a_place_is_booked_once_and_changed_in_one_step() {
    let mut objects = parent("10.0.0.0/16");
    assert_eq!(one(&mut objects, 1, place("10.0.0.0/24")).unwrap(), "10.0.0.0/24");
    let before = sequence(&objects);
    assert_eq!(one(&mut objects, 1, place("10.0.0.0/24")).unwrap(), "10.0.0.0/24");
    assert_eq!(sequence(&objects), before, "nothing was to be done");
    let refused = one(&mut objects, 2, place("10.0.0.128/25")).unwrap_err();
    assert!(refused.contains("10.0.0.0/24") && refused.contains("Prefix n1"), "{refused}");
    assert_eq!(one(&mut objects, 1, place("10.0.0.0/25")).unwrap(), "10.0.0.0/25");
    assert_eq!(one(&mut objects, 2, place("10.0.0.128/25")).unwrap(), "10.0.0.128/25");
    assert!(one(&mut objects, 1, place("10.0.0.0/24")).is_err(), "it cannot grow over another");
    assert_eq!(
        one(&mut objects, 1, Want::Carve(20)).unwrap(),
        "10.0.0.0/25",
        "it keeps what it has"
    );
    one(&mut objects, 1, Want::Release).unwrap();
    one(&mut objects, 1, Want::Release).unwrap();
    assert_eq!(one(&mut objects, 3, Want::Carve(25)).unwrap(), "10.0.0.0/25");
}

#[test]
fn what_is_given_back_is_booked_by_others_in_the_same_write() {
    let mut objects = parent("10.0.0.0/24");
    commit(&mut objects, &[ask(1, Want::Carve(25)), ask(2, Want::Carve(25))]);
    let answers = commit(&mut objects, &[ask(3, Want::Carve(25)), ask(1, Want::Release)]);
    let place = Place { cidr: "10.0.0.0/25".parse().unwrap(), parent: "p".to_owned() };
    assert_eq!(answers[0], Ok(Some(place)));
}

#[test]
fn pools_and_prefixes_keep_apart() {
    let mut objects = parent("10.0.0.0/24");
    one(&mut objects, 1, ranges(&["10.0.0.0-10.0.0.20"])).unwrap();
    let before = sequence(&objects);
    one(&mut objects, 1, ranges(&["10.0.0.0-10.0.0.20"])).unwrap();
    assert_eq!(sequence(&objects), before);
    let refused = one(&mut objects, 2, ranges(&["10.0.0.20-10.0.0.30"])).unwrap_err();
    assert!(refused.contains("10.0.0.20") && refused.contains("IPPool n1"), "{refused}");
    let refused = one(&mut objects, 3, place("10.0.0.0/28")).unwrap_err();
    assert!(refused.contains("IPPool n1"), "{refused}");
    assert_eq!(sequence(&objects), before, "a refusal changes nothing");
    one(&mut objects, 1, Want::Release).unwrap();
    one(&mut objects, 3, place("10.0.0.0/28")).unwrap();
    assert!(one(&mut objects, 1, ranges(&["10.0.0.15"])).unwrap_err().contains("Prefix n3"));
}

#[test]
fn without_a_parent_nothing_is_booked_and_everything_given_back() {
    let mut objects = Objects::new();
    assert_eq!(
        commit(&mut objects, &[ask(1, Want::Carve(25))]),
        [Err(Refused::NoParent("p".into()))]
    );
    assert_eq!(commit(&mut objects, &[ask(1, Want::Release)]), [Ok(None)]);
    let mut broken = parent("10.0.0.0/24");
    let mut object = Prefix::clone(&broken["p"]);
    let row = |number: u8| {
        let uid = ask(number, Want::Release).uid.to_string();
        BookedPrefix { name: format!("n{number}"), uid, cidr: "10.0.0.0/25".into(), seq: 1 }
    };
    object.status.as_mut().unwrap().children = vec![row(1), row(2)];
    broken.insert("p".to_owned(), Arc::new(object));
    assert_eq!(
        commit(&mut broken, &[ask(3, Want::Carve(25))]),
        [Err(Refused::Unreadable("p".into()))]
    );
}

#[test]
fn what_is_being_removed_takes_nobody_and_lets_everybody_go() {
    let mut objects = parent("10.0.0.0/24");
    one(&mut objects, 1, Want::Carve(25)).unwrap();
    one(&mut objects, 2, ranges(&["10.0.0.200"])).unwrap();
    assert_eq!(one(&mut objects, 1, Want::Find).unwrap(), "10.0.0.0/25");
    assert_eq!(one(&mut objects, 3, Want::Find).unwrap(), "");
    let mut object = Prefix::clone(&objects["p"]);
    object.metadata.deletion_timestamp =
        Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(jiff::Timestamp::UNIX_EPOCH));
    // A table that contradicts itself keeps nobody either.
    let status = object.status.as_mut().unwrap();
    status.children.push(BookedPrefix { name: "n9".into(), ..status.children[0].clone() });
    objects.insert("p".to_owned(), Arc::new(object));
    for want in [Want::Carve(28), place("10.0.0.128/28"), ranges(&["10.0.0.201"])] {
        assert!(one(&mut objects, 4, want).unwrap_err().contains("is being removed"));
    }
    for number in [1, 2] {
        one(&mut objects, number, Want::Release).unwrap();
    }
    let status = objects["p"].status.clone().unwrap();
    assert!(status.children.is_empty() && status.pools.is_empty());
}

proptest! {
    #[test]
    fn rows_never_overlap(steps in prop::collection::vec((0_u8..8, 0_u8..4, 25_u8..30), 1..60)) {
        let mut objects = parent("10.0.0.0/24");
        for (number, kind, length) in steps {
            let first = format!("10.0.0.{}", u16::from(number) * 32);
            let want = match kind {
                0 => Want::Release,
                1 => Want::Carve(length),
                2 => place(&format!("{first}/{}", length.max(27))),
                _ => ranges(&[&format!("{first}-10.0.0.{}", u16::from(number) * 32 + u16::from(length))]),
            };
            drop(commit(&mut objects, &[ask(number, want)]));
            let status = objects["p"].status.clone().unwrap();
            let mut taken: Vec<AddressRange> = status
                .children
                .iter()
                .map(|child| child.cidr.parse::<Cidr>().unwrap().range())
                .chain(status.pools.iter().flat_map(|pool| pool.ranges.iter().map(|text| text.parse().unwrap())))
                .collect();
            taken.sort();
            for pair in taken.windows(2) {
                prop_assert!(!pair[0].overlaps(&pair[1]), "{:?}", status);
            }
        }
    }
}
