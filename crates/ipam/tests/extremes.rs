//! Pools at the ends of the address space, of one address, of every address there is: nothing panics, everything adds up,
//! and what was read back from objects goes on like what was in memory.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use calendar::Instant;
use ids::{AccountId, ResourceUid};
use ipam::address::{Address, AddressRange, Cidr, Family};
use ipam::audit::{Owners, examine, recount};
use ipam::block::Block;
use ipam::plan::{Batch, Claim, Families, Release, Verdict};
use ipam::pool::{Pool, Strategy as Order};
use ipam::space::Space;
use proptest::prelude::*;
use std::collections::BTreeMap;
use uuid::Uuid;

const POOL: ResourceUid = ResourceUid(Uuid::from_u128(1));

fn range(family: Family, first: u128, last: u128) -> AddressRange {
    let at = |value: u128| Address::new(family, value.min(family.value_max())).unwrap();
    AddressRange::new(at(first), at(last)).unwrap()
}

/// One range of each of some families; at either end, in between, small, or everything.
fn pool() -> impl Strategy<Value = Pool> {
    let orders = prop::sample::select(vec![
        Order::Sequential,
        Order::TenantRun,
        Order::Dispersed { strict: true },
        Order::Dispersed { strict: false },
        Order::ExclusiveBlock,
        Order::LeastRecentlyUsed,
    ]);
    let one = |family: Family| {
        let most = family.value_max();
        prop_oneof![
            Just(range(family, 0, most)),
            (0_u128..700).prop_map(move |more| range(family, 0, more)),
            (0_u128..700).prop_map(move |more| range(family, most - more, most)),
            (0_u128..700, 0_u128..3).prop_map(move |(first, more)| range(
                family,
                first,
                first + more
            )),
        ]
    };
    let ranges = (prop::option::of(one(Family::V4)), prop::option::of(one(Family::V6)));
    (
        ranges,
        orders,
        any::<(bool, bool, bool)>(),
        prop::collection::vec((any::<bool>(), 0_u8..=10), 0..3),
    )
        .prop_map(|((v4, v6), order, (avoid, exclusive, edges), out)| {
            let ranges: Vec<AddressRange> = v4.into_iter().chain(v6).collect();
            let on_link = ranges.iter().filter_map(AddressRange::to_cidr).collect();
            let excluded = out.into_iter().filter_map(|(last, bits)| {
                let range = if last { ranges.last()? } else { ranges.first()? };
                let length = range.family().bits() - bits;
                Some(
                    Cidr::containing(if last { range.last() } else { range.first() }, length)?
                        .range(),
                )
            });
            Pool {
                excluded: excluded.collect(),
                on_link,
                avoid_zero_and_255: avoid,
                exclusive,
                allow_edges: edges,
                ..Pool::plain(POOL, ranges, order)
            }
        })
}

fn claim() -> impl Strategy<Value = Claim> {
    let families = prop::sample::select(vec![Families::V4, Families::V6, Families::Dual]);
    let address =
        prop::option::weighted(0.2, (any::<bool>(), prop_oneof![0_u128..300, Just(u128::MAX)]));
    (
        any::<u128>(),
        0_u128..4,
        families,
        prop_oneof![1_u16..4, Just(0), Just(300), any::<u16>()],
        address,
        any::<bool>(),
    )
        .prop_map(|(uid, tenant, families, count, address, sticky)| Claim {
            uid: ResourceUid(Uuid::from_u128(uid)),
            created: Instant::EPOCH,
            reference: "tn-acme-web/address".into(),
            tenant: AccountId(Uuid::from_u128(tenant)),
            pools: vec![POOL],
            families,
            count,
            address: address.and_then(|(v6, value)| {
                let family = if v6 { Family::V6 } else { Family::V4 };
                Address::new(family, value.min(family.value_max()))
            }),
            sticky_key: sticky.then(|| "web".into()),
            waiting_since: None,
        })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn nothing_panics_and_everything_adds_up(
        pool in pool(),
        rounds in prop::collection::vec((prop::collection::vec(claim(), 0..5), 0_usize..3, 0_i64..400), 1..12),
    ) {
        let Ok(mut space) = Space::new([pool.clone()], []) else { return Ok(()) };
        let mut now = Instant::EPOCH;
        let mut bound: BTreeMap<ResourceUid, Vec<Release>> = BTreeMap::new();
        for (claims, given_back, seconds) in rounds {
            now = now.plus_microseconds(seconds * 1_000_000);
            let mut batch = Batch { claims, ..Batch::default() };
            for _ in 0..given_back {
                batch.releases.extend(bound.pop_last().map(|(_, releases)| releases).unwrap_or_default());
            }
            let blocks: Vec<Block> = space.blocks().cloned().collect();
            let is_unburdened = space.waiting().is_empty();
            let mut again = Space::new([pool.clone()], blocks).unwrap();
            let outcome = space.plan(&batch, now);
            if is_unburdened {
                prop_assert_eq!(&again.plan(&batch, now).verdicts, &outcome.verdicts);
            }
            for (uid, verdict) in &outcome.verdicts {
                if let Verdict::Bound(addresses) = verdict {
                    let claim = batch.claims.iter().find(|claim| claim.uid == *uid).unwrap();
                    prop_assert_eq!(addresses.len(), usize::from(claim.count) * claim.families.list().len());
                    bound.insert(*uid, addresses.iter().map(|one| {
                        prop_assert!(pool.territory(one.address.family()).contains(one.address));
                        Ok(Release { address: one.address, owner: *uid, seq: one.seq })
                    }).collect::<Result<_, TestCaseError>>()?);
                }
            }
            for ((_, family), counted) in recount(&space) {
                prop_assert!(counted.add_up(), "{:?}", counted);
                prop_assert_eq!(space.counts(POOL, family), counted);
            }
        }
        let owners = Owners {
            claims: bound.iter().map(|(uid, has)| (*uid, has.iter().map(|one| one.address).collect())).collect(),
            is_complete: true,
        };
        prop_assert!(examine(&space, &recount(&space), &owners, now).matches());
        for range in &pool.ranges {
            let nothing = space.scores(POOL, range.family()).free_by_size.is_empty();
            // Skipped addresses are seen as free there.
            if !pool.avoid_zero_and_255 {
                prop_assert_eq!(nothing, space.counts(POOL, range.family()).free == 0);
            }
        }
    }
}
