//! Rules about the tree that no compiler knows: which crate may use which, how a pure crate opens, how long a file is,
//! and that the project speaks of itself alone.

use crate::{paths, run};
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

/// Crates that decide and touch nothing.
const PURE: [&str; 8] =
    ["ids", "money", "calendar", "pricing", "ledger", "metering", "placement", "ipam"];
/// Crates with effects, and the other crates with effects that each may use.
const EFFECTS: [(&str, &[&str]); 5] = [
    ("store", &[]),
    ("stream", &["store"]),
    ("operator-kit", &["crds"]),
    ("providers", &[]),
    ("testkit", &[]),
];
/// Crates that translate between objects and pure crates: they use `crds` and what is pure, and have no effects either.
const TRANSLATING: [&str; 1] = ["network-objects"];
/// Programs never depend on one another.
const PROGRAMS: [&str; 5] =
    ["operator", "webhook", "billing-controller", "kubectl-freehold", "xtask"];
/// What no pure crate may depend on.
const EFFECTFUL: [&str; 8] =
    ["tokio", "kube", "kube-runtime", "sqlx", "reqwest", "axum", "rand", "k8s-openapi"];
/// What a pure crate opens with.
const PURE_ATTRIBUTES: [&str; 4] = [
    "clippy::float_arithmetic",
    "clippy::as_conversions",
    "clippy::arithmetic_side_effects",
    "clippy::wildcard_enum_match_arm",
];
/// A file longer than this hides its structure.
const LINES_MAX: usize = 600;
/// Words that belong to no product: paths of somebody's machine.
const FORBIDDEN: [&str; 3] = ["/root/", "/home/", "/work/"];

/// Applies every rule; true if nothing was found.
#[expect(clippy::print_stdout, reason = "the findings are the result")]
pub fn run() -> Result<bool> {
    run::progress("looking at the tree");
    let mut findings = dependencies()?;
    findings.extend(sources()?);
    for finding in &findings {
        println!("{finding}");
    }
    Ok(findings.is_empty())
}

fn dependencies() -> Result<Vec<String>> {
    let mut command = Command::new(env!("CARGO"));
    command.current_dir(paths::repository()?).args(["metadata", "--no-deps", "--format-version=1"]);
    let output = command.output().context("cargo metadata")?;
    if !output.status.success() {
        bail!("cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    }
    let metadata: Value = serde_json::from_slice(&output.stdout)?;
    let mut packages: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for package in list(&metadata, "packages") {
        // Tests may use what they like.
        let uses = list(package, "dependencies").filter(|one| text(one, "kind") != Some("dev"));
        let uses = uses.filter_map(|one| text(one, "name").map(str::to_owned)).collect();
        packages.insert(text(package, "name").unwrap_or_default().to_owned(), uses);
    }
    let mut findings = judge(&packages);
    findings.extend(untested(&metadata, crate::suites::runs));
    Ok(findings)
}

/// Test targets that no suite runs: a test that nobody runs proves nothing.
fn untested(metadata: &Value, is_run: impl Fn(&str) -> bool) -> Vec<String> {
    let targets = list(metadata, "packages").flat_map(|package| list(package, "targets"));
    let is_test = |target: &&Value| list(target, "kind").any(|kind| kind.as_str() == Some("test"));
    let names = targets.filter(is_test).filter_map(|target| text(target, "name"));
    names
        .filter(|name| !is_run(name))
        .map(|name| format!("test target {name}: no suite of `cargo xtask test` runs it"))
        .collect()
}

fn list<'a>(value: &'a Value, name: &str) -> impl Iterator<Item = &'a Value> {
    value.get(name).and_then(Value::as_array).into_iter().flatten()
}

fn text<'a>(value: &'a Value, name: &str) -> Option<&'a str> {
    value.get(name)?.as_str()
}

/// The rules of direction over direct dependencies; a chain of allowed ones is allowed.
fn judge(packages: &BTreeMap<String, Vec<String>>) -> Vec<String> {
    let mut findings = Vec::new();
    for (name, uses) in packages {
        for used in uses {
            let is_ours = packages.contains_key(used);
            let wrong = if PURE.contains(&name.as_str()) {
                (is_ours && !PURE.contains(&used.as_str())) || EFFECTFUL.contains(&used.as_str())
            } else if name == "crds" {
                is_ours && used != "ids"
            } else if TRANSLATING.contains(&name.as_str()) {
                let types = ["kube", "k8s-openapi"];
                (is_ours && used != "crds" && !PURE.contains(&used.as_str()))
                    || (EFFECTFUL.contains(&used.as_str()) && !types.contains(&used.as_str()))
            } else if let Some((_, allowed)) = EFFECTS.iter().find(|(effect, _)| effect == name) {
                is_ours && !PURE.contains(&used.as_str()) && !allowed.contains(&used.as_str())
            } else {
                PROGRAMS.contains(&used.as_str())
            };
            if wrong {
                findings.push(format!(
                    "{name} must not depend on {used}: see the directions in docs/architecture.md"
                ));
            }
        }
    }
    findings
}

fn sources() -> Result<Vec<String>> {
    let top = paths::repository()?;
    let output = Command::new("git")
        .current_dir(&top)
        .args(["ls-files", "-z"])
        .output()
        .context("git ls-files")?;
    let mut findings = Vec::new();
    for name in String::from_utf8_lossy(&output.stdout).split('\0').filter(|name| !name.is_empty())
    {
        // A file that is deleted but not yet committed is nobody's concern.
        let Ok(text) = fs::read_to_string(top.join(name)) else { continue };
        findings.extend(judge_file(Path::new(name), &text));
    }
    Ok(findings)
}

fn judge_file(path: &Path, text: &str) -> Vec<String> {
    let mut findings = Vec::new();
    let name = path.display();
    let is_rust = path.extension().is_some_and(|extension| extension == "rs");
    if is_rust && text.lines().count() > LINES_MAX {
        findings.push(format!("{name}: more than {LINES_MAX} lines; split it by notion"));
    }
    if is_rust && !path.ends_with("tests.rs") && !text.starts_with("//!") {
        findings.push(format!("{name}: a file opens by saying what it is for (//!)"));
    }
    if !path.ends_with("xtask/src/tidy.rs") {
        for word in FORBIDDEN.iter().filter(|word| text.contains(*word)) {
            findings.push(format!("{name}: contains {word}, a path of somebody's machine"));
        }
    }
    let pure = PURE.iter().any(|pure| path == Path::new(&format!("crates/{pure}/src/lib.rs")));
    if pure {
        for attribute in PURE_ATTRIBUTES.iter().filter(|attribute| !text.contains(*attribute)) {
            findings.push(format!("{name}: a pure crate denies {attribute}"));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(pairs: &[(&str, &[&str])]) -> Vec<String> {
        let packages = pairs
            .iter()
            .map(|(name, uses)| {
                ((*name).to_owned(), uses.iter().map(|used| (*used).to_owned()).collect())
            })
            .collect();
        judge(&packages)
    }

    #[test]
    fn a_test_that_no_suite_runs_is_found() {
        let target = |kind: &str, name: &str| serde_json::json!({"kind": [kind], "name": name});
        let targets = [target("test", "run"), target("test", "forgotten"), target("lib", "other")];
        let metadata = serde_json::json!({"packages": [{"name": "p", "targets": targets}]});
        let findings = untested(&metadata, |name| name == "run");
        assert_eq!(findings.len(), 1);
        assert!(findings[0].contains("forgotten"), "{findings:?}");
    }

    #[test]
    fn directions_are_kept() {
        assert!(
            judged(&[("money", &["ids", "serde"]), ("ids", &[]), ("crds", &["ids", "kube"])])
                .is_empty()
        );
        let translating: (&str, &[&str]) = ("network-objects", &["crds", "ipam", "k8s-openapi"]);
        assert!(judged(&[translating, ("crds", &[]), ("ipam", &[])]).is_empty());
        for (name, used) in [
            ("money", "tokio"),
            ("money", "store"),
            ("crds", "money"),
            ("store", "crds"),
            ("providers", "operator-kit"),
            ("webhook", "operator"),
            ("network-objects", "operator-kit"),
            ("network-objects", "tokio"),
            ("ipam", "network-objects"),
        ] {
            let packages = [(name, &[used] as &[&str]), (used, &[])];
            assert_eq!(judged(&packages).len(), 1, "{name} -> {used}");
        }
    }

    #[test]
    fn files_are_judged() {
        assert_eq!(judge_file(Path::new("a.rs"), "fn main() {}").len(), 1);
        assert_eq!(judge_file(Path::new("README.md"), "see /home/somebody").len(), 1);
        assert_eq!(
            judge_file(Path::new("crates/money/src/lib.rs"), "//! Money.").len(),
            PURE_ATTRIBUTES.len()
        );
    }
}
