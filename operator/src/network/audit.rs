//! The audit: slots counted again from nothing, and compared with what every claim says.
//!
//! A finding is reported in a metric, the log and the pools' conditions. Only what a second pass finds again, ten minutes
//! later and unchanged, is freed; a list of claims that was not read to its end frees nothing.

use super::tried_again;
use crate::world::World;
use crds::network::{IPClaim, IPPool};
use ids::ResourceUid;
use ipam::address::Address;
use ipam::audit::{CONFIRM_SECONDS_MIN, Finding, Report};
use kube::ResourceExt;
use kube::api::Api;
use kube::core::DeserializeGuard;
use kube::core::error_boundary::InvalidObject;
use network_objects::block::NOBODY;
use operator_kit::controller::Queue;
use operator_kit::group_commit::CommitError;
use operator_kit::metrics::Metrics;
use operator_kit::{ErrorChain, client};
use prometheus_client::metrics::gauge::Gauge;
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How often: a second pass is late enough to free what the first one found.
const EVERY: Duration = Duration::from_secs(CONFIRM_SECONDS_MIN.unsigned_abs() + 1);
/// The first pass, once what a start brings is over.
const FIRST_AFTER: Duration = Duration::from_mins(1);
/// The most findings of a pass that are logged one by one.
const LOGGED_MAX: usize = 20;

/// What each claim says to have: address spaces and addresses.
pub type Told = BTreeMap<ResourceUid, Vec<(String, Address)>>;

/// Why a pass was not made.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("list IPClaims for the audit")]
    List(#[source] Box<kube::Error>),
    #[error("audit addresses")]
    Commit(#[from] CommitError),
}

/// What the last pass found in an address space.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Audited {
    /// Over all changes up to this number.
    pub generation: u64,
    /// What did not agree.
    pub findings: usize,
}

/// What the last pass found, by address space, and how to tell it.
pub struct Audits {
    last: Mutex<BTreeMap<String, Audited>>,
    findings: Gauge,
}

impl Audits {
    /// Registers the figure.
    pub fn new(metrics: &Metrics) -> Self {
        let findings = Gauge::default();
        metrics.register(|registry| {
            let help =
                "Slots, claims and counters that did not agree in the last audit of addresses";
            registry.register("freehold_network_audit_findings", help, findings.clone());
        });
        Self { last: Mutex::default(), findings }
    }

    /// What was found in a space.
    pub fn of(&self, space: &str) -> Option<Audited> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).get(space).copied()
    }

    fn keep(&self, reports: &BTreeMap<String, Report<Address>>) {
        let audited = |report: &Report<Address>| Audited {
            generation: report.generation,
            findings: report.findings.len().saturating_add(report.drifts.len()),
        };
        let last: BTreeMap<String, Audited> =
            reports.iter().map(|(space, report)| (space.clone(), audited(report))).collect();
        let sum: usize = last.values().map(|audited| audited.findings).sum();
        self.findings.set(i64::try_from(sum).unwrap_or(i64::MAX));
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = last;
    }
}

/// Runs until `stop`.
pub fn run(
    world: &Arc<World>,
    pools: Queue<IPPool>,
    stop: CancellationToken,
) -> impl Future<Output = &'static str> + use<> {
    let world = Arc::clone(world);
    async move {
        let mut earlier = BTreeMap::new();
        let mut wait = FIRST_AFTER;
        while stop.run_until_cancelled(tokio::time::sleep(wait)).await.is_some() {
            wait = EVERY;
            match pass(&world, &earlier).await {
                Ok(reports) => earlier = reports,
                Err(error) => {
                    tracing::warn!(error = %ErrorChain(&error), "the audit of addresses was not made");
                }
            }
            world.pools.push_all(&pools);
        }
        "audit of addresses"
    }
}

async fn pass(
    world: &World,
    earlier: &BTreeMap<String, Report<Address>>,
) -> Result<BTreeMap<String, Report<Address>>, Error> {
    let owners = owners(world).await.map_err(|source| Error::List(Box::new(source)))?;
    let mut reports = world.addresses.audit(owners).await?;
    let known: BTreeMap<ResourceUid, bool> = world
        .claims
        .store()
        .state()
        .iter()
        .filter_map(|claim| Some((uid(claim.uid())?, claim.metadata.deletion_timestamp.is_some())))
        .collect();
    for report in reports.values_mut() {
        report.findings.retain(|finding| is_lasting(finding, &known));
    }
    for (space, report) in &reports {
        for finding in report.findings.iter().take(LOGGED_MAX) {
            tracing::warn!(%space, ?finding, "audit of addresses: slots and claims do not agree");
        }
        for drift in report.drifts.iter().take(LOGGED_MAX) {
            tracing::warn!(%space, ?drift, "audit of addresses: a counter is not what the slots say");
        }
        // The list of claims above is the quorum read: who is in neither pass is gone.
        let releases = earlier.get(space).map(|earlier| report.releases(earlier));
        let releases = releases.unwrap_or_default();
        for release in releases.into_iter().filter(|release| release.owner != NOBODY) {
            tracing::warn!(%space, address = %release.address, owner = %release.owner, "the claim of an address is gone; it is given back");
            tried_again(
                "an address was not given back",
                world.addresses.release(release.owner, BTreeSet::new()).await,
            );
        }
    }
    world.audits.keep(&reports);
    Ok(reports)
}

/// Whether it is more than what came or went between the list and the comparison.
fn is_lasting(finding: &Finding<Address>, known: &BTreeMap<ResourceUid, bool>) -> bool {
    match finding {
        Finding::OwnerGone { owner, .. } => !known.contains_key(owner),
        Finding::OwnerWithoutSlot { owner, .. } => known.get(owner) == Some(&false),
        Finding::SeveralOwners { .. } => true,
    }
}

/// Every claim with what its status names and in which address space, by the API server's own word.
async fn owners(world: &World) -> Result<Told, kube::Error> {
    let spaces: BTreeMap<String, String> = world
        .pools
        .store()
        .state()
        .iter()
        .filter_map(|pool| Some((pool.name_any(), pool.status.as_ref()?.space.clone()?)))
        .collect();
    let api: Api<DeserializeGuard<IPClaim>> = Api::all(world.applier.client());
    let mut told = Told::new();
    let take = |claim: Result<IPClaim, InvalidObject>| match claim {
        Ok(claim) => {
            let addresses = claim.status.iter().flat_map(|status| &status.addresses);
            let places = addresses.filter_map(|one| {
                Some((spaces.get(&one.pool)?.clone(), one.address.parse().ok()?))
            });
            told.extend(uid(claim.uid()).map(|uid| (uid, places.collect())));
        }
        // It is there, whatever it says.
        Err(invalid) => told.extend(uid(invalid.metadata.uid).map(|uid| (uid, Vec::new()))),
    };
    client::list_all(&api, take).await?;
    Ok(told)
}

fn uid(text: Option<String>) -> Option<ResourceUid> {
    text?.parse().ok()
}
