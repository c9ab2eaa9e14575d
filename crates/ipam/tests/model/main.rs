//! The planner against plain sets, in a world where writers are stale, answers get lost and programs crash.
//!
//! Every strategy, IPv4 and IPv6, runs the same random operations; whenever a writer sees the newest state, each of its
//! choices is compared with the rule carried out over plain sets. `FREEHOLD_IPAM_OPERATIONS` sets how many operations are
//! run in all (a million on demand), `FREEHOLD_IPAM_SEED` repeats a failure.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    reason = "a test fails by panicking, and what it met is worth reading"
)]

mod plain;
mod world;

use ids::ResourceUid;
use ipam::address::AddressRange;
use ipam::pool::{Pool, Strategy};
use std::panic::RefUnwindSafe;
use uuid::Uuid;
use world::World;

fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().map_or(otherwise, |text| text.parse().expect("a number"))
}

fn pool(uid: u64, ranges: &[&str], strategy: Strategy) -> Pool {
    let ranges: Vec<AddressRange> = ranges.iter().map(|range| range.parse().unwrap()).collect();
    Pool::plain(ResourceUid(Uuid::from_u64_pair(1, uid)), ranges, strategy)
}

/// Two pools that meet in one block, one of them with everything that is never handed out, and IPv6 beside.
fn shared(strategy: Strategy) -> Vec<Pool> {
    let mut first = pool(1, &["10.0.0.0-10.0.1.99", "2001:db8::/120"], strategy);
    first.on_link = vec!["10.0.0.0/24".parse().unwrap(), "2001:db8::/64".parse().unwrap()];
    first.gateways = vec!["10.0.0.1".parse().unwrap()];
    first.excluded = vec!["10.0.0.16/28".parse().unwrap(), "2001:db8::80/121".parse().unwrap()];
    first.avoid_zero_and_255 = true;
    let mut second = pool(2, &["10.0.1.100-10.0.1.200", "2001:db8::1:0/121"], strategy);
    second.quarantine_seconds = 0;
    vec![first, second]
}

fn whole(strategy: Strategy) -> Vec<Pool> {
    let mut first = pool(1, &["10.0.0.0/22", "2001:db8::/118"], strategy);
    first.exclusive = true;
    vec![first]
}

/// Runs operations until the share of this case is spent, in runs of a few hundred so that worlds begin empty often.
fn explore(name: &str, pools: impl Fn() -> Vec<Pool> + RefUnwindSafe, pools_change: bool) {
    const CASES: u64 = 16;
    const RUN: u64 = 250;
    let operations = number("FREEHOLD_IPAM_OPERATIONS", 10_000) / CASES;
    let first = number("FREEHOLD_IPAM_SEED", 1);
    for run in 0..operations.div_ceil(RUN) {
        let seed = first + run;
        let outcome = std::panic::catch_unwind(|| {
            let mut world = World::new(seed, pools(), pools_change);
            for step in 0..RUN {
                world.step();
                if step % 20 == 0 {
                    world.check();
                }
            }
            world.check();
            world.end();
            world.counts
        });
        match outcome {
            Ok(counts) if run == 0 => println!("{name}: {counts:?}"),
            Ok(_) => {}
            Err(panic) => {
                println!("{name}: repeat with FREEHOLD_IPAM_SEED={seed}");
                std::panic::resume_unwind(panic);
            }
        }
    }
}

const STRATEGIES: [(&str, Strategy); 5] = [
    ("Sequential", Strategy::Sequential),
    ("TenantRun", Strategy::TenantRun),
    ("Dispersed strict", Strategy::Dispersed { strict: true }),
    ("Dispersed", Strategy::Dispersed { strict: false }),
    ("LeastRecentlyUsed", Strategy::LeastRecentlyUsed),
];

#[test]
fn pools_that_share_blocks() {
    for (name, strategy) in STRATEGIES {
        explore(name, || shared(strategy), false);
    }
}

#[test]
fn pools_with_a_block_for_each_tenant() {
    for (name, strategy) in STRATEGIES {
        explore(&format!("exclusive {name}"), || whole(strategy), false);
    }
    explore("ExclusiveBlock", || whole(Strategy::ExclusiveBlock), false);
}

#[test]
fn pools_that_shrink_and_grow() {
    for (name, strategy) in STRATEGIES {
        explore(&format!("changing {name}"), || shared(strategy), true);
    }
}
