//! A real Prometheus of the run's own, and the exporter that tells it what guests use.
//!
//! Both are Debian's programs on free ports of the loopback address. The exporter finds the run's libvirt daemon by the
//! socket in its URI, so it needs no namespace of the daemon's.

use crate::http;
use crate::libvirt::Libvirt;
use crate::packages::{self, LIBVIRT_EXPORTER, PROMETHEUS};
use crate::run::{self, Run, free_port};
use anyhow::{Context, Result};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

const START_LIMIT: Duration = Duration::from_mins(1);
/// The exporter's name among the processes of a run.
pub const EXPORTER: &str = "libvirt-exporter";
/// What Prometheus calls the exporter.
const GUESTS_JOB: &str = "libvirt";

/// A server that scrapes.
#[derive(Debug)]
pub struct Prometheus {
    /// Of the loopback address.
    pub port: u16,
}

/// What Prometheus reads and where it sends what it read.
pub struct Configuration<'a> {
    /// `host:port` of the libvirt exporter, whose samples are sent on; none where no guests run.
    pub exporter: Option<&'a str>,
    /// `host:port` of programs of ours, whose samples are looked at only here.
    pub programs: &'a [String],
    /// How often, in seconds.
    pub scrape_seconds: u64,
    /// Where samples are sent by remote write.
    pub remote_write_url: &'a str,
}

/// The programs, installed if need be: Prometheus and the exporter.
pub fn programs() -> Result<(&'static Path, &'static Path)> {
    packages::require(&[PROMETHEUS, LIBVIRT_EXPORTER])?;
    Ok((Path::new(PROMETHEUS.file), Path::new(LIBVIRT_EXPORTER.file)))
}

/// Starts the exporter; its `host:port`.
pub fn start_exporter(run: &mut Run, libvirt: &Libvirt) -> Result<String> {
    packages::require(&[LIBVIRT_EXPORTER])?;
    run::progress("starting the libvirt exporter");
    let port = free_port()?;
    let address = format!("127.0.0.1:{port}");
    let socket = libvirt.socket.display();
    run.start(
        EXPORTER,
        Command::new(LIBVIRT_EXPORTER.file)
            .arg(format!("--web.listen-address={address}"))
            .arg(format!("--libvirt.uri=qemu+unix:///system?socket={socket}")),
    )?;
    run.wait(EXPORTER, "the libvirt exporter sees the daemon", START_LIMIT, || {
        http::get(port, "/metrics")
            .is_ok_and(|text| text.lines().any(|line| line == "libvirt_up 1"))
    })?;
    Ok(address)
}

/// Starts Prometheus.
pub fn start(run: &mut Run, configuration: &Configuration<'_>) -> Result<Prometheus> {
    packages::require(&[PROMETHEUS])?;
    run::progress("starting Prometheus");
    let folder = run.subfolder("prometheus")?;
    let file = folder.join("prometheus.yml");
    // JSON is YAML.
    fs::write(&file, serde_json::to_string_pretty(&configuration.document())?)
        .with_context(|| format!("write {}", file.display()))?;
    let port = free_port()?;
    run.start(
        "prometheus",
        Command::new(PROMETHEUS.file)
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.tsdb.path={}", folder.join("data").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}")),
    )?;
    run.wait("prometheus", "Prometheus is ready", START_LIMIT, || {
        http::get(port, "/-/ready").is_ok()
    })?;
    Ok(Prometheus { port })
}

impl Configuration<'_> {
    fn document(&self) -> Value {
        let mut jobs = vec![json!({
            "job_name": "freehold", "static_configs": [{"targets": self.programs}],
        })];
        jobs.extend(self.exporter.map(|exporter| {
            json!({
                "job_name": GUESTS_JOB,
                "static_configs": [{"targets": [exporter]}],
                // The guest that finds out what runs guests is nobody's machine; its usage would wait in suspense.
                "metric_relabel_configs": [{
                    "source_labels": ["domain"], "regex": "freehold-probe", "action": "drop",
                }],
            })
        }));
        json!({
            "global": {"scrape_interval": format!("{}s", self.scrape_seconds)},
            "scrape_configs": jobs,
            "remote_write": [{
                "url": self.remote_write_url,
                "write_relabel_configs": [{
                    "source_labels": ["job"], "regex": GUESTS_JOB, "action": "keep",
                }],
                // Samples are on their way a second after they were scraped.
                "queue_config": {"batch_send_deadline": "1s"},
            }],
        })
    }
}

impl Prometheus {
    /// Every raw sample of a metric over the last hours, as `series` with their labels and values.
    pub fn samples(&self, metric: &str) -> Result<Value> {
        // The name of a metric needs no escape; the brackets do.
        let body = http::get(self.port, &format!("/api/v1/query?query={metric}%5B6h%5D"))?;
        let mut answer: Value = serde_json::from_str(&body).context("read Prometheus' answer")?;
        Ok(answer.pointer_mut("/data/result").map(Value::take).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_go_where_they_are_wanted() {
        let programs = ["127.0.0.1:8082".to_owned()];
        let mut configuration = Configuration {
            exporter: Some("127.0.0.1:9177"),
            programs: &programs,
            scrape_seconds: 5,
            remote_write_url: "http://127.0.0.1:9009/api/v1/write",
        };
        let document = configuration.document();
        assert_eq!(document["global"]["scrape_interval"], "5s");
        let job = |at: usize| document["scrape_configs"][at].clone();
        assert_eq!(job(0)["static_configs"][0]["targets"][0], programs[0]);
        assert_eq!(job(1)["static_configs"][0]["targets"][0], "127.0.0.1:9177");
        let write = &document["remote_write"][0];
        assert_eq!(write["url"], "http://127.0.0.1:9009/api/v1/write");
        assert_eq!(write["write_relabel_configs"][0]["regex"], job(1)["job_name"]);
        configuration.exporter = None;
        assert_eq!(configuration.document()["scrape_configs"].as_array().unwrap().len(), 1);
    }
}
