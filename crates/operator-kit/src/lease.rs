//! Leader election by a Kubernetes Lease, changed by compare-and-swap only.
//!
//! A candidate takes a lease whose record it has seen unchanged for the whole lease duration *by its own monotonic
//! clock*: wall clocks of different machines are never compared. The holder renews well before that; when it cannot, its
//! [`Fence`] closes before another candidate may take over, and every write of the program asks the fence. A lease
//! elects, it does not protect: a write that was already under way is judged by the resource version it carries.

use crate::{Clock, ErrorChain, client};
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::{Api, PostParams};
use kube::{Client, ResourceExt};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// How long a record must stand still before another candidate takes it.
pub const LEASE_DURATION: Duration = Duration::from_secs(15);
/// How long after its last renewal a holder may still write; less than [`LEASE_DURATION`], so the two never overlap.
const WRITE_WINDOW: Duration = Duration::from_secs(10);
/// How often a holder renews and a candidate looks.
const RENEW_EVERY: Duration = Duration::from_secs(3);

/// Refuses writes of a process that may have lost its lease.
#[derive(Clone, Default)]
pub struct Fence(Arc<Mutex<Option<Instant>>>);

/// The lease may have gone to another process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this process is not the leader, or could not renew its lease in time")]
pub struct NotLeader;

impl Fence {
    /// Whether a write may be sent now.
    ///
    /// # Errors
    /// The lease was not renewed within the write window.
    pub fn check(&self) -> Result<(), NotLeader> {
        let until = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        until.filter(|until| Instant::now() < *until).map(|_| ()).ok_or(NotLeader)
    }

    /// A fence that is always open: for tools and tests that are alone by construction.
    pub fn open() -> Self {
        let century = Duration::from_hours(100 * 365 * 24);
        Self(Arc::new(Mutex::new(Instant::now().checked_add(century))))
    }

    /// Opens from the instant *before* the renewal was sent.
    fn renewed(&self, sent: Instant) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = sent.checked_add(WRITE_WINDOW);
    }

    fn close(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// One candidate for one lease.
pub struct Election {
    api: Api<Lease>,
    name: String,
    identity: String,
    clock: Arc<dyn Clock>,
    fence: Fence,
    seen: Option<(String, Instant)>,
}

impl Election {
    /// A candidate called `identity` (unique among the candidates) for the lease `name` in `namespace`.
    pub fn new(
        client: Client,
        namespace: &str,
        name: &str,
        identity: &str,
        clock: Arc<dyn Clock>,
        fence: Fence,
    ) -> Self {
        Self {
            api: Api::namespaced(client, namespace),
            name: name.to_owned(),
            identity: identity.to_owned(),
            clock,
            fence,
            seen: None,
        }
    }

    /// Waits until this process leads; false when `stop` came first.
    pub async fn acquire(&mut self, stop: &CancellationToken) -> bool {
        loop {
            match self.attempt().await {
                Ok(true) => return true,
                Ok(false) => {}
                Err(error) => {
                    tracing::warn!(lease = %self.name, error = %ErrorChain(&error), "lease not readable");
                }
            }
            tokio::select! {
                () = stop.cancelled() => return false,
                () = tokio::time::sleep(RENEW_EVERY) => {}
            }
        }
    }

    /// Renews until `stop`, or until the lease is lost, which returns true.
    pub async fn hold(&mut self, stop: &CancellationToken) -> bool {
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                () = tokio::time::sleep(RENEW_EVERY) => {}
            }
            match self.attempt().await {
                Ok(true) => {}
                Ok(false) => {
                    self.fence.close();
                    return true;
                }
                Err(error) => {
                    tracing::warn!(lease = %self.name, error = %ErrorChain(&error), "lease not renewed");
                    if self.fence.check().is_err() {
                        return true;
                    }
                }
            }
        }
        false
    }

    /// One look at the lease, and one compare-and-swap where it is ours or may be taken.
    async fn attempt(&mut self) -> Result<bool, kube::Error> {
        let sent = Instant::now();
        let Some(lease) = self.api.get_opt(&self.name).await? else {
            return self.create(sent).await;
        };
        if !self.may_take(&lease, sent) {
            return Ok(false);
        }
        let next = self.record(&lease);
        match self.api.replace(&self.name, &PostParams::default(), &next).await {
            Ok(_) => {
                self.fence.renewed(sent);
                Ok(true)
            }
            Err(error) if client::is_conflict(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn create(&self, sent: Instant) -> Result<bool, kube::Error> {
        let mut lease = Lease::default();
        lease.metadata.name = Some(self.name.clone());
        match self.api.create(&PostParams::default(), &self.record(&lease)).await {
            Ok(_) => {
                self.fence.renewed(sent);
                Ok(true)
            }
            Err(error) if client::is_conflict(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn may_take(&mut self, lease: &Lease, now: Instant) -> bool {
        let holder = lease.spec.as_ref().and_then(|spec| spec.holder_identity.as_deref());
        if holder.is_none_or(str::is_empty) || holder == Some(self.identity.as_str()) {
            return true;
        }
        let version = lease.resource_version().unwrap_or_default();
        match &self.seen {
            Some((seen, since)) if *seen == version => {
                now.saturating_duration_since(*since) >= LEASE_DURATION
            }
            _ => {
                self.seen = Some((version, now));
                false
            }
        }
    }

    fn record(&self, lease: &Lease) -> Lease {
        let now = MicroTime(self.clock.now());
        let old = lease.spec.clone().unwrap_or_default();
        let is_ours = old.holder_identity.as_deref() == Some(self.identity.as_str());
        let transitions = old.lease_transitions.unwrap_or(0);
        Lease {
            metadata: lease.metadata.clone(),
            spec: Some(LeaseSpec {
                holder_identity: Some(self.identity.clone()),
                lease_duration_seconds: i32::try_from(LEASE_DURATION.as_secs()).ok(),
                acquire_time: if is_ours { old.acquire_time } else { Some(now.clone()) },
                renew_time: Some(now),
                lease_transitions: Some(if is_ours {
                    transitions
                } else {
                    transitions.saturating_add(1)
                }),
                ..LeaseSpec::default()
            }),
        }
    }

    /// Closes the fence and gives the lease back if it is ours, so that a successor need not wait for it to run out.
    pub async fn release(&self) {
        self.fence.close();
        let Ok(Some(mut lease)) = self.api.get_opt(&self.name).await else { return };
        let Some(spec) = lease.spec.as_mut() else { return };
        if spec.holder_identity.as_deref() == Some(self.identity.as_str()) {
            spec.holder_identity = None;
            if let Err(error) = self.api.replace(&self.name, &PostParams::default(), &lease).await {
                tracing::debug!(error = %ErrorChain(&error), "lease not given back, it will run out");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fence_is_closed_until_renewed_and_again_after() {
        let fence = Fence::default();
        assert_eq!(fence.check(), Err(NotLeader));
        fence.renewed(Instant::now());
        assert_eq!(fence.check(), Ok(()));
        fence.close();
        assert_eq!(fence.check(), Err(NotLeader));
    }

    #[test]
    fn a_renewal_that_was_sent_too_long_ago_opens_nothing() {
        let fence = Fence::default();
        let Some(long_ago) = Instant::now().checked_sub(WRITE_WINDOW) else { return };
        fence.renewed(long_ago);
        assert_eq!(fence.check(), Err(NotLeader));
    }
}
