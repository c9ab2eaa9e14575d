use super::*;
use crate::plan::{Batch, Bound, Claim, Families, Release, Verdict};
use crate::pool::Strategy as Order;
use proptest::prelude::*;
use uuid::Uuid;

const POOL: ResourceUid = ResourceUid(Uuid::from_u128(1));

fn pool(order: Order) -> Pool {
    let ranges = vec!["10.0.0.0/23".parse().unwrap(), "2001:db8::/120".parse().unwrap()];
    Pool { quarantine_seconds: 60, ..Pool::plain(POOL, ranges, order) }
}

fn at(seconds: i64) -> Instant {
    Instant::EPOCH.plus_microseconds(seconds * 1_000_000)
}

fn claim(number: u64, count: u16) -> Claim {
    Claim {
        uid: ResourceUid(Uuid::from_u64_pair(2, number)),
        created: at(0),
        reference: "tn-acme-web/address".into(),
        tenant: AccountId(Uuid::from_u64_pair(3, number % 4)),
        pools: vec![POOL],
        families: if number.is_multiple_of(3) { Families::V6 } else { Families::V4 },
        count,
        address: None,
        sticky_key: number.is_multiple_of(2).then(|| "web".into()),
        waiting_since: None,
    }
}

/// Carries out some claims and releases; what each claim got.
fn live(space: &mut Space, steps: &[(u64, u16, i64)]) {
    let mut now = 0;
    for (number, count, seconds) in steps {
        now += seconds;
        let holdings = space.holdings_of(claim(*number, 1).uid);
        let mut batch = Batch::default();
        if holdings.is_empty() {
            batch.claims.push(claim(*number, *count));
        } else {
            let release = |one: &Holding| Release {
                address: one.address,
                owner: one.slot.owner,
                seq: one.slot.seq,
            };
            batch.publishes.push(claim(*number, 1).uid);
            batch.releases.extend(holdings.iter().map(release));
        }
        space.plan(&batch, at(now));
    }
}

#[test]
fn room_that_another_writer_made_wakes_who_waits() {
    let mut space = Space::new([pool(Order::Sequential)], []).unwrap();
    let full = Claim { families: Families::V6, ..claim(1, 256) };
    space.plan(&Batch { claims: vec![full.clone()], ..Batch::default() }, at(0));
    let waits = Claim { families: Families::V6, ..claim(2, 1) };
    let outcome = space.plan(&Batch { claims: vec![waits.clone()], ..Batch::default() }, at(0));
    assert!(matches!(outcome.verdicts[0].1, Verdict::Refused(_)));
    let block = space.blocks().next().unwrap().clone();
    space.replace_block(block.clone());
    assert!(space.plan(&Batch::default(), at(1)).wake.is_empty(), "nothing has changed");
    let kept = block.slots().iter().filter(|(index, _)| **index != 9);
    let kept: Vec<(u8, Slot)> = kept.map(|(index, slot)| (*index, slot.clone())).collect();
    let other = Block::from_parts(block.id(), block.generation() + 5, None, kept, []).unwrap();
    space.replace_block(other);
    assert_eq!(space.plan(&Batch::default(), at(1)).wake, [waits.uid]);
    let bound = space.plan(&Batch { claims: vec![waits], ..Batch::default() }, at(1));
    let Verdict::Bound(bound) = &bound.verdicts[0].1 else { panic!("{bound:?}") };
    assert_eq!(
        (bound[0].address.to_string(), bound[0].seq),
        ("2001:db8::9".into(), block.generation() + 6)
    );
}

#[test]
fn what_was_held_over_blocks_is_allocated_once_it_lies_in_one() {
    let mut declared = pool(Order::Sequential);
    declared.quarantine_seconds = 0;
    let mut space = Space::new([declared], []).unwrap();
    let plan = |space: &mut Space, claim: Claim| {
        let outcome = space.plan(&Batch { claims: vec![claim], ..Batch::default() }, at(0));
        let Verdict::Bound(bound) = outcome.verdicts[0].1.clone() else { panic!("{outcome:?}") };
        (bound, outcome.changed)
    };
    let v4 =
        |number, count| Claim { families: Families::V4, sticky_key: None, ..claim(number, count) };
    let (first, _) = plan(&mut space, v4(1, 1));
    plan(&mut space, v4(2, 254));
    let (bound, changed) = plan(&mut space, v4(3, 2));
    assert!(bound.iter().all(|one| one.is_held) && changed.len() == 2);
    // The second block was not written, and meanwhile there is room in the first.
    space.forget_block(changed[1]);
    let Bound { address, seq, .. } = first[0];
    let release = Release { address, owner: v4(1, 1).uid, seq };
    space.plan(&Batch { releases: vec![release], ..Batch::default() }, at(0));
    let (again, changed) = plan(&mut space, v4(3, 2));
    assert_eq!((again.len(), changed.len()), (2, 1));
    assert!(again.iter().all(|one| !one.is_held));
    let states = space.holdings_of(v4(3, 2).uid).into_iter().map(|one| one.slot.state);
    assert!(states.into_iter().all(|state| state == crate::block::SlotState::Allocated));
    // Also when all that it has is held in one block already, as an older writer left it.
    let block = space.blocks().next().unwrap();
    let slots = block.slots().iter().map(|(index, slot)| {
        (*index, Slot { state: crate::block::SlotState::Held, ..slot.clone() })
    });
    let held = Block::from_parts(block.id(), block.generation(), None, slots, []).unwrap();
    space.replace_block(held.clone());
    let (last, changed) = plan(&mut space, v4(3, 2));
    assert!(last.iter().all(|one| !one.is_held));
    assert!(space.block(changed[0]).unwrap().generation() > held.generation());
}

proptest! {
    /// A view that is brought up to date block by block, from whatever it believed, goes on like one that is read anew.
    #[test]
    fn a_block_that_is_read_replaces_what_was_believed(
        order in prop::sample::select(vec![
            Order::Sequential,
            Order::TenantRun,
            Order::Dispersed { strict: true },
            Order::Dispersed { strict: false },
            Order::ExclusiveBlock,
            Order::LeastRecentlyUsed,
        ]),
        common in prop::collection::vec((0_u64..30, 1_u16..40, 0_i64..40), 0..20),
        believed in prop::collection::vec((0_u64..30, 1_u16..40, 0_i64..40), 0..20),
        stored in prop::collection::vec((0_u64..30, 1_u16..40, 0_i64..40), 0..20),
        next in prop::collection::vec((0_u64..30, 1_u16..40), 1..10),
        is_terse in any::<bool>(),
    ) {
        let mut pool = pool(order);
        if order == Order::ExclusiveBlock {
            pool.ranges = vec!["10.0.0.0/22".parse().unwrap(), "2001:db8::/119".parse().unwrap()];
        }
        let mut view = Space::new([pool.clone()], []).unwrap();
        live(&mut view, &common);
        let mut truth = Space::new([pool.clone()], view.blocks().cloned()).unwrap();
        live(&mut view, &believed);
        live(&mut truth, &stored);
        // An object may leave out the last releases of slots that are taken.
        let stored = |block: &Block| {
            let kept = |index: &u8| !is_terse || !block.slots().contains_key(index);
            let released = block.released().iter().filter(|(index, _)| kept(index));
            let released: Vec<(u8, u64)> = released.map(|(index, seq)| (*index, *seq)).collect();
            Block::from_parts(block.id(), block.generation(), block.tenant(), block.slots().clone(), released)
        };
        let blocks: Vec<Block> = truth.blocks().map(|block| stored(block).unwrap()).collect();
        let strangers: Vec<BlockId> = view.blocks().map(Block::id).filter(|id| truth.block(*id).is_none()).collect();
        for id in strangers {
            view.forget_block(id);
        }
        for block in &blocks {
            view.replace_block(block.clone());
        }
        view.waiting = Waiting::default();
        let mut anew = Space::new([pool.clone()], blocks).unwrap();
        prop_assert_eq!(view.blocks().collect::<Vec<_>>(), anew.blocks().collect::<Vec<_>>());
        // Numbers are never used twice, so those of what was only believed are skipped.
        anew.sequence = view.sequence;
        for family in [Family::V4, Family::V6] {
            prop_assert_eq!(view.counts(POOL, family), anew.counts(POOL, family));
        }
        prop_assert_eq!((&view.owners, &view.resting, &view.sticky), (&anew.owners, &anew.resting, &anew.sticky));
        let claims = next.iter().map(|(number, count)| claim(*number, *count)).collect();
        let batch = Batch { claims, ..Batch::default() };
        prop_assert_eq!(view.plan(&batch, at(5_000)).verdicts, anew.plan(&batch, at(5_000)).verdicts);
    }
}
