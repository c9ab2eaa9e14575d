//! Pretended nodes: pods that are put on them turn Running without a container, so there can be thousands.

use super::Cluster;
use crate::run::{self, Run};
use crate::{paths, tools};
use anyhow::Result;
use serde_json::json;
use std::fs;
use std::process::Command;
use std::time::Duration;

const START_LIMIT: Duration = Duration::from_mins(1);
/// Enough to spread pods; whoever wants more applies more objects like these.
const NODES: u32 = 3;

/// Starts the program that answers for nodes, and declares some.
pub fn start(run: &mut Run, cluster: &Cluster) -> Result<()> {
    run::progress("starting pretended nodes");
    let stages = paths::repository()?.join("dev/kwok/stages.yaml");
    run.start(
        "kwok",
        Command::new(tools::kwok()?)
            .arg("--kubeconfig")
            .arg(&cluster.kubeconfig)
            .arg("--config")
            .arg(stages)
            .args(["--manage-all-nodes=true", "--node-lease-duration-seconds=40"]),
    )?;
    let nodes: Vec<_> = (1..=NODES).map(node).collect();
    let path = run.folder().join("kwok-nodes.json");
    let list = json!({"apiVersion": "v1", "kind": "List", "items": nodes});
    fs::write(&path, list.to_string())?;
    let log = run.log("kubectl");
    run::finish("declare nodes", &log, cluster.kubectl().args(["apply", "--filename"]).arg(&path))?;
    run.wait("kwok", "the pretended nodes are ready", START_LIMIT, || {
        cluster.succeeds(&["wait", "--for=condition=Ready", "--timeout=1s", "node", "--all"])
    })
}

fn node(number: u32) -> serde_json::Value {
    let size = json!({"cpu": "32", "memory": "256Gi", "pods": "110"});
    let name = format!("kwok-{number}");
    json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "annotations": {"kwok.x-k8s.io/node": "fake"},
            "labels": {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "type": "kwok"},
        },
        "status": {"allocatable": size, "capacity": size},
    })
}
