//! Every call to a provider, written down: operation, machine, class of answer. No parameters, so no secrets.

use crate::{Capabilities, HostInventory, Instance, Machine, Provider, ProviderError, Size};
use async_trait::async_trait;
use ids::ResourceUid;
use std::sync::Arc;

/// Hears of every call: operation, then class of answer (`ok`, `refused`, `not-found`, `unavailable`, `unknown`).
pub type Observer = Arc<dyn Fn(&'static str, &'static str) + Send + Sync>;

/// A provider whose calls are logged and counted.
pub struct Recorded<P> {
    inner: P,
    observer: Observer,
}

impl<P> Recorded<P> {
    /// Wraps `inner`.
    pub fn new(inner: P, observer: Observer) -> Self {
        Self { inner, observer }
    }

    fn note<T>(
        &self,
        operation: &'static str,
        uid: Option<ResourceUid>,
        result: Result<T, ProviderError>,
    ) -> Result<T, ProviderError> {
        let class = match &result {
            Ok(_) => "ok",
            Err(ProviderError::Refused(_)) => "refused",
            Err(ProviderError::NotFound(_)) => "not-found",
            Err(ProviderError::Unavailable(_)) => "unavailable",
            Err(ProviderError::Unknown(_)) => "unknown",
        };
        (self.observer)(operation, class);
        let uid = uid.map(|uid| uid.to_string()).unwrap_or_default();
        match &result {
            Ok(_) => tracing::debug!(operation, uid, "provider call"),
            Err(error) => tracing::warn!(operation, uid, %error, "provider call"),
        }
        result
    }
}

#[async_trait]
impl<P: Provider> Provider for Recorded<P> {
    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    async fn hosts(&self) -> Result<Vec<HostInventory>, ProviderError> {
        self.note("hosts", None, self.inner.hosts().await)
    }

    async fn machines(&self) -> Result<Vec<Machine>, ProviderError> {
        self.note("machines", None, self.inner.machines().await)
    }

    async fn machine(&self, uid: ResourceUid) -> Result<Option<Machine>, ProviderError> {
        self.note("machine", Some(uid), self.inner.machine(uid).await)
    }

    async fn create(&self, instance: &Instance) -> Result<Machine, ProviderError> {
        self.note("create", Some(instance.uid), self.inner.create(instance).await)
    }

    async fn start(&self, uid: ResourceUid) -> Result<(), ProviderError> {
        self.note("start", Some(uid), self.inner.start(uid).await)
    }

    async fn stop(&self, uid: ResourceUid) -> Result<(), ProviderError> {
        self.note("stop", Some(uid), self.inner.stop(uid).await)
    }

    async fn resize(&self, uid: ResourceUid, size: Size) -> Result<(), ProviderError> {
        self.note("resize", Some(uid), self.inner.resize(uid, size).await)
    }

    async fn delete(&self, uid: ResourceUid) -> Result<(), ProviderError> {
        self.note("delete", Some(uid), self.inner.delete(uid).await)
    }
}
