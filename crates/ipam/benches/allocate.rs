//! How fast addresses are planned, and how they lie after a long time.
//!
//! *Speed*: one pool of a /16 (IPv6: a /112, as many addresses) is filled by claims for one address each, 256 a batch, of
//! 40 tenants in a shuffled order; then half of the claims, chosen at random, give theirs back in batches of 256, rest,
//! and are freed. Only [`Space::plan`] is timed, by the CPU time of the thread, so that neighbours on the machine do not
//! count.
//!
//! *Scores*: 100,000 operations on a /18 (16,384 addresses) of 100 tenants whose sizes follow 1/rank; 85 % of the claims are
//! for one address, 10 % for 2 to 4, 5 % for 8; a claim is given back at random whenever more than 40 % of the addresses
//! are live. Released addresses rest for 300 s, and ten operations take a second.
//!
//! Run it as `cargo xtask bench allocate` or `cargo bench --package ipam`, with names of strategies for these alone.
#![expect(clippy::print_stdout, reason = "the figures are the result")]
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a benchmark fails by panicking"
)]
#![expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "figures for people"
)]

use calendar::Instant;
use ids::{AccountId, ResourceUid};
use ipam::address::Family;
use ipam::block::{Block, Slot};
use ipam::plan::{Batch, Claim, Families, Release, Verdict};
use ipam::pool::{Pool, Strategy};
use ipam::space::Space;
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

const BATCH: usize = 256;
const TENANTS: usize = 40;
const OPERATIONS: usize = 100_000;
const POOL: ResourceUid = ResourceUid(Uuid::from_u128(1));
const STRATEGIES: [(&str, Strategy); 6] = [
    ("Sequential", Strategy::Sequential),
    ("TenantRun", Strategy::TenantRun),
    ("Dispersed, strict", Strategy::Dispersed { strict: true }),
    ("Dispersed", Strategy::Dispersed { strict: false }),
    ("ExclusiveBlock", Strategy::ExclusiveBlock),
    ("LeastRecentlyUsed", Strategy::LeastRecentlyUsed),
];

/// `SplitMix64`.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, count: usize) -> usize {
        (self.next() % count as u64) as usize
    }
}

fn main() {
    println!("allocations and releases a second, one thread, one address a claim, {BATCH} a batch");
    println!(
        "{:<20}{:>12}{:>12}{:>14}{:>14}",
        "strategy", "IPv4", "IPv6", "release IPv4", "release IPv6"
    );
    let wanted: Vec<String> =
        std::env::args().skip(1).filter(|text| !text.starts_with('-')).collect();
    let chosen = || {
        STRATEGIES
            .into_iter()
            .filter(|(name, _)| wanted.is_empty() || wanted.iter().any(|one| one == name))
    };
    for (name, strategy) in chosen() {
        let (claims4, releases4) = speed(strategy, "10.0.0.0/16", Families::V4);
        let (claims6, releases6) = speed(strategy, "2001:db8::/112", Families::V6);
        println!("{name:<20}{claims4:>12}{claims6:>12}{releases4:>14}{releases6:>14}");
    }
    println!();
    println!("a block of 256 slots read back, a second: {}", reading_back());
    println!();
    println!("after {OPERATIONS} operations, in thousandths and numbers");
    println!(
        "{:<20}{:>10}{:>14}{:>18}{:>10}{:>8}{:>10}",
        "strategy",
        "adjacency",
        "fragmentation",
        "foreign neighbours",
        "prefixes",
        "live",
        "refused"
    );
    for (name, strategy) in chosen() {
        scores(name, strategy);
    }
}

fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap())
}

fn per_second(count: usize, spent: Duration) -> u128 {
    count as u128 * 1_000_000_000 / spent.as_nanos().max(1)
}

fn space(range: &str, strategy: Strategy) -> Space {
    Space::new([Pool::plain(POOL, vec![range.parse().unwrap()], strategy)], []).unwrap()
}

fn claim(
    random: &mut Random,
    tenant: usize,
    families: Families,
    count: u16,
    now: Instant,
) -> Claim {
    Claim {
        uid: ResourceUid(Uuid::from_u64_pair(random.next(), random.next())),
        created: now,
        reference: Arc::from("tn-acme-web/address"),
        tenant: AccountId(Uuid::from_u128(tenant as u128 + 1)),
        pools: vec![POOL],
        families,
        count,
        address: None,
        sticky_key: None,
        waiting_since: None,
    }
}

/// Claims and releases a second.
fn speed(strategy: Strategy, range: &str, families: Families) -> (u128, u128) {
    let mut random = Random(1);
    let mut space = space(range, strategy);
    let now = Instant::EPOCH;
    // An isolated address needs room: a strict pool is full long before its last address is taken.
    let wanted = if strategy == (Strategy::Dispersed { strict: true }) { 80 } else { 200 };
    let mut held = Vec::new();
    let mut spent = Duration::ZERO;
    for _ in 0..wanted {
        let claims = (0..BATCH)
            .map(|_| {
                let tenant = random.below(TENANTS);
                claim(&mut random, tenant, families, 1, now)
            })
            .collect();
        let batch = Batch { claims, ..Batch::default() };
        let before = cpu_time();
        let outcome = space.plan(&batch, now);
        spent += cpu_time().saturating_sub(before);
        for (owner, verdict) in outcome.verdicts {
            match verdict {
                Verdict::Bound(bound) => {
                    held.extend(bound.iter().map(|one| Release {
                        address: one.address,
                        owner,
                        seq: one.seq,
                    }));
                }
                Verdict::Refused(refusal) => panic!("{refusal}"),
            }
        }
    }
    let claims = per_second(held.len(), spent);
    let mut spent = Duration::ZERO;
    let mut released = 0;
    while held.len() > wanted * BATCH / 2 {
        let returned: Vec<Release> =
            (0..BATCH).map(|_| held.swap_remove(random.below(held.len()))).collect();
        released += returned.len();
        let before = cpu_time();
        space.plan(&Batch { releases: returned, ..Batch::default() }, now);
        spent += cpu_time().saturating_sub(before);
    }
    let before = cpu_time();
    space.plan(&Batch::default(), now.plus_microseconds(301_000_000));
    spent += cpu_time().saturating_sub(before);
    (claims, per_second(released, spent))
}

/// Blocks that were written by the view itself and come back as they are in their objects, where times are whole seconds.
fn reading_back() -> u128 {
    const BLOCKS: usize = 2_000;
    let mut random = Random(3);
    let mut space = space("10.0.0.0/24", Strategy::Sequential);
    let now = Instant::EPOCH.plus_microseconds(1_700_000);
    let claims =
        (0..BATCH).map(|number| claim(&mut random, number % TENANTS, Families::V4, 1, now));
    let claims = claims.collect();
    space.plan(&Batch { claims, ..Batch::default() }, now);
    let known = space.blocks().next().unwrap().clone();
    let slots = |since: Instant| {
        known.slots().iter().map(move |(index, slot)| (*index, Slot { since, ..slot.clone() }))
    };
    let rounded = [1_000_000, 2_000_000].map(|microseconds| {
        let since = Instant::EPOCH.plus_microseconds(microseconds);
        Block::from_parts(known.id(), known.generation(), None, slots(since), []).unwrap()
    });
    let mut spent = Duration::ZERO;
    for block in rounded.iter().cycle().take(BLOCKS) {
        let block = block.clone();
        let before = cpu_time();
        space.replace_block(block);
        spent += cpu_time().saturating_sub(before);
    }
    per_second(BLOCKS, spent)
}

fn scores(name: &str, strategy: Strategy) {
    let mut random = Random(2);
    let mut space = space("10.0.0.0/18", strategy);
    let ranks: Vec<f64> = (1..=100_u32).map(|rank| 1.0 / f64::from(rank)).collect();
    let sum: f64 = ranks.iter().sum();
    let mut held: Vec<Vec<Release>> = Vec::new();
    let (mut live, mut refused) = (0, 0);
    for operation in 0..OPERATIONS {
        let now = Instant::EPOCH.plus_microseconds(i64::try_from(operation).unwrap() * 100_000);
        if live > 16_384 * 4 / 10 {
            let releases = held.swap_remove(random.below(held.len()));
            live -= releases.len();
            space.plan(&Batch { releases, ..Batch::default() }, now);
            continue;
        }
        let mut at = (random.next() >> 11) as f64 / (1_u64 << 53) as f64 * sum;
        let tenant = ranks
            .iter()
            .position(|rank| {
                at -= rank;
                at < 0.0
            })
            .unwrap_or(0);
        let count = match random.below(100) {
            0..85 => 1,
            85..95 => 2 + random.below(3) as u16,
            _ => 8,
        };
        let claim = claim(&mut random, tenant, Families::V4, count, now);
        let owner = claim.uid;
        let outcome = space.plan(&Batch { claims: vec![claim], ..Batch::default() }, now);
        match &outcome.verdicts[0].1 {
            Verdict::Bound(bound) => {
                live += bound.len();
                held.push(
                    bound
                        .iter()
                        .map(|one| Release { address: one.address, owner, seq: one.seq })
                        .collect(),
                );
                space.plan(&Batch { publishes: vec![owner], ..Batch::default() }, now);
            }
            Verdict::Refused(_) => {
                refused += 1;
                space.withdraw(owner);
            }
        }
    }
    let scores = space.scores(POOL, Family::V4);
    assert!(space.counts(POOL, Family::V4).add_up());
    let prefixes: u64 = scores.prefixes_by_tenant.values().sum();
    println!(
        "{name:<20}{:>10}{:>14}{:>18}{prefixes:>10}{live:>8}{refused:>10}",
        scores.adjacency.thousandths(),
        scores.fragmentation.thousandths(),
        scores.foreign_neighbours
    );
}
