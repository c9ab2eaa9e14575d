use super::*;
use proptest::prelude::*;
use uuid::Uuid;

fn pool(ranges: &[&str]) -> Pool {
    let ranges = ranges.iter().map(|text| text.parse().unwrap()).collect();
    Pool::plain(ResourceUid(Uuid::from_u128(1)), ranges, super::Strategy::Sequential)
}

fn on_link(text: &str) -> Pool {
    Pool { on_link: vec![text.parse().unwrap()], ..pool(&[text]) }
}

fn hands_out(pool: &Pool, text: &str) -> bool {
    let address: Address = text.parse().unwrap();
    pool.territory(address.family()).contains(address)
}

/// Asserts which addresses a pool hands out, which not, and how many in all.
fn assert_hands_out(name: &str, pool: &Pool, are: &[&str], are_not: &[&str], count: u128) {
    pool.check().unwrap();
    for text in are {
        assert!(hands_out(pool, text), "{name}: {text}");
    }
    for text in are_not {
        assert!(!hands_out(pool, text), "{name}: {text}");
    }
    let family = pool.ranges[0].family();
    assert_eq!(pool.territory(family).usable_count(), count, "{name}");
}

#[test]
fn edges_of_prefixes_are_never_handed_out() {
    let check = |name: &str, text: &str, are: &[&str], are_not: &[&str], count| {
        assert_hands_out(name, &on_link(text), are, are_not, count);
    };
    check("/24", "10.0.0.0/24", &["10.0.0.1", "10.0.0.254"], &["10.0.0.0", "10.0.0.255"], 254);
    check("/30", "10.0.0.4/30", &["10.0.0.5", "10.0.0.6"], &["10.0.0.4", "10.0.0.7"], 2);
    check("/31 is all hosts", "10.0.0.4/31", &["10.0.0.4", "10.0.0.5"], &["10.0.0.6"], 2);
    check("/32 is one host", "10.0.0.4/32", &["10.0.0.4"], &[], 1);
    let inner = ["10.0.0.255", "10.0.1.0"];
    check("inner .0 and .255", "10.0.0.0/23", &inner, &["10.0.0.0", "10.0.1.255"], 510);
    let hosts = ["2001:db8::1", "2001:db8::ffff:ffff:ffff:ffff"];
    check("subnet-router", "2001:db8::/64", &hosts, &["2001:db8::"], (1 << 64) - 1);
    check("/127 is all hosts", "2001:db8::/127", &["2001:db8::", "2001:db8::1"], &[], 2);
    check("/128 is one host", "2001:db8::/128", &["2001:db8::"], &[], 1);
    let routed = Pool { allow_edges: true, ..on_link("10.0.0.0/24") };
    assert_hands_out("routed", &routed, &["10.0.0.0", "10.0.0.255"], &[], 256);
    let ranges = pool(&["10.0.0.0/24"]);
    assert_hands_out("no prefix, no edges", &ranges, &["10.0.0.0", "10.0.0.255"], &[], 256);
}

#[test]
fn what_is_withheld_is_never_handed_out_and_counts_once() {
    let avoiding = Pool { avoid_zero_and_255: true, ..pool(&["10.0.0.0/22"]) };
    let skipped = ["10.0.0.0", "10.0.1.255", "10.0.2.0"];
    assert_hands_out("avoided", &avoiding, &["10.0.0.1", "10.0.3.254"], &skipped, 4 * 254);
    let gateways = vec!["10.0.0.1".parse().unwrap()];
    let gateway = Pool { gateways, ..on_link("10.0.0.0/24") };
    assert_hands_out("gateway", &gateway, &["10.0.0.2"], &["10.0.0.1", "10.0.0.0"], 253);
    let excluded = ["10.0.0.0-10.0.0.9", "10.0.0.5"].map(|text| text.parse().unwrap()).to_vec();
    let all = Pool { excluded, ..gateway };
    let out = ["10.0.0.0", "10.0.0.1", "10.0.0.5"];
    assert_hands_out("out for three reasons", &all, &["10.0.0.10"], &out, 245);
}

#[test]
fn a_pool_that_cannot_be_is_refused() {
    let refused = |pool: &Pool| pool.check().unwrap_err().to_string();
    assert_eq!(refused(&pool(&[])), "the pool has no ranges; add an address, a range or a prefix");
    assert_eq!(
        refused(&pool(&["10.0.0.0/24", "10.0.0.128-10.0.1.5"])),
        "range 10.0.0.128/25 is listed twice; ranges of a pool must not overlap"
    );
    let covered = Pool { excluded: vec!["10.0.0.0/8".parse().unwrap()], ..pool(&["10.0.0.0/24"]) };
    assert_eq!(
        refused(&covered),
        "every address of the pool is excluded, a gateway or an edge; exclude less or add a range"
    );
    let partial = Pool { exclusive: true, ..pool(&["10.0.0.0/24", "10.0.2.0-10.0.2.254"]) };
    assert_eq!(
        refused(&partial),
        "range 10.0.2.0-10.0.2.254 is not made of whole blocks, as an exclusive pool needs; widen it to multiples of a /24 (IPv6: /120)"
    );
    let far = Pool { gateways: vec!["10.0.1.1".parse().unwrap()], ..on_link("10.0.0.0/24") };
    assert_eq!(
        refused(&far),
        "gateway 10.0.1.1 lies outside of 10.0.0.0/24; a host could not reach it"
    );
}

#[test]
fn nobody_is_allowed_unless_said_so() {
    let tenant = AccountId(Uuid::from_u128(9));
    assert!(!Allowed::default().includes(tenant));
    assert!(!Allowed::Tenants(BTreeSet::new()).includes(tenant));
    assert!(Allowed::Tenants([tenant].into()).includes(tenant));
    assert!(Allowed::Everybody.includes(tenant));
}

#[test]
fn blocks_are_numbered_without_listing_them() {
    let territory = pool(&["2001:db8::/64", "10.0.0.0/8"]).territory(Family::V6);
    assert_eq!((territory.total(), territory.block_count()), (1 << 64, 1 << 56));
    let last = territory.block_at((1 << 56) - 1).unwrap();
    assert_eq!(last.to_string(), "2001:db8::ffff:ffff:ffff:ff00/120");
    assert_eq!(
        (territory.ordinal_of(last), territory.block_at(1 << 56)),
        (Some((1 << 56) - 1), None)
    );
    let whole = AddressRange::new(
        Address::new(Family::V6, 0).unwrap(),
        Address::new(Family::V6, u128::MAX).unwrap(),
    );
    let all = Pool { ranges: vec![whole.unwrap()], ..pool(&[]) }.territory(Family::V6);
    assert_eq!(
        (all.total(), all.usable_count(), all.block_count()),
        (u128::MAX, u128::MAX, 1 << 120)
    );
}

#[test]
fn thousandths_of_large_numbers() {
    assert_eq!(PerMille::of(1, 3).thousandths(), 333);
    assert_eq!(PerMille::of(u128::MAX, u128::MAX).thousandths(), 1000);
    assert_eq!(PerMille::of(u128::MAX / 2, u128::MAX).to_string(), "0.499");
    assert_eq!(
        (PerMille::of(5, 0).thousandths(), PerMille::of(0, 7).rest().to_string()),
        (0, "1.000".into())
    );
}

proptest! {
    /// The count, the blocks and the slots of a territory are those of going through every address.
    #[test]
    fn a_territory_is_its_addresses(
        ranges in prop::collection::vec((0_u128..2_000, 0_u128..600), 1..4),
        excluded in prop::collection::vec((0_u128..2_000, 0_u128..300), 0..4),
        avoid in any::<bool>(),
    ) {
        let at = |value: u128| Address::new(Family::V4, 0x0a00_0000 + value).unwrap();
        let range = |(first, more): &(u128, u128)| AddressRange::new(at(*first), at(first + more)).unwrap();
        let pool = Pool {
            ranges: AddressSet::union_of(ranges.iter().map(range)).ranges().to_vec(),
            excluded: excluded.iter().map(range).collect(),
            avoid_zero_and_255: avoid,
            ..pool(&[])
        };
        let territory = pool.territory(Family::V4);
        let usable: BTreeSet<Address> = (0..3_000).map(at).filter(|address| {
            let low = address.value() % 256;
            pool.ranges.iter().any(|range| range.contains(*address))
                && !pool.excluded.iter().any(|range| range.contains(*address))
                && !(avoid && (low == 0 || low == 255))
        }).collect();
        prop_assert_eq!(territory.usable_count(), usable.len() as u128);
        let blocks: BTreeSet<BlockId> = usable.iter().map(|address| BlockId::of(*address).0).collect();
        let numbered: Vec<BlockId> = (0..territory.block_count()).map(|ordinal| territory.block_at(ordinal).unwrap()).collect();
        prop_assert_eq!(blocks.into_iter().collect::<Vec<_>>(), numbered.clone());
        for (ordinal, block) in numbered.iter().enumerate() {
            prop_assert_eq!(territory.ordinal_of(*block), Some(ordinal as u128));
            let slots: BTreeSet<Address> = territory.slots(*block).iter().map(|index| block.address(index)).collect();
            let expected: BTreeSet<Address> = usable.range(block.address(0)..=block.address(255)).copied().collect();
            prop_assert_eq!(slots, expected);
        }
    }
}
