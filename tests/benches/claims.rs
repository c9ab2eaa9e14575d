//! How many claims become Ready in a second, beside what the API server allows at most.
//!
//! The limit is a controller that only writes one status for each claim; the other is the operator, which books an address
//! before it writes that status. Same API server, same claims, same number of writers, one after the other. Prints figures;
//! nothing is asserted but that no address has two owners.

#![expect(clippy::print_stdout, reason = "the figures are the result")]

use anyhow::{Context, Result, ensure};
use crds::network::{AddressSpace, ClaimPhase, IPClaim, IPPool, Prefix};
use futures::StreamExt;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Client, ResourceExt};
use kube_runtime::{WatchStreamExt, watcher};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};
use system_tests::{Home, Operator, apply, client, is_ready, unique, until};
use testkit::eventually;
use tokio::sync::mpsc;

/// Claims of each round, unless the environment says otherwise.
const CLAIMS: usize = 2_000;
/// Who create them at once.
const WRITERS: [usize; 4] = [1, 8, 32, 128];
/// Statuses that the limit writes at once, as many as the operator may.
const STATUSES_AT_ONCE: usize = 128;
/// How long a round may take.
const LIMIT: Duration = Duration::from_mins(10);

#[tokio::main]
async fn main() -> Result<()> {
    let count = match std::env::var("FREEHOLD_BENCH_CLAIMS") {
        Ok(text) => text.parse().context("FREEHOLD_BENCH_CLAIMS is no number")?,
        Err(_) => CLAIMS,
    };
    let client = client().await?;
    // Opens a tenant's namespace, and is away while the limit is measured.
    let operator = Operator::start().await?;
    let home = Home::open(&client).await?;
    let pool = pool(&client).await?;
    operator.stop().await?;
    let claims: Api<IPClaim> = Api::namespaced(client.clone(), &home.project);
    let mut limits = BTreeMap::new();
    for writers in WRITERS {
        let statuses = tokio::spawn(write_statuses(claims.clone(), count));
        let round = round(&claims, &pool, count, writers).await?;
        statuses.abort();
        println!("limit, {writers} writers: {round}");
        limits.insert(writers, round.rate);
        clear(&claims).await?;
    }
    let operator = Operator::start().await?;
    // It leads and knows the pool before the clock runs.
    round(&claims, &pool, 1, 1).await?;
    clear(&claims).await?;
    for writers in WRITERS {
        let round = round(&claims, &pool, count, writers).await?;
        let share = round.rate * 100.0 / limits.get(&writers).copied().unwrap_or(f64::NAN);
        println!("operator, {writers} writers: {round}; {share:.0} % of the limit");
        let all = claims.list(&ListParams::default()).await?.items;
        let addresses: BTreeSet<&String> = all
            .iter()
            .flat_map(|claim| claim.status.iter().flat_map(|status| &status.addresses))
            .map(|address| &address.address)
            .collect();
        ensure!(addresses.len() == count, "an address has two owners, or a claim none");
        println!("operator: {} MiB", operator.resident_mib()?);
        clear(&claims).await?;
    }
    operator.stop().await
}

async fn pool(client: &Client) -> Result<String> {
    let (space, prefix, pool) = (unique("s"), unique("p"), unique("pool"));
    let spaces: Api<AddressSpace> = Api::all(client.clone());
    apply(&spaces, json!({"metadata": {"name": space}, "spec": {}})).await?;
    let prefixes: Api<Prefix> = Api::all(client.clone());
    let spec = json!({"spaceRef": {"name": space}, "cidr": "10.40.0.0/16", "role": "Pool"});
    apply(&prefixes, json!({"metadata": {"name": prefix}, "spec": spec})).await?;
    until(&prefixes, &prefix, "is booked", is_ready).await?;
    let pools: Api<IPPool> = Api::all(client.clone());
    let spec = json!({"prefixRef": {"name": prefix}, "allowedTenants": ["*"],
        "strategy": "TenantRun", "quarantineSeconds": 0});
    apply(&pools, json!({"metadata": {"name": pool}, "spec": spec})).await?;
    until(&pools, &pool, "is ready", is_ready).await?;
    Ok(pool)
}

/// One round's figures.
struct Round {
    /// Claims that became Ready in a second, from the first create to the last.
    rate: f64,
    /// From the answer to the create to Ready, as an independent watch saw it.
    median: Duration,
    /// The same for all but one in a hundred.
    worst: Duration,
}

impl std::fmt::Display for Round {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { rate, median, worst } = self;
        let (median, worst) = (median.as_millis(), worst.as_millis());
        write!(formatter, "{rate:.0} claims/s, Ready after p50 {median} ms, p99 {worst} ms")
    }
}

async fn round(claims: &Api<IPClaim>, pool: &str, count: usize, writers: usize) -> Result<Round> {
    let (sender, mut ready) = mpsc::unbounded_channel();
    let seen = tokio::spawn(watch_ready(claims.clone(), sender));
    let started = Instant::now();
    let spec = json!({"poolRef": {"name": pool}});
    // Held by its own create, as admission has it, so that holding costs no write.
    let one = |index: usize| -> Result<IPClaim> {
        let metadata = json!({"name": format!("c{index}"),
            "finalizers": [ids::well_known::CLAIM_FINALIZER]});
        let claim = json!({"apiVersion": "network.freehold.dev/v1alpha1", "kind": "IPClaim",
            "metadata": metadata, "spec": spec});
        Ok(serde_json::from_value(claim)?)
    };
    let created: Vec<Result<(String, Instant)>> = futures::stream::iter(0..count)
        .map(|index| {
            let claim = one(index);
            async move {
                let made = claims.create(&PostParams::default(), &claim?).await?;
                Ok((made.name_any(), Instant::now()))
            }
        })
        .buffer_unordered(writers)
        .collect()
        .await;
    let created: BTreeMap<String, Instant> = created.into_iter().collect::<Result<_>>()?;
    let mut waits = Vec::with_capacity(count);
    let mut told = BTreeSet::new();
    let mut last = started;
    while waits.len() < count {
        let next = tokio::time::timeout(LIMIT, ready.recv()).await.context("claims wait")?;
        let (name, at) = next.context("the watch ended")?;
        if let Some(since) = created.get(&name).filter(|_| told.insert(name.clone())) {
            waits.push(at.saturating_duration_since(*since));
            last = last.max(at);
        }
    }
    seen.abort();
    waits.sort_unstable();
    let place = |percent: usize| waits.get((count * percent / 100).min(count - 1)).copied();
    let seconds = last.duration_since(started).as_secs_f64();
    let count = f64::from(u32::try_from(count).context("too many claims")?);
    let (median, worst) = (place(50).unwrap_or_default(), place(99).unwrap_or_default());
    Ok(Round { rate: count / seconds, median, worst })
}

/// Tells when each claim is first seen to be Bound.
async fn watch_ready(claims: Api<IPClaim>, ready: mpsc::UnboundedSender<(String, Instant)>) {
    let events = watcher(claims, watcher::Config::default()).default_backoff().applied_objects();
    let mut events = std::pin::pin!(events);
    while let Some(event) = events.next().await {
        let Ok(claim) = event else { continue };
        let phase = claim.status.as_ref().and_then(|status| status.phase);
        if phase == Some(ClaimPhase::Bound)
            && ready.send((claim.name_any(), Instant::now())).is_err()
        {
            return;
        }
    }
}

/// The limit: every claim gets a status of the size that the operator's has, and nothing else happens.
async fn write_statuses(claims: Api<IPClaim>, count: usize) {
    let events = watcher(claims.clone(), watcher::Config::default()).default_backoff();
    let objects = events.applied_objects().filter_map(|event| async move {
        event.ok().filter(|claim| claim.status.is_none()).map(|claim| claim.name_any())
    });
    let write = |name: String| {
        let claims = claims.clone();
        async move {
            let status = json!({"apiVersion": "network.freehold.dev/v1alpha1", "kind": "IPClaim",
                "metadata": {"name": name}, "status": status_of_the_same_size()});
            let parameters = PatchParams::apply("limit").force();
            drop(claims.patch_status(&name, &parameters, &Patch::Apply(&status)).await);
        }
    };
    objects.take(count).map(write).buffer_unordered(STATUSES_AT_ONCE).collect::<Vec<()>>().await;
}

fn status_of_the_same_size() -> Value {
    json!({
        "phase": "Bound", "observedGeneration": 1,
        "conditions": [{"type": "Ready", "status": "True", "reason": "Bound",
            "message": "the address is the claim's until it is deleted",
            "observedGeneration": 1, "lastTransitionTime": "2026-01-01T00:00:00Z"}],
        "addresses": [{"address": "10.40.0.1", "prefixLength": 16, "family": "IPv4", "index": 1,
            "pool": "pool00000000", "block": "s00000000-10-40-0-0", "seq": 1}],
        "explanation": {"strategy": "TenantRun: beside the tenant's run of 100 from 10.40.0.0"},
    })
}

/// Deletes every claim, whoever holds it, and waits until none is left.
async fn clear(claims: &Api<IPClaim>) -> Result<()> {
    claims.delete_collection(&DeleteParams::default(), &ListParams::default()).await?;
    let nothing = Patch::Merge(json!({"metadata": {"finalizers": null}}));
    eventually("every claim is gone", LIMIT, async || {
        let left = claims.list(&ListParams::default().limit(500)).await?.items;
        // The operator gives addresses back by itself; without it nobody would.
        if left.iter().all(|claim| claim.status.iter().all(|status| status.addresses.is_empty()))
            || left.iter().any(is_of_the_limit)
        {
            for claim in &left {
                drop(claims.patch(&claim.name_any(), &PatchParams::default(), &nothing).await);
            }
        }
        Ok(left.is_empty().then_some(()))
    })
    .await
}

fn is_of_the_limit(claim: &IPClaim) -> bool {
    let addresses = claim.status.iter().flat_map(|status| &status.addresses);
    addresses.into_iter().any(|address| address.pool == "pool00000000")
}
