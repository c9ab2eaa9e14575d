use super::super::scene::{block, estate, object, pool, vlan};
use super::*;
use crate::rules::scene::{Scene, change, refused_fields};
use serde_json::{Value, json};

fn judged(scene: Scene, operation: &str, old: Value, new: Value) -> Verdict {
    check(&change(operation, old, new), &scene.world())
}

fn made(prefix: &str, extra: &Value) -> Verdict {
    judged(estate(), "CREATE", json!(null), pool("new", prefix, extra))
}

fn fields(prefix: &str, extra: &Value) -> Vec<String> {
    refused_fields(&made(prefix, extra))
}

fn said(verdict: &Verdict) -> String {
    verdict.findings.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

#[test]
fn ranges_are_of_the_prefix_and_of_one_family() {
    assert!(made("web", &json!({ "ranges": ["10.1.0.64/28", "10.1.0.80-10.1.0.90"] })).allows());
    assert_eq!(
        fields("web", &json!({ "ranges": ["10.1.0.64/28", "10.2.0.0/28"] })),
        ["spec.ranges[1]"]
    );
    assert_eq!(fields("web", &json!({ "ranges": ["10.1.0.250-10.1.1.5"] })), ["spec.ranges[0]"]);
    assert_eq!(
        fields("web", &json!({ "ranges": ["10.1.0.64/28", "10.1.0.70"] })),
        ["spec.ranges[1]"]
    );
    // Of a prefix that is not there yet, only the list itself can be judged.
    let mixed = json!({ "ranges": ["10.1.0.64/28", "2001:db8::/120"] });
    assert_eq!(fields("later", &mixed), ["spec.ranges[1]"]);
    assert_eq!(made("later", &json!({})).warnings.len(), 1);
    let verdict = made("web", &json!({ "ranges": ["10.1.0.90-10.1.0.80"] }));
    assert_eq!(
        said(&verdict),
        "spec.ranges[0]: range 10.1.0.90-10.1.0.80 is reversed; write 10.1.0.80-10.1.0.90"
    );
}

#[test]
fn something_is_left_to_hand_out() {
    let ranges = |extra: &Value| {
        let mut of = json!({ "ranges": ["10.1.0.64/30"] });
        for (key, value) in extra.as_object().unwrap() {
            of[key] = value.clone();
        }
        made("web", &of)
    };
    assert!(ranges(&json!({ "exclude": ["10.1.0.64"] })).allows());
    let verdict = ranges(&json!({ "exclude": ["10.1.0.64/30"] }));
    assert_eq!(refused_fields(&verdict), ["spec.exclude"]);
    let verdict = ranges(&json!({ "exclude": ["10.1.0.64-10.1.0.66"], "gateway": "10.1.0.67" }));
    assert_eq!(refused_fields(&verdict), ["spec.exclude"]);
    let verdict = ranges(&json!({ "exclude": ["10.9.0.0/24"] }));
    assert!(verdict.allows() && verdict.warnings.len() == 1, "{verdict:?}");
    assert_eq!(refused_fields(&ranges(&json!({ "gateway": "10.1.9.1" }))), ["spec.gateway"]);
    assert_eq!(refused_fields(&ranges(&json!({ "gateway": "2001:db8::1" }))), ["spec.gateway"]);
    assert!(ranges(&json!({ "gateway": "10.1.0.254" })).allows());
}

#[test]
fn an_address_is_in_one_pool() {
    let verdict = made("web", &json!({ "ranges": ["10.1.0.16/28"] }));
    assert_eq!(
        said(&verdict),
        "spec.ranges: 10.1.0.16/28 is handed out by IPPool `web` of Prefix `web` too; an address is in one pool: choose other ranges"
    );
    // Without ranges all of the prefix is meant.
    assert_eq!(fields("web", &json!({})), ["spec.ranges"]);
    assert_eq!(fields("whole", &json!({ "ranges": ["10.1.1.8"] })), ["spec.ranges"]);
    let mut prefix =
        super::super::scene::below("free", "site", "10.1.9.0/24", &json!({ "role": "Pool" }));
    prefix["status"] =
        json!({ "pools": [{ "name": "gone", "uid": "u", "ranges": ["10.1.9.0/25"], "seq": 1 }] });
    let scene = || estate().network("prefixes", prefix.clone());
    let of = |ranges: &[&str]| {
        refused_fields(&judged(
            scene(),
            "CREATE",
            json!(null),
            pool("new", "free", &json!({ "ranges": ranges })),
        ))
    };
    assert_eq!(of(&["10.1.9.9"]), ["spec.ranges"]);
    assert!(of(&["10.1.9.200"]).is_empty());
}

#[test]
fn a_prefix_has_to_be_for_pools_and_its_zone_and_tenant_hold() {
    assert_eq!(fields("site", &json!({ "ranges": ["10.1.0.64/28"] })), ["spec.prefixRef.name"]);
    let zoned = |zone: &str| {
        made("web", &json!({ "ranges": ["10.1.0.64/28"], "zoneRef": { "name": zone } }))
    };
    assert!(zoned("inside").allows());
    assert_eq!(
        said(&zoned("outside")),
        "spec.zoneRef.name: zone `outside` is not that of Prefix `web`, which is in zone `inside`; a pool is in the zone of its prefix: leave it out"
    );
    let unzoned =
        made("web6", &json!({ "ranges": ["2001:db8::/120"], "zoneRef": { "name": "inside" } }));
    assert!(said(&unzoned).contains("which is in no zone"), "{unzoned:?}");
    let tenants = |list: &[&str]| {
        let extra = json!({ "allowedTenants": list });
        refused_fields(&judged(
            estate(),
            "UPDATE",
            pool("kept-for-beta", "for-beta", &json!({})),
            pool("kept-for-beta", "for-beta", &extra),
        ))
    };
    assert!(tenants(&["beta"]).is_empty());
    assert!(tenants(&[]).is_empty());
    assert_eq!(tenants(&["acme"]), ["spec.allowedTenants"]);
}

#[test]
fn a_vlan_is_of_the_pools_zone_and_fabric() {
    let named = |name: &str| json!({ "ranges": ["10.1.0.64/28"], "vlanRef": { "namespace": "tn-acme-web", "name": name } });
    let scene = || {
        estate()
            .network("vlans", vlan("front", "hall-in", &json!({ "prefixRef": { "name": "web" } })))
            .network("vlans", vlan("edge", "hall-out", &json!({})))
            .network("vlans", vlan("yard", "yard-in", &json!({})))
    };
    let of = |name: &str| judged(scene(), "CREATE", json!(null), pool("new", "web", &named(name)));
    assert!(of("front").allows());
    assert_eq!(
        said(&of("edge")),
        "spec.vlanRef: VLAN `tn-acme-web/edge` is of VLANPool `hall-out` in zone `outside`, and this pool is in zone `inside`; a VLAN joins pools of its own zone"
    );
    assert_eq!(
        said(&of("yard")),
        "spec.vlanRef: VLAN `tn-acme-web/yard` is on fabric `yard`, and Prefix `web` is reached by VLAN `tn-acme-web/front` on fabric `hall`; name a VLAN of that fabric"
    );
    let later = of("later");
    assert!(later.allows() && !later.warnings.is_empty(), "{later:?}");
}

#[test]
fn whole_blocks_where_tenants_have_their_own() {
    let exclusive = |ranges: &[&str]| {
        fields("free", &json!({ "ranges": ranges, "strategy": "ExclusiveBlock" }))
    };
    assert!(exclusive(&["10.1.4.0/23"]).is_empty());
    assert!(exclusive(&["10.1.4.0-10.1.5.255", "10.1.8.0/24"]).is_empty());
    assert_eq!(exclusive(&["10.1.4.0/25"]), ["spec.ranges"]);
    let vault = super::super::scene::below(
        "safe",
        "top",
        "10.7.0.0/16",
        &json!({ "role": "Pool", "zoneRef": { "name": "vault" } }),
    );
    let of = |range: &str| {
        let new = pool("new", "safe", &json!({ "ranges": [range] }));
        judged(estate().network("prefixes", vault.clone()), "CREATE", json!(null), new)
    };
    assert!(of("10.7.1.0/24").allows());
    assert!(said(&of("10.7.1.0/28")).contains("(zone `vault` gives whole blocks to tenants)"));
}

fn web(extra: &Value) -> Value {
    let mut spec = json!({ "prefixRef": { "name": "web" }, "allowedTenants": ["*"],
        "ranges": ["10.1.0.0/27"], "exclude": ["10.1.0.5"], "gateway": "10.1.0.1" });
    for (key, value) in extra.as_object().unwrap() {
        spec[key] = value.clone();
    }
    object("web", spec)
}

#[test]
fn addresses_in_use_stay_in_the_pool() {
    let slots: &[(u8, &str, &str)] =
        &[(7, "Allocated", "acme"), (9, "Held", "beta"), (20, "Quarantined", "acme")];
    let scene = || estate().network("blocks", block("10.1.0.0/24", "web", slots));
    let update = |extra: &Value| judged(scene(), "UPDATE", web(&json!({})), web(extra));
    assert!(update(&json!({ "ranges": ["10.1.0.0/28"] })).allows());
    assert!(update(&json!({ "exclude": ["10.1.0.20"] })).allows());
    let verdict = update(&json!({ "ranges": ["10.1.0.0-10.1.0.8"] }));
    assert_eq!(
        said(&verdict),
        "spec.ranges: would take away addresses that are in use: 10.1.0.9 (IPClaim tn-beta-web/c9); delete the claims first"
    );
    let verdict = update(&json!({ "exclude": ["10.1.0.6-10.1.0.9"] }));
    assert_eq!(refused_fields(&verdict), ["spec.exclude"]);
    assert_eq!(refused_fields(&update(&json!({ "gateway": "10.1.0.7" }))), ["spec.gateway"]);
    let deleted = judged(scene(), "DELETE", web(&json!({})), json!(null));
    assert_eq!(refused_fields(&deleted), ["metadata.name"]);
    assert!(said(&deleted).contains("10.1.0.7 (IPClaim tn-acme-web/c7)"), "{deleted:?}");
    assert!(judged(estate(), "DELETE", web(&json!({})), json!(null)).allows());
    // Another pool's slots of the same block are no concern.
    let other = estate().network("blocks", block("10.1.0.0/24", "beta-only", slots));
    assert!(judged(other, "DELETE", web(&json!({})), json!(null)).allows());
}

#[test]
fn edges_in_use_are_not_taken_back() {
    let open = web(&json!({ "allowReservedAddresses": true }));
    let scene =
        estate().network("blocks", block("10.1.0.0/24", "web", &[(0, "Allocated", "acme")]));
    let verdict = judged(scene, "UPDATE", open, web(&json!({})));
    assert_eq!(refused_fields(&verdict), ["spec.allowReservedAddresses"]);
    // What had slipped out before is not the doing of a later change.
    let scene =
        estate().network("blocks", block("10.1.0.0/24", "web", &[(0, "Allocated", "acme")]));
    assert!(judged(scene, "UPDATE", web(&json!({})), web(&json!({ "priority": 5 }))).allows());
}
