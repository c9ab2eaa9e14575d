//! The network kinds' rows of the tables, and what holds of their statuses.

use super::{Refused, api, object, refusal, with};
use anyhow::{Context, Result};
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use system_tests::{client, unique};

pub const GROUP: &str = "network";

pub fn root() -> Value {
    json!({"spaceRef": {"name": "main"}, "cidr": "10.0.0.0/8", "strategy": "BestFit", "role": "Container",
           "zoneRef": {"name": "inside"}, "tenantRef": {"name": "acme"}})
}

fn child() -> Value {
    json!({"parentRef": {"name": "top"}, "length": 16})
}

pub fn pool() -> Value {
    json!({"prefixRef": {"name": "web"}, "ranges": ["10.0.0.0/28", "10.0.0.64-10.0.0.79", "10.0.0.99"],
           "exclude": ["10.0.0.3"], "gateway": "10.0.0.1", "dns": ["10.0.0.2", "2001:db8::53"],
           "strategy": "Dispersed", "strict": false, "quarantineSeconds": 0, "sticky": true,
           "allowReservedAddresses": false, "avoidZeroAnd255": true, "allowedTenants": ["acme", "lin"],
           "zoneRef": {"name": "inside"}, "vlanRef": {"namespace": "tn-acme-web", "name": "front"},
           "priority": -1, "disabled": false})
}

fn claim() -> Value {
    json!({"poolRef": {"name": "web"}, "families": ["IPv4"], "count": 256, "stickyKey": "mail-1",
           "resourceRef": {"kind": "VirtualMachine", "name": "m"}})
}

pub fn vlan_pool() -> Value {
    json!({"fabric": "hall-1", "zoneRef": {"name": "inside"}, "ranges": ["1", "100-199", "4094"],
           "quarantineSeconds": 60, "allowedTenants": ["*"]})
}

fn vlan() -> Value {
    json!({"poolRef": {"name": "hall-1"}, "id": 100, "purpose": "front", "prefixRef": {"name": "web"}})
}

fn block() -> Value {
    json!({"spaceRef": {"name": "main"}, "cidr": "10.0.0.0/24"})
}

fn zone() -> Value {
    json!({"trust": 50, "isolation": "PerTenantBlock", "peers": [{"name": "outside"}]})
}

fn machine(network: &Value) -> Value {
    json!({"instanceTypeRef": {"name": "small"}, "image": "tiny", "networks": [network]})
}

fn front() -> Value {
    json!({"name": "front", "poolSelector": {"matchLabels": {"tier": "web"}}, "families": ["IPv4", "IPv6"],
           "vlanRef": {"name": "front"}, "zoneRef": {"name": "inside"}})
}

/// Each kind's valid specifications.
pub fn valid() -> Vec<(&'static str, &'static str, Value)> {
    let network = |kind, spec| (GROUP, kind, spec);
    vec![
        network("AddressSpace", json!({})),
        network(
            "AddressSpace",
            json!({"description": "all", "overlapAllowedWith": ["lab", "old-lab"]}),
        ),
        network("AddressSpace", json!({"overlapAllowedWith": ["*"]})),
        network("Prefix", root()),
        network("Prefix", child()),
        network("Prefix", json!({"parentSelector": {"matchLabels": {"site": "a"}}, "class": "C"})),
        network("Prefix", json!({"parentRef": {"name": "top"}, "cidr": "2001:db8:1::/48"})),
        network("IPPool", pool()),
        network("IPPool", json!({"prefixRef": {"name": "web"}})),
        network(
            "IPPool",
            json!({"prefixRef": {"name": "web"}, "ranges": ["2001:db8::-2001:db8::ffff"]}),
        ),
        network("IPBlock", block()),
        network("IPBlock", json!({"spaceRef": {"name": "main"}, "cidr": "2001:db8::/120"})),
        network("IPClaim", claim()),
        network("IPClaim", json!({"poolRef": {"name": "web"}, "address": "2001:db8::9"})),
        network(
            "IPClaim",
            json!({"poolSelector": {"matchLabels": {"a": "b"}}, "families": ["IPv4", "IPv6"]}),
        ),
        network("VLANPool", vlan_pool()),
        network("VLAN", vlan()),
        network("VLAN", json!({"poolSelector": {"matchLabels": {"a": "b"}}})),
        network("VLANFabric", json!({})),
        network("SecurityZone", zone()),
        network("SecurityZone", json!({"trust": 0})),
        ("compute", "VirtualMachine", machine(&front())),
        ("compute", "VirtualMachine", machine(&json!({"name": "a", "ipClaimRef": {"name": "c"}}))),
    ]
}

/// As the table of the other kinds.
#[expect(clippy::too_many_lines, reason = "a table, a case a row")]
pub fn refused_on_create() -> Vec<Refused> {
    let missing = Value::Null;
    let row = |kind, spec, pointer, value, expected| (GROUP, kind, spec, pointer, value, expected);
    let space = json!({"overlapAllowedWith": ["lab"]});
    let selector = json!({"parentSelector": {"matchLabels": {"site": "a"}}, "length": 24});
    let by_selector = json!({"poolSelector": {"matchLabels": {"a": "b"}}});
    let at = json!({"poolRef": {"name": "web"}, "address": "10.0.0.9"});
    let empty = json!({"matchLabels": {}});
    vec![
        row(
            "AddressSpace",
            space.clone(),
            "/overlapAllowedWith",
            json!(["*", "lab"]),
            "so it stands alone",
        ),
        row(
            "AddressSpace",
            space.clone(),
            "/overlapAllowedWith/0",
            json!("La b"),
            "overlapAllowedWith[0]",
        ),
        row("AddressSpace", space, "/surprise", json!(1), "surprise"),
        row(
            "Prefix",
            root(),
            "/spaceRef",
            missing.clone(),
            "exactly one of spaceRef (a root), parentRef and parentSelector",
        ),
        row(
            "Prefix",
            root(),
            "/parentRef",
            json!({"name": "top"}),
            "exactly one of spaceRef (a root), parentRef and parentSelector",
        ),
        row("Prefix", root(), "/length", json!(8), "exactly one of cidr, length and class"),
        row("Prefix", child(), "/length", missing.clone(), "exactly one of cidr, length and class"),
        row("Prefix", child(), "/class", json!("B"), "exactly one of cidr, length and class"),
        row("Prefix", child(), "/length", json!(0), "spec.length"),
        row("Prefix", child(), "/length", json!(129), "spec.length"),
        row("Prefix", child(), "/length", json!("16"), "length"),
        row(
            "Prefix",
            selector.clone(),
            "/parentSelector",
            empty.clone(),
            "an empty selector would choose everything",
        ),
        row(
            "Prefix",
            selector,
            "/parentSelector/matchLabels/site",
            json!("not a value"),
            "matchLabels",
        ),
        row("Prefix", root(), "/role", json!("Spare"), "spec.role"),
        row("Prefix", root(), "/strategy", json!("Dispersed"), "spec.strategy"),
        row("IPPool", pool(), "/prefixRef", missing.clone(), "spec.prefixRef"),
        row("IPPool", pool(), "/allowedTenants", json!(["*", "acme"]), "so it stands alone"),
        row("IPPool", pool(), "/allowedTenants/0", json!("Acme"), "`Acme` is not a tenant"),
        row(
            "IPPool",
            pool(),
            "/strategy",
            json!("Sequential"),
            "applies to strategy Dispersed only",
        ),
        row("IPPool", pool(), "/strategy", json!("BestFit"), "spec.strategy"),
        row("IPPool", pool(), "/quarantineSeconds", json!(-1), "spec.quarantineSeconds"),
        row("IPPool", pool(), "/quarantineSeconds", json!(0.5), "quarantineSeconds"),
        row("IPPool", pool(), "/priority", json!(1001), "spec.priority"),
        row("IPPool", pool(), "/vlanRef/namespace", json!(""), "spec.vlanRef.namespace"),
        row(
            "IPBlock",
            block(),
            "/cidr",
            json!("10.0.0.0/25"),
            "a block is a /24 of IPv4 or a /120 of IPv6",
        ),
        row(
            "IPBlock",
            block(),
            "/cidr",
            json!("2001:db8::/24"),
            "a block is a /24 of IPv4 or a /120 of IPv6",
        ),
        row(
            "IPClaim",
            claim(),
            "/poolRef",
            missing.clone(),
            "exactly one of poolRef and poolSelector",
        ),
        row(
            "IPClaim",
            claim(),
            "/poolSelector",
            json!({"matchLabels": {"a": "b"}}),
            "exactly one of poolRef and poolSelector",
        ),
        row(
            "IPClaim",
            by_selector.clone(),
            "/poolSelector",
            empty.clone(),
            "an empty selector would choose everything",
        ),
        row("IPClaim", by_selector, "/families", json!(["IPv4", "IPv4"]), "uplicate"),
        row("IPClaim", claim(), "/families", json!(["IPv5"]), "spec.families[0]"),
        row("IPClaim", claim(), "/families", json!(["IPv4", "IPv6"]), "a pool has one family"),
        row("IPClaim", claim(), "/count", json!(0), "spec.count"),
        row("IPClaim", claim(), "/count", json!(257), "spec.count"),
        row("IPClaim", claim(), "/stickyKey", json!("a b"), "spec.stickyKey"),
        row("IPClaim", claim(), "/resourceRef/name", json!(""), "spec.resourceRef.name"),
        row("IPClaim", at.clone(), "/count", json!(2), "must be 1 with an address"),
        row("IPClaim", at, "/families", json!(["IPv6"]), "is of another family"),
        row("VLANPool", vlan_pool(), "/fabric", json!("Hall 1"), "spec.fabric"),
        row("VLANPool", vlan_pool(), "/ranges", json!([]), "spec.ranges"),
        row("VLANPool", vlan_pool(), "/allowedTenants", json!(["*", "acme"]), "so it stands alone"),
        row("VLAN", vlan(), "/poolRef", missing, "exactly one of poolRef and poolSelector"),
        row("VLAN", vlan(), "/id", json!(0), "is outside of 1 to 4094"),
        row("VLAN", vlan(), "/id", json!(4095), "is outside of 1 to 4094"),
        row("VLAN", vlan(), "/id", json!("100"), "id"),
        row("VLAN", vlan(), "/prefixRef", json!({"name": ""}), "spec.prefixRef.name"),
        row("SecurityZone", zone(), "/trust", json!(101), "spec.trust"),
        row("SecurityZone", zone(), "/trust", json!(-1), "spec.trust"),
        row("SecurityZone", zone(), "/isolation", json!("None"), "spec.isolation"),
        row("SecurityZone", zone(), "/peers", json!([{"name": "a"}, {"name": "a"}]), "uplicate"),
        (
            "compute",
            "VirtualMachine",
            machine(&front()),
            "/networks/0/ipClaimRef",
            json!({"name": "c"}),
            "exactly one of ipClaimRef, poolRef and poolSelector",
        ),
        (
            "compute",
            "VirtualMachine",
            machine(&front()),
            "/networks/0/poolSelector",
            empty,
            "an empty selector would choose everything",
        ),
        (
            "compute",
            "VirtualMachine",
            machine(&front()),
            "/networks/0/name",
            json!("Front"),
            "networks[0].name",
        ),
        (
            "compute",
            "VirtualMachine",
            machine(&front()),
            "/networks",
            json!([front(), front()]),
            "uplicate",
        ),
    ]
}

/// As the table of the other kinds.
pub fn refused_on_update() -> Vec<Refused> {
    let row = |kind, spec, pointer, value, expected| (GROUP, kind, spec, pointer, value, expected);
    let other = json!({"name": "other"});
    vec![
        row("Prefix", root(), "/spaceRef", other.clone(), "spec.spaceRef: is immutable"),
        row("Prefix", child(), "/parentRef", other.clone(), "spec.parentRef: is immutable"),
        row("Prefix", child(), "/length", json!(17), "spec.length: is immutable"),
        row("IPPool", pool(), "/prefixRef", other.clone(), "spec.prefixRef: is immutable"),
        row("IPBlock", block(), "/cidr", json!("10.0.1.0/24"), "is immutable"),
        row("IPClaim", claim(), "/poolRef", other.clone(), "is immutable"),
        row("IPClaim", claim(), "/count", json!(1), "is immutable"),
        row("VLANPool", vlan_pool(), "/fabric", json!("hall-2"), "spec.fabric: is immutable"),
        row("VLAN", vlan(), "/id", json!(101), "is immutable"),
        (
            "compute",
            "VirtualMachine",
            machine(&front()),
            "/networks/0/zoneRef",
            other,
            "spec.networks: is immutable",
        ),
    ]
}

/// Statuses with a number that only ever rises.
fn counted() -> [(&'static str, Value, &'static str); 9] {
    [
        ("AddressSpace", json!({}), "sequence"),
        ("Prefix", root(), "sequence"),
        ("IPPool", pool(), "generation"),
        ("IPBlock", block(), "sequence"),
        ("IPClaim", claim(), "attempt"),
        ("VLANPool", vlan_pool(), "sequence"),
        ("VLAN", vlan(), "attempt"),
        ("VLANFabric", json!({}), "sequence"),
        ("SecurityZone", zone(), "observedGeneration"),
    ]
}

#[tokio::test]
async fn what_a_status_counts_never_falls() -> Result<()> {
    let client = client().await?;
    for (kind, spec, counter) in counted() {
        let (api, name) = (api(&client, GROUP, kind), unique("s"));
        api.create(&PostParams::default(), &object(GROUP, kind, &name, &spec)?).await?;
        let merge = |number: i64| {
            Patch::Merge(json!({"status": {counter: number, "observedGeneration": number}}))
        };
        let patch = PatchParams::default();
        for rising in [5, 5, 6] {
            api.patch_status(&name, &patch, &merge(rising))
                .await
                .with_context(|| kind.to_owned())?;
        }
        let expected = format!("status.{counter}: never");
        let case = format!("{kind} {counter}");
        refusal(
            api.patch_status(&name, &patch, &merge(5)).await,
            &expected,
            &format!("merge patch {case}"),
        )?;
        let dry = PatchParams { dry_run: true, ..PatchParams::default() };
        refusal(
            api.patch_status(&name, &dry, &merge(5)).await,
            &expected,
            &format!("dry run {case}"),
        )?;
        let mut lost = api.get(&name).await?;
        lost.data["status"] = json!({});
        refusal(
            api.replace_status(&name, &PostParams::default(), &lost).await,
            &expected,
            &format!("replace {case}"),
        )?;
        let mut apply = object(GROUP, kind, &name, &spec)?;
        apply.data["status"] = json!({counter: 4, "observedGeneration": 4});
        let force = PatchParams::apply("schema-test").force();
        refusal(
            api.patch_status(&name, &force, &Patch::Apply(&apply)).await,
            &expected,
            &format!("apply {case}"),
        )?;
        api.delete(&name, &DeleteParams::default()).await?;
    }
    Ok(())
}

/// Entries of a table that no writer of ours would write.
fn spoilt() -> Vec<(&'static str, &'static str, Value, &'static str)> {
    let missing = Value::Null;
    vec![
        ("/slots", "state", json!("Lost"), "status.slots[200].state"),
        ("/slots", "index", json!(256), "status.slots[200].index"),
        ("/slots", "uid", json!(""), "names its pool, uid and tenant"),
        ("/slots", "since", missing.clone(), "status.slots[200].since"),
        ("/slots", "until", json!("2026-01-01T00:00:00Z"), "says when a slot that rests is free"),
        ("/slots", "state", json!("Quarantined"), "says when a slot that rests is free"),
        ("/slots", "seq", missing.clone(), "status.slots[200].seq"),
        ("/owners", "state", json!("Held"), "status.owners[200].state"),
        ("/owners", "id", json!(4095), "status.owners[200].id"),
        ("/owners", "uid", missing, "status.owners[200].uid"),
    ]
}

#[tokio::test]
async fn a_full_block_and_a_full_pool_of_ids_fit_and_are_cheap_to_judge() -> Result<()> {
    let client = client().await?;
    let slot = |index: i64| {
        json!({"index": index, "state": "Allocated", "pool": "web", "uid": uuid::Uuid::new_v4().to_string(),
               "ref": format!("IPClaim tn-acme-web/claim-{index}"), "tenant": "acme",
               "since": "2026-01-01T00:00:00Z", "seq": index})
    };
    let owner = |id: i64| {
        json!({"id": id, "state": "Quarantined", "uid": uuid::Uuid::new_v4().to_string(),
               "ref": format!("VLAN tn-acme-web/vlan-{id}"), "tenant": "acme",
               "since": "2026-01-01T00:00:00Z", "until": "2026-01-01T00:05:00Z", "seq": id})
    };
    let bitmap = format!("{}=", "A".repeat(683));
    for (kind, spec, status) in [
        (
            "IPBlock",
            block(),
            json!({"sequence": 1, "slots": (0..256).map(slot).collect::<Vec<_>>()}),
        ),
        (
            "VLANPool",
            vlan_pool(),
            json!({"sequence": 1, "bitmap": bitmap, "owners": (1..=4094).map(owner).collect::<Vec<_>>()}),
        ),
    ] {
        let (api, name) = (api(&client, GROUP, kind), unique("s"));
        let mut stored =
            api.create(&PostParams::default(), &object(GROUP, kind, &name, &spec)?).await?;
        // Twice: a rule about the old status is only asked of the second.
        for sequence in 1..=2 {
            stored.data["status"] = status.clone();
            stored.data["status"]["sequence"] = json!(sequence);
            stored = api
                .replace_status(&name, &PostParams::default(), &stored)
                .await
                .with_context(|| kind.to_owned())?;
        }
        let table = if kind == "IPBlock" { "/slots" } else { "/owners" };
        for (table, field, value, expected) in spoilt().into_iter().filter(|row| row.0 == table) {
            let mut changed = stored.clone();
            let place = format!("{table}/200/{field}");
            changed.data["status"] = with(&stored.data["status"], &place, &value)?;
            let case = format!("{kind} {place} = {value}");
            refusal(
                api.replace_status(&name, &PostParams::default(), &changed).await,
                expected,
                &case,
            )?;
        }
        api.delete(&name, &DeleteParams::default()).await?;
    }
    Ok(())
}
