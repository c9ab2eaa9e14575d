//! Writing declared objects: server-side apply, deletion with preconditions, finalizers.

use crate::{Fence, client, lease::NotLeader};
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use kube::core::{ClusterResourceScope, NamespaceResourceScope};
use kube::{Client, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::Debug;

/// Why a write did not happen, or may not have.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// Another process may lead; nothing was sent.
    #[error("{act} {kind} {object}")]
    NotLeader {
        /// What was to be done.
        act: &'static str,
        /// The kind written.
        kind: String,
        /// `namespace/name`.
        object: String,
        /// Why not.
        #[source]
        source: NotLeader,
    },
    /// The API server refused, or did not answer.
    #[error("{act} {kind} {object}")]
    Request {
        /// What was to be done.
        act: &'static str,
        /// The kind written.
        kind: String,
        /// `namespace/name`.
        object: String,
        /// The server's answer.
        #[source]
        source: Box<kube::Error>,
    },
}

impl ApplyError {
    /// Whether somebody else changed the object first.
    pub fn is_conflict(&self) -> bool {
        matches!(self, Self::Request { source, .. } if client::is_conflict(source))
    }

    /// Whether the object is not there.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Request { source, .. } if client::is_not_found(source))
    }
}

/// The right to write declared objects under one field manager, as long as the fence is open.
#[derive(Clone)]
pub struct Applier {
    client: Client,
    manager: &'static str,
    fence: Fence,
}

/// What the write methods need of a kind.
pub trait Object:
    Resource<DynamicType = (), Scope: ScopedApi<Self>>
    + Clone
    + Debug
    + Serialize
    + DeserializeOwned
    + Send
    + Sync
{
}
impl<K> Object for K where
    K: Resource<DynamicType = (), Scope: ScopedApi<K>>
        + Clone
        + Debug
        + Serialize
        + DeserializeOwned
        + Send
        + Sync
{
}

/// How a kind of this scope is reached: by its namespace, or by none.
pub trait ScopedApi<K> {
    /// The requests for the kind in `namespace`, which cluster-scoped kinds ignore.
    fn api(client: Client, namespace: Option<&str>) -> Api<K>;
}

impl<K: Resource<DynamicType = (), Scope = Self>> ScopedApi<K> for NamespaceResourceScope {
    fn api(client: Client, namespace: Option<&str>) -> Api<K> {
        match namespace {
            Some(namespace) => Api::namespaced(client, namespace),
            None => Api::all(client),
        }
    }
}

impl<K: Resource<DynamicType = (), Scope = Self>> ScopedApi<K> for ClusterResourceScope {
    fn api(client: Client, _namespace: Option<&str>) -> Api<K> {
        Api::all(client)
    }
}

/// The requests for the place `object` says it is in.
pub fn api_of<K: Object>(client: Client, object: &K) -> Api<K> {
    K::Scope::api(client, object.meta().namespace.as_deref())
}

impl Applier {
    /// Writes as `manager` while `fence` is open.
    pub fn new(client: Client, manager: &'static str, fence: Fence) -> Self {
        Self { client, manager, fence }
    }

    /// What every write asks.
    pub fn fence(&self) -> &Fence {
        &self.fence
    }

    /// The client underneath, for reads.
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    fn guarded<K: Object>(&self, act: &'static str, object: &K) -> Result<(), ApplyError> {
        self.fence.check().map_err(|source| ApplyError::NotLeader {
            act,
            kind: K::kind(&()).into_owned(),
            object: crate::cache::key_of(object),
            source,
        })
    }

    fn failed<K: Object>(act: &'static str, object: &K, source: kube::Error) -> ApplyError {
        ApplyError::Request {
            act,
            kind: K::kind(&()).into_owned(),
            object: crate::cache::key_of(object),
            source: Box::new(source),
        }
    }

    /// Declares `object`; fields of ours that it no longer names are removed.
    ///
    /// # Errors
    /// See [`ApplyError`].
    pub async fn apply<K: Object>(&self, object: &K) -> Result<K, ApplyError> {
        self.guarded("apply", object)?;
        let parameters = PatchParams::apply(self.manager).force();
        api_of(self.client.clone(), object)
            .patch(&object.name_any(), &parameters, &Patch::Apply(object))
            .await
            .map_err(|error| Self::failed("apply", object, error))
    }

    /// Creates `object`; an existing one of that name is a conflict.
    ///
    /// # Errors
    /// See [`ApplyError`].
    pub async fn create<K: Object>(&self, object: &K) -> Result<K, ApplyError> {
        self.guarded("create", object)?;
        let parameters =
            PostParams { field_manager: Some(self.manager.to_owned()), ..PostParams::default() };
        api_of(self.client.clone(), object)
            .create(&parameters, object)
            .await
            .map_err(|error| Self::failed("create", object, error))
    }

    /// Asks for the object's deletion if it is still the one of this UID; absent is done.
    ///
    /// # Errors
    /// See [`ApplyError`].
    pub async fn delete<K: Object>(&self, object: &K) -> Result<(), ApplyError> {
        self.guarded("delete", object)?;
        let parameters = DeleteParams {
            preconditions: Some(Preconditions { uid: object.uid(), resource_version: None }),
            ..DeleteParams::background()
        };
        match api_of(self.client.clone(), object).delete(&object.name_any(), &parameters).await {
            Ok(_) => Ok(()),
            Err(error) if client::is_not_found(&error) => Ok(()),
            Err(error) => Err(Self::failed("delete", object, error)),
        }
    }

    /// Adds what is missing of `finalizers` to the object as it is at that resource version; true if that took a write.
    ///
    /// # Errors
    /// A conflict when the object has changed since; the next pass tries again.
    pub async fn add_finalizers<K: Object>(
        &self,
        object: &K,
        finalizers: &[&str],
    ) -> Result<bool, ApplyError> {
        let mut wanted = object.finalizers().to_vec();
        for finalizer in finalizers {
            if !wanted.iter().any(|held| held == finalizer) {
                wanted.push((*finalizer).to_owned());
            }
        }
        if wanted == object.finalizers() {
            return Ok(false);
        }
        self.write_finalizers("add a finalizer to", object, &wanted).await.map(|()| true)
    }

    /// Takes `finalizer` off the object as it is at that resource version; true if that took a write.
    ///
    /// # Errors
    /// A conflict when the object has changed since; the next pass tries again.
    pub async fn remove_finalizer<K: Object>(
        &self,
        object: &K,
        finalizer: &str,
    ) -> Result<bool, ApplyError> {
        let kept: Vec<String> =
            object.finalizers().iter().filter(|held| *held != finalizer).cloned().collect();
        if kept.len() == object.finalizers().len() {
            return Ok(false);
        }
        match self.write_finalizers("remove a finalizer from", object, &kept).await {
            Err(error) if error.is_not_found() => Ok(false),
            result => result.map(|()| true),
        }
    }

    async fn write_finalizers<K: Object>(
        &self,
        act: &'static str,
        object: &K,
        finalizers: &[String],
    ) -> Result<(), ApplyError> {
        self.guarded(act, object)?;
        // The resource version makes it a compare-and-swap: another's finalizer is never lost.
        let patch = serde_json::json!({
            "metadata": { "finalizers": finalizers, "resourceVersion": object.resource_version() }
        });
        let parameters =
            PatchParams { field_manager: Some(self.manager.to_owned()), ..PatchParams::default() };
        api_of(self.client.clone(), object)
            .patch(&object.name_any(), &parameters, &Patch::Merge(&patch))
            .await
            .map(|_| ())
            .map_err(|error| Self::failed(act, object, error))
    }
}
