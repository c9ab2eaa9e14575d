use super::super::scene::{below, block, estate, object, pool, vlan, with};
use super::*;
use crate::rules::scene::{Scene, change, refused_fields};
use serde_json::{Value, json};

fn judged(scene: Scene, operation: &str, old: Value, new: Value) -> Verdict {
    check(&change(operation, old, new), &scene.world())
}

fn made(new: Value) -> Verdict {
    judged(estate(), "CREATE", json!(null), new)
}

fn root(name: &str, space: &str, cidr: &str) -> Value {
    object(name, json!({ "spaceRef": { "name": space }, "cidr": cidr }))
}

fn said(verdict: &Verdict) -> String {
    verdict.findings.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

#[test]
fn a_child_is_a_part_of_its_parent() {
    assert!(made(below("b", "top", "10.2.0.0/16", &json!({}))).allows());
    let verdict = made(below("b", "site", "10.2.0.0/24", &json!({})));
    assert_eq!(
        said(&verdict),
        "spec.cidr: 10.2.0.0/24 is not within 10.1.0.0/16 of Prefix `site`; choose a part of that"
    );
    assert_eq!(
        refused_fields(&made(below("b", "top", "2001:db8:1::/48", &json!({})))),
        ["spec.cidr"]
    );
    let verdict = made(below("b", "site", "10.1.0.0/16", &json!({})));
    assert!(said(&verdict).contains("10.1.0.0/16 is all of Prefix `site`"), "{verdict:?}");
    let verdict = made(below("b", "web", "10.1.0.0/28", &json!({})));
    assert_eq!(refused_fields(&verdict), ["spec.parentRef.name"]);
    let verdict = made(below("b", "later", "10.1.0.0/28", &json!({})));
    assert!(verdict.allows() && verdict.warnings.len() == 1, "{verdict:?}");
}

#[test]
fn siblings_share_no_address() {
    assert!(made(below("b", "site", "10.1.9.0/24", &json!({}))).allows());
    let verdict = made(below("b", "site", "10.1.0.128/25", &json!({})));
    assert_eq!(
        said(&verdict),
        "spec.cidr: 10.1.0.128/25 overlaps 10.1.0.0/24 of Prefix `web`, which is below Prefix `site` too; choose a free part"
    );
    // What is booked counts after its object is gone, until the table lets go of it.
    let mut parent =
        below("site", "top", "10.1.0.0/16", &json!({ "zoneRef": { "name": "inside" } }));
    parent["status"] =
        json!({ "children": [{ "name": "gone", "uid": "u", "cidr": "10.1.9.0/24", "seq": 3 }] });
    let scene = estate().network("prefixes", parent);
    let verdict =
        judged(scene, "CREATE", json!(null), below("b", "site", "10.1.9.0/25", &json!({})));
    assert!(said(&verdict).contains("of Prefix `gone`"), "{verdict:?}");
}

#[test]
fn roots_are_apart_within_a_space_and_between_spaces() {
    assert!(made(root("r", "main", "192.168.0.0/16")).allows());
    let verdict = made(root("r", "main", "10.200.0.0/16"));
    assert!(said(&verdict).contains(
        "overlaps 10.0.0.0/8 of Prefix `top`, which is a root of AddressSpace `main` too"
    ));
    // `main` names `lab`, which is enough for both.
    assert!(made(root("r", "lab", "10.0.0.0/8")).allows());
    let verdict = made(root("r", "far", "10.3.0.0/16"));
    assert_eq!(
        said(&verdict),
        "spec.cidr: 10.3.0.0/16 overlaps 10.0.0.0/8 of Prefix `top` in AddressSpace `main`; choose another network, or let `far` or `main` name the other in spec.overlapAllowedWith"
    );
    let open = estate().network("spaces", object("far", json!({ "overlapAllowedWith": ["*"] })));
    assert!(judged(open, "CREATE", json!(null), root("r", "far", "10.3.0.0/16")).allows());
}

#[test]
fn a_zone_and_a_tenant_hold_all_the_way_down() {
    let zoned =
        |zone: &str| below("b", "site", "10.1.9.0/24", &json!({ "zoneRef": { "name": zone } }));
    assert!(made(zoned("inside")).allows());
    let verdict = made(zoned("outside"));
    assert_eq!(
        said(&verdict),
        "spec.zoneRef.name: zone `outside` is not zone `inside` of Prefix `site` above; a zone holds all the way down: leave it out"
    );
    let scene = estate().network(
        "prefixes",
        below("for-beta", "site", "10.1.2.0/24", &json!({ "tenantRef": { "name": "beta" } })),
    );
    let of = |tenant: &str| {
        below("b", "for-beta", "10.1.2.0/28", &json!({ "tenantRef": { "name": tenant } }))
    };
    let verdict = judged(scene, "CREATE", json!(null), of("acme"));
    assert_eq!(refused_fields(&verdict), ["spec.tenantRef.name"]);
}

#[test]
fn a_carved_length_fits_its_parent() {
    let carved = |parent: &str, extra: &Value| {
        object("b", with(json!({ "parentRef": { "name": parent } }), extra))
    };
    assert!(made(carved("site", &json!({ "length": 24 }))).allows());
    assert!(made(carved("site", &json!({ "class": "C" }))).allows());
    assert_eq!(refused_fields(&made(carved("site", &json!({ "length": 16 })))), ["spec.length"]);
    assert_eq!(refused_fields(&made(carved("site", &json!({ "length": 33 })))), ["spec.length"]);
    assert_eq!(refused_fields(&made(carved("site", &json!({ "class": "A" })))), ["spec.class"]);
    assert_eq!(refused_fields(&made(carved("top6", &json!({ "class": "C" })))), ["spec.class"]);
    assert!(made(carved("top6", &json!({ "length": 64 }))).allows());
}

#[test]
fn nothing_is_its_own_parent() {
    let verdict = made(below("a", "a", "10.9.0.0/16", &json!({})));
    assert_eq!(refused_fields(&verdict), ["spec.parentRef.name"]);
    let scene = estate().network("prefixes", below("b", "a", "10.9.1.0/24", &json!({})));
    let verdict = judged(scene, "CREATE", json!(null), below("a", "b", "10.9.0.0/16", &json!({})));
    assert_eq!(refused_fields(&verdict), ["spec.parentRef.name"]);
}

#[test]
fn a_container_holds_so_many() {
    let full = (0..CHILDREN_MAX).fold(estate(), |scene, number| {
        let cidr = format!("10.{}.{}.0/24", 100 + number / 256, number % 256);
        scene.network("prefixes", below(&format!("c{number}"), "top", &cidr, &json!({})))
    });
    let verdict =
        judged(full, "CREATE", json!(null), below("b", "top", "10.99.0.0/24", &json!({})));
    assert_eq!(refused_fields(&verdict), ["spec.parentRef.name"]);
    assert!(said(&verdict).contains("put a level in between"), "{verdict:?}");
}

fn site(cidr: &str, extra: &Value) -> Value {
    let spec =
        json!({ "parentRef": { "name": "top" }, "cidr": cidr, "zoneRef": { "name": "inside" } });
    object("site", with(spec, extra))
}

#[test]
fn a_prefix_grows_freely_and_shrinks_around_what_is_in_it() {
    let update = |new: Value| judged(estate(), "UPDATE", site("10.1.0.0/16", &json!({})), new);
    assert!(update(site("10.0.0.0/15", &json!({}))).allows());
    assert!(update(site("10.1.0.0/22", &json!({}))).allows());
    let verdict = update(site("10.1.0.0/23", &json!({})));
    assert_eq!(
        said(&verdict),
        "spec.cidr: 10.1.0.0/23 would no longer hold 10.1.2.0/24 of Prefix `for-beta`; keep it or delete them first"
    );
    assert_eq!(
        refused_fields(&update(site("10.1.0.0/16", &json!({ "role": "Pool" })))),
        ["spec.role"]
    );
    let moved = update(site("10.1.0.0/16", &json!({ "zoneRef": { "name": "outside" } })));
    assert_eq!(refused_fields(&moved), ["spec.zoneRef"]);
    let given = update(site("10.1.0.0/16", &json!({ "tenantRef": { "name": "acme" } })));
    assert_eq!(refused_fields(&given), ["spec.tenantRef"]);
}

#[test]
fn addresses_in_use_hold_a_prefix_whose_pool_is_all_of_it() {
    let whole = |cidr: &str| below("whole", "site", cidr, &json!({ "role": "Pool" }));
    let held = |slots: &[(u8, &str, &str)]| {
        estate().network("blocks", block("10.1.1.0/24", "whole", slots))
    };
    let shrunk = |slots: &[(u8, &str, &str)]| {
        judged(held(slots), "UPDATE", whole("10.1.1.0/24"), whole("10.1.1.0/25"))
    };
    assert!(shrunk(&[(7, "Allocated", "acme"), (200, "Quarantined", "acme")]).allows());
    let verdict =
        shrunk(&[(7, "Allocated", "acme"), (200, "Allocated", "acme"), (201, "Held", "beta")]);
    assert_eq!(
        said(&verdict),
        "spec.cidr: 10.1.1.0/25 would no longer hold 10.1.1.200 of IPClaim tn-acme-web/c200, 10.1.1.201 of IPClaim tn-beta-web/c201; keep it or delete them first"
    );
    // Where a pool names its ranges, they hold the prefix, in use or not.
    let web = |cidr: &str| below("web", "site", cidr, &json!({ "role": "Pool" }));
    let verdict = judged(estate(), "UPDATE", web("10.1.0.0/24"), web("10.1.0.0/25"));
    assert!(said(&verdict).contains("10.1.0.128/28 of IPPool `beta-only`"), "{verdict:?}");
    assert!(!said(&verdict).contains("`web`"), "{verdict:?}");
}

#[test]
fn a_prefix_in_use_stays() {
    let gone = |scene: Scene, old: Value| judged(scene, "DELETE", old, json!(null));
    assert_eq!(
        said(&gone(estate(), site("10.1.0.0/16", &json!({})))),
        "metadata.name: this prefix is in use by Prefix `for-beta`, Prefix `web`, Prefix `whole`; delete them first"
    );
    let web = below("web", "site", "10.1.0.0/24", &json!({ "role": "Pool" }));
    assert!(said(&gone(estate(), web)).contains("IPPool `beta-only`"));
    let free = || below("free", "site", "10.1.9.0/24", &json!({}));
    assert!(gone(estate(), free()).allows());
    let joined = estate()
        .network("vlans", vlan("v", "hall-in", &json!({ "prefixRef": { "name": "free" } })));
    assert!(said(&gone(joined, free())).contains("VLAN `tn-acme-web/v`"));
    let mut booked = free();
    booked["status"] = json!({ "pools": [{ "name": "old", "uid": "u", "ranges": [], "seq": 1 }] });
    assert!(said(&gone(estate(), booked)).contains("IPPool `old`"));
}

#[test]
fn a_gateway_holds_its_prefix() {
    let gateway = pool("whole", "whole", &json!({ "gateway": "10.1.1.200" }));
    let scene = estate().network("pools", gateway);
    let whole = |cidr: &str| below("whole", "site", cidr, &json!({ "role": "Pool" }));
    let verdict = judged(scene, "UPDATE", whole("10.1.1.0/24"), whole("10.1.1.0/25"));
    assert!(said(&verdict).contains("gateway 10.1.1.200 of IPPool `whole`"), "{verdict:?}");
}
