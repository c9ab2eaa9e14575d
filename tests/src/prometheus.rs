//! A real Prometheus of a test's own, over the exporter of the run's libvirt.

use crate::{SOON, free_port, unique};
use anyhow::{Context, Result, bail};
use kube::client::Body;
use kube::{Client, Config};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::Stdio;
use testkit::{LIBVIRT_SOCKET, eventually, setting};
use tokio::process::{Child, Command};

/// How often it scrapes, in seconds.
pub const SCRAPE_SECONDS: i64 = 2;

/// Prometheus and the exporter it scrapes; both end with this value.
pub struct Prometheus {
    folder: PathBuf,
    port: u16,
    server: Child,
    _exporter: Child,
}

impl Prometheus {
    /// Starts both; samples go to `remote_write_url`.
    ///
    /// # Errors
    /// A program is missing or does not come up.
    pub async fn start(remote_write_url: &str) -> Result<Self> {
        let folder = PathBuf::from(setting("FREEHOLD_TEST_LOGS")?).join(unique("prometheus-"));
        std::fs::create_dir_all(&folder)?;
        let port = free_port()?;
        let address = format!("127.0.0.1:{}", free_port()?);
        let socket = setting(LIBVIRT_SOCKET)?;
        let mut exporter = Command::new(setting("FREEHOLD_TEST_LIBVIRT_EXPORTER")?);
        exporter
            .arg(format!("--web.listen-address={address}"))
            .arg(format!("--libvirt.uri=qemu+unix:///system?socket={socket}"));
        let exporter = spawn(&mut exporter, &folder.join("exporter.log"))?;
        let configuration = json!({
            "global": {"scrape_interval": format!("{SCRAPE_SECONDS}s")},
            "scrape_configs": [{
                "job_name": "libvirt",
                "static_configs": [{"targets": [address]}],
                "metric_relabel_configs": [
                    {"source_labels": ["domain"], "regex": "freehold-probe", "action": "drop"},
                ],
            }],
            "remote_write": [{
                "url": remote_write_url, "queue_config": {"batch_send_deadline": "1s"},
            }],
        });
        std::fs::write(folder.join("prometheus.yml"), configuration.to_string())?;
        let server = server(&folder, port)?;
        let own = Self { folder, port, server, _exporter: exporter };
        own.until_ready().await?;
        Ok(own)
    }

    /// Its address.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Stops it as its supervisor would; what it has read stays on its disk.
    ///
    /// # Errors
    /// It does not end.
    pub async fn stop(&mut self) -> Result<()> {
        let pid = self.server.id().context("Prometheus has ended already")?;
        let asked = Command::new("kill").arg(pid.to_string()).status().await?;
        if !asked.success() {
            bail!("kill {pid}: {asked}");
        }
        self.server.wait().await?;
        Ok(())
    }

    /// Starts it again over the same disk.
    ///
    /// # Errors
    /// It does not come up.
    pub async fn resume(&mut self) -> Result<()> {
        self.server = server(&self.folder, self.port)?;
        self.until_ready().await
    }

    /// Every raw sample of `metric` about `uid` over the last hours, as (milliseconds since 1970, value), ascending.
    ///
    /// # Errors
    /// It cannot be asked.
    pub async fn samples(&self, metric: &str, uid: &str) -> Result<Vec<(i64, f64)>> {
        let selector = format!("{metric}%7Buuid%3D%22{uid}%22%7D%5B6h%5D");
        let answer: Value =
            serde_json::from_str(&self.get(&format!("/api/v1/query?query={selector}")).await?)?;
        let series =
            answer.pointer("/data/result").and_then(Value::as_array).context("no result")?;
        let values = series.iter().filter_map(|one| one.get("values")?.as_array());
        let mut samples = Vec::new();
        for pair in values.flatten() {
            let at = pair.get(0).context("no time")?.to_string();
            let value = pair.get(1).and_then(Value::as_str).context("no value")?;
            samples.push((milliseconds(&at)?, value.parse()?));
        }
        samples.sort_by_key(|(at, _)| *at);
        Ok(samples)
    }

    async fn get(&self, path: &str) -> Result<String> {
        let client = Client::try_from(Config::new(self.url().parse()?))?;
        let request = http::Request::get(path).body(Body::empty())?;
        let response = client.send(request).await?;
        if !response.status().is_success() {
            bail!("{path}: {}", response.status());
        }
        Ok(String::from_utf8(response.into_body().collect_bytes().await?.to_vec())?)
    }

    async fn until_ready(&self) -> Result<()> {
        let log = self.folder.join("prometheus.log");
        eventually(&format!("Prometheus is ready; its log: {}", log.display()), SOON, async || {
            self.get("/-/ready").await.map(|_| Some(()))
        })
        .await
    }
}

/// `1764178332.147` without a float in between.
fn milliseconds(text: &str) -> Result<i64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let fraction = format!("{fraction:0<3}");
    let seconds: i64 = whole.parse().with_context(|| format!("{text} is no time"))?;
    let rest: i64 = fraction.parse().with_context(|| format!("{text} is no time"))?;
    Ok(seconds * 1000 + rest)
}

fn server(folder: &std::path::Path, port: u16) -> Result<Child> {
    let mut server = Command::new(setting("FREEHOLD_TEST_PROMETHEUS")?);
    server
        .arg(format!("--config.file={}", folder.join("prometheus.yml").display()))
        .arg(format!("--storage.tsdb.path={}", folder.join("data").display()))
        .arg(format!("--web.listen-address=127.0.0.1:{port}"));
    spawn(&mut server, &folder.join("prometheus.log"))
}

fn spawn(command: &mut Command, log: &std::path::Path) -> Result<Child> {
    let output = std::fs::OpenOptions::new().create(true).append(true).open(log)?;
    command
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output)
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("start {command:?}"))
}
