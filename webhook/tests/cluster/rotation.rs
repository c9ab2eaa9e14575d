//! Certificates and authorities change under load, and nobody notices; bodies that are no questions are told so.

use crate::hook::{Door, Hook, OWN_NAMESPACE, TURN, client_as, refusal, through};
use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, DeleteParams};
use kube::{Client, Config};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

async fn keyring(client: &Client) -> Result<Value> {
    let secrets: Api<Secret> = Api::namespaced(client.clone(), OWN_NAMESPACE);
    let secret = secrets.get("freehold-webhook-certificates").await?;
    let data = secret.data.context("data")?;
    Ok(serde_json::from_slice(&data.get("keyring.json").context("keyring.json")?.0)?)
}

/// How many serving certificates and authorities have to pass by.
const ROTATIONS: usize = 5;

#[tokio::test]
async fn certificates_and_authorities_change_without_a_lost_request() -> Result<()> {
    let _turn = TURN.lock().await;
    let admin = client_as(Some("somebody")).await?;
    let secrets: Api<Secret> = Api::namespaced(admin.clone(), OWN_NAMESPACE);
    // What another test left lives too long to be renewed here.
    secrets
        .delete("freehold-webhook-certificates", &DeleteParams::default())
        .await
        .map(drop)
        .or_else(
            |error| if operator_kit::client::is_not_found(&error) { Ok(()) } else { Err(error) },
        )?;
    let lives = ["--authority-seconds", "12", "--serving-seconds", "6", "--settle-seconds", "2"];
    let _hook = Hook::start(&lives).await?;
    let probe =
        json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "tn-probe" } });
    let (mut serving, mut authorities, mut asked) = (BTreeSet::new(), BTreeSet::new(), 0_u32);
    let deadline = Instant::now() + Duration::from_mins(2);
    while serving.len() < ROTATIONS || authorities.len() < ROTATIONS {
        assert!(Instant::now() < deadline, "after {asked} requests: {serving:?} {authorities:?}");
        // A new connection each time, so that every certificate is really checked by the API server.
        for _ in 0..10 {
            let result = through(&admin, Door::Create, true, &probe).await;
            assert!(refusal(&result).is_some(), "request {asked} was not judged: {result:?}");
            asked += 1;
        }
        let ring = keyring(&admin).await?;
        serving.insert(ring["serving"]["number"].as_u64().context("serving")?);
        for authority in ring["authorities"].as_array().into_iter().flatten() {
            authorities.insert(authority["number"].as_u64().context("authority")?);
        }
    }
    println!(
        "{asked} requests judged over {} serving certificates and {} authorities",
        serving.len(),
        authorities.len()
    );
    Ok(())
}

#[tokio::test]
async fn a_broken_secret_is_replaced() -> Result<()> {
    let _turn = TURN.lock().await;
    let admin = client_as(None).await?;
    {
        let _hook = Hook::start(&[]).await?;
    }
    let broken = json!({ "apiVersion": "v1", "kind": "Secret", "metadata": {
        "name": "freehold-webhook-certificates", "namespace": OWN_NAMESPACE },
        "stringData": { "keyring.json": "{\"authorities\":[{\"number\":1" } });
    through(&admin, Door::MergePatch, false, &broken).await?;
    let _hook = Hook::start(&[]).await?;
    assert!(keyring(&admin).await?["serving"]["pem"].as_str().is_some_and(|pem| !pem.is_empty()));
    Ok(())
}

#[tokio::test]
async fn what_is_no_question_is_told_so() -> Result<()> {
    let _turn = TURN.lock().await;
    let hook = Hook::start(&[]).await?;
    let mut config = Config::new(hook.address.parse()?);
    config.accept_invalid_certs = true;
    config.default_retry = false;
    let client = Client::try_from(config)?;
    // An object that is not what its kind says is a refusal, not a fault.
    let odd = json!({ "request": { "uid": "u", "operation": "CREATE", "userInfo": {},
        "kind": { "group": "tenancy.freehold.dev", "version": "v1alpha1", "kind": "Tenant" },
        "object": { "spec": [1, 2, 3] } } });
    let request = http::Request::post("/validate").body(serde_json::to_vec(&odd)?)?;
    let answer: Value = serde_json::from_str(&client.request_text(request).await?)?;
    assert_eq!(answer["response"]["allowed"], false, "{answer}");
    assert_eq!(answer["response"]["status"]["details"]["causes"][0]["field"], "object", "{answer}");
    let huge = vec![b' '; 9 * 1024 * 1024];
    for (path, body, code) in [
        ("/validate", b"".to_vec(), 400),
        ("/validate", b"not json".to_vec(), 400),
        ("/validate", b"{}".to_vec(), 400),
        ("/mutate", br#"{"request":{"uid":1}}"#.to_vec(), 400),
        ("/validate", [b"[".repeat(200_000), Vec::new()].concat(), 400),
        ("/elsewhere", b"{}".to_vec(), 404),
        // Last: the server hangs up on it.
        ("/validate", huge, 413),
    ] {
        let request =
            http::Request::post(path).header("content-type", "application/json").body(body)?;
        match client.request_text(request).await {
            Err(kube::Error::Api(status)) => assert_eq!(status.code, code, "{path}: {status:?}"),
            other => panic!("{path} should be answered {code}, not {other:?}"),
        }
    }
    Ok(())
}
