//! The network's rules through every door: what stands against what is declared, and against what is in use.
//!
//! Blocks and owners are written by the impersonated operator, as its writers will.

use crate::admission::{COMPUTE, Estate, NETWORK, namespace, object, tenant};
use crate::hook::{CHANGING, Door, Hook, TURN, api_of, comes_to, through};
use anyhow::{Context, Result};
use ids::well_known::CLAIM_FINALIZER;
use serde_json::{Value, json};

impl Estate {
    fn network(&self, kind: &str, name: &str, spec: Value) -> Value {
        object(NETWORK, kind, None, &self.named(name), spec)
    }

    fn space(&self, name: &str, allowed: &[&str]) -> Value {
        self.network("AddressSpace", name, json!({ "overlapAllowedWith": allowed }))
    }

    fn root(&self, name: &str, space: &str, cidr: &str) -> Value {
        let spec = json!({ "spaceRef": { "name": self.named(space) }, "cidr": cidr });
        self.network("Prefix", name, spec)
    }

    fn below(&self, name: &str, parent: &str, cidr: &str, extra: &Value) -> Value {
        let spec = json!({ "parentRef": { "name": self.named(parent) }, "cidr": cidr });
        self.network("Prefix", name, with(spec, extra))
    }

    fn pool(&self, name: &str, prefix: &str, extra: &Value) -> Value {
        let spec = json!({ "prefixRef": { "name": self.named(prefix) }, "allowedTenants": ["*"] });
        self.network("IPPool", name, with(spec, extra))
    }

    fn claim(&self, name: &str, pool: &str, extra: &Value) -> Value {
        let spec = json!({ "poolRef": { "name": self.named(pool) } });
        object(NETWORK, "IPClaim", Some(&self.room()), name, with(spec, extra))
    }

    fn vlan(&self, name: &str, pool: &str, extra: &Value) -> Value {
        let spec = json!({ "poolRef": { "name": self.named(pool) } });
        object(NETWORK, "VLAN", Some(&self.room()), name, with(spec, extra))
    }

    fn vlan_pool(&self, name: &str, fabric: &str, zone: &str, ranges: &[&str]) -> Value {
        let spec = json!({ "fabric": self.named(fabric), "zoneRef": { "name": self.named(zone) },
            "ranges": ranges, "allowedTenants": [self.name] });
        self.network("VLANPool", name, spec)
    }

    fn zone(&self, name: &str, isolation: &str, peers: &[&str]) -> Value {
        let peers: Vec<Value> =
            peers.iter().map(|peer| json!({ "name": self.named(peer) })).collect();
        let spec = json!({ "trust": 50, "isolation": isolation, "peers": peers });
        self.network("SecurityZone", name, spec)
    }

    fn zoned(&self, zone: &str) -> Value {
        json!({ "zoneRef": { "name": self.named(zone) } })
    }

    /// Puts an object with a status there, as the operator.
    async fn put_status(&self, mut object: Value, status: Value) -> Result<()> {
        self.put(&object).await?;
        object["status"] = status;
        Ok(through(&self.operator, Door::PatchStatus, false, &object).await?)
    }

    /// Ends a claim that is being deleted, as the operator does when its addresses are given back.
    async fn let_go(&self, claim: &Value) -> Result<()> {
        let mut freed = json!({ "apiVersion": NETWORK, "kind": claim["kind"].clone(), "metadata": claim["metadata"].clone() });
        freed["metadata"]["finalizers"] = Value::Null;
        Ok(through(&self.operator, Door::MergePatch, false, &freed).await?)
    }

    async fn uid_of(&self, object: &Value) -> Result<String> {
        let name = object["metadata"]["name"].as_str().context("name")?;
        api_of(&self.admin, object)?.get(name).await?.metadata.uid.context("uid")
    }

    /// A tree as an operator of a cloud makes it: a class A over a class B over class C.
    async fn tree(&self) -> Result<()> {
        for object in [
            self.zone("inside", "Shared", &[]),
            self.zone("outside", "Shared", &[]),
            self.space("main", &["*"]),
            self.root("top", "main", "10.0.0.0/8"),
            self.below("site", "top", "10.1.0.0/16", &self.zoned("inside")),
            self.below("web", "site", "10.1.0.0/24", &json!({ "role": "Pool" })),
        ] {
            self.put(&object).await?;
        }
        Ok(())
    }
}

fn with(mut spec: Value, extra: &Value) -> Value {
    for (key, value) in extra.as_object().into_iter().flatten() {
        spec[key] = value.clone();
    }
    spec
}

/// Slots of a block, all of claims of `tenant`.
fn slots(pool: &str, tenant: &str, indices: &[u8]) -> Value {
    let slot = |index: &u8| {
        json!({ "index": index, "state": "Allocated", "pool": pool, "uid": format!("uid-{index}"),
            "ref": format!("IPClaim tn-{tenant}-web/c{index}"), "tenant": tenant,
            "since": "2026-06-01T00:00:00Z", "seq": 1 })
    };
    json!({ "sequence": 1, "slots": indices.iter().map(slot).collect::<Vec<_>>() })
}

#[tokio::test]
async fn spaces_and_prefixes() -> Result<()> {
    let _turn = TURN.lock().await;
    let _hook = Hook::start(&[]).await?;
    let estate = Estate::found().await?;
    estate.tree().await?;
    let child = |cidr: &str, extra: &Value| estate.below("b", "site", cidr, extra);
    let none = json!({});
    estate.making(&child("10.1.9.0/24", &none), None).await?;
    estate.making(&child("10.2.0.0/24", &none), Some("spec.cidr")).await?;
    estate.making(&child("10.1.0.128/25", &none), Some("spec.cidr")).await?;
    estate.making(&child("10.1.9.0/24", &estate.zoned("inside")), None).await?;
    estate
        .making(&child("10.1.9.0/24", &estate.zoned("outside")), Some("spec.zoneRef.name"))
        .await?;
    estate
        .making(&estate.below("b", "web", "10.1.0.0/28", &none), Some("spec.parentRef.name"))
        .await?;
    estate
        .making(&estate.below("b", "b", "10.1.0.0/28", &none), Some("spec.parentRef.name"))
        .await?;
    let carved = |length: i64| {
        let spec = json!({ "parentRef": { "name": estate.named("site") }, "length": length });
        estate.network("Prefix", "carved", spec)
    };
    estate.making(&carved(24), None).await?;
    estate.making(&carved(12), Some("spec.length")).await?;

    // Spaces hold the same addresses only where one names the other.
    estate.making(&estate.root("r", "main", "10.5.0.0/16"), Some("spec.cidr")).await?;
    estate.making(&estate.root("r", "main", "172.16.0.0/12"), None).await?;
    estate.put(&estate.space("far", &[])).await?;
    estate.making(&estate.root("r", "far", "10.5.0.0/16"), None).await?;
    estate.put(&estate.root("twin", "far", "10.0.0.0/8")).await?;
    estate.changing(&CHANGING, &estate.space("main", &[]), Some("spec.overlapAllowedWith")).await?;
    estate.changing(&CHANGING, &estate.space("main", &[&estate.named("far")]), None).await?;
    let itself = estate.space("lone", &[&estate.named("lone")]);
    estate.making(&itself, Some("spec.overlapAllowedWith[0]")).await?;
    estate.changing(&[Door::Delete], &estate.space("main", &[]), Some("metadata.name")).await?;

    // It grows freely and shrinks around what is in it.
    let site = |cidr: &str, zone: &str| estate.below("site", "top", cidr, &estate.zoned(zone));
    estate.changing(&CHANGING, &site("10.0.0.0/15", "inside"), None).await?;
    estate.changing(&CHANGING, &site("10.1.0.0/24", "inside"), None).await?;
    estate.changing(&CHANGING, &site("10.1.128.0/17", "inside"), Some("spec.cidr")).await?;
    estate.changing(&CHANGING, &site("10.1.0.0/16", "outside"), Some("spec.zoneRef")).await?;
    let pooled = with(estate.zoned("inside"), &json!({ "role": "Pool" }));
    let pooled = estate.below("site", "top", "10.1.0.0/16", &pooled);
    estate.changing(&CHANGING, &pooled, Some("spec.role")).await?;
    estate.changing(&[Door::Delete], &pooled, Some("metadata.name")).await?;
    let web = estate.below("web", "site", "10.1.0.0/24", &json!({ "role": "Pool" }));
    estate.changing(&[Door::Delete], &web, None).await?;
    estate.clear().await
}

#[tokio::test]
async fn pools_and_what_they_handed_out() -> Result<()> {
    let _turn = TURN.lock().await;
    let _hook = Hook::start(&[]).await?;
    let estate = Estate::found().await?;
    estate.tree().await?;
    let of = |extra: &Value| estate.pool("p", "web", extra);
    let ranges = |ranges: &[&str]| of(&json!({ "ranges": ranges }));
    for (pool, expected) in [
        (of(&json!({})), None),
        (ranges(&["10.1.0.0/28", "10.1.0.32-10.1.0.40"]), None),
        (ranges(&["10.1.0.40-10.1.0.32"]), Some("spec.ranges[0]")),
        (ranges(&["126.0.0.0-128.0.0.0"]), Some("spec.ranges[0]")),
        (ranges(&["10.1.0.0/28", "10.1.1.0/28"]), Some("spec.ranges[1]")),
        (ranges(&["10.1.0.0/28", "10.1.0.8"]), Some("spec.ranges[1]")),
        (of(&json!({ "exclude": ["10.1.0.0/24"] })), Some("spec.exclude")),
        (of(&json!({ "gateway": "10.1.0.1" })), None),
        (of(&json!({ "gateway": "10.1.9.1" })), Some("spec.gateway")),
        (of(&json!({ "gateway": "2001:db8::1" })), Some("spec.gateway")),
        (
            of(&json!({ "ranges": ["10.1.0.0/28"], "strategy": "ExclusiveBlock" })),
            Some("spec.ranges"),
        ),
        (of(&estate.zoned("outside")), Some("spec.zoneRef.name")),
        (
            estate.pool("p", "site", &json!({ "ranges": ["10.1.5.0/24"] })),
            Some("spec.prefixRef.name"),
        ),
    ] {
        estate.making(&pool, expected).await?;
    }
    estate.put(&ranges(&["10.1.0.0/27"])).await?;
    let other = |range: &str| estate.pool("q", "web", &json!({ "ranges": [range] }));
    estate.making(&other("10.1.0.64/27"), None).await?;
    estate.making(&other("10.1.0.16/28"), Some("spec.ranges")).await?;
    estate.put(&other("10.1.0.64/27")).await?;
    estate.changing(&CHANGING, &other("10.1.0.0/24"), Some("spec.ranges")).await?;

    // What is handed out stays within.
    let block = estate.network(
        "IPBlock",
        "main-10-1-0-0",
        json!({ "spaceRef": { "name": estate.named("main") }, "cidr": "10.1.0.0/24" }),
    );
    let uid = estate.uid_of(&ranges(&[])).await?;
    estate.put_status(block.clone(), slots(&uid, &estate.name, &[7, 20])).await?;
    estate.changing(&CHANGING, &ranges(&["10.1.0.0/28", "10.1.0.20"]), None).await?;
    estate.changing(&CHANGING, &ranges(&["10.1.0.0/28"]), Some("spec.ranges")).await?;
    let excluding = of(&json!({ "ranges": ["10.1.0.0/27"], "exclude": ["10.1.0.7"] }));
    estate.changing(&CHANGING, &excluding, Some("spec.exclude")).await?;
    let routed = of(&json!({ "ranges": ["10.1.0.0/27"], "gateway": "10.1.0.20" }));
    estate.changing(&CHANGING, &routed, Some("spec.gateway")).await?;
    estate.changing(&[Door::Delete], &ranges(&[]), Some("metadata.name")).await?;
    estate.changing(&[Door::Delete], &other("10.1.0.64/27"), None).await?;
    let half = estate.below("web", "site", "10.1.0.64/26", &json!({ "role": "Pool" }));
    estate.changing(&CHANGING, &half, Some("spec.cidr")).await?;

    // The table is the operator's alone.
    estate
        .making(&estate.network("IPBlock", "mine", block["spec"].clone()), Some("metadata.name"))
        .await?;
    estate.making(&estate.network("VLANFabric", "mine", json!({})), Some("metadata.name")).await?;
    estate.changing(&[Door::Delete], &block, Some("metadata.name")).await?;
    let mut forged = block.clone();
    forged["status"] = slots(&uid, "thief", &[7]);
    let mut pool = ranges(&["10.1.0.0/27"]);
    pool["status"] = json!({ "used": "0" });
    let mut prefix = half.clone();
    prefix["status"] = json!({ "children": [] , "sequence": 9 });
    for object in [forged, pool, prefix] {
        estate.changing(&[Door::ReplaceStatus, Door::PatchStatus], &object, Some("status")).await?;
    }
    estate.clear().await
}

#[tokio::test]
async fn claims_and_interfaces() -> Result<()> {
    let _turn = TURN.lock().await;
    let _hook = Hook::start(&[]).await?;
    let estate = Estate::found().await?;
    estate.tree().await?;
    let own = json!({ "ranges": ["10.1.0.0/27"], "allowedTenants": [estate.name], "exclude": ["10.1.0.5"], "gateway": "10.1.0.1" });
    estate.put(&estate.pool("p", "web", &own)).await?;
    estate
        .put(&estate.pool("q", "web", &json!({ "ranges": ["10.1.0.64/27"], "allowedTenants": [] })))
        .await?;
    let near = |there: &str| json!({ "resourceRef": { "kind": "VirtualMachine", "name": "m", "namespace": there } });
    let at = |address: &str| json!({ "address": address });
    for (claim, expected) in [
        (estate.claim("c", "p", &json!({ "count": 4 })), None),
        (estate.claim("c", "later", &json!({})), None),
        (estate.claim("c", "q", &json!({})), Some("spec.poolRef.name")),
        (estate.claim("c", "p", &json!({ "families": ["IPv6"] })), Some("spec.families")),
        (estate.claim("c", "p", &at("10.1.0.9")), None),
        (estate.claim("c", "p", &at("10.1.0.5")), Some("spec.address")),
        (estate.claim("c", "p", &at("10.1.0.1")), Some("spec.address")),
        (estate.claim("c", "p", &at("10.1.0.0")), Some("spec.address")),
        (estate.claim("c", "p", &at("10.1.0.99")), Some("spec.address")),
        (estate.claim("c", "p", &near(&estate.room())), None),
        (estate.claim("c", "p", &near("default")), Some("spec.resourceRef.namespace")),
        (
            object(NETWORK, "IPClaim", Some("default"), "c", json!({ "poolRef": { "name": "p" } })),
            Some("metadata.namespace"),
        ),
    ] {
        estate.making(&claim, expected).await?;
    }
    let machine = |network: Value| {
        let spec = json!({ "instanceTypeRef": { "name": "to-come" }, "image": "linux", "networks": [network] });
        object(COMPUTE, "VirtualMachine", Some(&estate.room()), "m", spec)
    };
    let front = |pool: &str, zone: &str| json!({ "name": "front", "poolRef": { "name": estate.named(pool) }, "zoneRef": { "name": estate.named(zone) } });
    estate.making(&machine(front("p", "inside")), None).await?;
    estate.making(&machine(front("p", "outside")), Some("spec.networks[0].zoneRef.name")).await?;
    estate.making(&machine(front("q", "inside")), Some("spec.networks[0].poolRef.name")).await?;

    let claim = estate.claim("c", "p", &json!({}));
    through(&estate.admin, Door::Create, false, &claim).await?;
    let mut bound = claim.clone();
    bound["status"] = json!({ "phase": "Bound" });
    estate.changing(&[Door::ReplaceStatus, Door::PatchStatus], &bound, Some("status")).await?;
    let stop = json!({ "suspended": true, "suspendReason": "arrears" });
    estate.put(&tenant(&estate.name, &stop)).await?;
    estate.making(&estate.claim("d", "p", &json!({})), Some("metadata.namespace")).await?;
    // Held from the first moment, by the create itself; giving back asks nobody.
    let stored = api_of(&estate.admin, &claim)?.get("c").await?.metadata;
    assert_eq!(stored.finalizers, Some(vec![CLAIM_FINALIZER.to_owned()]));
    assert_eq!(stored.generation, Some(1));
    through(&estate.admin, Door::Delete, false, &claim).await?;
    estate.let_go(&claim).await?;
    // A prefix that is kept for another tenant is closed, whatever its pools say.
    estate.put(&tenant(&estate.name, &json!({ "suspended": false }))).await?;
    let kept = json!({ "role": "Pool", "tenantRef": { "name": "another" } });
    estate.put(&estate.below("kept", "site", "10.1.3.0/24", &kept)).await?;
    estate.put(&estate.pool("kept", "kept", &json!({}))).await?;
    estate.making(&estate.claim("c", "kept", &json!({})), Some("spec.poolRef.name")).await?;
    let everybody = estate.pool("open", "kept", &json!({ "ranges": ["10.1.3.0/28"] }));
    estate.making(&everybody, Some("spec.allowedTenants")).await?;
    estate.clear().await
}

#[tokio::test]
async fn vlans_and_zones() -> Result<()> {
    let _turn = TURN.lock().await;
    let _hook = Hook::start(&[]).await?;
    let estate = Estate::found().await?;
    estate.tree().await?;
    let hall = |ranges: &[&str]| estate.vlan_pool("hall", "hall", "inside", ranges);
    estate.put(&hall(&["100-199"])).await?;
    let two = |fabric: &str, ranges: &[&str]| estate.vlan_pool("two", fabric, "outside", ranges);
    estate.making(&two("hall", &["200-299", "50"]), None).await?;
    estate.making(&two("yard", &["100-199"]), None).await?;
    estate.making(&two("hall", &["150-250"]), Some("spec.ranges")).await?;
    estate.making(&two("hall", &["1-50", "50"]), Some("spec.ranges[1]")).await?;
    estate.put(&two("hall", &["200-299"])).await?;
    estate.changing(&CHANGING, &two("hall", &["199-299"]), Some("spec.ranges")).await?;

    let to = |prefix: &str| json!({ "prefixRef": { "name": estate.named(prefix) } });
    for (vlan, expected) in [
        (estate.vlan("v", "hall", &json!({ "id": 150 })), None),
        (estate.vlan("v", "hall", &json!({ "id": 250 })), Some("spec.id")),
        (estate.vlan("v", "hall", &to("web")), None),
        (estate.vlan("v", "two", &to("web")), Some("spec.prefixRef.name")),
        (
            object(NETWORK, "VLAN", Some("default"), "v", json!({ "poolRef": { "name": "x" } })),
            Some("metadata.namespace"),
        ),
    ] {
        estate.making(&vlan, expected).await?;
    }
    let other = format!("{}-b", estate.name);
    estate.put(&namespace(&format!("tn-{other}"), &other, "no-such-uid", "project")).await?;
    let stranger = object(
        NETWORK,
        "VLAN",
        Some(&format!("tn-{other}")),
        "v",
        json!({ "poolRef": { "name": estate.named("hall") } }),
    );
    estate.making(&stranger, Some("metadata.namespace")).await?;

    // A VLAN is of the zone of the pools that it joins.
    estate.put(&estate.vlan("edge", "two", &json!({}))).await?;
    estate.put(&estate.vlan("front", "hall", &to("web"))).await?;
    let joined = |vlan: &str| {
        let reached = json!({ "vlanRef": { "namespace": estate.room(), "name": vlan } });
        estate.pool("p", "web", &reached)
    };
    estate.making(&joined("front"), None).await?;
    estate.making(&joined("edge"), Some("spec.vlanRef")).await?;
    let web = estate.below("web", "site", "10.1.0.0/24", &json!({ "role": "Pool" }));
    estate.changing(&[Door::Delete], &web, Some("metadata.name")).await?;

    // Ids in use stay.
    let owner = json!({ "id": 120, "state": "Allocated", "uid": "u", "ref": "VLAN tn-x-web/v", "tenant": "x",
        "since": "2026-06-01T00:00:00Z", "seq": 1 });
    let owners = json!({ "sequence": 1, "owners": [owner] });
    estate.put_status(hall(&["100-199"]), owners).await?;
    estate.making(&estate.vlan("v", "hall", &json!({ "id": 120 })), Some("spec.id")).await?;
    estate.changing(&CHANGING, &hall(&["100-149"]), None).await?;
    estate.changing(&CHANGING, &hall(&["130-199"]), Some("spec.ranges")).await?;
    let moved = estate.vlan_pool("hall", "hall", "outside", &["100-199"]);
    estate.changing(&CHANGING, &moved, Some("spec.zoneRef")).await?;
    estate.changing(&[Door::Delete], &moved, Some("metadata.name")).await?;
    estate.changing(&[Door::Delete], &two("hall", &["200-299"]), None).await?;

    zones(&estate).await?;
    estate.clear().await
}

async fn zones(estate: &Estate) -> Result<()> {
    estate.making(&estate.zone("new", "Shared", &["inside"]), None).await?;
    let astray = estate.zone("new", "Shared", &["inside", "nowhere"]);
    estate.making(&astray, Some("spec.peers[1].name")).await?;
    estate.put(&estate.zone("vault", "Shared", &["inside"])).await?;
    let itself = estate.zone("vault", "Shared", &["vault"]);
    estate.changing(&CHANGING[..2], &itself, Some("spec.peers[0].name")).await?;
    estate.put(&estate.pool("half", "web", &json!({ "ranges": ["10.1.0.0/25"] }))).await?;
    let apart = estate.zone("inside", "PerTenantBlock", &[]);
    estate.changing(&CHANGING, &apart, Some("spec.isolation")).await?;
    estate.changing(&[Door::Delete], &apart, Some("metadata.name")).await?;
    estate.changing(&[Door::Delete], &estate.zone("vault", "Shared", &[]), None).await
}

const EXAMPLES: [&str; 4] = [
    include_str!("../../../examples/network/1-zones.yaml"),
    include_str!("../../../examples/network/2-addresses.yaml"),
    include_str!("../../../examples/network/3-pools.yaml"),
    include_str!("../../../examples/network/4-claims.yaml"),
];

/// Every kind that people declare has an example, and all of them are taken in the order in which they are applied.
#[tokio::test]
async fn the_example_is_taken() -> Result<()> {
    let _turn = TURN.lock().await;
    let _hook = Hook::start(&[]).await?;
    let estate = Estate::found().await?;
    let mut objects: Vec<Value> = Vec::new();
    for document in EXAMPLES.iter().flat_map(|text| text.split("\n---\n")) {
        let mut object: Value = serde_yaml::from_str(document)?;
        if object.pointer("/metadata/namespace").is_some() {
            object["metadata"]["namespace"] = json!(estate.room());
        }
        objects.push(object);
    }
    let pool =
        objects.iter_mut().find(|it| it["kind"] == "IPPool" && it["metadata"]["name"] == "front");
    pool.context("the example has no pool front")?["spec"]["allowedTenants"] = json!([estate.name]);
    for object in &objects {
        comes_to(&estate.admin, Door::Apply, object, None).await?;
        through(&estate.admin, Door::Apply, false, object).await?;
    }
    let kinds: std::collections::BTreeSet<&str> =
        objects.iter().filter_map(|object| object["kind"].as_str()).collect();
    assert_eq!(
        kinds.into_iter().collect::<Vec<_>>(),
        ["AddressSpace", "IPClaim", "IPPool", "Prefix", "SecurityZone", "VLAN", "VLANPool"]
    );
    for object in objects.iter().rev() {
        comes_to(&estate.admin, Door::Delete, object, None).await?;
        through(&estate.admin, Door::Delete, false, object).await?;
        if object["kind"] == "IPClaim" || object["kind"] == "VLAN" {
            estate.let_go(object).await?;
        }
    }
    estate.clear().await
}
