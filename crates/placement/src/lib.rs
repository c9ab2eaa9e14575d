//! Which host a machine goes to, and why not the others.
//!
//! A pure function of hosts, request, policy and seed. First every filter is asked in a fixed order; the first one that
//! refuses a host is that host's reason. What is left is scored by one struct of integers whose field order *is* the
//! policy; the last fields are a hash of seed and host and then the host's name, so equal hosts are settled the same way
//! on every run. Shares are compared as fractions in integers; there is no floating point.
#![cfg_attr(
    not(test),
    deny(clippy::float_arithmetic, clippy::as_conversions, clippy::arithmetic_side_effects)
)]
#![deny(clippy::wildcard_enum_match_arm)]

mod host;
mod score;

pub use host::{Host, InventoryLine, Refusal};
pub use score::Policy;

use score::Score;
use std::collections::BTreeMap;

/// Amounts by resource name, each > 0.
pub type Amounts = BTreeMap<String, i64>;

/// What is to be placed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// What the machine takes of each resource.
    pub amounts: Amounts,
    /// The only cluster allowed, if any.
    pub cluster: Option<String>,
}

/// Why no host does: for each reason the hosts it refused, sorted by name.
pub type Refusals = BTreeMap<Refusal, Vec<String>>;

/// Chooses the host with the least score among those that fit.
///
/// `hosts` in any order; the answer does not depend on it. With no host at all the refusals are empty.
///
/// # Errors
/// The reason of every host.
pub fn choose<'a>(
    hosts: impl IntoIterator<Item = &'a Host>,
    request: &Request,
    policy: Policy,
    seed: u64,
) -> Result<&'a Host, Refusals> {
    let mut refusals = Refusals::new();
    let mut best: Option<(Score<'a>, &'a Host)> = None;
    for host in hosts {
        if let Some(refusal) = host.refuses(request) {
            refusals.entry(refusal).or_default().push(host.name.clone());
            continue;
        }
        let score = Score::of(host, request, policy, seed);
        if best.as_ref().is_none_or(|(least, _)| score < *least) {
            best = Some((score, host));
        }
    }
    for names in refusals.values_mut() {
        names.sort();
    }
    best.map(|(_, host)| host).ok_or(refusals)
}

#[cfg(test)]
mod tests;
