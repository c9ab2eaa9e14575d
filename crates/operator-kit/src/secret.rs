//! A Secret that a program makes and keeps for itself, shared by its replicas.
//!
//! Replicas meet in it without knowing one another: whoever comes second is told so and takes what the first one stored.
//! It is made by an apply without force, under a manager's name that nobody else has: where another was faster, the
//! entries have another owner and other values, and the API server refuses. A plain create would do the same, but the
//! right to create cannot be limited to one name; the rights to apply can, so the program may touch this Secret and no
//! other of its namespace.

use crate::client;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::Client;
use kube::api::{Api, ObjectMeta, Patch, PatchParams, PostParams};
use std::collections::BTreeMap;

/// The entries of a Secret.
pub type Entries = BTreeMap<String, ByteString>;

/// Why a Secret could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The API server refused, or was not reached.
    #[error(
        "{act} Secret {namespace}/{name}; the program's account needs get, create, patch and, to renew it, update on it"
    )]
    Request {
        /// What was tried.
        act: &'static str,
        /// Where.
        namespace: String,
        /// Which one.
        name: String,
        /// The server's answer.
        #[source]
        source: Box<kube::Error>,
    },
    /// The system gives no randomness.
    #[error("ask the system for randomness")]
    Random(#[from] getrandom::Error),
}

/// How many random letters a maker's name ends with.
const MAKER_LETTERS: usize = 12;

/// One Secret of the program's own.
pub struct OwnSecret {
    api: Api<Secret>,
    namespace: String,
    name: String,
    manager: &'static str,
}

impl OwnSecret {
    /// The Secret `name` in `namespace`, written as `manager`; nothing is asked yet.
    pub fn new(client: Client, namespace: &str, name: &str, manager: &'static str) -> Self {
        Self {
            api: Api::namespaced(client, namespace),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            manager,
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    fn failed(&self, act: &'static str) -> impl Fn(kube::Error) -> SecretError + '_ {
        move |source| SecretError::Request {
            act,
            namespace: self.namespace.clone(),
            name: self.name.clone(),
            source: Box::new(source),
        }
    }

    /// The Secret as it is; `None` where there is none.
    ///
    /// # Errors
    /// See [`SecretError`].
    pub async fn read(&self) -> Result<Option<Secret>, SecretError> {
        self.api.get_opt(&self.name).await.map_err(self.failed("read"))
    }

    /// Whether the Secret is there; its entries are not read.
    ///
    /// # Errors
    /// See [`SecretError`].
    pub async fn exists(&self) -> Result<bool, SecretError> {
        let found = self.api.get_metadata_opt(&self.name).await;
        found.map(|found| found.is_some()).map_err(self.failed("look for"))
    }

    /// Makes the Secret with `labels` and `entries`; false when somebody else was faster, whose entries then stay.
    ///
    /// Entries have to differ between any two makers, as secrets do.
    ///
    /// # Errors
    /// See [`SecretError`].
    pub async fn create(
        &self,
        labels: BTreeMap<String, String>,
        entries: Entries,
    ) -> Result<bool, SecretError> {
        let maker = format!("{}-{}", self.manager, crate::random::word(MAKER_LETTERS)?);
        let metadata = ObjectMeta {
            name: Some(self.name.clone()),
            labels: (!labels.is_empty()).then_some(labels),
            ..ObjectMeta::default()
        };
        let secret = Secret { metadata, data: Some(entries), ..Secret::default() };
        let parameters = PatchParams::apply(&maker);
        let made = self.api.patch(&self.name, &parameters, &Patch::Apply(&secret)).await;
        self.unless_raced("make", made)
    }

    /// Stores `entries` in the Secret as it was read; false when it has changed or gone since.
    ///
    /// # Errors
    /// See [`SecretError`].
    pub async fn replace(&self, read: Secret, entries: Entries) -> Result<bool, SecretError> {
        let parameters =
            PostParams { field_manager: Some(self.manager.to_owned()), ..PostParams::default() };
        let secret = Secret { data: Some(entries), ..read };
        let written = self.api.replace(&self.name, &parameters, &secret).await;
        self.unless_raced("write", written)
    }

    fn unless_raced(
        &self,
        act: &'static str,
        result: Result<Secret, kube::Error>,
    ) -> Result<bool, SecretError> {
        match result {
            Ok(_) => Ok(true),
            Err(error) if client::is_conflict(&error) => Ok(false),
            Err(error) => Err(self.failed(act)(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{Request, Response};
    use kube::client::Body;
    use serde_json::{Value, json};
    use tower_test::mock::Handle;

    type Server = Handle<Request<Body>, Response<Body>>;

    fn own() -> (OwnSecret, Server) {
        let (service, server) = tower_test::mock::pair::<Request<Body>, Response<Body>>();
        (OwnSecret::new(Client::new(service, "default"), "here", "books", "keeper"), server)
    }

    /// Answers one request and says what it asked.
    async fn answer(server: &mut Server, status: u16, body: Value) -> (String, Value) {
        let (request, send) = server.next_request().await.expect("no request");
        let line = format!("{} {}", request.method(), request.uri());
        let asked = request.into_body().collect_bytes().await.unwrap();
        let answer = Body::from(serde_json::to_vec(&body).unwrap());
        send.send_response(Response::builder().status(status).body(answer).unwrap());
        (line, serde_json::from_slice(&asked).unwrap_or_default())
    }

    fn refusal(code: u16) -> Value {
        json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code,
            "reason": "Conflict", "message": "no", "metadata": {}})
    }

    fn entries() -> Entries {
        Entries::from([("password".to_owned(), ByteString(b"x".to_vec()))])
    }

    #[tokio::test]
    async fn it_is_made_without_force_under_a_name_of_its_own() {
        let (own, mut server) = own();
        let mut lines = Vec::new();
        for (status, made) in [(201, true), (409, false)] {
            let body = if made { json!({"metadata": {"name": "books"}}) } else { refusal(status) };
            let labels = BTreeMap::from([("a".to_owned(), "b".to_owned())]);
            let (result, (line, asked)) =
                tokio::join!(own.create(labels, entries()), answer(&mut server, status, body));
            assert_eq!(result.unwrap(), made);
            assert!(
                line.starts_with(
                    "PATCH /api/v1/namespaces/here/secrets/books?&fieldManager=keeper-"
                )
            );
            assert!(!line.contains("force"), "{line}");
            assert_eq!(asked["data"]["password"], "eA==");
            assert_eq!(asked["metadata"], json!({"name": "books", "labels": {"a": "b"}}));
            lines.push(line);
        }
        assert_ne!(lines.first(), lines.last(), "two attempts are two makers");
    }

    #[tokio::test]
    async fn what_was_changed_meanwhile_is_not_overwritten() {
        let (own, mut server) = own();
        let metadata = ObjectMeta {
            name: Some("books".to_owned()),
            resource_version: Some("7".to_owned()),
            ..ObjectMeta::default()
        };
        let read = Secret { metadata, ..Secret::default() };
        let (result, (line, asked)) =
            tokio::join!(own.replace(read, entries()), answer(&mut server, 409, refusal(409)));
        assert!(!result.unwrap());
        assert!(line.starts_with("PUT "), "{line}");
        assert_eq!(asked["metadata"]["resourceVersion"], "7");
    }

    #[tokio::test]
    async fn a_refusal_says_which_right_is_missing_and_nothing_secret() {
        let (own, mut server) = own();
        let (result, _) = tokio::join!(
            own.create(BTreeMap::new(), entries()),
            answer(&mut server, 403, refusal(403))
        );
        let message = crate::ErrorChain(&result.unwrap_err()).to_string();
        assert!(message.starts_with("make Secret here/books; the program's account needs"));
        assert!(!message.contains("eA=="), "{message}");
    }
}
