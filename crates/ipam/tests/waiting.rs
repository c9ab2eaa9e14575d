//! Claims that wait are served by what plans wake, and by nothing else: the oldest first, the large ones in the end, and
//! everybody once there is room.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use calendar::Instant;
use ids::{AccountId, ResourceUid};
use ipam::address::Family;
use ipam::plan::{Batch, Claim, Families, PASSED_SECONDS_MAX, Release, Verdict};
use ipam::pool::{Pool, Strategy};
use ipam::space::Space;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

const POOL: ResourceUid = ResourceUid(Uuid::from_u128(1));
const STEP_SECONDS: i64 = 10;

fn at(step: i64) -> Instant {
    Instant::EPOCH.plus_microseconds(step * STEP_SECONDS * 1_000_000)
}

fn claim(number: u64, count: u16, created: Instant) -> Claim {
    Claim {
        uid: ResourceUid(Uuid::from_u64_pair(2, number)),
        created,
        reference: "tn-acme-web/address".into(),
        tenant: AccountId(Uuid::from_u64_pair(3, number % 3)),
        pools: vec![POOL],
        families: Families::V4,
        count,
        address: None,
        sticky_key: None,
        waiting_since: None,
    }
}

/// A pool of 16 addresses, and who has or wants some of them.
struct World {
    space: Space,
    claims: BTreeMap<ResourceUid, Claim>,
    waiting: BTreeMap<ResourceUid, Instant>,
    bound: BTreeMap<ResourceUid, Vec<Release>>,
    woken: Vec<ResourceUid>,
}

impl World {
    fn new() -> Self {
        let range = "10.0.0.0/28".parse().unwrap();
        let pool =
            Pool { quarantine_seconds: 20, ..Pool::plain(POOL, vec![range], Strategy::Sequential) };
        Self {
            space: Space::new([pool], []).unwrap(),
            claims: BTreeMap::new(),
            waiting: BTreeMap::new(),
            bound: BTreeMap::new(),
            woken: Vec::new(),
        }
    }

    /// One batch: what is given back, what is new, what the last plan woke.
    fn step(&mut self, step: i64, new: Vec<Claim>, given_back: usize) {
        let now = at(step);
        let mut batch = Batch::default();
        for _ in 0..given_back {
            let Some((_, releases)) = self.bound.pop_first() else { break };
            batch.releases.extend(releases);
        }
        for uid in std::mem::take(&mut self.woken) {
            batch.claims.push(self.claims[&uid].clone());
        }
        for one in new {
            self.claims.insert(one.uid, one.clone());
            batch.claims.push(one);
        }
        let outcome = self.space.plan(&batch, now);
        for (uid, verdict) in &outcome.verdicts {
            match verdict {
                Verdict::Bound(bound) => {
                    let mine = &self.claims[uid];
                    // Whoever is older and waited too long still finds what it needs, or what there is.
                    let long = |since: &Instant| {
                        now.microseconds_since(*since) >= PASSED_SECONDS_MAX * 1_000_000
                    };
                    let starved = self.waiting.iter().find(|(other, since)| {
                        *other != uid && long(since) && self.claims[*other].created < mine.created
                    });
                    if let Some((other, _)) = starved {
                        let served = outcome.verdicts.iter().any(|(uid, verdict)| {
                            uid == other && matches!(verdict, Verdict::Bound(_))
                        });
                        let free = self.space.counts(POOL, Family::V4).free;
                        assert!(
                            served || free >= u128::from(self.claims[other].count),
                            "{uid} passed {other}"
                        );
                    }
                    self.waiting.remove(uid);
                    let releases = bound.iter().map(|one| Release {
                        address: one.address,
                        owner: *uid,
                        seq: one.seq,
                    });
                    self.bound.insert(*uid, releases.collect());
                }
                Verdict::Refused(_) => {
                    self.waiting.entry(*uid).or_insert(now);
                }
            }
        }
        self.woken = outcome.wake;
        let line: BTreeSet<ResourceUid> =
            self.space.waiting().line(POOL, Family::V4).map(|(uid, _)| uid).collect();
        assert_eq!(line, self.waiting.keys().copied().collect::<BTreeSet<_>>());
        assert!(self.space.counts(POOL, Family::V4).add_up());
    }
}

proptest! {
    #[test]
    fn everybody_is_served_in_the_end(steps in prop::collection::vec((prop::collection::vec(1_u16..9, 0..3), 0_usize..3), 1..150)) {
        let mut world = World::new();
        let (mut number, mut step) = (0, 0);
        for (counts, given_back) in steps {
            let new = counts.into_iter().map(|count| {
                number += 1;
                claim(number, count, at(step))
            });
            let new = new.collect();
            world.step(step, new, given_back);
            step += 1;
        }
        // Nothing new any more: each step somebody leaves, so each waiting claim gets its turn.
        for _ in 0..number * 4 + 50 {
            world.step(step, Vec::new(), 1);
            step += 1;
            if step % 6 == 0 {
                let swept = world.space.sweep(at(step));
                world.woken = swept;
            }
        }
        prop_assert!(world.waiting.is_empty(), "{:?}", world.waiting);
        prop_assert_eq!(world.space.waiting().count(), 0);
    }
}
