//! The billing-controller as a process, and what tests ask it.

use crate::{SOON, ensure_namespace, free_port, unique};
use anyhow::{Context, Result, bail};
use http::{Method, Request, StatusCode};
use kube::client::Body;
use kube::{Client, Config};
use serde::de::DeserializeOwned;
use std::path::PathBuf;
use std::process::Stdio;
use testkit::database::{self, Database};
use testkit::{FAKETIME, KUBECONFIG, eventually, setting};
use tokio::process::{Child, Command};
use tokio::sync::{Mutex, MutexGuard};

/// One billing-controller at a time leads, so tests that start one take turns.
static TURN: Mutex<()> = Mutex::const_new(());

/// How a billing-controller is started.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Threads that fold.
    pub workers: usize,
    /// How often time is recorded.
    pub tick_seconds: u64,
    /// Where missed samples are read back from.
    pub prometheus_url: Option<String>,
    /// How wrong its clock is, like `+3600s`.
    pub clock_offset: Option<&'static str>,
}

impl Default for Settings {
    fn default() -> Self {
        Self { workers: 1, tick_seconds: 1, prometheus_url: None, clock_offset: None }
    }
}

/// The billing-controller over a database of its own; it ends with this value.
pub struct Billing {
    /// Its database.
    pub database: Database,
    settings: Settings,
    intake: u16,
    query: u16,
    child: Child,
    log: PathBuf,
    _turn: MutexGuard<'static, ()>,
}

impl Billing {
    /// Starts it once no other test runs one, and waits until it answers.
    ///
    /// # Errors
    /// It is not built, or there is no cluster or database.
    pub async fn start(settings: Settings) -> Result<Self> {
        Self::start_over(settings, async |_| Ok(())).await
    }

    /// As [`Billing::start`], over a database that `seed` has been at before.
    ///
    /// # Errors
    /// As there, or those of `seed`.
    pub async fn start_over(
        settings: Settings,
        seed: impl AsyncFnOnce(&Database) -> Result<()>,
    ) -> Result<Self> {
        let turn = TURN.lock().await;
        ensure_namespace(&crate::client().await?, "freehold-system").await?;
        let database = database::create().await?;
        seed(&database).await?;
        let (intake, query) = (free_port()?, free_port()?);
        let (child, log) = spawn(&database, &settings, intake, query)?;
        let billing = Self { database, settings, intake, query, child, log, _turn: turn };
        billing.until_ready().await?;
        Ok(billing)
    }

    /// Kills it without warning; nothing is started in its place.
    ///
    /// # Errors
    /// It cannot be killed.
    pub async fn kill(&mut self) -> Result<()> {
        Ok(self.child.kill().await?)
    }

    /// Starts it again after [`Billing::kill`] and waits until it answers.
    ///
    /// # Errors
    /// It does not come up.
    pub async fn revive(&mut self) -> Result<()> {
        let spawned = spawn(&self.database, &self.settings, self.intake, self.query)?;
        (self.child, self.log) = spawned;
        self.until_ready().await
    }

    /// Kills it without warning and starts another, as a crash would.
    ///
    /// # Errors
    /// It does not come up.
    pub async fn crash(&mut self) -> Result<()> {
        self.kill().await?;
        self.revive().await
    }

    /// Ends it, and its database with it.
    ///
    /// # Errors
    /// The database cannot be dropped.
    pub async fn close(mut self) -> Result<()> {
        self.child.kill().await?;
        self.database.drop_now().await
    }

    async fn until_ready(&self) -> Result<()> {
        let log = self.log.display().to_string();
        eventually(&format!("the billing-controller answers; its log: {log}"), SOON, async || {
            let (status, _) = self.ask(Method::GET, "/api/v1/doctor", Vec::new()).await?;
            Ok((status == StatusCode::OK).then_some(()))
        })
        .await
    }

    /// Where Prometheus has to send samples.
    pub fn write_url(&self) -> String {
        format!("http://127.0.0.1:{}/api/v1/write", self.intake)
    }

    /// Where it is asked.
    pub fn query_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.query)
    }

    /// The status and body of a question.
    ///
    /// # Errors
    /// It could not be reached.
    pub async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Vec<u8>,
    ) -> Result<(StatusCode, Vec<u8>)> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("content-type", "application/json")
            .body(Body::from(body))?;
        send(self.query, request).await
    }

    /// Asks for an off-cycle invoice under `key`.
    ///
    /// # Errors
    /// It could not be reached.
    pub async fn order(&self, tenant: &str, key: &str) -> Result<(StatusCode, Vec<u8>)> {
        let order = serde_json::json!({"tenant": tenant, "through": "now"}).to_string();
        let request = Request::builder()
            .method(Method::POST)
            .uri("/api/v1/invoices")
            .header("content-type", "application/json")
            .header("idempotency-key", key)
            .body(Body::from(order.into_bytes()))?;
        send(self.query, request).await
    }

    /// An answer that has to be good.
    ///
    /// # Errors
    /// It could not be reached, or refused.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        let (status, body) = self.ask(Method::GET, path, Vec::new()).await?;
        if !status.is_success() {
            bail!("{path}: {status}: {}", String::from_utf8_lossy(&body));
        }
        Ok(serde_json::from_slice(&body)?)
    }

    /// Sends a packed remote-write request; the status of the answer.
    ///
    /// # Errors
    /// It could not be reached.
    pub async fn write(&self, body: Vec<u8>) -> Result<StatusCode> {
        let request = Request::builder()
            .method(Method::POST)
            .uri("/api/v1/write")
            .header("content-type", "application/x-protobuf")
            .header("content-encoding", "snappy")
            .header("x-prometheus-remote-write-version", "0.1.0")
            .body(Body::from(body))?;
        Ok(send(self.intake, request).await?.0)
    }
}

async fn send(port: u16, request: Request<Body>) -> Result<(StatusCode, Vec<u8>)> {
    let mut config = Config::new(format!("http://127.0.0.1:{port}").parse()?);
    // A refusal is an answer, and a test wants to see it.
    config.default_retry = false;
    let client = Client::try_from(config)?;
    let response = client.send(request).await?;
    let status = response.status();
    Ok((status, response.into_body().collect_bytes().await?.to_vec()))
}

fn spawn(
    database: &Database,
    settings: &Settings,
    intake: u16,
    query: u16,
) -> Result<(Child, PathBuf)> {
    let program =
        PathBuf::from(setting("FREEHOLD_TEST_PROGRAMS")?).join("freehold-billing-controller");
    let log =
        PathBuf::from(setting("FREEHOLD_TEST_LOGS")?).join(format!("{}.log", unique("billing-")));
    let output =
        std::fs::File::create(&log).with_context(|| format!("create {}", log.display()))?;
    let mut command = Command::new(&program);
    command
        .args(["--health-address", "127.0.0.1:0", "--identity", &database.name])
        .args(["--intake-address", &format!("127.0.0.1:{intake}")])
        .args(["--query-address", &format!("127.0.0.1:{query}")])
        .args(["--workers", &settings.workers.to_string()])
        .args(["--tick-seconds", &settings.tick_seconds.to_string()])
        .env("FREEHOLD_DATABASE_URL", database.url())
        .env("KUBECONFIG", setting(KUBECONFIG)?);
    if let Some(url) = &settings.prometheus_url {
        command.args(["--prometheus-url", url]);
    }
    if let Some(offset) = settings.clock_offset {
        command.env("LD_PRELOAD", setting(FAKETIME)?).env("FAKETIME", offset);
        command.env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    }
    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(output)
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("start {}", program.display()))?;
    Ok((child, log))
}
