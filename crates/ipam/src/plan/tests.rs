use super::*;
use crate::address::Family;
use crate::block::{Block, Slot, SlotState};
use crate::pool::{Pool, Strategy};
use crate::strategy::{Rule, Seed};
use ids::AccountId;
use std::sync::Arc;
use uuid::Uuid;

const POOL: ResourceUid = ResourceUid(Uuid::from_u128(1));

fn pool(ranges: &[&str], strategy: Strategy) -> Pool {
    Pool::plain(POOL, ranges.iter().map(|text| text.parse().unwrap()).collect(), strategy)
}

fn space(pool: Pool) -> Space {
    Space::new([pool], []).unwrap()
}

fn at(seconds: i64) -> Instant {
    Instant::EPOCH.plus_microseconds(seconds * 1_000_000)
}

fn tenant(number: u128) -> AccountId {
    AccountId(Uuid::from_u128(100 + number))
}

fn claim(number: u128, tenant_number: u128) -> Claim {
    Claim {
        uid: ResourceUid(Uuid::from_u128(1_000 + number)),
        created: at(0),
        reference: Arc::from("tn-acme-web/address"),
        tenant: tenant(tenant_number),
        pools: vec![POOL],
        families: Families::V4,
        count: 1,
        address: None,
        sticky_key: None,
        waiting_since: None,
    }
}

fn named(number: u128, tenant_number: u128, address: &str) -> Claim {
    let address: Address = address.parse().unwrap();
    let families = if address.family() == Family::V4 { Families::V4 } else { Families::V6 };
    Claim { address: Some(address), families, ..claim(number, tenant_number) }
}

/// What a claim got, or the reason why nothing.
fn ask(space: &mut Space, claim: Claim, now: Instant) -> Result<Vec<Bound>, Refusal> {
    let batch = Batch { claims: vec![claim], ..Batch::default() };
    let mut outcome = space.plan(&batch, now);
    match outcome.verdicts.pop().unwrap().1 {
        Verdict::Bound(bound) => Ok(bound),
        Verdict::Refused(refusal) => Err(refusal),
    }
}

fn one(space: &mut Space, claim: Claim) -> String {
    ask(space, claim, at(0)).unwrap()[0].address.to_string()
}

fn release_of(space: &Space, number: u128) -> Vec<Release> {
    let owner = ResourceUid(Uuid::from_u128(1_000 + number));
    let holdings = space.holdings_of(owner).into_iter();
    holdings.map(|one| Release { address: one.address, owner, seq: one.slot.seq }).collect()
}

fn give_back(space: &mut Space, number: u128, now: Instant) -> Outcome {
    let releases = release_of(space, number);
    space.plan(&Batch { releases, ..Batch::default() }, now)
}

#[test]
fn sequential_takes_the_lowest_and_says_what_it_passed_over() {
    let mut pool = pool(&["10.0.0.0/24"], Strategy::Sequential);
    pool.on_link = pool.ranges.iter().filter_map(crate::address::AddressRange::to_cidr).collect();
    let mut space = space(pool);
    assert_eq!(one(&mut space, claim(1, 1)), "10.0.0.1");
    assert_eq!(one(&mut space, claim(2, 2)), "10.0.0.2");
    give_back(&mut space, 1, at(0));
    let bound = ask(&mut space, claim(3, 1), at(0)).unwrap();
    assert_eq!(bound[0].address.to_string(), "10.0.0.3");
    let why = bound[0].why.unwrap();
    assert_eq!((why.rule, why.taken_before), (Rule::Lowest, 2));
    let passed = why.passed_over;
    assert_eq!(
        (passed.in_use, passed.quarantined, passed.not_handed_out, passed.free),
        (1, 1, 1, 0)
    );
    assert_eq!(ask(&mut space, claim(4, 1), at(300)).unwrap()[0].address.to_string(), "10.0.0.1");
    // What rested and was taken again is in use.
    let passed = ask(&mut space, claim(5, 1), at(300)).unwrap()[0].why.unwrap().passed_over;
    assert_eq!((passed.in_use, passed.quarantined), (3, 0));
}

#[test]
fn a_block_that_was_begun_in_vain_is_begun_again() {
    let mut space = space(pool(&["10.0.0.0/24", "2001:db8::1"], Strategy::Sequential));
    let v6 = Claim { families: Families::V6, ..claim(1, 1) };
    ask(&mut space, v6, at(0)).unwrap();
    let dual = Claim { families: Families::Dual, ..claim(2, 1) };
    assert!(ask(&mut space, dual, at(0)).is_err());
    assert_eq!(space.blocks().count(), 1, "the IPv4 block is gone again");
    assert_eq!(one(&mut space, claim(3, 1)), "10.0.0.0");
}

#[test]
fn tenant_run_follows_its_four_rules() {
    let mut space = space(pool(&["10.0.0.0/23"], Strategy::TenantRun));
    let rule = |space: &mut Space, claim: Claim| {
        let bound = ask(space, claim, at(0)).unwrap();
        (bound[0].address.to_string(), bound[0].why.unwrap().rule)
    };
    // 4. Nothing exists yet.
    assert_eq!(rule(&mut space, claim(1, 1)), ("10.0.0.0".into(), Rule::FreshBlock));
    // 1. Beside its own.
    let first: Address = "10.0.0.0".parse().unwrap();
    let beside = Rule::NeighbourOfRun { run_first: first, run_length: 1 };
    assert_eq!(rule(&mut space, claim(2, 1)), ("10.0.0.1".into(), beside));
    // 3. Another tenant, in the fullest block that fits.
    let fullest = Rule::FullestBlock { free: 254 };
    assert_eq!(rule(&mut space, claim(3, 2)), ("10.0.0.2".into(), fullest));
    // 1. The longest run has no free neighbour; a shorter one has.
    ask(&mut space, named(4, 1, "10.0.0.9"), at(0)).unwrap();
    let shorter = Rule::NeighbourOfRun { run_first: "10.0.0.9".parse().unwrap(), run_length: 1 };
    assert_eq!(rule(&mut space, claim(5, 1)), ("10.0.0.8".into(), shorter));
    // 2. No run has one: nearest in the block with most of the tenant's.
    for (number, address) in [(10, "10.0.0.7"), (11, "10.0.0.10")] {
        ask(&mut space, named(number, 2, address), at(0)).unwrap();
    }
    assert_eq!(rule(&mut space, claim(6, 1)), ("10.0.0.3".into(), Rule::NearRun { distance: 2 }));
    // 4. Nothing known fits the whole count.
    let large = Claim { count: 250, ..claim(7, 3) };
    let bound = ask(&mut space, large, at(0)).unwrap();
    assert_eq!(bound[0].why.unwrap().rule, Rule::FreshBlock);
    assert_eq!(bound[0].address.to_string(), "10.0.1.0");
    // From there both ways, the lower side first: one run in the end.
    assert_eq!(bound[1].address.to_string(), "10.0.0.255");
    let mut addresses: Vec<Address> = bound.iter().map(|one| one.address).collect();
    addresses.sort_unstable();
    assert!(addresses.windows(2).all(|pair| pair[0].next() == Some(pair[1])));
}

#[test]
fn dispersed_goes_by_its_seed_and_keeps_others_apart() {
    let strategy = Strategy::Dispersed { strict: true };
    let mut space = space(pool(&["10.0.0.0/22"], strategy));
    let seed = |number: u128| Seed::of(claim(number, 1).uid, POOL, 0).0;
    let expected = |number: u128, vacant: &[u64]| {
        let block = vacant[usize::try_from((seed(number) >> 8) % vacant.len() as u64).unwrap()];
        (block, format!("10.0.{block}.{}", seed(number) % 256))
    };
    // Each claim in a block of its own while there are any.
    let mut vacant = vec![0, 1, 2, 3];
    for number in 0..4 {
        let (block, address) = expected(number, &vacant);
        assert_eq!(one(&mut space, claim(number, number)), address);
        vacant.retain(|other| *other != block);
    }
    for number in 4..400 {
        let bound = ask(&mut space, claim(number, number), at(0)).unwrap();
        let start = u8::try_from(seed(number) % 256).unwrap();
        assert_eq!(bound[0].why.unwrap().rule, Rule::Seeded { start });
        assert_eq!(space.scores(POOL, Family::V4).foreign_neighbours, 0);
    }
}

#[test]
fn a_strict_pool_refuses_where_another_gives_the_farthest() {
    let fill = |strategy| {
        let mut space = space(pool(&["10.0.0.0/29"], strategy));
        ask(&mut space, named(1, 1, "10.0.0.1"), at(0)).unwrap();
        ask(&mut space, named(2, 2, "10.0.0.3"), at(0)).unwrap();
        ask(&mut space, named(3, 3, "10.0.0.6"), at(0)).unwrap();
        space
    };
    let mut strict = fill(Strategy::Dispersed { strict: true });
    assert_eq!(
        ask(&mut strict, claim(9, 9), at(0)).unwrap_err().to_string(),
        format!(
            "every free IPv4 address of pool {POOL} is beside another tenant's, and the pool is strict"
        )
    );
    // A neighbour by name is one too.
    let beside = ask(&mut strict, named(9, 9, "10.0.0.2"), at(0)).unwrap_err();
    assert_eq!(beside.reason(), "NoIsolatedSlot");
    // But not beside its own.
    assert_eq!(one(&mut strict, Claim { tenant: tenant(1), ..claim(8, 1) }), "10.0.0.0");
    let mut lenient = fill(Strategy::Dispersed { strict: false });
    let bound = ask(&mut lenient, claim(9, 9), at(0)).unwrap();
    // 0: neighbour above, nothing below. 2: both. 4, 5: one each, then 2 away. 7: neighbour below, nothing above.
    assert!(["10.0.0.0", "10.0.0.7"].contains(&bound[0].address.to_string().as_str()));
    assert_eq!(bound[0].why.unwrap().rule, Rule::Farthest { distance: 1 });
}

#[test]
fn an_exclusive_block_has_one_tenant_until_it_is_empty_and_rested() {
    let mut space = space(pool(&["10.0.0.0/23"], Strategy::ExclusiveBlock));
    assert_eq!(one(&mut space, claim(1, 1)), "10.0.0.0");
    assert_eq!(one(&mut space, claim(2, 2)), "10.0.1.0");
    assert_eq!(one(&mut space, claim(3, 1)), "10.0.0.1");
    let block = |space: &Space, text: &str| {
        space.block(BlockId::of(text.parse().unwrap()).0).unwrap().tenant()
    };
    assert_eq!(block(&space, "10.0.0.0"), Some(tenant(1)));
    assert_eq!(ask(&mut space, claim(4, 3), at(0)).unwrap_err().reason(), "PoolExhausted");
    assert_eq!(
        ask(&mut space, named(5, 3, "10.0.0.77"), at(0)).unwrap_err().reason(),
        "BlockTaken"
    );
    give_back(&mut space, 2, at(10));
    assert_eq!(block(&space, "10.0.1.0"), Some(tenant(2)), "it rests");
    assert_eq!(ask(&mut space, claim(4, 3), at(309)).unwrap_err().reason(), "PoolExhausted");
    assert_eq!(ask(&mut space, claim(4, 3), at(310)).unwrap()[0].address.to_string(), "10.0.1.0");
    assert_eq!(block(&space, "10.0.1.0"), Some(tenant(3)));
}

#[test]
fn the_least_recently_used_is_by_order_of_release_and_not_by_clock() {
    let mut space = space(pool(&["10.0.0.0/30"], Strategy::LeastRecentlyUsed));
    for number in 0..3 {
        assert_eq!(one(&mut space, claim(number, 1)), format!("10.0.0.{number}"));
    }
    give_back(&mut space, 2, at(100));
    // A clock that went backwards.
    give_back(&mut space, 0, at(50));
    give_back(&mut space, 1, at(60));
    assert_eq!(
        ask(&mut space, claim(10, 1), at(1_000)).unwrap()[0].address.to_string(),
        "10.0.0.3",
        "never used"
    );
    let next =
        |space: &mut Space, number| ask(space, claim(number, 1), at(1_000)).unwrap()[0].clone();
    assert_eq!(next(&mut space, 11).address.to_string(), "10.0.0.2");
    assert_eq!(next(&mut space, 12).address.to_string(), "10.0.0.0");
    let last = next(&mut space, 13);
    assert_eq!(last.address.to_string(), "10.0.0.1");
    assert!(matches!(last.why.unwrap().rule, Rule::OldestRelease { .. }));
}

#[test]
fn a_named_address_is_given_or_refused_for_its_own_reason() {
    let mut pool = pool(&["10.0.0.0/24"], Strategy::Sequential);
    pool.on_link = vec!["10.0.0.0/24".parse().unwrap()];
    pool.gateways = vec!["10.0.0.1".parse().unwrap()];
    pool.excluded = vec!["10.0.0.16/28".parse().unwrap()];
    let mut space = space(pool);
    assert_eq!(one(&mut space, named(1, 1, "10.0.0.9")), "10.0.0.9");
    let mut refused =
        |text: &str| ask(&mut space, named(2, 2, text), at(0)).unwrap_err().to_string();
    assert_eq!(refused("10.0.0.9"), "spec.address: 10.0.0.9 is in use");
    assert_eq!(refused("10.0.1.9"), "spec.address: 10.0.1.9 is out of the pool's ranges");
    assert_eq!(refused("10.0.0.17"), "spec.address: 10.0.0.17 is never handed out: it is excluded");
    assert_eq!(refused("10.0.0.1"), "spec.address: 10.0.0.1 is never handed out: it is a gateway");
    assert_eq!(
        refused("10.0.0.255"),
        "spec.address: 10.0.0.255 is never handed out: it is a network, broadcast or subnet-router address"
    );
    give_back(&mut space, 1, at(0));
    assert_eq!(
        ask(&mut space, named(2, 2, "10.0.0.9"), at(1)).unwrap_err().to_string(),
        "spec.address: 10.0.0.9 was given back and rests until 1970-01-01T00:05:00Z"
    );
    let two = Claim { count: 2, ..named(3, 1, "10.0.0.50") };
    assert_eq!(ask(&mut space, two, at(0)).unwrap_err().reason(), "InvalidAddress");
    let dual = Claim { families: Families::Dual, ..named(3, 1, "10.0.0.50") };
    assert_eq!(ask(&mut space, dual, at(0)).unwrap_err().reason(), "InvalidAddress");
    for count in [0, COUNT_MAX + 1, u16::MAX] {
        let refusal = ask(&mut space, Claim { count, ..claim(4, 1) }, at(0)).unwrap_err();
        assert_eq!(refusal, Refusal::Count { count, most: COUNT_MAX });
    }
}

#[test]
fn a_sticky_key_brings_the_same_address_back_to_the_same_tenant() {
    let mut space = space(pool(&["10.0.0.0/24"], Strategy::Sequential));
    let sticky = |number, tenant, key: &str| Claim {
        sticky_key: Some(Arc::from(key)),
        ..claim(number, tenant)
    };
    for number in 0..3 {
        ask(&mut space, sticky(number, 1, "web"), at(0)).unwrap();
    }
    give_back(&mut space, 1, at(0));
    assert_eq!(one(&mut space, sticky(10, 2, "web")), "10.0.0.3", "another tenant");
    assert_eq!(one(&mut space, sticky(11, 1, "db")), "10.0.0.4", "another key");
    assert_eq!(one(&mut space, claim(12, 1)), "10.0.0.5", "no key");
    let back = ask(&mut space, sticky(13, 1, "web"), at(299)).unwrap();
    assert_eq!(
        (back[0].address.to_string(), back[0].why.unwrap().rule),
        ("10.0.0.1".into(), Rule::Sticky)
    );
    assert_eq!(one(&mut space, sticky(14, 1, "web")), "10.0.0.6", "it is taken");
    give_back(&mut space, 13, at(300));
    let after = ask(&mut space, sticky(15, 1, "web"), at(600)).unwrap();
    assert_eq!(
        (after[0].address.to_string(), after[0].why.unwrap().rule),
        ("10.0.0.1".into(), Rule::Lowest)
    );
}

#[test]
fn a_claim_is_found_again_by_its_uid() {
    let mut space = space(pool(&["10.0.0.0/24"], Strategy::Sequential));
    let first = ask(&mut space, claim(1, 1), at(0)).unwrap();
    // Another name, another tenant, the pool gone from the claim: the UID decides.
    let again = Claim { reference: Arc::from("other"), pools: vec![], ..claim(1, 1) };
    let again = ask(&mut space, again, at(5)).unwrap();
    assert_eq!(
        (again[0].address, again[0].seq, again[0].why),
        (first[0].address, first[0].seq, None)
    );
    // The same name with another UID inherits nothing.
    assert_eq!(one(&mut space, claim(2, 1)), "10.0.0.1");
    let stored: Vec<Block> = space.blocks().cloned().collect();
    let mut restarted = Space::new([pool(&["10.0.0.0/24"], Strategy::Sequential)], stored).unwrap();
    assert_eq!(ask(&mut restarted, claim(1, 1), at(9)).unwrap()[0].address, first[0].address);
}

#[test]
fn both_families_or_none() {
    let mut space = space(pool(&["10.0.0.0/30", "2001:db8::/127"], Strategy::Sequential));
    let dual = |number| Claim { families: Families::Dual, ..claim(number, 1) };
    let bound = ask(&mut space, dual(1), at(0)).unwrap();
    let texts: Vec<String> = bound.iter().map(|one| one.address.to_string()).collect();
    assert_eq!(texts, ["10.0.0.0", "2001:db8::"]);
    assert!(bound.iter().all(|one| one.is_held), "two objects: held until published");
    let owner = dual(1).uid;
    space.plan(&Batch { publishes: vec![owner], ..Batch::default() }, at(1));
    assert!(space.holdings_of(owner).iter().all(|one| one.slot.state == SlotState::Allocated));
    ask(&mut space, dual(2), at(0)).unwrap();
    let before: Vec<Block> = space.blocks().cloned().collect();
    let outcome = space.plan(&Batch { claims: vec![dual(3)], ..Batch::default() }, at(0));
    assert!(matches!(
        &outcome.verdicts[0].1,
        Verdict::Refused(Refusal::PoolExhausted { family: Family::V6, .. })
    ));
    assert!(outcome.changed.is_empty(), "nothing to write");
    assert_eq!(
        space.blocks().cloned().collect::<Vec<_>>(),
        before,
        "the IPv4 address was put back"
    );
    // Never published: no quarantine.
    assert_eq!(give_back(&mut space, 2, at(2)).releases, [Released::Freed, Released::Freed]);
    let until = at(2).plus_microseconds(300_000_000);
    assert_eq!(give_back(&mut space, 1, at(2)).releases, [Released::Quarantined(until); 2]);
}

#[test]
fn a_release_matches_owner_and_number_or_does_nothing() {
    let mut space = space(pool(&["10.0.0.0/24"], Strategy::Sequential));
    ask(&mut space, claim(1, 1), at(0)).unwrap();
    let right = release_of(&space, 1)[0];
    let wrong = [
        Release { seq: right.seq + 1, ..right },
        Release { owner: claim(2, 1).uid, ..right },
        Release { address: "10.0.0.1".parse().unwrap(), ..right },
        Release { address: "10.9.0.1".parse().unwrap(), ..right },
    ];
    let outcome = space.plan(&Batch { releases: wrong.to_vec(), ..Batch::default() }, at(0));
    assert_eq!((outcome.releases, outcome.changed), (vec![Released::NoMatch; 4], vec![]));
    let until = at(300);
    let twice = space.plan(&Batch { releases: vec![right, right], ..Batch::default() }, at(0));
    assert_eq!(twice.releases, [Released::Quarantined(until), Released::NoMatch]);
    // A late repeat of a release, when the address is somebody else's already.
    ask(&mut space, claim(3, 2), at(300)).unwrap();
    let late = space.plan(&Batch { releases: vec![right], ..Batch::default() }, at(301));
    assert_eq!(late.releases, [Released::NoMatch]);
    assert_eq!(space.holdings_of(claim(3, 2).uid).len(), 1);
}

#[test]
fn quarantine_ends_by_time_or_by_a_person() {
    let mut space = space(pool(&["10.0.0.0/32"], Strategy::Sequential));
    ask(&mut space, claim(1, 1), at(0)).unwrap();
    give_back(&mut space, 1, at(0));
    assert_eq!(space.counts(POOL, Family::V4).quarantined, 1);
    assert_eq!(space.next_expiry(), Some(at(300)));
    assert_eq!(ask(&mut space, claim(2, 1), at(299)).unwrap_err().reason(), "PoolExhausted");
    let slot: Slot = space.slot("10.0.0.0".parse().unwrap()).unwrap().clone();
    let early = Release { address: "10.0.0.0".parse().unwrap(), owner: slot.owner, seq: slot.seq };
    let outcome =
        space.plan(&Batch { unquarantines: vec![early, early], ..Batch::default() }, at(299));
    assert_eq!(outcome.unquarantines, [Released::Freed, Released::NoMatch]);
    assert_eq!(outcome.wake, [claim(2, 1).uid]);
    assert_eq!(ask(&mut space, claim(2, 1), at(299)).unwrap()[0].address.to_string(), "10.0.0.0");
}

#[test]
fn the_order_of_a_batch_is_by_creation_and_uid() {
    let claims: Vec<Claim> = (0..20)
        .map(|number| Claim {
            created: at(i64::try_from(number % 3).unwrap()),
            ..claim(number, number)
        })
        .collect();
    let decide = |claims: Vec<Claim>| {
        let mut space = space(pool(&["10.0.0.0/29"], Strategy::Sequential));
        space.plan(&Batch { claims, ..Batch::default() }, at(9)).verdicts
    };
    let forward = decide(claims.clone());
    assert_eq!(forward, decide(claims.into_iter().rev().collect()));
    let bound = forward.iter().filter(|(_, verdict)| matches!(verdict, Verdict::Bound(_)));
    assert_eq!(
        bound.map(|(uid, _)| *uid).collect::<Vec<_>>(),
        forward.iter().take(8).map(|(uid, _)| *uid).collect::<Vec<_>>()
    );
}

#[test]
fn what_becomes_free_goes_to_the_oldest_that_fits_and_the_large_are_not_passed_for_ever() {
    let mut space = space(pool(&["10.0.0.0/29"], Strategy::Sequential));
    for number in 0..8 {
        ask(&mut space, claim(number, 1), at(0)).unwrap();
    }
    let waiting =
        |number, count, created| Claim { count, created: at(created), ..claim(number, 2) };
    for (number, count) in [(20, 4), (21, 1), (22, 1)] {
        let created = i64::try_from(number).unwrap();
        assert!(ask(&mut space, waiting(number, count, created), at(30)).unwrap_err().waits());
    }
    assert_eq!(space.waiting().line(POOL, Family::V4).count(), 3);
    // One is free: too little for the oldest, so the next one may pass.
    give_back(&mut space, 0, at(30));
    let outcome = space.plan(&Batch::default(), at(329));
    assert!(outcome.wake.is_empty());
    let outcome = space.plan(&Batch::default(), at(330));
    // From now on the large one has waited for 300 s: nobody passes it.
    assert!(outcome.wake.is_empty(), "kept for the large one");
    let refusal = ask(&mut space, waiting(22, 1, 22), at(331)).unwrap_err();
    assert_eq!(refusal.reason(), "KeptForOlder");
    // An older claim may take it all the same.
    assert!(ask(&mut space, waiting(19, 1, 1), at(331)).is_ok());
    for number in 1..5 {
        give_back(&mut space, number, at(331));
    }
    let outcome = space.plan(&Batch::default(), at(631));
    assert_eq!(outcome.wake, [claim(20, 2).uid], "as many as fit, the oldest first");
    ask(&mut space, waiting(20, 4, 20), at(632)).unwrap();
    assert_eq!(ask(&mut space, waiting(21, 1, 21), at(632)).unwrap_err().reason(), "PoolExhausted");
    // Gone claims are in nobody's way.
    space.withdraw(claim(21, 2).uid);
    give_back(&mut space, 5, at(700));
    assert_eq!(space.plan(&Batch::default(), at(1_000)).wake, [claim(22, 2).uid]);
    assert_eq!(space.sweep(at(1_001)), [claim(22, 2).uid]);
}

#[test]
fn small_claims_pass_a_large_one_until_it_has_waited_too_long() {
    let mut space = space(pool(&["10.0.0.0/30"], Strategy::Sequential));
    for number in 0..3 {
        ask(&mut space, claim(number, 1), at(0)).unwrap();
    }
    let large = Claim { count: 2, created: at(1), ..claim(10, 2) };
    assert!(ask(&mut space, large, at(1)).is_err());
    let small = |number| Claim { created: at(2), ..claim(number, 3) };
    assert_eq!(ask(&mut space, small(11), at(300)).unwrap()[0].address.to_string(), "10.0.0.3");
    give_back(&mut space, 11, at(300));
    // 301 s after the large one began to wait.
    assert_eq!(
        ask(&mut space, small(12), at(302)).unwrap_err().reason(),
        "PoolExhausted",
        "it rests"
    );
    assert_eq!(ask(&mut space, small(12), at(600)).unwrap_err().reason(), "KeptForOlder");
}

#[test]
fn a_pool_may_be_disabled_refused_or_of_another_family() {
    let mut declared = pool(&["10.0.0.0/24"], Strategy::Sequential);
    declared.disabled = true;
    declared.allowed = crate::pool::Allowed::Tenants([tenant(1)].into());
    let mut space = space(declared.clone());
    assert_eq!(ask(&mut space, claim(1, 1), at(0)).unwrap_err().reason(), "PoolDisabled");
    assert_eq!(ask(&mut space, claim(2, 2), at(0)).unwrap_err().reason(), "NotAllowed");
    let v6 = Claim { families: Families::V6, ..claim(3, 1) };
    assert_eq!(ask(&mut space, v6, at(0)).unwrap_err().reason(), "NoSuchFamily");
    assert_eq!(
        ask(&mut space, Claim { pools: vec![], ..claim(4, 1) }, at(0)),
        Err(Refusal::NoPool)
    );
    let unknown = Claim { pools: vec![claim(0, 0).uid], ..claim(5, 1) };
    assert_eq!(ask(&mut space, unknown, at(0)).unwrap_err().reason(), "PoolUnknown");
    // Enabling wakes who waits.
    declared.disabled = false;
    space.set_pool(declared).unwrap();
    assert_eq!(space.plan(&Batch::default(), at(1)).wake, [claim(1, 1).uid]);
}

#[test]
fn the_second_pool_serves_when_the_first_cannot() {
    let second = ResourceUid(Uuid::from_u128(2));
    let other = Pool { uid: second, ..pool(&["10.0.1.0/24"], Strategy::Sequential) };
    let mut space = Space::new([pool(&["10.0.0.0/31"], Strategy::Sequential), other], []).unwrap();
    let both = |number, count| Claim { pools: vec![POOL, second], count, ..claim(number, 1) };
    assert_eq!(one(&mut space, both(1, 1)), "10.0.0.0");
    // All of a family come from one pool.
    let three: Vec<String> = ask(&mut space, both(2, 2), at(0))
        .unwrap()
        .iter()
        .map(|one| one.address.to_string())
        .collect();
    assert_eq!(three, ["10.0.1.0", "10.0.1.1"]);
}

#[test]
fn a_shrink_names_what_is_in_the_way_and_never_revokes() {
    let mut space = space(pool(&["10.0.0.0/24"], Strategy::Sequential));
    ask(&mut space, named(1, 1, "10.0.0.200"), at(0)).unwrap();
    let smaller = pool(&["10.0.0.0/25"], Strategy::Sequential);
    let in_the_way = space.in_the_way(&smaller);
    assert_eq!(
        in_the_way.iter().map(|one| one.address.to_string()).collect::<Vec<_>>(),
        ["10.0.0.200"]
    );
    space.set_pool(smaller).unwrap();
    let counts = space.counts(POOL, Family::V4);
    assert_eq!(
        (counts.total, counts.free, counts.allocated, counts.out_of_range),
        (128, 128, 0, 1)
    );
    assert!(counts.add_up());
    assert_eq!(ask(&mut space, claim(1, 1), at(0)).unwrap()[0].address.to_string(), "10.0.0.200");
    give_back(&mut space, 1, at(0));
    space.plan(&Batch::default(), at(300));
    assert_eq!(space.counts(POOL, Family::V4).out_of_range, 0);
}

#[test]
fn pools_of_a_space_do_not_overlap() {
    let other = ResourceUid(Uuid::from_u128(2));
    let overlapping = Pool { uid: other, ..pool(&["10.0.0.128-10.0.1.5"], Strategy::Sequential) };
    let mut space = space(pool(&["10.0.0.0/24"], Strategy::Sequential));
    assert_eq!(
        space.set_pool(overlapping).unwrap_err().to_string(),
        format!(
            "10.0.0.128/25 is handed out by pool {POOL} already; pools of one address space must not overlap"
        )
    );
}

#[test]
fn a_count_over_blocks_is_held_and_numbers_only_grow() {
    let mut space = space(pool(&["10.0.0.0/23"], Strategy::Sequential));
    let bound = ask(&mut space, Claim { count: 300, ..claim(1, 1) }, at(0)).unwrap();
    assert!(bound.iter().all(|one| one.is_held));
    assert!(bound.windows(2).all(|pair| pair[0].seq < pair[1].seq));
    let within = ask(&mut space, Claim { count: 200, ..claim(2, 1) }, at(0)).unwrap();
    assert!(within.iter().all(|one| !one.is_held), "one object has them all");
    let refusal = ask(&mut space, Claim { count: 13, ..claim(3, 1) }, at(0)).unwrap_err();
    assert_eq!(
        refusal,
        Refusal::PoolExhausted { pool: POOL, family: Family::V4, wanted: 13, free: 12 }
    );
}

#[test]
fn ipv6_blocks_are_begun_in_order_or_by_seed() {
    let v6 = |number| Claim { families: Families::V6, ..claim(number, number) };
    let mut in_order = space(pool(&["2001:db8::/64"], Strategy::Sequential));
    assert_eq!(one(&mut in_order, v6(1)), "2001:db8::");
    let mut seeded = space(pool(&["2001:db8::/64"], Strategy::Dispersed { strict: true }));
    for number in 0..300 {
        ask(&mut seeded, v6(number), at(0)).unwrap();
    }
    // Each is an object; no more are begun than are needed.
    assert_eq!(seeded.blocks().count(), 256);
    let spread = seeded.blocks().filter(|block| block.id().number() & 0xff != 0).count();
    assert!(spread > 200, "{spread}");
}

#[test]
fn a_stored_block_that_nobody_wrote_is_refused() {
    let mut space = space(pool(&["10.0.0.0/24"], Strategy::Sequential));
    ask(&mut space, claim(1, 1), at(0)).unwrap();
    let block = space.blocks().next().unwrap();
    let slot = block.slots()[&0].clone();
    let id = block.id();
    assert_eq!(
        Block::from_parts(id, block.generation(), None, [(0, slot.clone())], []).as_ref(),
        Ok(block)
    );
    assert!(Block::from_parts(id, 0, None, [(0, slot.clone())], []).is_err());
    assert!(Block::from_parts(id, 9, None, [(0, slot.clone()), (0, slot)], []).is_err());
    assert!(Block::from_parts(id, 9, None, [], [(3, 10)]).is_err());
}
