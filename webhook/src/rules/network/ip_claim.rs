//! Claims: of a pool that lets the tenant in, for an address that it can hand out, beside the object they are for.

use super::choice::{self, Wish};
use super::customer::customer;
use super::ground::Kept;
use crate::finding::{Verdict, named};
use crate::rules::Change;
use crate::world::World;
use crds::network::{AddressFamily, IPClaim, IPClaimSpec, IPPool};
use ipam::address::{Address, Family};
use kube::ResourceExt;
use std::sync::Arc;

/// What stands against a change of a claim.
pub fn check(change: &Change<IPClaim>, world: &World) -> Verdict {
    let mut verdict = Verdict::default();
    let Some(claim) = change.declared() else { return verdict };
    let spec = &claim.spec;
    resource_is_near(change.namespace.as_deref().unwrap_or_default(), spec, &mut verdict);
    let address = address(spec, &mut verdict);
    let Some(tenant) = customer(change, world, &mut verdict) else { return verdict };
    let families = wanted(spec, address);
    let wish = Wish {
        path: "spec",
        pool: spec.pool_ref.as_ref(),
        selector: spec.pool_selector.as_ref(),
        families: &families,
    };
    let pools = wish.pools(&tenant, world, &mut verdict);
    if let Some(address) = address
        && verdict.allows()
    {
        can_be_had(address, &pools, world, &mut verdict);
    }
    verdict
}

/// A claim is deleted with its namespace, and so is what it is for.
fn resource_is_near(namespace: &str, spec: &IPClaimSpec, verdict: &mut Verdict) {
    let there = spec.resource_ref.as_ref().and_then(|resource| resource.namespace.as_deref());
    if let Some(there) = there.filter(|there| *there != namespace) {
        verdict.forbid(
            "spec.resourceRef.namespace",
            format!("`{there}` is another namespace than the claim's, `{namespace}`; leave it out, or claim in the other one"),
        );
    }
}

fn address(spec: &IPClaimSpec, verdict: &mut Verdict) -> Option<Address> {
    match spec.address.as_ref()?.as_str().parse::<Address>() {
        Ok(address) => Some(address),
        Err(error) => {
            verdict.invalid("spec.address", format!("{error}"));
            None
        }
    }
}

/// The families that are asked for: by the claim, by its address, or by nothing but a selector.
fn wanted(spec: &IPClaimSpec, address: Option<Address>) -> Vec<AddressFamily> {
    if !spec.families.is_empty() {
        return spec.families.clone();
    }
    match (address.map(Address::family), &spec.pool_ref) {
        (Some(Family::V4), _) | (None, None) => vec![AddressFamily::IPv4],
        (Some(Family::V6), _) => vec![AddressFamily::IPv6],
        (None, Some(_)) => Vec::new(),
    }
}

fn can_be_had(address: Address, pools: &[Arc<IPPool>], world: &World, verdict: &mut Verdict) {
    let mut refused = Vec::new();
    for pool in pools {
        let ground = choice::ground_of(pool, world);
        // Nothing is known of a pool whose prefix is not there yet.
        let Some(kept) = ground.family().and_then(|_| ground.keeps(address)) else { return };
        // In the words of the writer of blocks, who says the same in the status.
        refused.push(match kept {
            Kept::OutOfRange => format!("out of the ranges of IPPool `{}`", pool.name_any()),
            Kept::Withheld(reason) => {
                format!("never handed out by IPPool `{}`: it is {reason}", pool.name_any())
            }
        });
    }
    if !refused.is_empty() {
        verdict.invalid(
            "spec.address",
            format!("{address} is {}; choose another, or leave it out", named(refused)),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::super::scene::{PROJECT, estate};
    use super::*;
    use crate::rules::scene::{Scene, change_in, refused_fields};
    use serde_json::{Value, json};

    fn judged_in(namespace: &str, scene: Scene, spec: Value) -> Verdict {
        let new = json!({ "metadata": { "name": "c" }, "spec": spec });
        check(&change_in(namespace, "CREATE", json!(null), new), &scene.world())
    }

    fn fields(spec: Value) -> Vec<String> {
        refused_fields(&judged_in(PROJECT, estate(), spec))
    }

    #[test]
    fn a_claim_is_a_living_tenants() {
        let plain = json!({ "poolRef": { "name": "web" } });
        assert!(judged_in(PROJECT, estate(), plain.clone()).allows());
        for namespace in ["default", "tn-acme"] {
            let verdict = judged_in(namespace, estate(), plain.clone());
            assert_eq!(refused_fields(&verdict), ["metadata.namespace"], "{namespace}");
        }
        for part in [json!({ "suspended": true, "suspendReason": "arrears" }), json!(null)] {
            let mut tenant = crate::rules::scene::tenant("acme");
            if part.is_null() {
                tenant["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
            } else {
                tenant["spec"]["suspended"] = part["suspended"].clone();
                tenant["spec"]["suspendReason"] = part["suspendReason"].clone();
            }
            let verdict = judged_in(PROJECT, estate().tenant(tenant), plain.clone());
            assert_eq!(refused_fields(&verdict), ["metadata.namespace"]);
        }
    }

    #[test]
    fn a_pool_lets_in_whom_it_names() {
        assert_eq!(fields(json!({ "poolRef": { "name": "beta-only" } })), ["spec.poolRef.name"]);
        assert_eq!(fields(json!({ "poolRef": { "name": "nobody" } })), ["spec.poolRef.name"]);
        let both = json!({ "poolSelector": { "matchLabels": { "tier": "web" } } });
        assert!(fields(both).is_empty());
        let closed = json!({ "poolSelector": { "matchLabels": { "tier": "closed" } } });
        assert_eq!(fields(closed), ["spec.poolSelector"]);
        // What is named and not there is a matter of order.
        let verdict = judged_in(PROJECT, estate(), json!({ "poolRef": { "name": "later" } }));
        assert!(verdict.allows() && verdict.warnings.len() == 1, "{verdict:?}");
        // A prefix that is kept for one tenant is closed to others, whatever its pools say.
        assert_eq!(
            fields(json!({ "poolRef": { "name": "kept-for-beta" } })),
            ["spec.poolRef.name"]
        );
    }

    #[test]
    fn families_have_to_be_there() {
        let of = |pool: &str, families: &[&str]| {
            fields(json!({ "poolRef": { "name": pool }, "families": families }))
        };
        assert!(of("web", &["IPv4"]).is_empty());
        assert_eq!(of("web", &["IPv6"]), ["spec.families"]);
        assert!(of("web6", &["IPv6"]).is_empty());
        let dual = |tier: &str| {
            fields(
                json!({ "poolSelector": { "matchLabels": { "tier": tier } }, "families": ["IPv4", "IPv6"] }),
            )
        };
        assert!(dual("web").is_empty());
        assert_eq!(dual("four"), ["spec.families"]);
    }

    #[test]
    fn an_address_is_one_that_can_be_handed_out() {
        for (address, why) in [
            ("10.1.0.7", None),
            ("10.1.0.99", Some("is out of the ranges of IPPool `web`")),
            ("10.1.0.5", Some("is never handed out by IPPool `web`: it is excluded")),
            ("10.1.0.1", Some("it is a gateway")),
            ("10.1.0.0", Some("it is a network, broadcast or subnet-router address")),
            ("10.1.0.010", Some("has leading zeros")),
        ] {
            let verdict = judged_in(
                PROJECT,
                estate(),
                json!({ "poolRef": { "name": "web" }, "address": address }),
            );
            let said: Vec<&str> =
                verdict.findings.iter().map(|finding| finding.message.as_str()).collect();
            match why {
                None => assert!(said.is_empty(), "{address}: {said:?}"),
                Some(why) => {
                    assert!(said.len() == 1 && said[0].contains(why), "{address}: {said:?}");
                }
            }
        }
        assert_eq!(
            fields(json!({ "poolRef": { "name": "web" }, "address": "2001:db8::7" })),
            ["spec.families"]
        );
    }

    #[test]
    fn what_a_claim_is_for_lives_beside_it() {
        let of = |namespace: &str| {
            fields(json!({ "poolRef": { "name": "web" },
                "resourceRef": { "kind": "VirtualMachine", "name": "m", "namespace": namespace } }))
        };
        assert!(of(PROJECT).is_empty());
        assert_eq!(of("tn-beta-web"), ["spec.resourceRef.namespace"]);
    }
}
