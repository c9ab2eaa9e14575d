//! The NetworkPolicy of a namespace, from the zones it uses: who may begin a connection with whom.
//!
//! Connections may begin towards zones of equal or lower trust, and upwards where a zone names the other as a peer. Within a
//! zone that keeps tenants apart, the zone's own networks are left out: what a tenant may reach there is its own, which the
//! namespace's first policy allows already.

use crds::network::{Isolation, SecurityZoneSpec};
use ids::well_known;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// The policy's name in each namespace.
pub const NAME: &str = "freehold-zones";
/// What the policy was generated from, so that a change by somebody else can be told from one of ours.
pub const SOURCE_ANNOTATION: &str = "network.freehold.dev/generated-from";

/// A zone with the networks in it.
#[derive(Debug, Clone, PartialEq)]
pub struct Zone {
    /// As declared.
    pub spec: SecurityZoneSpec,
    /// The fewest networks that cover its prefixes, sorted.
    pub cidrs: Vec<String>,
}

/// Whether somebody in zone `from` may begin a connection to zone `to`.
pub fn may_begin(zones: &BTreeMap<String, Zone>, from: &str, to: &str) -> bool {
    let (Some(source), Some(target)) = (zones.get(from), zones.get(to)) else { return false };
    if from == to {
        return source.spec.isolation() == Isolation::Shared;
    }
    target.spec.trust <= source.spec.trust || source.spec.peers.iter().any(|peer| peer.name == to)
}

/// The policy of a namespace that uses these zones.
///
/// # Errors
/// Never for the fixed shape below; the conversion is checked nevertheless.
pub fn policy(
    namespace: &str,
    used: &BTreeSet<String>,
    zones: &BTreeMap<String, Zone>,
) -> Result<NetworkPolicy, serde_json::Error> {
    let peers = |is_peer: &dyn Fn(&str) -> bool| -> Vec<Value> {
        let networks: BTreeSet<&String> = zones
            .iter()
            .filter(|(name, _)| is_peer(name))
            .flat_map(|(_, zone)| &zone.cidrs)
            .collect();
        networks.into_iter().map(|cidr| json!({ "ipBlock": { "cidr": cidr } })).collect()
    };
    let to = peers(&|other| used.iter().any(|own| may_begin(zones, own, other)));
    let from = peers(&|other| used.iter().any(|own| may_begin(zones, other, own)));
    // A rule without peers would mean everybody. The empty list is said, so that a rule of somebody else's goes.
    let rule = |field: &str, peers: Vec<Value>| {
        if peers.is_empty() { json!([]) } else { json!([{ field: peers }]) }
    };
    let source = json!({ "used": used, "to": to, "from": from }).to_string();
    serde_json::from_value(json!({
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {
            "name": NAME,
            "namespace": namespace,
            "labels": { (well_known::MANAGED_BY_LABEL): well_known::OPERATOR_MANAGER },
            "annotations": { (SOURCE_ANNOTATION): source },
        },
        "spec": {
            "podSelector": {},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": rule("from", from),
            "egress": rule("to", to),
        },
    }))
}

/// The zones that a policy was generated from.
pub fn used_by(policy: &NetworkPolicy) -> BTreeSet<String> {
    let source = policy.metadata.annotations.as_ref().and_then(|all| all.get(SOURCE_ANNOTATION));
    let source: Option<Value> = source.and_then(|text| serde_json::from_str(text).ok());
    let used = source.and_then(|source| source.get("used").cloned());
    let used = used.and_then(|used| serde_json::from_value(used).ok());
    used.unwrap_or_default()
}

/// Whether two policies let the same through; the API server stores no empty lists.
pub fn is_same(one: &NetworkPolicy, other: &NetworkPolicy) -> bool {
    let rules = |policy: &NetworkPolicy| {
        let mut spec = policy.spec.clone().unwrap_or_default();
        spec.ingress = spec.ingress.filter(|rules| !rules.is_empty());
        spec.egress = spec.egress.filter(|rules| !rules.is_empty());
        spec
    };
    rules(one) == rules(other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crds::ObjectName;
    use ipam::address::{Address, Cidr};

    fn zone(trust: i64, isolation: Isolation, peers: &[&str], cidr: &str) -> Zone {
        let peers = peers.iter().map(|name| ObjectName::new(*name)).collect();
        let spec = SecurityZoneSpec { trust, isolation: Some(isolation), peers };
        Zone { spec, cidrs: vec![cidr.to_owned()] }
    }

    fn zones() -> BTreeMap<String, Zone> {
        [
            ("public", zone(10, Isolation::Shared, &[], "203.0.113.0/24")),
            ("office", zone(50, Isolation::Shared, &[], "10.1.0.0/16")),
            ("vault", zone(90, Isolation::PerTenantBlock, &[], "10.9.0.0/16")),
            ("gate", zone(20, Isolation::Shared, &["vault"], "10.2.0.0/16")),
        ]
        .map(|(name, zone)| (name.to_owned(), zone))
        .into()
    }

    /// As a network that enforces policies would judge: may a pod of the namespace begin a connection with `address`, or the
    /// other way round?
    fn allows(policy: &NetworkPolicy, is_egress: bool, address: &str) -> bool {
        let address: Address = address.parse().unwrap();
        let spec = policy.spec.as_ref().unwrap();
        let peers: Vec<_> = if is_egress {
            spec.egress.iter().flatten().flat_map(|rule| rule.to.clone().unwrap()).collect()
        } else {
            spec.ingress.iter().flatten().flat_map(|rule| rule.from.clone().unwrap()).collect()
        };
        peers.iter().any(|peer| {
            let cidr: Cidr = peer.ip_block.as_ref().unwrap().cidr.parse().unwrap();
            cidr.contains(address)
        })
    }

    #[test]
    fn every_pair_of_zones_is_judged_by_the_generated_objects() {
        let zones = zones();
        let address = |zone: &str| match zone {
            "public" => "203.0.113.9",
            "office" => "10.1.0.9",
            "vault" => "10.9.0.9",
            _ => "10.2.0.9",
        };
        // From each row, towards each column.
        let table = [
            ("public", [("public", true), ("office", false), ("vault", false), ("gate", false)]),
            ("office", [("public", true), ("office", true), ("vault", false), ("gate", true)]),
            ("vault", [("public", true), ("office", true), ("vault", false), ("gate", true)]),
            ("gate", [("public", true), ("office", false), ("vault", true), ("gate", true)]),
        ];
        for (from, row) in table {
            for (to, wanted) in row {
                let of = |zone: &str| policy("n", &[zone.to_owned()].into(), &zones).unwrap();
                assert_eq!(allows(&of(from), true, address(to)), wanted, "{from} → {to}: leaves");
                assert_eq!(allows(&of(to), false, address(from)), wanted, "{from} → {to}: arrives");
                assert_eq!(may_begin(&zones, from, to), wanted);
                assert_eq!(used_by(&of(from)), [from.to_owned()].into());
            }
        }
    }

    #[test]
    fn who_uses_nothing_is_open_to_nobody() {
        let none = policy("n", &BTreeSet::new(), &zones()).unwrap();
        for zone in ["203.0.113.9", "10.1.0.9", "10.9.0.9"] {
            assert!(!allows(&none, true, zone) && !allows(&none, false, zone));
        }
        let spec = none.spec.unwrap();
        let mut stored = policy("n", &BTreeSet::new(), &zones()).unwrap();
        let kept = stored.spec.as_mut().unwrap();
        (kept.ingress, kept.egress) = (None, None);
        assert!(is_same(&stored, &policy("n", &BTreeSet::new(), &zones()).unwrap()));
        assert_eq!(spec.policy_types.unwrap(), ["Ingress", "Egress"]);
        assert_eq!((spec.ingress, spec.egress), (Some(vec![]), Some(vec![])), "no rule at all");
    }
}
