//! Addresses on a real API server: who gets which, what comes back, what a crash and a second leader change: nothing.

#![expect(clippy::indexing_slicing, reason = "a test fails by panicking")]

use anyhow::{Context, Result};
use crds::network::{AddressSpace, ClaimPhase, IPBlock, IPClaim, IPPool, Prefix, SlotState};
use kube::api::{Api, DeleteParams, ListParams, PostParams};
use kube::{Client, ResourceExt};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
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
        let (space, prefix) = (unique("s"), unique("p"));
        let spaces: Api<AddressSpace> = Api::all(client.clone());
        apply(&spaces, json!({"metadata": {"name": space}, "spec": {}})).await?;
        let prefixes: Api<Prefix> = Api::all(client.clone());
        let spec = json!({"spaceRef": {"name": space}, "cidr": cidr, "role": "Pool"});
        apply(&prefixes, json!({"metadata": {"name": prefix}, "spec": spec})).await?;
        until(&prefixes, &prefix, "is booked", is_ready).await?;
        Ok(Self { client: client.clone(), space, prefix })
    }

    /// A pool of the prefix, with more in its spec.
    async fn pool(&self, more: Value) -> Result<String> {
        let name = unique("pool");
        let pools: Api<IPPool> = Api::all(self.client.clone());
        let mut spec = json!({"prefixRef": {"name": self.prefix}, "allowedTenants": ["*"]});
        let fields = spec.as_object_mut().context("no object")?;
        fields.extend(more.as_object().context("no object")?.clone());
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

fn claim(name: &str, spec: Value) -> IPClaim {
    serde_json::from_value(json!({"apiVersion": "network.freehold.dev/v1alpha1", "kind": "IPClaim",
        "metadata": {"name": name}, "spec": spec}))
    .expect("a claim")
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
    claims.create(&PostParams::default(), &claim(name, spec)).await?;
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
    claims.create(&PostParams::default(), &claim("f", of(&pool))).await?;
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
    assert_eq!(counts.map(|count| count.unwrap_or_default()), ["8", "0", "5", "0", "3"]);

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

#[tokio::test]
async fn many_claims_at_once_share_nothing_and_lose_nothing() -> Result<()> {
    let count: usize = match std::env::var("FREEHOLD_TEST_CLAIMS") {
        Ok(text) => text.parse().context("FREEHOLD_TEST_CLAIMS is no number")?,
        Err(_) => 600,
    };
    let client = client().await?;
    let mut operator = Operator::start().await?;
    let home = Home::open(&client).await?;
    let ground = Ground::new(&client, "10.21.0.0/16").await?;
    let pool = ground.pool(json!({"strategy": "TenantRun"})).await?;
    let claims = claims(&client, &home);
    let spec = json!({"poolRef": {"name": pool}});
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..32 {
        let (claims, spec) = (claims.clone(), spec.clone());
        writers.spawn(async move {
            for index in (writer..count).step_by(32) {
                let one = claim(&format!("c{index}"), spec.clone());
                claims.create(&PostParams::default(), &one).await?;
            }
            anyhow::Ok(())
        });
    }
    // The operator is killed while they come.
    let all = async || Ok::<_, anyhow::Error>(claims.list(&ListParams::default()).await?.items);
    for part in [4, 2] {
        eventually("some are bound", SOON, async || {
            let bound = all().await?.iter().filter(|claim| is_bound(claim)).count();
            Ok((bound >= count / part).then_some(()))
        })
        .await?;
        operator.crash().await?;
    }
    while let Some(result) = writers.join_next().await {
        result??;
    }
    eventually("all are bound", SOON * 3, async || {
        let bound = all().await?.iter().filter(|claim| is_bound(claim)).count();
        Ok((bound == count).then_some(()))
    })
    .await?;
    let claims_now = all().await?;
    let distinct: BTreeSet<String> = claims_now.iter().flat_map(addresses).collect();
    assert_eq!(distinct.len(), count, "an address was given twice");
    let live = ground.live().await?;
    let owners: BTreeSet<String> = claims_now.iter().filter_map(ResourceExt::uid).collect();
    assert_eq!(live.keys().cloned().collect::<BTreeSet<_>>(), owners, "a slot leaked");
    assert!(live.values().all(|held| held.len() == 1), "a claim has two");
    home.close().await?;
    eventually("everything comes back", SOON, async || {
        Ok(ground.live().await?.is_empty().then_some(()))
    })
    .await?;
    operator.stop().await
}
