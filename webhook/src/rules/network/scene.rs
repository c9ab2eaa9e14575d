//! A small network for the rules' tests: a space with a tree of prefixes, pools, zones, VLANs and two tenants.

use crate::rules::scene::{Scene, tenant};
use serde_json::{Value, json};

/// A project's namespace of tenant acme.
pub const PROJECT: &str = "tn-acme-web";

/// An object with a spec.
pub fn object(name: &str, spec: Value) -> Value {
    json!({ "metadata": { "name": name, "uid": format!("uid-{name}") }, "spec": spec })
}

/// A prefix with a parent.
pub fn below(name: &str, parent: &str, cidr: &str, extra: &Value) -> Value {
    object(name, with(json!({ "parentRef": { "name": parent }, "cidr": cidr }), extra))
}

/// A pool of a prefix.
pub fn pool(name: &str, prefix: &str, extra: &Value) -> Value {
    let spec = json!({ "prefixRef": { "name": prefix }, "allowedTenants": ["*"] });
    object(name, with(spec, extra))
}

/// A block in which claims of tenants hold slots of a pool.
pub fn block(cidr: &str, pool: &str, slots: &[(u8, &str, &str)]) -> Value {
    let slot = |(index, state, tenant): &(u8, &str, &str)| {
        json!({ "index": index, "state": state, "pool": format!("uid-{pool}"), "uid": "u", "tenant": format!("uid-{tenant}"),
            "ref": format!("IPClaim tn-{tenant}-web/c{index}"), "since": "2026-01-01T00:00:00Z", "seq": 1 })
    };
    json!({ "metadata": { "name": cidr.replace(['.', '/', ':'], "-") },
        "spec": { "spaceRef": { "name": "main" }, "cidr": cidr },
        "status": { "slots": slots.iter().map(slot).collect::<Vec<_>>() } })
}

/// `spec` with fields put over it.
pub fn with(mut spec: Value, extra: &Value) -> Value {
    for (key, value) in extra.as_object().into_iter().flatten() {
        spec[key] = value.clone();
    }
    spec
}

fn labelled(mut object: Value, tier: &str) -> Value {
    object["metadata"]["labels"] = json!({ "tier": tier });
    object
}

/// `main` holds 10.0.0.0/8 (`top`) over 10.1.0.0/16 (`site`, zone inside) over /24 prefixes for pools.
pub fn estate() -> Scene {
    let zone = |trust: i64, isolation: &str| json!({ "trust": trust, "isolation": isolation });
    let of_pool = json!({ "role": "Pool" });
    let kept = json!({ "role": "Pool", "tenantRef": { "name": "beta" } });
    let web = json!({ "ranges": ["10.1.0.0/27"], "exclude": ["10.1.0.5"], "gateway": "10.1.0.1" });
    Scene::default()
        .tenant(tenant("acme"))
        .tenant(tenant("beta"))
        .namespace("tn-acme", "acme", "uid-acme", "home")
        .namespace(PROJECT, "acme", "uid-acme", "project")
        .namespace("tn-beta-web", "beta", "uid-beta", "project")
        .network("zones", object("inside", zone(50, "Shared")))
        .network("zones", object("outside", zone(10, "Shared")))
        .network("zones", object("vault", zone(90, "PerTenantBlock")))
        .network("spaces", object("main", json!({ "overlapAllowedWith": ["lab"] })))
        .network("spaces", object("lab", json!({})))
        .network("spaces", object("far", json!({})))
        .network("prefixes", object("top", json!({ "spaceRef": { "name": "main" }, "cidr": "10.0.0.0/8" })))
        .network("prefixes", object("top6", json!({ "spaceRef": { "name": "main" }, "cidr": "2001:db8::/32" })))
        .network("prefixes", below("site", "top", "10.1.0.0/16", &json!({ "zoneRef": { "name": "inside" } })))
        .network("prefixes", below("web", "site", "10.1.0.0/24", &of_pool))
        .network("prefixes", below("whole", "site", "10.1.1.0/24", &of_pool))
        .network("prefixes", below("for-beta", "site", "10.1.2.0/24", &kept))
        .network("prefixes", below("web6", "top6", "2001:db8::/64", &of_pool))
        .network("pools", labelled(pool("web", "web", &web), "web"))
        .network("pools", labelled(pool("whole", "whole", &json!({ "gateway": "10.1.1.1" })), "four"))
        .network("pools", labelled(pool("web6", "web6", &json!({})), "web"))
        .network("pools", labelled(pool("beta-only", "web", &json!({ "ranges": ["10.1.0.128/28"], "allowedTenants": ["beta"] })), "closed"))
        .network("pools", labelled(pool("nobody", "web", &json!({ "ranges": ["10.1.0.160/28"], "allowedTenants": [] })), "closed"))
        .network("pools", pool("kept-for-beta", "for-beta", &json!({ "allowedTenants": ["*"] })))
        .network("vlan-pools", object("hall-in", json!({ "fabric": "hall", "zoneRef": { "name": "inside" }, "ranges": ["100-199"], "allowedTenants": ["acme"] })))
        .network("vlan-pools", object("yard-in", json!({ "fabric": "yard", "zoneRef": { "name": "inside" }, "ranges": ["100-199"], "allowedTenants": ["*"] })))
        .network("vlan-pools", object("hall-out", json!({ "fabric": "hall", "zoneRef": { "name": "outside" }, "ranges": ["300-399"], "allowedTenants": ["*"] })))
}

/// A VLAN of tenant acme.
pub fn vlan(name: &str, pool: &str, extra: &Value) -> Value {
    let mut object = object(name, with(json!({ "poolRef": { "name": pool } }), extra));
    object["metadata"]["namespace"] = json!(PROJECT);
    object
}
