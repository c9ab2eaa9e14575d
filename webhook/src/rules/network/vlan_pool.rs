//! Pools of VLAN ids: an id is in one pool of its fabric, and stays there while somebody has it.

use super::{not_there, vlan};
use crate::finding::{Verdict, named};
use crate::review::Operation;
use crate::rules::Change;
use crate::world::World;
use crds::network::{VLANPool, VlanOwner, VlanState};
use ipam::vlan::{VlanId, VlanRange};
use kube::ResourceExt;

/// What stands against a change of a pool of ids.
pub fn check(change: &Change<VLANPool>, world: &World) -> Verdict {
    let mut verdict = Verdict::default();
    if let Some(pool) = change.declared() {
        let ranges = read(pool, &mut verdict);
        if verdict.allows() {
            apart(&change.name, pool, &ranges, world, &mut verdict);
        }
        references(pool, world, &mut verdict);
        if let (Operation::Update, Some(old)) = (change.operation, &change.old) {
            keeps_what_is_held(old, &ranges, &mut verdict);
            zone_stays(&change.name, old, pool, world, &mut verdict);
        }
    }
    if let Some(pool) = change.deleted() {
        let held: Vec<String> = live(pool).map(words).collect();
        if !held.is_empty() {
            verdict.forbid(
                "metadata.name",
                format!("ids of this pool are in use: {}; delete the VLANs first", named(held)),
            );
        }
    }
    verdict
}

/// The ranges of a pool that can be read.
pub fn ranges(pool: &VLANPool) -> Vec<VlanRange> {
    pool.spec.ranges.iter().filter_map(|range| range.as_str().parse().ok()).collect()
}

/// Whether an id is one of a pool's.
pub fn holds(pool: &VLANPool, id: VlanId) -> bool {
    ranges(pool).iter().any(|range| range.contains(id))
}

/// Those who have an id of a pool now.
pub fn live(pool: &VLANPool) -> impl Iterator<Item = &VlanOwner> {
    let owners = pool.status.iter().flat_map(|status| &status.owners);
    owners.filter(|owner| owner.state == VlanState::Allocated)
}

fn words(owner: &VlanOwner) -> String {
    format!("{} ({})", owner.id, owner.reference)
}

fn read(pool: &VLANPool, verdict: &mut Verdict) -> Vec<VlanRange> {
    let mut ranges: Vec<VlanRange> = Vec::new();
    for (index, text) in pool.spec.ranges.iter().enumerate() {
        let field = format!("spec.ranges[{index}]");
        match text.as_str().parse::<VlanRange>() {
            Err(error) => verdict.invalid(field, format!("{error}")),
            Ok(range) => {
                if let Some(other) = ranges.iter().find(|other| other.overlaps(&range)) {
                    verdict.duplicate(
                        field,
                        format!("{range} overlaps {other} of the same list; write each id once"),
                    );
                }
                ranges.push(range);
            }
        }
    }
    ranges
}

/// No id is in two pools of one fabric.
fn apart(name: &str, pool: &VLANPool, own: &[VlanRange], world: &World, verdict: &mut Verdict) {
    let fabric = &pool.spec.fabric;
    let mut others = world
        .vlan_pools
        .state_filter(|other| other.name_any() != name && other.spec.fabric == *fabric);
    others.sort_by_key(|other| other.name_any());
    for other in others {
        for theirs in ranges(&other) {
            if let Some(mine) = own.iter().find(|mine| mine.overlaps(&theirs)) {
                verdict.duplicate(
                    "spec.ranges",
                    format!(
                        "{mine} overlaps {theirs} of VLANPool `{}` on fabric `{fabric}` too; an id is in one pool of its fabric: choose other ids",
                        other.name_any()
                    ),
                );
                return;
            }
        }
    }
}

fn references(pool: &VLANPool, world: &World, verdict: &mut Verdict) {
    if let Some(zone) = &pool.spec.zone_ref
        && World::named(&world.zones, &zone.name).is_none()
    {
        not_there("spec.zoneRef.name", "SecurityZone", &zone.name, verdict);
    }
    for (index, tenant) in pool.spec.allowed_tenants.iter().flatten().enumerate() {
        if tenant.0 != "*" && World::named(&world.tenants, &tenant.0).is_none() {
            not_there(&format!("spec.allowedTenants[{index}]"), "Tenant", &tenant.0, verdict);
        }
    }
}

fn keeps_what_is_held(old: &VLANPool, ranges: &[VlanRange], verdict: &mut Verdict) {
    let was_held = self::ranges(old);
    let is_in = |ranges: &[VlanRange], id: VlanId| ranges.iter().any(|range| range.contains(id));
    let is_lost = |owner: &&VlanOwner| {
        u16::try_from(owner.id)
            .ok()
            .and_then(|id| VlanId::new(id).ok())
            .is_some_and(|id| is_in(&was_held, id) && !is_in(ranges, id))
    };
    let lost: Vec<String> = live(old).filter(is_lost).map(words).collect();
    if !lost.is_empty() && verdict.allows() {
        verdict.forbid(
            "spec.ranges",
            format!("would take away ids that are in use: {}; delete the VLANs first", named(lost)),
        );
    }
}

/// Who has an id was given it in a zone.
fn zone_stays(name: &str, old: &VLANPool, new: &VLANPool, world: &World, verdict: &mut Verdict) {
    if old.spec.zone_ref == new.spec.zone_ref {
        return;
    }
    let held: Vec<String> = live(old).map(words).collect();
    let claimed =
        vlan::of_pool(name, world).into_iter().map(|vlan| format!("VLAN `{}`", vlan::key(&vlan)));
    let left: Vec<String> = if held.is_empty() { claimed.collect() } else { held };
    if !left.is_empty() {
        verdict.forbid(
            "spec.zoneRef",
            format!(
                "would move {} to another zone, and nothing crosses a zone; delete them first",
                named(left)
            ),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::scene::{Scene, change, refused_fields, tenant};
    use serde_json::{Value, json};

    fn pool(name: &str, fabric: &str, zone: &str, ranges: &[&str]) -> Value {
        json!({ "metadata": { "name": name }, "spec": {
            "fabric": fabric, "zoneRef": { "name": zone }, "ranges": ranges, "allowedTenants": ["acme"] } })
    }

    fn owned(ids: &[(i64, &str)]) -> Value {
        let owner = |(id, state): &(i64, &str)| {
            json!({ "id": id, "state": state, "uid": "u", "ref": format!("VLAN n/v{id}"), "tenant": "acme",
                "since": "2026-01-01T00:00:00Z", "seq": 1 })
        };
        json!({ "owners": ids.iter().map(owner).collect::<Vec<_>>() })
    }

    fn scene() -> Scene {
        Scene::default()
            .tenant(tenant("acme"))
            .network("zones", json!({ "metadata": { "name": "inside" }, "spec": { "trust": 5 } }))
            .network("vlan-pools", pool("one", "hall", "inside", &["100-199"]))
    }

    fn judged(operation: &str, old: Value, new: Value) -> Verdict {
        check(&change(operation, old, new), &scene().world())
    }

    #[test]
    fn an_id_is_in_one_pool_of_its_fabric() {
        let of = |fabric: &str, ranges: &[&str]| {
            judged("CREATE", json!(null), pool("two", fabric, "inside", ranges))
        };
        assert!(of("hall", &["1-99", "200-4094"]).allows());
        assert!(of("other", &["100-199"]).allows());
        let verdict = of("hall", &["1-50", "150"]);
        assert_eq!(refused_fields(&verdict), ["spec.ranges"]);
        assert_eq!(
            verdict.findings[0].message,
            "150 overlaps 100-199 of VLANPool `one` on fabric `hall` too; an id is in one pool of its fabric: choose other ids"
        );
        assert_eq!(refused_fields(&of("hall", &["1-50", "50"])), ["spec.ranges[1]"]);
        assert_eq!(
            refused_fields(&of("hall", &["0", "20-10"])),
            ["spec.ranges[0]", "spec.ranges[1]"]
        );
        let same = pool("one", "hall", "inside", &["100-199"]);
        assert!(
            judged("UPDATE", same.clone(), pool("one", "hall", "inside", &["150-160"])).allows()
        );
    }

    #[test]
    fn ids_in_use_stay() {
        let with = |ids: &[(i64, &str)]| {
            let mut pool = pool("one", "hall", "inside", &["100-199"]);
            pool["status"] = owned(ids);
            pool
        };
        let smaller = || pool("one", "hall", "inside", &["100-149"]);
        let verdict = judged("UPDATE", with(&[(120, "Allocated"), (170, "Allocated")]), smaller());
        assert_eq!(verdict.findings[0].field, "spec.ranges");
        assert!(verdict.findings[0].message.contains("170 (VLAN n/v170)"), "{verdict:?}");
        assert!(
            judged("UPDATE", with(&[(120, "Allocated"), (170, "Quarantined")]), smaller()).allows()
        );
        let moved = pool("one", "hall", "outside", &["100-199"]);
        assert_eq!(
            refused_fields(&judged("UPDATE", with(&[(120, "Allocated")]), moved.clone())),
            ["spec.zoneRef"]
        );
        assert!(judged("UPDATE", with(&[(120, "Quarantined")]), moved).allows());
        assert_eq!(
            refused_fields(&judged("DELETE", with(&[(120, "Allocated")]), json!(null))),
            ["metadata.name"]
        );
        assert!(judged("DELETE", with(&[(120, "Quarantined")]), json!(null)).allows());
    }

    #[test]
    fn what_is_not_there_yet_is_worth_a_word() {
        let mut new = pool("two", "hall", "later", &["1"]);
        new["spec"]["allowedTenants"] = json!(["nobody"]);
        let verdict = judged("CREATE", json!(null), new);
        assert!(verdict.allows());
        assert_eq!(verdict.warnings.len(), 2, "{verdict:?}");
    }
}
