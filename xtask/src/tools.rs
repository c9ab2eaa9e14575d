//! The programs of a control plane, built from pinned Go modules into the cache.
//!
//! The key is a hash of everything that decides the result: the module files and the link flags. A version that
//! Kubernetes programs report has to be linked in, else they call themselves v0.0.0 and charts refuse them.

use crate::{paths, run};
use anyhow::{Context, Result};
use sha2::{Digest, Sha256};
use std::fs;
use std::path::PathBuf;
use std::process::Command;

/// The version of Kubernetes in `dev/kubernetes/go.mod`.
const VERSION: &str = "v1.36.2";

/// The programs, and the packages they are built from.
const PROGRAMS: [(&str, &str); 4] = [
    ("etcd", "go.etcd.io/etcd/server/v3"),
    ("kube-apiserver", "k8s.io/kubernetes/cmd/kube-apiserver"),
    ("kube-controller-manager", "k8s.io/kubernetes/cmd/kube-controller-manager"),
    ("kubectl", "k8s.io/kubernetes/cmd/kubectl"),
];

/// The folder with all programs, built first if need be.
pub fn kubernetes() -> Result<PathBuf> {
    let module = paths::repository()?.join("dev/kubernetes");
    let flags = link_flags();
    let mut hasher = Sha256::new();
    for file in ["go.mod", "go.sum"] {
        hasher.update(
            fs::read(module.join(file)).with_context(|| format!("read dev/kubernetes/{file}"))?,
        );
    }
    hasher.update(&flags);
    let digest = format!("{:x}", hasher.finalize());
    let key = digest.get(..16).unwrap_or(&digest);
    let folder = paths::cache()?.join("tools").join(format!("kubernetes-{key}"));
    if PROGRAMS.iter().all(|(name, _)| folder.join(name).exists()) {
        return Ok(folder);
    }
    fs::create_dir_all(&folder)?;
    for (name, package) in PROGRAMS {
        run::progress(&format!(
            "building {name} (cached afterwards; all together about five minutes on two cores)"
        ));
        let log = paths::cache()?.join(format!("logs/build-{name}.log"));
        // Built beside its place and moved: a program that is there is whole.
        let partial = folder.join(format!(".{name}.{}", std::process::id()));
        let mut build = Command::new("go");
        build.current_dir(&module).env("CGO_ENABLED", "0").args([
            "build",
            "-trimpath",
            "-ldflags",
            &flags,
            "-o",
        ]);
        run::finish(&format!("build {name}"), &log, build.arg(&partial).arg(package))?;
        fs::rename(&partial, folder.join(name))?;
    }
    Ok(folder)
}

fn link_flags() -> String {
    let (major, minor) = ("1", VERSION.split('.').nth(1).unwrap_or_default());
    let set = |name: &str, value: &str| format!(" -X k8s.io/component-base/version.{name}={value}");
    ["-s -w".to_owned(), set("gitVersion", VERSION), set("gitMajor", major), set("gitMinor", minor)]
        .concat()
}
