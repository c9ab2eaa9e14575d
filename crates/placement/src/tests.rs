use super::*;
use proptest::prelude::*;

fn host(name: &str, vcpus: i64, allocated: i64) -> Host {
    Host {
        name: name.to_owned(),
        cluster: "local".to_owned(),
        healthy: true,
        cordoned: false,
        inventory: [("compute/vcpu".to_owned(), InventoryLine::plain(vcpus))].into(),
        allocated: [("compute/vcpu".to_owned(), allocated)].into(),
    }
}

fn request(vcpus: i64) -> Request {
    Request { amounts: [("compute/vcpu".to_owned(), vcpus)].into(), cluster: None }
}

#[test]
fn pack_takes_the_fullest_and_spread_the_emptiest() {
    let hosts = [host("a", 8, 1), host("b", 8, 4), host("c", 8, 0)];
    assert_eq!(choose(&hosts, &request(2), Policy::Pack, 7).unwrap().name, "b");
    assert_eq!(choose(&hosts, &request(2), Policy::Spread, 7).unwrap().name, "c");
}

#[test]
fn every_filter_names_itself() {
    let cases: Vec<(Host, Request, &str)> = vec![
        (host("a", 8, 0), Request { cluster: Some("other".into()), ..request(1) }, "OtherCluster"),
        (Host { healthy: false, ..host("a", 8, 0) }, request(1), "NotReady"),
        (Host { cordoned: true, ..host("a", 8, 0) }, request(1), "Cordoned"),
        (
            host("a", 8, 0),
            Request { amounts: [("gpu".into(), 1)].into(), cluster: None },
            "Lacks gpu",
        ),
        (
            Host {
                inventory: [(
                    "compute/vcpu".to_owned(),
                    InventoryLine { max_unit: Some(2), ..InventoryLine::plain(8) },
                )]
                .into(),
                ..host("a", 8, 0)
            },
            request(3),
            "UnitNotOffered compute/vcpu",
        ),
        (host("a", 8, 7), request(2), "Insufficient compute/vcpu"),
    ];
    for (host, request, reason) in cases {
        let refusals = choose([&host], &request, Policy::Pack, 0).unwrap_err();
        let reasons: Vec<String> = refusals.keys().map(ToString::to_string).collect();
        assert_eq!(reasons, [reason]);
    }
}

#[test]
fn capacity_counts_reserve_and_ratio_and_never_overflows() {
    let line = InventoryLine { reserved: 1, ratio_thousandths: 1500, ..InventoryLine::plain(4) };
    assert_eq!(line.capacity(), 4);
    let huge = InventoryLine { ratio_thousandths: 100_000, ..InventoryLine::plain(i64::MAX) };
    assert_eq!(huge.capacity(), i64::MAX);
}

proptest! {
    /// Placing until nothing fits never promises more than there is, and the refusal then is true of every host.
    #[test]
    fn a_host_is_never_overfilled(
        sizes in prop::collection::vec(1_i64..32, 1..6),
        wishes in prop::collection::vec(1_i64..9, 1..60),
        seed in any::<u64>(),
        pack in any::<bool>(),
    ) {
        let policy = if pack { Policy::Pack } else { Policy::Spread };
        let mut hosts: Vec<Host> =
            sizes.iter().enumerate().map(|(index, size)| host(&format!("h{index}"), *size, 0)).collect();
        for wish in wishes {
            let free = |host: &Host| host.inventory["compute/vcpu"].capacity() - host.allocated_of("compute/vcpu");
            let fits = hosts.iter().any(|host| free(host) >= wish);
            match choose(&hosts, &request(wish), policy, seed).map(|host| host.name.clone()) {
                Ok(name) => {
                    prop_assert!(fits);
                    let chosen = hosts.iter_mut().find(|host| host.name == name).unwrap();
                    prop_assert!(free(chosen) >= wish);
                    *chosen.allocated.entry("compute/vcpu".to_owned()).or_insert(0) += wish;
                }
                Err(refusals) => {
                    prop_assert!(!fits);
                    prop_assert_eq!(refusals.values().map(Vec::len).sum::<usize>(), hosts.len());
                }
            }
        }
    }

    #[test]
    fn the_order_of_hosts_does_not_matter(
        allocations in prop::collection::vec(0_i64..8, 1..6),
        seed in any::<u64>(),
    ) {
        let mut hosts: Vec<Host> =
            allocations.iter().enumerate().map(|(index, used)| host(&format!("h{index}"), 8, *used)).collect();
        let first = choose(&hosts, &request(1), Policy::Pack, seed).map(|host| host.name.clone());
        hosts.reverse();
        let second = choose(&hosts, &request(1), Policy::Pack, seed).map(|host| host.name.clone());
        prop_assert_eq!(first, second);
    }
}
