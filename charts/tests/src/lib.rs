//! What the charts' tests share: Helm and kubectl as a person runs them.

use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use testkit::setting;

/// The namespace that the charts are installed in.
pub const NAMESPACE: &str = "freehold-system";

/// A path below the top of the repository.
pub fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

/// Helm with these words, told about the cluster if there is one.
///
/// # Errors
/// It is not there or cannot be started; that it failed is for the caller to judge.
pub fn helm(words: &[&str]) -> Result<Output> {
    let mut command = Command::new(setting("FREEHOLD_TEST_HELM")?);
    if let Ok(kubeconfig) = setting("FREEHOLD_TEST_NODE_KUBECONFIG") {
        command.env("KUBECONFIG", kubeconfig);
    }
    command.args(words).output().context("start helm")
}

/// kubectl as the administrator of the cluster with a node.
///
/// # Errors
/// It is not there or cannot be started; that it failed is for the caller to judge.
pub fn kubectl(words: &[&str]) -> Result<Output> {
    let mut command = Command::new(setting("FREEHOLD_TEST_NODE_KUBECTL")?);
    command.arg("--kubeconfig").arg(setting("FREEHOLD_TEST_NODE_KUBECONFIG")?);
    command.args(words).output().context("start kubectl")
}

/// What a command that has to work wrote.
///
/// # Errors
/// It failed; the message has its last words.
pub fn done(output: Output) -> Result<String> {
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        bail!("{}: {text}{}", output.status, String::from_utf8_lossy(&output.stderr));
    }
    Ok(text)
}

/// The items of a kind, such as `pods --namespace x`.
///
/// # Errors
/// kubectl failed, or did not answer in JSON.
pub fn items(words: &[&str]) -> Result<Vec<Value>> {
    let text = done(kubectl(&[&["get", "--output=json"], words].concat())?)?;
    let list: Value = serde_json::from_str(&text).context("read kubectl's answer")?;
    Ok(list.get("items").and_then(Value::as_array).cloned().unwrap_or_default())
}

/// A text within a document; empty where there is none.
pub fn text(document: &Value, pointer: &str) -> String {
    document.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
}
