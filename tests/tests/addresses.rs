//! Addresses on a real API server: who gets which, what comes back, what a crash and a second leader change: nothing.

use anyhow::{Context, Result};
use crds::network::{
    AddressSpace, ClaimPhase, IPBlock, IPClaim, IPPool, Prefix, SecurityZone, SlotState, VLAN,
    VLANPool,
};
use futures::StreamExt;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Client, ResourceExt};
use kube_runtime::{WatchStreamExt, watcher};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use system_tests::{
    Home, Operator, SOON, apply, client, is_ready, reason, unique, until, until_gone,
};
use testkit::eventually;

/// A space with one prefix for pools.
struct Ground {
    client: Client,
    space: String,
    prefix: String,
}

impl Ground {
    async fn new(client: &Client, cidr: &str) -> Result<Self> {
        Self::with(client, cidr, json!({})).await
    }

    /// The same, with more in the prefix's spec.
    async fn with(client: &Client, cidr: &str, more: Value) -> Result<Self> {
        let (space, prefix) = (unique("s"), unique("p"));
        let spaces: Api<AddressSpace> = Api::all(client.clone());
        apply(&spaces, json!({"metadata": {"name": space}, "spec": {}})).await?;
        let prefixes: Api<Prefix> = Api::all(client.clone());
        let spec = json!({"spaceRef": {"name": space}, "cidr": cidr, "role": "Pool"});
        let spec = with(spec, &more);
        apply(&prefixes, json!({"metadata": {"name": prefix}, "spec": spec})).await?;
        until(&prefixes, &prefix, "is booked", is_ready).await?;
        Ok(Self { client: client.clone(), space, prefix })
    }

    /// A pool of the prefix, with more in its spec.
    async fn pool(&self, more: Value) -> Result<String> {
        let name = unique("pool");
        let pools: Api<IPPool> = Api::all(self.client.clone());
        let spec = json!({"prefixRef": {"name": self.prefix}, "allowedTenants": ["*"]});
        let spec = with(spec, &more);
        apply(&pools, json!({"metadata": {"name": name}, "spec": spec})).await?;
        until(&pools, &name, "is ready", is_ready).await?;
        Ok(name)
    }

    async fn blocks(&self) -> Result<Vec<IPBlock>> {
        let blocks: Api<IPBlock> = Api::all(self.client.clone());
        let all = blocks.list(&ListParams::default()).await?.items;
        Ok(all.into_iter().filter(|block| block.spec.space_ref.name == self.space).collect())
    }

    /// Live addresses by the UID of who has them.
    async fn live(&self) -> Result<BTreeMap<String, BTreeSet<String>>> {
        let mut live: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for block in self.blocks().await? {
            let slots = block.status.iter().flat_map(|status| &status.slots);
            for slot in slots.filter(|slot| slot.state.is_live()) {
                let address = format!("{}+{}", block.spec.cidr, slot.index);
                live.entry(slot.uid.clone()).or_default().insert(address);
            }
        }
        Ok(live)
    }
}

fn claims(client: &Client, home: &Home) -> Api<IPClaim> {
    Api::namespaced(client.clone(), &home.project)
}

fn claim(name: &str, spec: Value) -> Result<IPClaim> {
    let claim = json!({"apiVersion": "network.freehold.dev/v1alpha1", "kind": "IPClaim",
        "metadata": {"name": name}, "spec": spec});
    Ok(serde_json::from_value(claim)?)
}

/// The fields of both; those of `more` win.
fn with(mut base: Value, more: &Value) -> Value {
    if let (Some(base), Some(more)) = (base.as_object_mut(), more.as_object()) {
        base.extend(more.clone());
    }
    base
}

fn is_bound(claim: &IPClaim) -> bool {
    claim.status.as_ref().and_then(|status| status.phase) == Some(ClaimPhase::Bound)
}

fn addresses(claim: &IPClaim) -> Vec<String> {
    let status = claim.status.iter().flat_map(|status| &status.addresses);
    status.map(|address| address.address.clone()).collect()
}

/// Makes a claim and waits until it has what it asks for.
async fn bound(claims: &Api<IPClaim>, name: &str, spec: Value) -> Result<IPClaim> {
    claims.create(&PostParams::default(), &claim(name, spec)?).await?;
    until(claims, name, "is bound", is_bound).await
}

#[tokio::test]
async fn a_claim_gets_an_address_and_gives_it_back_to_rest() -> Result<()> {
    let client = client().await?;
    let mut operator = Operator::start().await?;
    let home = Home::open(&client).await?;
    let ground = Ground::new(&client, "10.20.0.0/29").await?;
    let gateway = json!({"gateway": "10.20.0.1", "dns": ["10.20.0.53"], "quarantineSeconds": 3});
    let pool = ground.pool(gateway).await?;
    let claims = claims(&client, &home);
    let of = |pool: &str| json!({"poolRef": {"name": pool}});
    let first = bound(&claims, "a", of(&pool)).await?;
    assert_eq!(addresses(&first), ["10.20.0.2"], "neither the network nor the gateway");
    let status = first.status.clone().context("no status")?;
    assert_eq!(status.addresses[0].prefix_length, 29);
    assert_eq!(status.addresses[0].gateway.as_deref(), Some("10.20.0.1"));
    assert_eq!(status.dns, ["10.20.0.53"]);
    assert_eq!(reason(&first), "Bound");

    // Four more fill the pool; the sixth waits, and says why.
    for name in ["b", "c", "d", "e"] {
        bound(&claims, name, of(&pool)).await?;
    }
    claims.create(&PostParams::default(), &claim("f", of(&pool))?).await?;
    let waits = until(&claims, "f", "waits", |claim| reason(claim) == "PoolExhausted").await?;
    assert!(addresses(&waits).is_empty());
    let pools: Api<IPPool> = Api::all(client.clone());
    let full = until(&pools, &pool, "says that it is full", |pool| {
        reason(pool) == "Exhausted"
            && pool.status.as_ref().is_some_and(|status| status.waiting == Some(1))
    })
    .await?;
    let counts = full.status.context("no status")?;
    let counts = [counts.total, counts.free, counts.used, counts.quarantined, counts.excluded];
    assert_eq!(counts.map(Option::unwrap_or_default), ["8", "0", "5", "0", "3"]);

    // A crash changes nothing; what comes back rests, then goes to who waits.
    let before = ground.live().await?;
    operator.crash().await?;
    claims.delete("c", &DeleteParams::default()).await?;
    until_gone(&claims, "c").await?;
    let rests = ground.blocks().await?.into_iter().any(|block| {
        let slots = block.status.iter().flat_map(|status| status.slots.clone());
        slots.into_iter().any(|slot| slot.state == SlotState::Quarantined && slot.index == 4)
    });
    assert!(rests, "an address rests after its release");
    let woken = until(&claims, "f", "is bound", is_bound).await?;
    assert_eq!(addresses(&woken), ["10.20.0.4"]);
    let after = ground.live().await?;
    for (uid, held) in &before {
        if after.contains_key(uid) {
            assert_eq!(after[uid], *held, "nobody's address changed");
        }
    }
    assert_eq!(after.len(), 5);
    home.close().await?;
    operator.stop().await
}

/// Reads every revision of a space's blocks, and remembers who was ever seen to have an address. Released addresses rest
/// longer than a test lasts, so nobody may follow anybody.
struct Witness {
    task: tokio::task::JoinHandle<()>,
    owners: Arc<Mutex<BTreeMap<String, BTreeSet<String>>>>,
}

impl Witness {
    fn of(ground: &Ground) -> Self {
        let (blocks, space) = (Api::<IPBlock>::all(ground.client.clone()), ground.space.clone());
        let owners: Arc<Mutex<BTreeMap<String, BTreeSet<String>>>> = Arc::default();
        let seen = Arc::clone(&owners);
        let task = tokio::spawn(async move {
            let events = watcher(blocks, watcher::Config::default()).default_backoff();
            let mut events = std::pin::pin!(events.applied_objects());
            while let Some(event) = events.next().await {
                let Ok(block) = event else { continue };
                if block.spec.space_ref.name != space {
                    continue;
                }
                let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
                for slot in block.status.iter().flat_map(|status| &status.slots) {
                    let address = format!("{}+{}", block.spec.cidr, slot.index);
                    seen.entry(address).or_default().insert(slot.uid.clone());
                }
            }
        });
        Self { task, owners }
    }

    /// Addresses that had more than one owner.
    fn doubles(self) -> Vec<String> {
        self.task.abort();
        let owners = self.owners.lock().unwrap_or_else(PoisonError::into_inner);
        owners.iter().filter(|(_, uids)| uids.len() > 1).map(|(one, _)| one.clone()).collect()
    }
}

/// Creates `count` claims by 32 writers.
fn create(claims: &Api<IPClaim>, pool: &str, count: usize) -> tokio::task::JoinSet<Result<()>> {
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..32 {
        let (claims, spec) = (claims.clone(), json!({"poolRef": {"name": pool}}));
        writers.spawn(async move {
            for index in (writer..count).step_by(32) {
                let one = claim(&format!("c{index}"), spec.clone())?;
                claims.create(&PostParams::default(), &one).await?;
            }
            Ok(())
        });
    }
    writers
}

async fn all(claims: &Api<IPClaim>) -> Result<Vec<IPClaim>> {
    Ok(claims.list(&ListParams::default()).await?.items)
}

async fn bound_at_least(claims: &Api<IPClaim>, count: usize) -> Result<()> {
    eventually("claims are bound", SOON * 3, async || {
        let bound = all(claims).await?.iter().filter(|claim| is_bound(claim)).count();
        Ok((bound >= count).then_some(()))
    })
    .await
}

/// Every claim has one address, no slot is anybody else's.
async fn nothing_shared_or_lost(
    claims: &Api<IPClaim>,
    ground: &Ground,
    count: usize,
) -> Result<()> {
    let claims = all(claims).await?;
    let distinct: BTreeSet<String> = claims.iter().flat_map(addresses).collect();
    assert_eq!(distinct.len(), count, "an address was given twice");
    let live = ground.live().await?;
    let owners: BTreeSet<String> = claims.iter().filter_map(ResourceExt::uid).collect();
    assert_eq!(live.keys().cloned().collect::<BTreeSet<_>>(), owners, "a slot leaked");
    assert!(live.values().all(|held| held.len() == 1), "a claim has two");
    Ok(())
}

#[tokio::test]
async fn many_claims_at_once_share_nothing_and_lose_nothing() -> Result<()> {
    let (count, kills): (usize, usize) = match std::env::var("FREEHOLD_TEST_CLAIMS") {
        Ok(text) => (text.parse().context("FREEHOLD_TEST_CLAIMS is no number")?, 24),
        Err(_) => (600, 2),
    };
    let client = client().await?;
    let mut operator = Operator::start().await?;
    let home = Home::open(&client).await?;
    let ground = Ground::new(&client, "10.21.0.0/16").await?;
    let pool = ground.pool(json!({"strategy": "TenantRun"})).await?;
    let witness = Witness::of(&ground);
    let claims = claims(&client, &home);
    let mut writers = create(&claims, &pool, count);
    // The operator is killed again and again while they come.
    for kill in 1..=kills {
        bound_at_least(&claims, count * kill / (kills + 2)).await?;
        operator.crash().await?;
    }
    while let Some(result) = writers.join_next().await {
        result??;
    }
    bound_at_least(&claims, count).await?;
    nothing_shared_or_lost(&claims, &ground, count).await?;
    home.close().await?;
    eventually("everything comes back", SOON * 3, async || {
        Ok(ground.live().await?.is_empty().then_some(()))
    })
    .await?;
    assert_eq!(witness.doubles(), Vec::<String>::new());
    operator.stop().await
}

#[tokio::test]
async fn a_leader_that_was_paused_gives_nothing_twice_when_it_wakes() -> Result<()> {
    let client = client().await?;
    let operator = Operator::start().await?;
    let home = Home::open(&client).await?;
    let ground = Ground::new(&client, "10.23.0.0/16").await?;
    let pool = ground.pool(json!({"strategy": "Dispersed"})).await?;
    let witness = Witness::of(&ground);
    let claims = claims(&client, &home);
    let count = 400;
    let mut writers = create(&claims, &pool, count);
    bound_at_least(&claims, count / 8).await?;
    operator.pause(true).await?;
    let rival = operator.rival()?;
    bound_at_least(&claims, count / 2).await?;
    // It wakes with what it had planned, and with a lease that is another's.
    operator.pause(false).await?;
    while let Some(result) = writers.join_next().await {
        result??;
    }
    bound_at_least(&claims, count).await?;
    nothing_shared_or_lost(&claims, &ground, count).await?;
    assert_eq!(witness.doubles(), Vec::<String>::new());
    home.close().await?;
    rival.stop().await?;
    drop(operator);
    Ok(())
}

/// The networks that a prefix's status tells of its children, by name.
fn children(prefix: &Prefix) -> Vec<(String, String)> {
    let status = prefix.status.iter().flat_map(|status| &status.children);
    status.map(|child| (child.name.clone(), child.cidr.clone())).collect()
}

#[tokio::test]
async fn a_tree_is_carved_joined_again_and_read_from_its_parents() -> Result<()> {
    let client = client().await?;
    let operator = Operator::start().await?;
    let (spaces, prefixes) =
        (Api::<AddressSpace>::all(client.clone()), Api::<Prefix>::all(client.clone()));
    let space = unique("s");
    apply(&spaces, json!({"metadata": {"name": space}, "spec": {}})).await?;
    let id = unique("");
    let name = |part: &str| format!("{part}-{id}");
    let declare = async |part: &str, spec: Value| {
        apply(&prefixes, json!({"metadata": {"name": name(part)}, "spec": spec})).await
    };
    declare("root", json!({"spaceRef": {"name": space}, "cidr": "10.64.0.0/14"})).await?;
    let below = |more: Value| with(json!({"parentRef": {"name": name("root")}}), &more);
    // Declared before their parent is ready, and for the same place: one of them gets it.
    declare("fixed", below(json!({"cidr": "10.64.0.0/16"}))).await?;
    declare("twin", below(json!({"cidr": "10.64.128.0/17"}))).await?;
    let ready = async |part: &str| until(&prefixes, &name(part), "is booked", is_ready).await;
    let (winner, loser) = eventually("one is booked", SOON, async || {
        let fixed = prefixes.get(&name("fixed")).await?;
        let twin = prefixes.get(&name("twin")).await?;
        Ok(match (is_ready(&fixed), is_ready(&twin)) {
            (true, _) => Some(("fixed", "twin")),
            (_, true) => Some(("twin", "fixed")),
            (false, false) => None,
        })
    })
    .await?;
    declare("classb", below(json!({"class": "B"}))).await?;
    declare("small", below(json!({"length": 20}))).await?;
    let refused =
        until(&prefixes, &name(loser), "is refused", |prefix| reason(prefix) == "NotBooked")
            .await?;
    let message = &refused.status.context("no status")?.conditions[0].message;
    assert!(message.contains(&name(winner)), "{message}");
    let (class_b, small) = (ready("classb").await?, ready("small").await?);
    let status = class_b.status.context("no status")?;
    assert_eq!(serde_json::to_value(status.class)?, "B");
    assert_eq!(status.parent, Some(name("root")));
    assert_eq!(status.space.as_ref(), Some(&space));
    assert!(small.status.context("no status")?.cidr.context("no cidr")?.ends_with("/20"));
    let root = until(&prefixes, &name("root"), "tells of three", |prefix| {
        children(prefix).len() == 3
            && prefix.status.as_ref().is_some_and(|status| status.free_by_size.contains_key("/20"))
    })
    .await?;
    let free = root.status.context("no status")?;
    assert_eq!(free.total.as_deref(), Some("262144"));

    // What is given back is joined again.
    for part in ["classb", "small"] {
        prefixes.delete(&name(part), &DeleteParams::default()).await?;
        until_gone(&prefixes, &name(part)).await?;
    }
    until(&prefixes, &name("root"), "has one child and large blocks", |prefix| {
        let sizes = prefix.status.as_ref().map(|status| &status.free_by_size);
        children(prefix).len() == 1
            && sizes.is_some_and(|sizes| {
                sizes.get("/15").map(String::as_str) == Some("1") && !sizes.contains_key("/20")
            })
    })
    .await?;

    // A parent with a child stays.
    prefixes.delete(&name("root"), &DeleteParams::default()).await?;
    let kept = until(&prefixes, &name("root"), "stays", |prefix| reason(prefix) == "InUse").await?;
    assert!(kept.metadata.deletion_timestamp.is_some());
    for part in [loser, winner] {
        prefixes.delete(&name(part), &DeleteParams::default()).await?;
    }
    until_gone(&prefixes, &name("root")).await?;
    spaces.delete(&space, &DeleteParams::default()).await?;
    until_gone(&spaces, &space).await?;
    operator.stop().await
}

#[tokio::test]
async fn an_id_has_one_owner_on_its_fabric() -> Result<()> {
    let client = client().await?;
    let mut operator = Operator::start().await?;
    let home = Home::open(&client).await?;
    let pools: Api<VLANPool> = Api::all(client.clone());
    let (fabric, first, second) = (unique("fabric"), unique("v"), unique("v"));
    let pool = |ranges: Value| json!({"fabric": fabric, "ranges": ranges, "allowedTenants": ["*"], "quarantineSeconds": 2});
    apply(&pools, json!({"metadata": {"name": first}, "spec": pool(json!(["100-101"]))})).await?;
    until(&pools, &first, "is ready", is_ready).await?;
    apply(&pools, json!({"metadata": {"name": second}, "spec": pool(json!(["101-110"]))})).await?;
    let refused =
        until(&pools, &second, "is refused", |pool| reason(pool) == "NotRegistered").await?;
    let message = &refused.status.context("no status")?.conditions[0].message;
    assert!(message.contains(&first) && message.contains("101"), "{message}");

    let vlans: Api<VLAN> = Api::namespaced(client.clone(), &home.project);
    let vlan = |name: &str, more: Value| {
        let spec = with(json!({"poolRef": {"name": first}}), &more);
        json!({"metadata": {"name": name}, "spec": spec})
    };
    let id = |vlan: &VLAN| vlan.status.as_ref().and_then(|status| status.id);
    apply(&vlans, vlan("named", json!({"id": 101}))).await?;
    apply(&vlans, vlan("any", json!({}))).await?;
    assert_eq!(id(&until(&vlans, "named", "is bound", is_ready).await?), Some(101));
    assert_eq!(id(&until(&vlans, "any", "is bound", is_ready).await?), Some(100));
    apply(&vlans, vlan("late", json!({}))).await?;
    until(&vlans, "late", "waits", |vlan| reason(vlan) == "PoolExhausted").await?;
    operator.crash().await?;
    vlans.delete("any", &DeleteParams::default()).await?;
    until_gone(&vlans, "any").await?;
    assert_eq!(id(&until(&vlans, "late", "is bound", is_ready).await?), Some(100));

    // A register is freed with its pool, and who was refused gets its ranges.
    for name in ["named", "late"] {
        vlans.delete(name, &DeleteParams::default()).await?;
    }
    pools.delete(&first, &DeleteParams::default()).await?;
    until_gone(&pools, &first).await?;
    until(&pools, &second, "is ready", is_ready).await?;
    pools.delete(&second, &DeleteParams::default()).await?;
    home.close().await?;
    operator.stop().await
}

#[tokio::test]
async fn a_zone_fences_who_uses_it_and_wants_its_vlan_first() -> Result<()> {
    let client = client().await?;
    let operator = Operator::start().await?;
    let home = Home::open(&client).await?;
    let (zones, pools) =
        (Api::<SecurityZone>::all(client.clone()), Api::<VLANPool>::all(client.clone()));
    let (zone, vlan_pool) = (unique("z"), unique("v"));
    let spec = json!({"trust": 40, "isolation": "PerTenantVlan"});
    apply(&zones, json!({"metadata": {"name": zone}, "spec": spec})).await?;
    let spec = json!({"fabric": unique("fabric"), "zoneRef": {"name": zone}, "ranges": ["7"],
        "allowedTenants": ["*"], "quarantineSeconds": 0});
    apply(&pools, json!({"metadata": {"name": vlan_pool}, "spec": spec})).await?;
    until(&pools, &vlan_pool, "is ready", is_ready).await?;
    let ground = Ground::with(&client, "10.22.0.0/23", json!({"zoneRef": {"name": zone}})).await?;
    let pool = ground.pool(json!({})).await?;
    let claims = claims(&client, &home);
    let spec = json!({"poolRef": {"name": pool}});
    claims.create(&PostParams::default(), &claim("a", spec.clone())?).await?;
    until(&claims, "a", "wants a VLAN", |claim| reason(claim) == "VLANRequired").await?;
    let vlans: Api<VLAN> = Api::namespaced(client.clone(), &home.project);
    let spec = json!({"poolRef": {"name": vlan_pool}});
    apply(&vlans, json!({"metadata": {"name": "own"}, "spec": spec})).await?;
    until(&claims, "a", "is bound", is_bound).await?;

    // Another tenant finds no id left.
    let other = Home::open(&client).await?;
    let theirs: Api<VLAN> = Api::namespaced(client.clone(), &other.project);
    let spec = json!({"poolRef": {"name": vlan_pool}});
    apply(&theirs, json!({"metadata": {"name": "own"}, "spec": spec})).await?;
    until(&theirs, "own", "waits", |vlan| reason(vlan) == "PoolExhausted").await?;

    // The namespace is fenced; what somebody else changes is put right and told.
    let policies: Api<NetworkPolicy> = Api::namespaced(client.clone(), &home.project);
    let fenced = eventually("the namespace is fenced", SOON, async || {
        Ok(policies.get_opt("freehold-zones").await?)
    })
    .await?;
    let open = Patch::Merge(json!({"spec": {"ingress": [{}]}}));
    policies.patch("freehold-zones", &PatchParams::default(), &open).await?;
    eventually("the policy is put right", SOON, async || {
        Ok((policies.get("freehold-zones").await?.spec == fenced.spec).then_some(()))
    })
    .await?;
    let told = until(&zones, &zone, "tells of it", |zone| {
        let status = zone.status.clone().unwrap_or_default();
        status.policies.is_some_and(|policies| policies.generated == 1 && policies.repaired >= 1)
    })
    .await?;
    let status = told.status.context("no status")?;
    assert_eq!(status.cidrs, ["10.22.0.0/23"]);
    let enforced = status.conditions.iter().find(|one| one.type_ == "PolicyEnforced");
    assert_eq!(enforced.context("no condition")?.status, "Unknown");
    claims.delete("a", &DeleteParams::default()).await?;
    vlans.delete("own", &DeleteParams::default()).await?;
    eventually("the fence goes with the last address", SOON, async || {
        Ok(policies.get_opt("freehold-zones").await?.is_none().then_some(()))
    })
    .await?;
    until(&theirs, "own", "is bound", is_ready).await?;
    home.close().await?;
    other.close().await?;
    operator.stop().await
}
