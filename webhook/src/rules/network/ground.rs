//! A pool's specification as `ipam` takes it, with a finding for each text that cannot be read. What a pool hands out and
//! what never, and whether a pool can be at all, is `ipam`'s to say: the writers of blocks ask it the same.

use crate::finding::Verdict;
use crds::network::{AddressRange as RangeText, IPPoolSpec, PoolStrategy};
use ids::ResourceUid;
use ipam::address::{Address, AddressRange, AddressSet, Cidr, Family};
use ipam::plan::Withheld;
use ipam::pool::{Pool, PoolRefused, Strategy};

/// A pool's addresses by what may become of them.
#[derive(Debug, Clone)]
pub struct Ground {
    /// Everything the ranges hold, before anything is left out.
    pub all: AddressSet,
    pool: Pool,
}

/// Why an address is not handed out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// It is in no range.
    OutOfRange,
    /// It is never handed out.
    Withheld(Withheld),
}

impl Ground {
    /// The ground of a specification that was accepted; what cannot be read of it is left out.
    pub fn of(spec: &IPPoolSpec, prefix: Option<Cidr>) -> Self {
        Self::new(spec, prefix, &mut Verdict::default())
    }

    /// The ground of a specification, with a finding for each text that cannot be read. The whole prefix is meant where
    /// no range is named.
    pub fn new(spec: &IPPoolSpec, prefix: Option<Cidr>, verdict: &mut Verdict) -> Self {
        let mut ranges = read(&spec.ranges, "spec.ranges", verdict);
        ranges.extend(prefix.map(|prefix| prefix.range()).filter(|_| spec.ranges.is_empty()));
        let gateway = spec.gateway.as_ref().and_then(|text| match text.as_str().parse() {
            Ok(gateway) => Some(gateway),
            Err(error) => {
                verdict.invalid("spec.gateway", format!("{error}"));
                None
            }
        });
        // Which pool it is decides nothing here.
        let mut pool = Pool::plain(ResourceUid(uuid::Uuid::nil()), ranges, strategy(spec));
        pool.on_link = prefix.into_iter().collect();
        pool.excluded = read(&spec.exclude, "spec.exclude", verdict);
        pool.gateways = gateway.into_iter().collect();
        pool.allow_edges = spec.allow_reserved_addresses == Some(true);
        pool.avoid_zero_and_255 = spec.avoid_zero_and_255 == Some(true);
        Self { all: pool.span(), pool }
    }

    /// Why an address is not handed out; `None` when it may be.
    pub fn keeps(&self, address: Address) -> Option<Kept> {
        let kept = if !self.all.contains(address) {
            Kept::OutOfRange
        } else if self.pool.gateways.contains(&address) {
            Kept::Withheld(Withheld::Gateway)
        } else if AddressSet::union_of(self.pool.excluded.iter().copied()).contains(address) {
            Kept::Withheld(Withheld::Excluded)
        } else if self.pool.withheld().contains(address) {
            Kept::Withheld(Withheld::Edge)
        } else if !self.pool.territory(address.family()).contains(address) {
            Kept::Withheld(Withheld::ZeroOr255)
        } else {
            return None;
        };
        Some(kept)
    }

    /// What stands against such a pool, with the field that says it. `exclusive`: whether its zone gives whole blocks to
    /// tenants whatever the strategy.
    pub fn refused(&self, exclusive: bool) -> Option<(&'static str, PoolRefused)> {
        let pool = Pool { exclusive, ..self.pool.clone() };
        let refused = pool.check().err()?;
        let field = match refused {
            // Of a prefix that is not there yet, all of it is meant.
            PoolRefused::NoRanges => return None,
            PoolRefused::RangeTwice { .. }
            | PoolRefused::NotWholeBlocks { .. }
            | PoolRefused::OverlapsPool { .. } => "spec.ranges",
            PoolRefused::NothingLeft => "spec.exclude",
            PoolRefused::GatewayUnreachable { .. } => "spec.gateway",
        };
        Some((field, refused))
    }

    /// The router, where there is one.
    pub fn gateway(&self) -> Option<Address> {
        self.pool.gateways.first().copied()
    }

    /// The family, where there is an address to tell it by.
    pub fn family(&self) -> Option<Family> {
        self.all.ranges().first().map(AddressRange::family)
    }
}

fn strategy(spec: &IPPoolSpec) -> Strategy {
    match spec.strategy.unwrap_or(PoolStrategy::Sequential) {
        PoolStrategy::Sequential => Strategy::Sequential,
        PoolStrategy::TenantRun => Strategy::TenantRun,
        PoolStrategy::Dispersed => Strategy::Dispersed { strict: spec.strict != Some(false) },
        PoolStrategy::ExclusiveBlock => Strategy::ExclusiveBlock,
        PoolStrategy::LeastRecentlyUsed => Strategy::LeastRecentlyUsed,
    }
}

/// Ranges as they are written, in order; a finding for each that cannot be read.
pub fn read(texts: &[RangeText], field: &str, verdict: &mut Verdict) -> Vec<AddressRange> {
    let mut ranges = Vec::with_capacity(texts.len());
    for (index, text) in texts.iter().enumerate() {
        match text.as_str().parse() {
            Ok(range) => ranges.push(range),
            Err(error) => verdict.invalid(format!("{field}[{index}]"), format!("{error}")),
        }
    }
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn ground(prefix: &str, extra: &Value) -> Ground {
        let mut spec = json!({ "prefixRef": { "name": "p" } });
        for (key, value) in extra.as_object().unwrap() {
            spec[key] = value.clone();
        }
        Ground::of(&serde_json::from_value(spec).unwrap(), Some(prefix.parse().unwrap()))
    }

    #[test]
    fn what_is_kept_has_a_reason() {
        let of = json!({ "ranges": ["10.0.0.0/28", "10.0.0.240-10.0.0.255", "10.0.1.0"],
            "exclude": ["10.0.0.5"], "gateway": "10.0.0.1", "avoidZeroAnd255": true });
        let ground = ground("10.0.0.0/23", &of);
        for (address, kept) in [
            ("10.0.0.2", None),
            ("10.0.0.16", Some(Kept::OutOfRange)),
            ("10.0.0.5", Some(Kept::Withheld(Withheld::Excluded))),
            ("10.0.0.1", Some(Kept::Withheld(Withheld::Gateway))),
            ("10.0.0.0", Some(Kept::Withheld(Withheld::Edge))),
            ("10.0.1.0", Some(Kept::Withheld(Withheld::ZeroOr255))),
            ("10.0.0.15", None),
        ] {
            assert_eq!(ground.keeps(address.parse().unwrap()), kept, "{address}");
        }
    }

    #[test]
    fn what_cannot_be_is_said_at_its_field() {
        let refused = |prefix: &str, extra: Value, exclusive: bool| {
            ground(prefix, &extra).refused(exclusive).map(|(field, _)| field)
        };
        assert_eq!(refused("10.0.0.0/25", json!({}), false), None);
        assert_eq!(refused("10.0.0.0/25", json!({}), true), Some("spec.ranges"));
        assert_eq!(
            refused("10.0.0.0/25", json!({ "strategy": "ExclusiveBlock" }), false),
            Some("spec.ranges")
        );
        assert_eq!(
            refused("10.0.0.0/30", json!({ "exclude": ["10.0.0.0/24"] }), false),
            Some("spec.exclude")
        );
        assert_eq!(
            refused("10.0.0.0/30", json!({ "gateway": "10.0.9.1" }), false),
            Some("spec.gateway")
        );
        let none = Ground::of(
            &serde_json::from_value(json!({ "prefixRef": { "name": "p" } })).unwrap(),
            None,
        );
        assert!(none.refused(false).is_none(), "of a prefix that is not there yet");
    }
}
