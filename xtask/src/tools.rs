//! Programs of others, built from pinned Go modules into the cache, each family when it is first needed.
//!
//! The key of a family is a hash of everything that decides the result: the module files and the link flags. A version
//! that Kubernetes programs report has to be linked in, else they call themselves v0.0.0 and charts refuse them.

use crate::{paths, run};
use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The version of Kubernetes in `dev/kubernetes/go.mod`.
const VERSION: &str = "v1.36.2";

/// A program, and the package it is built from.
type Program = (&'static str, &'static str);

/// A control plane, about five minutes on two cores.
const CONTROL_PLANE: [Program; 4] = [
    ("etcd", "go.etcd.io/etcd/server/v3"),
    ("kube-apiserver", "k8s.io/kubernetes/cmd/kube-apiserver"),
    ("kube-controller-manager", "k8s.io/kubernetes/cmd/kube-controller-manager"),
    ("kubectl", "k8s.io/kubernetes/cmd/kubectl"),
];
/// What runs pods, about one minute more: most packages are those of the control plane.
const NODE: [Program; 3] = [
    ("kube-scheduler", "k8s.io/kubernetes/cmd/kube-scheduler"),
    ("kubelet", "k8s.io/kubernetes/cmd/kubelet"),
    ("kube-proxy", "k8s.io/kubernetes/cmd/kube-proxy"),
];

/// The folder with the programs of a control plane, built first if need be.
pub fn kubernetes() -> Result<PathBuf> {
    build("kubernetes", &link_flags(), &CONTROL_PLANE)
}

/// The folder with the programs of a node; it is that of [`kubernetes`].
pub fn node() -> Result<PathBuf> {
    build("kubernetes", &link_flags(), &NODE)
}

/// The scheduler alone, which pretended nodes need too.
pub fn scheduler() -> Result<PathBuf> {
    let [scheduler, ..] = NODE;
    build("kubernetes", &link_flags(), &[scheduler])
}

/// The path of the server that answers names of services.
pub fn coredns() -> Result<PathBuf> {
    Ok(build("coredns", "-s -w", &[("coredns", "freehold.dev/dev/coredns")])?.join("coredns"))
}

/// The path of the program that pretends nodes.
pub fn kwok() -> Result<PathBuf> {
    Ok(build("kwok", "-s -w", &[("kwok", "sigs.k8s.io/kwok/cmd/kwok")])?.join("kwok"))
}

/// The path of the program that installs charts.
pub fn helm() -> Result<PathBuf> {
    Ok(build("helm", "-s -w", &[("helm", "helm.sh/helm/v4/cmd/helm")])?.join("helm"))
}

/// Fails if a control plane has to be built and cannot be.
pub fn can_have_kubernetes() -> Result<()> {
    let (_, folder) = place("kubernetes", &link_flags())?;
    if CONTROL_PLANE.iter().any(|(name, _)| !folder.join(name).exists()) {
        need_go()?;
    }
    Ok(())
}

/// The module that pins a family, and the folder of what is built from it.
fn place(family: &str, flags: &str) -> Result<(PathBuf, PathBuf)> {
    let module = paths::repository()?.join("dev").join(family);
    let folder = paths::cache()?.join("tools").join(format!("{family}-{}", key(&module, flags)?));
    Ok((module, folder))
}

fn build(family: &str, flags: &str, programs: &[Program]) -> Result<PathBuf> {
    let (module, folder) = place(family, flags)?;
    fs::create_dir_all(&folder)?;
    let is_missing = |(name, _): &&Program| !folder.join(name).exists();
    if programs.iter().any(|program| is_missing(&program)) {
        need_go()?;
    }
    for (name, package) in programs.iter().filter(is_missing) {
        run::progress(&format!("building {name} (cached afterwards)"));
        let log = paths::cache()?.join(format!("logs/build-{name}.log"));
        // Built beside its place and moved: a program that is there is whole.
        let partial = folder.join(format!(".{name}.{}", std::process::id()));
        let mut build = Command::new("go");
        build.current_dir(&module).env("CGO_ENABLED", "0").args(["build", "-trimpath", "-ldflags"]);
        build.args([flags, "-o"]);
        run::finish(&format!("build {name}"), &log, build.arg(&partial).arg(package))?;
        fs::rename(&partial, folder.join(name))?;
    }
    Ok(folder)
}

/// What builds them, said before anything takes long.
fn need_go() -> Result<()> {
    let version = Command::new("go").arg("version").output();
    if !version.is_ok_and(|output| output.status.success()) {
        bail!(
            "cluster tools are built with Go 1.26, and there is no go in PATH; https://go.dev/dl has it"
        );
    }
    Ok(())
}

fn key(module: &Path, flags: &str) -> Result<String> {
    let mut hasher = Sha256::new();
    for file in ["go.mod", "go.sum"] {
        let path = module.join(file);
        hasher.update(fs::read(&path).with_context(|| format!("read {}", path.display()))?);
    }
    // A command of our own decides the result too.
    if let Ok(main) = fs::read(module.join("main.go")) {
        hasher.update(main);
    }
    hasher.update(flags);
    let digest = format!("{:x}", hasher.finalize());
    Ok(digest.get(..16).unwrap_or(&digest).to_owned())
}

fn link_flags() -> String {
    let (major, minor) = ("1", VERSION.split('.').nth(1).unwrap_or_default());
    let set = |name: &str, value: &str| format!(" -X k8s.io/component-base/version.{name}={value}");
    ["-s -w".to_owned(), set("gitVersion", VERSION), set("gitMajor", major), set("gitMinor", minor)]
        .concat()
}
