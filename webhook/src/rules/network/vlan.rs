//! VLANs: of a pool that lets the tenant in, with an id of it that is free, for a prefix of the same zone and fabric.

use super::customer::customer;
use super::{not_there, prefix as prefixes, tree, vlan_pool, zone_words};
use crate::finding::{Verdict, named};
use crate::rules::Change;
use crate::world::World;
use crds::network::{VLAN, VLANPool};
use ipam::vlan::VlanId;
use kube::ResourceExt;
use std::sync::Arc;

/// What a VLAN connects, as far as it is known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reach {
    /// Its pool.
    pub pool: Option<String>,
    /// The fabric of that pool.
    pub fabric: Option<String>,
    /// The zone of that pool.
    pub zone: Option<String>,
}

/// What stands against a change of a VLAN.
pub fn check(change: &Change<VLAN>, world: &World) -> Verdict {
    let mut verdict = Verdict::default();
    if let Some(vlan) = change.declared() {
        let tenant = customer(change, world, &mut verdict);
        let pools = candidates(vlan, world);
        if pools.is_empty() {
            nothing_named(vlan, &mut verdict);
        } else {
            let open = tenant.and_then(|tenant| let_in(&tenant, &pools, vlan, &mut verdict));
            id_can_be_had(change, vlan, &open.unwrap_or(pools), &mut verdict);
        }
        for_its_prefix(change, vlan, world, &mut verdict);
    }
    verdict
}

/// What a VLAN by its name connects; `None` when there is none.
pub fn reach(namespace: &str, name: &str, world: &World) -> Option<Reach> {
    World::in_namespace(&world.vlans, namespace, name).map(|vlan| reach_of(&vlan, world))
}

/// What a VLAN connects.
pub fn reach_of(vlan: &VLAN, world: &World) -> Reach {
    let declared = vlan.spec.pool_ref.as_ref().map(|pool| pool.name.clone());
    let name = declared.or_else(|| vlan.status.as_ref()?.pool.clone());
    let Some(pool) = name.as_ref().and_then(|name| World::named(&world.vlan_pools, name)) else {
        return Reach::default();
    };
    Reach {
        pool: name,
        fabric: Some(pool.spec.fabric.clone()),
        zone: pool.spec.zone_ref.as_ref().map(|zone| zone.name.clone()),
    }
}

/// Namespace and name.
pub fn key(vlan: &VLAN) -> String {
    format!("{}/{}", vlan.namespace().unwrap_or_default(), vlan.name_any())
}

/// The VLANs by which a prefix is reached, sorted.
pub fn of_prefix(prefix: &str, world: &World) -> Vec<Arc<VLAN>> {
    let is_of = |vlan: &VLAN| vlan.spec.prefix_ref.as_ref().is_some_and(|of| of.name == prefix);
    let mut found = world.vlans.state_filter(is_of);
    found.sort_by_key(|vlan| key(vlan));
    found
}

/// The VLANs that name a pool or have an id of it, sorted.
pub fn of_pool(pool: &str, world: &World) -> Vec<Arc<VLAN>> {
    let mut found =
        world.vlans.state_filter(|vlan| reach_of(vlan, world).pool.as_deref() == Some(pool));
    found.sort_by_key(|vlan| key(vlan));
    found
}

fn candidates(vlan: &VLAN, world: &World) -> Vec<Arc<VLANPool>> {
    if let Some(pool) = &vlan.spec.pool_ref {
        return World::named(&world.vlan_pools, &pool.name).into_iter().collect();
    }
    let Some(selector) = &vlan.spec.pool_selector else { return Vec::new() };
    let mut pools = world.vlan_pools.state_filter(|pool| selector.matches(pool.labels()));
    pools.sort_by_key(|pool| pool.name_any());
    pools
}

fn nothing_named(vlan: &VLAN, verdict: &mut Verdict) {
    match &vlan.spec.pool_ref {
        Some(pool) => not_there("spec.poolRef.name", "VLANPool", &pool.name, verdict),
        None => verdict.warn("spec.poolSelector: no VLANPool has these labels yet"),
    }
}

/// The pools that let the tenant in; a finding and `None` when there are none.
fn let_in(
    tenant: &str,
    pools: &[Arc<VLANPool>],
    vlan: &VLAN,
    verdict: &mut Verdict,
) -> Option<Vec<Arc<VLANPool>>> {
    let open: Vec<_> = pools.iter().filter(|pool| pool.spec.allows(tenant)).cloned().collect();
    if !open.is_empty() {
        return Some(open);
    }
    let field =
        if vlan.spec.pool_ref.is_some() { "spec.poolRef.name" } else { "spec.poolSelector" };
    let names = named(pools.iter().map(|pool| format!("VLANPool `{}`", pool.name_any())));
    verdict.forbid(
        field,
        format!("{names} does not let tenant `{tenant}` in; ask its operator to name it in spec.allowedTenants, or choose another"),
    );
    None
}

fn id_can_be_had(
    change: &Change<VLAN>,
    vlan: &VLAN,
    pools: &[Arc<VLANPool>],
    verdict: &mut Verdict,
) {
    let Some(number) = vlan.spec.id else { return };
    let id = match u16::try_from(number).map(VlanId::new) {
        Ok(Ok(id)) => id,
        Ok(Err(error)) => {
            verdict.invalid("spec.id", format!("{error}"));
            return;
        }
        Err(_) => {
            verdict.invalid("spec.id", format!("VLAN id {number} is outside of 1 to 4094"));
            return;
        }
    };
    let holding: Vec<_> = pools.iter().filter(|pool| vlan_pool::holds(pool, id)).collect();
    if holding.is_empty() {
        let names = named(pools.iter().map(|pool| {
            let ranges: Vec<String> =
                vlan_pool::ranges(pool).iter().map(ToString::to_string).collect();
            format!("VLANPool `{}` ({})", pool.name_any(), ranges.join(", "))
        }));
        verdict.invalid(
            "spec.id",
            format!("{id} is not in {names}; choose one that is, or leave it out"),
        );
        return;
    }
    let own = change.new.as_ref().and_then(|vlan| vlan.metadata.uid.as_deref());
    let is_taken = |pool: &&&Arc<VLANPool>| {
        vlan_pool::live(pool).any(|owner| owner.id == number && Some(owner.uid.as_str()) != own)
    };
    // By whom is not said: it may be another tenant.
    if holding.iter().all(|pool| is_taken(&pool)) {
        verdict.duplicate("spec.id", format!("{id} is in use; choose another, or leave it out"));
    }
}

/// A VLAN reaches a prefix of its own zone, and by one fabric.
fn for_its_prefix(change: &Change<VLAN>, vlan: &VLAN, world: &World, verdict: &mut Verdict) {
    let Some(name) = vlan.spec.prefix_ref.as_ref().map(|prefix| &prefix.name) else { return };
    let Some(prefix) = World::named(&world.prefixes, name) else {
        not_there("spec.prefixRef.name", "Prefix", name, verdict);
        return;
    };
    let standing = tree::standing(name, &prefix, world);
    let tenant =
        world.room(change.namespace.as_deref().unwrap_or_default()).map(|room| room.tenant);
    if let (Some(kept_for), Some(tenant)) = (&standing.tenant, tenant)
        && kept_for.name != tenant
    {
        verdict.forbid(
            "spec.prefixRef.name",
            format!(
                "Prefix `{name}` is kept for another tenant than `{tenant}`; name one that is not"
            ),
        );
    }
    let reach = reach_of(vlan, world);
    let Some(pool) = &reach.pool else { return };
    if reach.zone.as_deref() != standing.zone() {
        verdict.invalid(
            "spec.prefixRef.name",
            format!(
                "Prefix `{name}` is {}, and VLANPool `{pool}` is {}; a VLAN joins what is in its own zone",
                prefixes::zone_in_words(name, &prefix, world),
                zone_words(reach.zone.as_deref())
            ),
        );
    }
    let own = format!("{}/{}", change.namespace.as_deref().unwrap_or_default(), change.name);
    for pool in tree::pools(name, world) {
        let Some(other) = &pool.spec.vlan_ref else { continue };
        let key = format!("{}/{}", other.namespace, other.name);
        let theirs =
            self::reach(&other.namespace, &other.name, world).and_then(|reach| reach.fabric);
        if let (Some(theirs), Some(fabric)) = (theirs, &reach.fabric)
            && theirs != *fabric
            && key != own
        {
            verdict.invalid(
                "spec.prefixRef.name",
                format!(
                    "IPPool `{}` of Prefix `{name}` is on fabric `{theirs}`, and this VLAN is on fabric `{fabric}`; choose a pool of that fabric",
                    pool.name_any()
                ),
            );
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::scene::{PROJECT, estate, object, pool, vlan};
    use super::*;
    use crate::rules::scene::{Scene, change_in, refused_fields};
    use serde_json::{Value, json};

    fn judged(scene: Scene, namespace: &str, new: Value) -> Verdict {
        check(&change_in(namespace, "CREATE", json!(null), new), &scene.world())
    }

    fn fields(pool: &str, extra: &Value) -> Vec<String> {
        refused_fields(&judged(estate(), PROJECT, vlan("v", pool, extra)))
    }

    #[test]
    fn a_pool_lets_in_whom_it_names() {
        assert!(fields("hall-in", &json!({})).is_empty());
        let beta = judged(estate(), "tn-beta-web", vlan("v", "hall-in", &json!({})));
        assert_eq!(refused_fields(&beta), ["spec.poolRef.name"]);
        assert_eq!(
            refused_fields(&judged(estate(), "default", vlan("v", "hall-in", &json!({})))),
            ["metadata.namespace"]
        );
        let later = judged(estate(), PROJECT, vlan("v", "later", &json!({})));
        assert!(later.allows() && later.warnings.len() == 1, "{later:?}");
    }

    #[test]
    fn an_id_is_in_the_pool_and_free() {
        assert!(fields("hall-in", &json!({ "id": 150 })).is_empty());
        assert_eq!(fields("hall-in", &json!({ "id": 200 })), ["spec.id"]);
        let owner = |state: &str| {
            let mut pool = object(
                "hall-in",
                json!({ "fabric": "hall", "zoneRef": { "name": "inside" },
                "ranges": ["100-199"], "allowedTenants": ["acme"] }),
            );
            pool["status"] = json!({ "owners": [{ "id": 150, "state": state, "uid": "other",
                "ref": "VLAN tn-beta-web/w", "tenant": "beta", "since": "2026-01-01T00:00:00Z", "seq": 1 }] });
            estate().network("vlan-pools", pool)
        };
        let taken =
            judged(owner("Allocated"), PROJECT, vlan("v", "hall-in", &json!({ "id": 150 })));
        assert_eq!(refused_fields(&taken), ["spec.id"]);
        assert!(!format!("{taken:?}").contains("beta"), "another tenant is named: {taken:?}");
        let resting =
            judged(owner("Quarantined"), PROJECT, vlan("v", "hall-in", &json!({ "id": 150 })));
        assert!(resting.allows(), "{resting:?}");
    }

    #[test]
    fn a_prefix_is_of_the_same_zone_and_fabric_and_for_nobody_else() {
        let to = |prefix: &str| json!({ "prefixRef": { "name": prefix } });
        assert!(fields("hall-in", &to("web")).is_empty());
        assert!(fields("hall-in", &to("later")).is_empty());
        assert_eq!(fields("hall-in", &to("for-beta")), ["spec.prefixRef.name"]);
        let verdict = judged(estate(), PROJECT, vlan("v", "hall-out", &to("web")));
        assert_eq!(
            verdict.findings[0].message,
            "Prefix `web` is in zone `inside`, and VLANPool `hall-out` is in zone `outside`; a VLAN joins what is in its own zone"
        );
        let joined = pool(
            "joined",
            "web",
            &json!({ "ranges": ["10.1.0.200"], "vlanRef": { "namespace": PROJECT, "name": "first" } }),
        );
        let scene = || {
            estate()
                .network("pools", joined.clone())
                .network("vlans", vlan("first", "hall-in", &json!({})))
        };
        assert!(judged(scene(), PROJECT, vlan("v", "hall-in", &to("web"))).allows());
        let verdict = judged(scene(), PROJECT, vlan("v", "yard-in", &to("web")));
        assert_eq!(refused_fields(&verdict), ["spec.prefixRef.name"]);
        assert!(
            verdict.findings[0]
                .message
                .contains("on fabric `hall`, and this VLAN is on fabric `yard`"),
            "{verdict:?}"
        );
    }
}
