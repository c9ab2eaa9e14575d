//! The addresses a pool hands out: its ranges, less what is never given to anybody.

use crate::finding::Verdict;
use crds::network::{AddressRange as RangeText, IPPoolSpec};
use ipam::address::{Address, AddressRange, AddressSet, Cidr, Family};

/// A pool's addresses by what may become of them.
#[derive(Debug, Clone, Default)]
pub struct Ground {
    /// Everything the ranges hold, before anything is left out.
    pub all: AddressSet,
    /// What the author left out.
    pub excluded: AddressSet,
    /// The router.
    pub gateway: Option<Address>,
    /// The network and broadcast address, where they are out.
    pub edges: AddressSet,
    /// Whether addresses that end in 0 or 255 are passed over.
    avoids_zero_and_255: bool,
}

/// Why an address is not handed out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// It is in no range.
    OutOfRange,
    /// The author left it out.
    Excluded,
    /// It is the router's.
    Gateway,
    /// It is the network or broadcast address, or the lowest of an IPv6 prefix.
    Edge,
}

impl Ground {
    /// The ground of a specification that was accepted; what cannot be read of it is left out.
    pub fn of(spec: &IPPoolSpec, prefix: Option<Cidr>) -> Self {
        Self::new(spec, prefix, &mut Verdict::default())
    }

    /// The ground of a specification, with a finding for each text that cannot be read. The whole prefix is meant where
    /// no range is named.
    pub fn new(spec: &IPPoolSpec, prefix: Option<Cidr>, verdict: &mut Verdict) -> Self {
        let ranges = read(&spec.ranges, "spec.ranges", verdict);
        let whole = prefix.map(|prefix| prefix.range()).filter(|_| spec.ranges.is_empty());
        let edges = prefix.filter(|_| spec.allow_reserved_addresses != Some(true)).map(edges_of);
        let gateway = spec.gateway.as_ref().and_then(|text| match text.as_str().parse() {
            Ok(gateway) => Some(gateway),
            Err(error) => {
                verdict.invalid("spec.gateway", format!("{error}"));
                None
            }
        });
        Self {
            all: AddressSet::union_of(ranges.into_iter().chain(whole)),
            excluded: AddressSet::union_of(read(&spec.exclude, "spec.exclude", verdict)),
            gateway,
            edges: AddressSet::union_of(edges.into_iter().flatten()),
            avoids_zero_and_255: spec.avoid_zero_and_255 == Some(true),
        }
    }

    /// Why an address is not handed out; `None` when it may be.
    pub fn keeps(&self, address: Address) -> Option<Kept> {
        if !self.all.contains(address) {
            Some(Kept::OutOfRange)
        } else if self.excluded.contains(address) {
            Some(Kept::Excluded)
        } else if self.gateway == Some(address) {
            Some(Kept::Gateway)
        } else if self.edges.contains(address) {
            Some(Kept::Edge)
        } else {
            None
        }
    }

    /// Whether there is nothing to hand out.
    pub fn is_barren(&self) -> bool {
        let gateway = self.gateway.map(AddressRange::single);
        let left = self
            .all
            .without(&self.excluded)
            .without(&self.edges)
            .without(&AddressSet::union_of(gateway));
        // Between 255 and 0 of the next block lies nothing, so longer ranges have others.
        let is_avoided = |range: &AddressRange| {
            range.count() <= 2
                && ends_in_zero_or_255(range.first())
                && ends_in_zero_or_255(range.last())
        };
        left.is_empty() || (self.avoids_zero_and_255 && left.ranges().iter().all(is_avoided))
    }

    /// The family, where there is an address to tell it by.
    pub fn family(&self) -> Option<Family> {
        self.all.ranges().first().map(AddressRange::family)
    }

    /// A range that is not made of whole blocks.
    pub fn ragged(&self) -> Option<AddressRange> {
        let is_whole = |range: &AddressRange| {
            range.first().value().trailing_zeros() >= 8 && range.last().value().trailing_ones() >= 8
        };
        self.all.ranges().iter().copied().find(|range| !is_whole(range))
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

/// The addresses of a prefix that mean the prefix itself or all of it.
fn edges_of(prefix: Cidr) -> Vec<AddressRange> {
    let (first, last) = (AddressRange::single(prefix.first()), AddressRange::single(prefix.last()));
    match prefix.family() {
        Family::V4 if prefix.length() <= 30 => vec![first, last],
        Family::V6 if prefix.length() <= 126 => vec![first],
        Family::V4 | Family::V6 => Vec::new(),
    }
}

fn ends_in_zero_or_255(address: Address) -> bool {
    address.family() == Family::V4 && matches!(address.value() & 0xff, 0 | 0xff)
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
        let ground = ground(
            "10.0.0.0/24",
            &json!({ "ranges": ["10.0.0.0/28", "10.0.0.240-10.0.0.255"], "exclude": ["10.0.0.5"], "gateway": "10.0.0.1" }),
        );
        for (address, kept) in [
            ("10.0.0.2", None),
            ("10.0.0.16", Some(Kept::OutOfRange)),
            ("10.0.0.5", Some(Kept::Excluded)),
            ("10.0.0.1", Some(Kept::Gateway)),
            ("10.0.0.0", Some(Kept::Edge)),
            ("10.0.0.255", Some(Kept::Edge)),
            ("10.0.0.15", None),
        ] {
            assert_eq!(ground.keeps(address.parse().unwrap()), kept, "{address}");
        }
    }

    #[test]
    fn edges_are_out_as_the_prefix_says() {
        let keeps = |prefix: &str, extra: Value, address: &str| {
            ground(prefix, &extra).keeps(address.parse().unwrap())
        };
        assert_eq!(keeps("10.0.0.0/30", json!({}), "10.0.0.3"), Some(Kept::Edge));
        assert_eq!(keeps("10.0.0.0/31", json!({}), "10.0.0.0"), None);
        assert_eq!(
            keeps("10.0.0.0/24", json!({ "allowReservedAddresses": true }), "10.0.0.0"),
            None
        );
        assert_eq!(keeps("2001:db8::/64", json!({}), "2001:db8::"), Some(Kept::Edge));
        assert_eq!(keeps("2001:db8::/64", json!({}), "2001:db8::ffff:ffff:ffff:ffff"), None);
        assert_eq!(keeps("2001:db8::/127", json!({}), "2001:db8::"), None);
    }

    #[test]
    fn a_pool_of_nothing_is_known() {
        for (prefix, extra, barren) in [
            ("10.0.0.0/30", json!({}), false),
            ("10.0.0.0/30", json!({ "exclude": ["10.0.0.1-10.0.0.2"] }), true),
            ("10.0.0.0/30", json!({ "exclude": ["10.0.0.1"], "gateway": "10.0.0.2" }), true),
            ("10.0.0.0/24", json!({ "exclude": ["10.0.0.0/24"] }), true),
            ("10.0.0.0/16", json!({ "ranges": ["10.0.0.255-10.0.1.0"] }), false),
            (
                "10.0.0.0/16",
                json!({ "ranges": ["10.0.0.255-10.0.1.0"], "avoidZeroAnd255": true }),
                true,
            ),
        ] {
            assert_eq!(ground(prefix, &extra).is_barren(), barren, "{prefix} {extra}");
        }
    }

    #[test]
    fn blocks_are_whole_or_ragged() {
        let ragged =
            |prefix: &str, extra: Value| ground(prefix, &extra).ragged().map(|it| it.to_string());
        assert_eq!(ragged("10.0.0.0/23", json!({})), None);
        assert_eq!(ragged("10.0.0.0/25", json!({})), Some("10.0.0.0/25".to_owned()));
        let halves = json!({ "ranges": ["10.0.0.0/25", "10.0.0.128/25"] });
        assert_eq!(ragged("10.0.0.0/23", halves), None);
        assert_eq!(ragged("2001:db8::/120", json!({})), None);
    }
}
