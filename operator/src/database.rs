//! The Secret of the database that the chart brings: made here, because a chart that made a password would make another
//! one at each rendering.
//!
//! It is made when there is none and never changed, so whoever wants a password of their own makes the Secret first. Every
//! replica looks after it from its first moment, before it leads and before any kind is known: the API server decides
//! who was first ([`operator_kit::secret`]), so no lease has to. The pods that need the Secret wait for it by themselves.
//!
//! The database follows the Secret, not the other way: the chart's PostgreSQL takes the password from it at each start.
//! So a Secret that was lost, or deleted for another password, comes back here with a new one, and works from the next start
//! of the database's pod on.

use ids::well_known::{MANAGED_BY_LABEL, OPERATOR_MANAGER};
use k8s_openapi::ByteString;
use kube::Client;
use operator_kit::secret::{Entries, OwnSecret, SecretError};
use operator_kit::{ErrorChain, random};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// The user that the chart's PostgreSQL makes, and the name of the database it makes.
const USER_AND_DATABASE: &str = "freehold";
/// The entry with the password alone, for PostgreSQL.
const PASSWORD: &str = "password";
/// The entry with the whole URL, for the billing-controller.
const URL: &str = "url";
/// 190 bits, more than anybody tries.
const PASSWORD_LETTERS: usize = 32;
/// How soon a Secret that was deleted is there again, at the latest.
const BEAT: Duration = Duration::from_secs(10);
/// How soon the first failure is repeated; later ones take twice the time, up to [`BEAT`].
const RETRY_FIRST: Duration = Duration::from_millis(500);

/// Which Secret to make, if any.
#[derive(Debug, Clone, clap::Args)]
pub struct DatabaseArguments {
    /// A Secret of our namespace that is made when absent, with the password of the database that the chart brings;
    /// none is made when left out.
    #[arg(long, env = "FREEHOLD_DATABASE_SECRET", requires = "database_address")]
    database_secret: Option<String>,
    /// Where that database answers, like freehold-postgresql.freehold-system.svc:5432, for the URL in the Secret.
    #[arg(long, env = "FREEHOLD_DATABASE_ADDRESS")]
    database_address: Option<String>,
}

impl DatabaseArguments {
    /// The Secret to look after, in `namespace`.
    pub fn secret(&self, client: Client, namespace: &str) -> Option<DatabaseSecret> {
        let (name, address) = (self.database_secret.as_ref()?, self.database_address.as_ref()?);
        Some(DatabaseSecret {
            secret: OwnSecret::new(client, namespace, name, OPERATOR_MANAGER),
            address: address.clone(),
        })
    }
}

/// Looks after one Secret.
pub struct DatabaseSecret {
    secret: OwnSecret,
    address: String,
}

impl DatabaseSecret {
    /// Makes the Secret whenever it is absent, until `stop`; the name of this task is what it ends with.
    pub async fn keep(&self, stop: &CancellationToken) -> &'static str {
        let mut retry = RETRY_FIRST;
        loop {
            let delay = match self.make_if_absent().await {
                Ok(made) => {
                    if made {
                        tracing::info!(
                            secret = self.secret.name(),
                            "the database's Secret was made"
                        );
                    }
                    retry = RETRY_FIRST;
                    BEAT
                }
                Err(error) => {
                    tracing::error!(error = %ErrorChain(&error), "cannot look after the database's Secret, trying again");
                    let delay = retry;
                    retry = retry.saturating_mul(2).min(BEAT);
                    delay
                }
            };
            if stop.run_until_cancelled(tokio::time::sleep(delay)).await.is_none() {
                return "the keeper of the database's Secret";
            }
        }
    }

    /// Whether the Secret was absent and is made now.
    async fn make_if_absent(&self) -> Result<bool, SecretError> {
        if self.secret.exists().await? {
            return Ok(false);
        }
        let password = random::word(PASSWORD_LETTERS)?;
        self.secret.create(labels(self.secret.name()), entries(&password, &self.address)).await
    }
}

/// The name is also on the volume's claim, so that both are found, and taken away, by one selector. The release is not
/// named: tools that see their release's label on what is in none of their files would take it away.
fn labels(name: &str) -> BTreeMap<String, String> {
    let labels = [
        ("app.kubernetes.io/name", name),
        ("app.kubernetes.io/part-of", "freehold"),
        (MANAGED_BY_LABEL, OPERATOR_MANAGER),
    ];
    labels.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

/// A random word has no letter that a URL would read otherwise, so it stands in it as it is.
fn entries(password: &str, address: &str) -> Entries {
    let url = format!("postgres://{USER_AND_DATABASE}:{password}@{address}/{USER_AND_DATABASE}");
    [(PASSWORD, password.to_owned()), (URL, url)]
        .into_iter()
        .map(|(key, value)| (key.to_owned(), ByteString(value.into_bytes())))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;
    use http::{Request, Response};
    use kube::client::Body;
    use serde_json::{Value, json};

    #[derive(Debug, Parser)]
    struct Arguments {
        #[command(flatten)]
        database: DatabaseArguments,
    }

    #[test]
    fn a_secret_needs_an_address_and_none_is_made_unasked() {
        let parse = |words: &[&str]| Arguments::try_parse_from([&["p"], words].concat());
        let refusal = parse(&["--database-secret", "a"]).unwrap_err().to_string();
        assert!(refusal.contains("--database-address"), "{refusal}");
        let none = parse(&[]).unwrap().database;
        assert_eq!((none.database_secret, none.database_address), (None, None));
        let both =
            parse(&["--database-secret", "a", "--database-address", "b:1"]).unwrap().database;
        assert_eq!(both.database_secret.as_deref(), Some("a"));
    }

    #[test]
    fn the_url_has_the_password_and_the_address() {
        let entries = entries("aZ9", "books.here.svc:5432");
        let text = |key: &str| String::from_utf8(entries[key].0.clone()).unwrap();
        assert_eq!(text(PASSWORD), "aZ9");
        assert_eq!(text(URL), "postgres://freehold:aZ9@books.here.svc:5432/freehold");
        assert_eq!(entries.len(), 2);
    }

    /// What one look sends when the answers are these, and what comes of it.
    async fn look(answers: Vec<(u16, Value)>) -> (Result<bool, SecretError>, Vec<(String, Value)>) {
        let (service, mut server) = tower_test::mock::pair::<Request<Body>, Response<Body>>();
        let arguments = DatabaseArguments {
            database_secret: Some("books".to_owned()),
            database_address: Some("b:1".to_owned()),
        };
        let kept = arguments.secret(Client::new(service, "default"), "here").unwrap();
        let serve = async {
            let mut asked = Vec::new();
            for (status, body) in answers {
                let (request, reply) = server.next_request().await.unwrap();
                let line = format!("{} {}", request.method(), request.uri().path());
                let body_sent = request.into_body().collect_bytes().await.unwrap();
                asked.push((line, serde_json::from_slice(&body_sent).unwrap_or_default()));
                let body = Body::from(serde_json::to_vec(&body).unwrap());
                reply.send_response(Response::builder().status(status).body(body).unwrap());
            }
            asked
        };
        // A further request would never be answered.
        let both = futures::future::join(kept.make_if_absent(), serve);
        tokio::time::timeout(Duration::from_secs(10), both).await.expect("asked for more")
    }

    fn refusal(code: u16, reason: &str) -> Value {
        json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code,
            "reason": reason, "message": reason, "metadata": {}})
    }

    #[tokio::test]
    async fn a_secret_that_is_there_is_only_looked_at() {
        let there = json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1",
            "metadata": {"name": "books"}});
        let (result, asked) = look(vec![(200, there)]).await;
        assert!(!result.unwrap());
        let path = "/api/v1/namespaces/here/secrets/books";
        assert_eq!(asked, [(format!("GET {path}"), Value::Null)]);
    }

    #[tokio::test]
    async fn an_absent_secret_is_made_and_belongs_to_nobody() {
        let made = json!({"metadata": {"name": "books"}});
        for (answer, expected) in [((201, made), true), ((409, refusal(409, "Conflict")), false)] {
            let (result, asked) = look(vec![(404, refusal(404, "NotFound")), answer]).await;
            assert_eq!(result.unwrap(), expected);
            let (line, body) = &asked[1];
            assert_eq!(line, "PATCH /api/v1/namespaces/here/secrets/books");
            let metadata = &body["metadata"];
            assert_eq!(metadata["ownerReferences"], Value::Null);
            assert_eq!(metadata["labels"]["app.kubernetes.io/name"], "books");
            assert_eq!(metadata["labels"]["app.kubernetes.io/instance"], Value::Null);
            assert!(body["data"]["password"].is_string() && body["data"]["url"].is_string());
        }
    }

    #[tokio::test]
    async fn a_missing_right_is_an_error_that_names_it() {
        let (result, _) = look(vec![(403, refusal(403, "Forbidden"))]).await;
        let message = ErrorChain(&result.unwrap_err()).to_string();
        assert!(message.starts_with("look for Secret here/books; the program's account needs get"));
    }
}
