//! Objects of the Kubernetes API, in pages; each failure says what was read and what to do.

use crate::failure::Failure;
use crate::server::{ClusterArguments, chain};
use ids::well_known;
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{Api, ListParams};
use kube::core::NamespaceResourceScope;
use kube::{Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use std::fmt::Debug;
use std::time::Duration;

/// Objects of a page of a list.
const PAGE_SIZE: u32 = 500;
/// What to do where there is no kubeconfig.
const KUBECONFIG_HINT: &str = "name a kubeconfig with --kubeconfig or KUBECONFIG";

/// Reads; only `import` writes by its client.
pub struct Reader {
    client: Client,
    timeout: Duration,
}

impl Reader {
    /// Makes ready to read; nothing is sent yet.
    pub async fn find(arguments: &ClusterArguments) -> Result<Self, Failure> {
        let client = arguments.client(KUBECONFIG_HINT).await?;
        Ok(Self { client, timeout: arguments.timeout() })
    }

    /// Every object of a kind, of all namespaces.
    pub async fn list<K>(&self) -> Result<Vec<K>, Failure>
    where
        K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug,
    {
        let api: Api<K> = Api::all(self.client.clone());
        let mut parameters = ListParams::default().limit(PAGE_SIZE);
        let mut objects = Vec::new();
        loop {
            let page = self.answer::<K, _>("list", api.list(&parameters)).await?;
            objects.extend(page.items);
            match page.metadata.continue_.filter(|next| !next.is_empty()) {
                Some(next) => parameters = parameters.continue_token(&next),
                None => return Ok(objects),
            }
        }
    }

    /// Every object of a kind where it may be listed; else why not, in one line.
    pub async fn list_if_allowed<K>(&self) -> Result<Result<Vec<K>, String>, Failure>
    where
        K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug,
    {
        match self.list::<K>().await {
            Ok(objects) => Ok(Ok(objects)),
            Err(Failure::ServerRefused { .. }) => {
                Ok(Err(format!("you may not list {}", K::plural(&()))))
            }
            Err(failure) => Err(failure),
        }
    }

    /// One object of a namespace.
    pub async fn get<K>(&self, namespace: &str, name: &str) -> Result<Option<K>, Failure>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + DeserializeOwned
            + Debug,
    {
        let api: Api<K> = Api::namespaced(self.client.clone(), namespace);
        self.answer::<K, _>("get", api.get_opt(name)).await
    }

    /// The tenant that a namespace belongs to; none where there is none, or where it may not be seen.
    pub async fn tenant_of(&self, namespace: &str) -> Result<Option<String>, Failure> {
        let api: Api<Namespace> = Api::all(self.client.clone());
        match self.answer::<Namespace, _>("get", api.get_opt(namespace)).await {
            Ok(found) => {
                Ok(found.and_then(|found| found.labels().get(well_known::TENANT_LABEL).cloned()))
            }
            Err(Failure::ServerRefused { .. }) => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    /// For what is no reading.
    pub const fn client(&self) -> &Client {
        &self.client
    }

    /// Waits for an answer as long as was said; a failure in words.
    pub async fn answer<K, T>(
        &self,
        verb: &str,
        asking: impl Future<Output = Result<T, kube::Error>>,
    ) -> Result<T, Failure>
    where
        K: Resource<DynamicType = ()>,
    {
        match tokio::time::timeout(self.timeout, asking).await {
            Ok(answer) => answer.map_err(|error| failure::<K>(verb, &error)),
            Err(_) => Err(Failure::trouble(
                format!("{verb} {}: no answer within {} s", K::plural(&()), self.timeout.as_secs()),
                "wait longer with --timeout-seconds",
            )),
        }
    }
}

fn failure<K: Resource<DynamicType = ()>>(verb: &str, error: &kube::Error) -> Failure {
    let (plural, group) = (K::plural(&()), K::group(&()));
    match error {
        kube::Error::Api(status) => {
            let said = format!("{verb} {plural}: {}", status.message);
            match status.code {
                401 => Failure::trouble(said, "log in again, or name another --context"),
                403 => Failure::ServerRefused {
                    error: said,
                    hint: format!("ask for the right to {verb} {plural}.{group}"),
                },
                404 => Failure::trouble(
                    format!("{verb} {plural}: the cluster does not serve {plural}.{group}"),
                    "install the definitions: kubectl apply --server-side -f crds/yaml",
                ),
                410 => Failure::trouble(
                    format!("{verb} {plural}: the list changed too often while it was read"),
                    "run it again",
                ),
                _ => Failure::trouble(said, "look at the API server's log"),
            }
        }
        kube::Error::SerdeError(error) => Failure::trouble(
            format!("{verb} {plural}: the answer cannot be read: {error}"),
            "use the kubectl-freehold of the installed definitions' version",
        ),
        other => Failure::trouble(
            format!("{verb} {plural}: cannot reach the Kubernetes API: {}", chain(other)),
            "look with kubectl cluster-info whether it is there, or name another --context",
        ),
    }
}
