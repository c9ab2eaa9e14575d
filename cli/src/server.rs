//! The way to the billing-controller's query API: its own address, or through the Kubernetes API.
//!
//! Both ways are HTTP by the Kubernetes client, so a person needs no port-forward and no further credentials: who may
//! use the Service's proxy subresource may ask. Each request is sent once.

use crate::failure::Failure;
use http::{Method, Request, StatusCode};
use kube::client::Body;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use pricing::report::ErrorReport;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

/// How the server is reached.
#[derive(Debug, Clone, clap::Args)]
pub struct ServerArguments {
    /// The billing-controller's query API, like <http://127.0.0.1:8083>; through the Kubernetes API when left out.
    #[arg(long, env = "FREEHOLD_SERVER", value_name = "URL", value_parser = server_url)]
    pub server: Option<http::Uri>,
    /// The namespace that Freehold is installed in.
    #[arg(
        long,
        env = "FREEHOLD_NAMESPACE",
        value_name = "NAME",
        default_value = "freehold-system"
    )]
    pub freehold_namespace: String,
    /// The Service of the billing-controller in that namespace.
    #[arg(long, value_name = "NAME", default_value = "freehold-billing-controller")]
    pub service: String,
    #[command(flatten)]
    pub cluster: ClusterArguments,
}

impl ServerArguments {
    /// The longest to wait for one answer.
    pub fn timeout(&self) -> Duration {
        self.cluster.timeout()
    }

    /// A client of the Kubernetes API.
    pub async fn cluster(&self) -> Result<Client, Failure> {
        let hint = "name a kubeconfig with --kubeconfig or KUBECONFIG, or the billing-controller itself with --server";
        self.cluster.client(hint).await
    }
}

/// How the Kubernetes API is reached.
#[derive(Debug, Clone, clap::Args)]
pub struct ClusterArguments {
    /// The kubeconfig; what KUBECONFIG or ~/.kube/config says when left out.
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// The kubeconfig's context.
    #[arg(long, value_name = "NAME")]
    pub context: Option<String>,
    /// The longest to wait for an answer, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub timeout_seconds: u64,
}

impl ClusterArguments {
    /// The longest to wait for one answer.
    pub fn timeout(&self) -> Duration {
        Duration::from_secs(self.timeout_seconds)
    }

    /// A client; `hint` says what to do where there is no kubeconfig.
    pub async fn client(&self, hint: &str) -> Result<Client, Failure> {
        let options =
            KubeConfigOptions { context: self.context.clone(), ..KubeConfigOptions::default() };
        let config = match &self.kubeconfig {
            Some(path) => {
                let kubeconfig = Kubeconfig::read_from(path).map_err(|error| {
                    Failure::trouble(format!("read {}: {}", path.display(), chain(&error)), hint)
                })?;
                Config::from_custom_kubeconfig(kubeconfig, &options).await
            }
            None => Config::from_kubeconfig(&options).await,
        };
        let config = config.map_err(|error| {
            Failure::trouble(format!("find a cluster: {}", chain(&error)), hint)
        })?;
        client(config, self.timeout())
    }
}

fn server_url(text: &str) -> Result<http::Uri, String> {
    let uri: http::Uri = text.parse().map_err(|error| format!("{error}"))?;
    match (uri.scheme_str(), uri.host()) {
        (Some("http" | "https"), Some(host)) if !host.is_empty() => Ok(uri),
        _ => Err("a URL like http://127.0.0.1:8083 is wanted".to_owned()),
    }
}

/// The query API.
pub struct Server {
    client: Client,
    /// What comes before `/api/v1` in the request path.
    prefix: String,
    /// For messages.
    place: String,
    hint: String,
    timeout: Duration,
}

impl Server {
    /// Makes ready to ask; nothing is sent yet.
    pub async fn find(arguments: &ServerArguments) -> Result<Self, Failure> {
        let timeout = arguments.timeout();
        if let Some(url) = &arguments.server {
            return Ok(Self {
                client: client(Config::new(url.clone()), timeout)?,
                prefix: String::new(),
                place: url.to_string().trim_end_matches('/').to_owned(),
                hint: "is the billing-controller running there? Name another address with --server or FREEHOLD_SERVER"
                    .to_owned(),
                timeout,
            });
        }
        let (namespace, service) = (&arguments.freehold_namespace, &arguments.service);
        Ok(Self {
            client: arguments.cluster().await?,
            prefix: format!(
                "/api/v1/namespaces/{}/services/{}:query/proxy",
                encoded(namespace),
                encoded(service)
            ),
            place: format!("Service {service} in namespace {namespace} (through the Kubernetes API)"),
            hint: "look whether the billing-controller runs there (--freehold-namespace, --service), or name its address with --server"
                .to_owned(),
            timeout,
        })
    }

    /// Asks.
    pub async fn get<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, Option<&str>)],
    ) -> Result<T, Failure> {
        self.answer(Method::GET, path, query, Vec::new(), None).await
    }

    /// Orders; `key` makes a repeated order the same one.
    pub async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
        key: &str,
    ) -> Result<T, Failure> {
        let body = serde_json::to_vec(body).map_err(|error| Failure::Write(error.to_string()))?;
        self.answer(Method::POST, path, &[], body, Some(key)).await
    }

    async fn answer<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, Option<&str>)],
        body: Vec<u8>,
        key: Option<&str>,
    ) -> Result<T, Failure> {
        let target = format!("{}{path}{}", self.prefix, query_text(query));
        let mut request = Request::builder().method(method).uri(&target);
        if let Some(key) = key {
            request =
                request.header("Idempotency-Key", key).header("Content-Type", "application/json");
        }
        let request = request
            .body(Body::from(body))
            .map_err(|error| Failure::refused(format!("{target}: {error}")))?;
        let (status, bytes) = self.exchange(request).await?;
        if !status.is_success() {
            return Err(self.refusal(status, &bytes));
        }
        serde_json::from_slice(&bytes).map_err(|error| {
            Failure::trouble(
                format!("{} answered what cannot be read: {error}", self.place),
                "use the kubectl-freehold of the server's version",
            )
        })
    }

    async fn exchange(&self, request: Request<Body>) -> Result<(StatusCode, Vec<u8>), Failure> {
        let unreachable = |reason: String| {
            Failure::trouble(format!("cannot reach {}: {reason}", self.place), &self.hint)
        };
        let exchange = async {
            let answer = self.client.send(request).await?;
            let status = answer.status();
            Ok::<_, kube::Error>((status, answer.into_body().collect_bytes().await?.to_vec()))
        };
        match tokio::time::timeout(self.timeout, exchange).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(unreachable(chain(&error))),
            Err(_) => Err(unreachable(format!("no answer within {} s", self.timeout.as_secs()))),
        }
    }

    /// The server's own words, or those of the API server on the way to it.
    fn refusal(&self, status: StatusCode, bytes: &[u8]) -> Failure {
        if let Ok(ErrorReport { error, hint }) = serde_json::from_slice(bytes) {
            return if status.is_client_error() {
                Failure::ServerRefused { error, hint }
            } else {
                Failure::Trouble { error, hint }
            };
        }
        let said = serde_json::from_slice::<serde_json::Value>(bytes).ok();
        let message = said.as_ref().and_then(|said| said.get("message")?.as_str());
        let message = message.map_or_else(|| status.to_string(), str::to_owned);
        Failure::trouble(format!("{}: {message}", self.place), &self.hint)
    }
}

fn client(mut config: Config, timeout: Duration) -> Result<Client, Failure> {
    config.default_retry = false;
    config.connect_timeout = Some(timeout.min(Duration::from_secs(5)));
    config.read_timeout = Some(timeout);
    config.write_timeout = Some(timeout);
    Client::try_from(config).map_err(|error| {
        Failure::trouble(format!("set up the client: {}", chain(&error)), "look at the kubeconfig")
    })
}

/// An error with its causes, none said twice.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let words = error.to_string();
        if !text.contains(&words) {
            text = format!("{text}: {words}");
        }
        cause = error.source();
    }
    text
}

fn query_text(query: &[(&str, Option<&str>)]) -> String {
    let mut text = String::new();
    for (name, value) in query {
        if let Some(value) = value {
            text.push(if text.is_empty() { '?' } else { '&' });
            text.push_str(name);
            text.push('=');
            text.push_str(&encoded(value));
        }
    }
    text
}

/// Percent-encoding of everything that is not unreserved (RFC 3986).
pub fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else if write!(encoded, "%{byte:02X}").is_err() {
            // Writing to a String does not fail.
            break;
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_cannot_leave_their_place() {
        assert_eq!(encoded("a/b %&=ü"), "a%2Fb%20%25%26%3D%C3%BC");
        assert_eq!(query_text(&[("a", None), ("b", Some("x&y")), ("c", Some(""))]), "?b=x%26y&c=");
    }
}
