//! The Kubernetes client all programs use, and how they read its refusals.
//!
//! The library would repeat any request on 429, 503 and 504, whatever the method, so a create that worked can come back
//! as a conflict. Repeating is the controllers' business here: the client sends each request once.

use kube::api::{Api, ListParams};
use kube::core::{DeserializeGuard, error_boundary::InvalidObject};
use kube::{Client, Config, Resource};
use serde::de::DeserializeOwned;
use std::fmt::Debug;
use std::time::Duration;

/// Why no client could be made.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Neither a kubeconfig nor an in-cluster account was usable.
    #[error("find a cluster (set KUBECONFIG, or run in a pod with a service account)")]
    Configuration(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The configuration was refused.
    #[error("set up the Kubernetes client")]
    Build(#[source] Box<kube::Error>),
}

/// The longest a single request may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// A client for the cluster that KUBECONFIG or the pod's service account names.
///
/// # Errors
/// See [`ClientError`].
pub async fn connect() -> Result<Client, ClientError> {
    let mut config =
        Config::infer().await.map_err(|error| ClientError::Configuration(Box::new(error)))?;
    config.default_retry = false;
    config.connect_timeout = Some(Duration::from_secs(5));
    // Watches end by themselves after a minute, so a longer silence is a dead connection.
    config.read_timeout = Some(Duration::from_secs(90));
    config.write_timeout = Some(REQUEST_TIMEOUT);
    Client::try_from(config).map_err(|error| ClientError::Build(Box::new(error)))
}

/// Objects of a page of a list.
pub const PAGE_SIZE: u32 = 500;

/// Lists all objects of `api` as the API server has them now, page by page. One that cannot be decoded stops no other:
/// `take` gets it with what is known of it.
///
/// # Errors
/// A page could not be had; `take` has seen those before it.
pub async fn list_all<K>(
    api: &Api<DeserializeGuard<K>>,
    mut take: impl FnMut(Result<K, InvalidObject>),
) -> Result<(), kube::Error>
where
    K: Resource + Clone + Debug + DeserializeOwned,
{
    let mut parameters = ListParams::default().limit(PAGE_SIZE);
    loop {
        let page = api.list(&parameters).await?;
        page.items.into_iter().for_each(|object| take(object.0));
        match page.metadata.continue_.filter(|next| !next.is_empty()) {
            Some(next) => parameters = parameters.continue_token(&next),
            None => return Ok(()),
        }
    }
}

/// The HTTP status of a refusal by the API server; `None` for any other trouble.
pub fn status_code(error: &kube::Error) -> Option<u16> {
    match error {
        kube::Error::Api(status) => Some(status.code),
        _ => None,
    }
}

/// Whether the object is not there.
pub fn is_not_found(error: &kube::Error) -> bool {
    status_code(error) == Some(404)
}

/// Whether somebody else changed the object first, or it exists already.
pub fn is_conflict(error: &kube::Error) -> bool {
    status_code(error) == Some(409)
}
