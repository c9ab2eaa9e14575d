//! The order among hosts that fit: the least score wins.

use crate::{Host, Request};

/// How hosts are filled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// Fill one before the next, so that whole hosts stay free.
    Pack,
    /// Keep them evenly filled, so that a lost host takes little with it.
    Spread,
}

/// Field order is the policy.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Score<'a> {
    /// The fullest resource after placing, in millionths of its capacity; negated for Pack.
    fullness_millionths: i64,
    /// Settles ties differently for different machines.
    tie: u64,
    /// Settles what is left.
    name: &'a str,
}

impl<'a> Score<'a> {
    pub(crate) fn of(host: &'a Host, request: &Request, policy: Policy, seed: u64) -> Self {
        let fullest = request
            .amounts
            .iter()
            .filter_map(|(resource, amount)| {
                let line = host.inventory.get(resource)?;
                let after = host.allocated_of(resource).saturating_add(*amount);
                millionths(after, line.capacity())
            })
            .max()
            .unwrap_or(0);
        Self {
            fullness_millionths: match policy {
                Policy::Pack => fullest.saturating_neg(),
                Policy::Spread => fullest,
            },
            tie: mix(seed, &host.name),
            name: &host.name,
        }
    }
}

fn millionths(part: i64, whole: i64) -> Option<i64> {
    let scaled = i128::from(part).checked_mul(1_000_000)?.checked_div(i128::from(whole))?;
    i64::try_from(scaled).ok()
}

/// FNV-1a over the seed and the name: small, fixed for ever, and good enough to settle ties.
fn mix(seed: u64, name: &str) -> u64 {
    const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0100_0000_01b3;
    seed.to_be_bytes()
        .into_iter()
        .chain(name.bytes())
        .fold(OFFSET, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(PRIME))
}
