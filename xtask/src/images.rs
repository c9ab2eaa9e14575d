//! Container images without a container engine: a folder becomes a layer, the layer an archive that engines load.
//!
//! An image is three small documents and one tar file, so tar and a hash are all it takes; an engine would need
//! namespaces of its own, and a base image from a registry. The archive is an OCI layout with the index of `docker save`
//! beside it: `ctr images import`, `podman load` and `docker load` read it. The same content gives the same bytes.

use crate::packages::{self, BUSYBOX as BUSYBOX_PACKAGE, POSTGRESQL as POSTGRESQL_PACKAGE};
use crate::{paths, run};
use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

/// What is before the slash of every image's name.
const REGISTRY: &str = "freehold.dev";
/// A shell, and a process that does nothing, for pods' own containers and for tests.
pub const BUSYBOX: &str = "freehold.dev/dev-busybox:1";
/// A database for tests.
pub const POSTGRESQL: &str = "freehold.dev/dev-postgresql:15";
/// Nobody in particular, and not root.
const USER: &str = "65532:65532";
/// The programs, and their packages.
const PROGRAMS: [(&str, &str); 3] = [
    ("freehold-operator", "operator"),
    ("freehold-webhook", "webhook"),
    ("freehold-billing-controller", "billing-controller"),
];
/// Where certificates of public authorities are, on the machine and in images.
const AUTHORITIES: &str = "etc/ssl/certs/ca-certificates.crt";

/// `images`: makes the programs' images and prints where they are.
#[expect(clippy::print_stdout, reason = "the paths are the result")]
pub fn run() -> Result<()> {
    let started = Instant::now();
    for path in programs()? {
        println!("{}", path.display());
    }
    run::progress(&format!("made in {} s", started.elapsed().as_secs()));
    Ok(())
}

/// Archives of our programs' images, built first if need be.
pub fn programs() -> Result<Vec<PathBuf>> {
    let folder = build()?;
    let version = env!("CARGO_PKG_VERSION");
    let image = |(name, _): &(&str, &str)| {
        let stage = Stage::new(name)?;
        stage.copy(&folder.join(name), &format!("bin/{name}"))?;
        if Path::new("/").join(AUTHORITIES).exists() {
            stage.copy(&Path::new("/").join(AUTHORITIES), AUTHORITIES)?;
        }
        let config = json!({"Entrypoint": [format!("/bin/{name}")], "User": USER, "Env": [
            format!("SSL_CERT_FILE=/{AUTHORITIES}"),
        ]});
        stage.archive(&format!("{REGISTRY}/{name}:{version}"), &config)
    };
    PROGRAMS.iter().map(image).collect()
}

/// The archive of [`BUSYBOX`].
pub fn busybox() -> Result<PathBuf> {
    packages::require(&[BUSYBOX_PACKAGE])?;
    let stage = Stage::new("dev-busybox")?;
    stage.busybox()?;
    stage.archive(
        BUSYBOX,
        &json!({"Cmd": ["sleep", "infinity"], "User": USER, "Env": ["PATH=/bin"]}),
    )
}

/// The archive of [`POSTGRESQL`]: Debian's files, and a first command that takes the variables of the official image.
pub fn postgresql() -> Result<PathBuf> {
    packages::require(&[POSTGRESQL_PACKAGE, BUSYBOX_PACKAGE])?;
    let stage = Stage::new("dev-postgresql")?;
    stage.busybox()?;
    let recipe = paths::repository()?.join("dev/images/postgresql");
    let mut script = Command::new("sh");
    script.arg("-eu").arg(recipe.join("stage")).arg(&stage.root);
    run::finish("collect PostgreSQL's files", &stage.log, &mut script)?;
    stage.copy(&recipe.join("start"), "bin/start")?;
    // As in the official image: a plain end would wait for clients, until it is killed.
    let config = json!({"Entrypoint": ["/bin/start"], "User": "999:999", "StopSignal": "SIGINT", "Env": [
        "PATH=/bin:/usr/lib/postgresql/15/bin",
        "PGDATA=/var/lib/postgresql/data",
    ]});
    stage.archive(POSTGRESQL, &config)
}

/// Builds the programs so that they need nothing of a system; the folder they are in.
fn build() -> Result<PathBuf> {
    run::progress("building the programs for images");
    let output = Command::new("rustc").arg("-vV").output().context("ask rustc for its host")?;
    let version = String::from_utf8_lossy(&output.stdout).into_owned();
    let target = version.lines().find_map(|line| line.strip_prefix("host: "));
    let target = target.context("`rustc -vV` names no host")?;
    // A folder of its own: flags differ, and neither build throws the other's work away.
    let folder = paths::cache()?.join("images/target");
    let variable = target.replace('-', "_").to_uppercase();
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(paths::repository()?).env("CARGO_TARGET_DIR", &folder);
    // With the target named, the flag does not reach build scripts and macros, which cannot be static.
    cargo.env(format!("CARGO_TARGET_{variable}_RUSTFLAGS"), "-Ctarget-feature=+crt-static");
    cargo.args(["build", "--locked", "--profile", "image", "--target", target]);
    cargo.args(PROGRAMS.iter().flat_map(|(_, package)| ["--package", package]));
    run::finish("build the programs", &paths::cache()?.join("logs/build-images.log"), &mut cargo)?;
    Ok(folder.join(target).join("image"))
}

/// A folder that becomes an image.
struct Stage {
    name: String,
    work: PathBuf,
    root: PathBuf,
    log: PathBuf,
}

impl Stage {
    fn new(name: &str) -> Result<Self> {
        let work = paths::cache()?.join(format!("images/work-{name}-{}", std::process::id()));
        let root = work.join("root");
        fs::create_dir_all(&root).with_context(|| format!("create {}", root.display()))?;
        let log = paths::cache()?.join(format!("logs/image-{name}.log"));
        Ok(Self { name: name.to_owned(), work, root, log })
    }

    fn copy(&self, from: &Path, to: &str) -> Result<()> {
        let to = self.root.join(to);
        if let Some(folder) = to.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::copy(from, &to).with_context(|| format!("copy {} into an image", from.display()))?;
        Ok(())
    }

    fn busybox(&self) -> Result<()> {
        self.copy(Path::new(BUSYBOX_PACKAGE.file), "bin/busybox")?;
        let output = Command::new(BUSYBOX_PACKAGE.file).arg("--list").output()?;
        let names = String::from_utf8_lossy(&output.stdout).into_owned();
        for name in names.lines().filter(|name| *name != "busybox") {
            std::os::unix::fs::symlink("busybox", self.root.join("bin").join(name))?;
        }
        Ok(())
    }

    /// Writes the archive, named by its content, unless it is there.
    fn archive(self, image: &str, config: &Value) -> Result<PathBuf> {
        let layout = self.work.join("layout");
        let blobs = layout.join("blobs/sha256");
        fs::create_dir_all(&blobs)?;
        let layer_path = self.work.join("layer");
        self.tar(&self.root, &layer_path)?;
        let layer = store(&blobs, &layer_path)?;
        let config = document(
            &blobs,
            &self.work,
            &json!({
                "architecture": architecture()?,
                "os": "linux",
                "created": "1970-01-01T00:00:00Z",
                "config": config,
                "rootfs": {"type": "layers", "diff_ids": [layer.digest()]},
            }),
        )?;
        let kind = "application/vnd.oci.image";
        let manifest = document(
            &blobs,
            &self.work,
            &json!({
                "schemaVersion": 2,
                "mediaType": format!("{kind}.manifest.v1+json"),
                "config": config.describe(&format!("{kind}.config.v1+json")),
                "layers": [layer.describe(&format!("{kind}.layer.v1.tar"))],
            }),
        )?;
        let mut entry = manifest.describe(&format!("{kind}.manifest.v1+json"));
        let tag = image.rsplit_once(':').map(|(_, tag)| tag);
        if let Some(entry) = entry.as_object_mut() {
            entry.insert(
                "annotations".to_owned(),
                json!({
                    "io.containerd.image.name": image,
                    "org.opencontainers.image.ref.name": tag,
                }),
            );
        }
        write(&layout.join("index.json"), &json!({"schemaVersion": 2, "manifests": [entry]}))?;
        write(&layout.join("oci-layout"), &json!({"imageLayoutVersion": "1.0.0"}))?;
        write(
            &layout.join("manifest.json"),
            &json!([{
                "Config": config.place(), "RepoTags": [image], "Layers": [layer.place()],
            }]),
        )?;
        let short = manifest.hash.get(..16).unwrap_or(&manifest.hash);
        let path = paths::cache()?.join(format!("images/{}-{short}.tar", self.name));
        if !path.exists() {
            let partial = self.work.join("archive");
            self.tar(&layout, &partial)?;
            fs::rename(&partial, &path)?;
        }
        Ok(path)
    }

    fn tar(&self, folder: &Path, to: &Path) -> Result<()> {
        let mut tar = Command::new("tar");
        tar.args(["--create", "--sort=name", "--mtime=@0", "--owner=0", "--group=0"]);
        tar.args(["--numeric-owner", "--format=gnu", "--file"]).arg(to).arg("--directory");
        run::finish("pack an image", &self.log, tar.arg(folder).arg("."))
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        // What cannot be removed is only litter in the cache.
        fs::remove_dir_all(&self.work).ok();
    }
}

/// A file of an image, named by its hash.
struct Blob {
    hash: String,
    bytes: u64,
}

impl Blob {
    fn digest(&self) -> String {
        format!("sha256:{}", self.hash)
    }

    fn place(&self) -> String {
        format!("blobs/sha256/{}", self.hash)
    }

    fn describe(&self, kind: &str) -> Value {
        json!({"mediaType": kind, "digest": self.digest(), "size": self.bytes})
    }
}

fn write(path: &Path, document: &Value) -> Result<()> {
    fs::write(path, document.to_string()).with_context(|| format!("write {}", path.display()))
}

fn document(blobs: &Path, work: &Path, document: &Value) -> Result<Blob> {
    let path = work.join("document");
    write(&path, document)?;
    store(blobs, &path)
}

/// Moves a file among the blobs.
fn store(blobs: &Path, path: &Path) -> Result<Blob> {
    let mut hasher = Sha256::new();
    let bytes = io::copy(&mut File::open(path)?, &mut hasher)?;
    let hash = format!("{:x}", hasher.finalize());
    fs::rename(path, blobs.join(&hash))?;
    Ok(Blob { hash, bytes })
}

/// The processor's name in images.
fn architecture() -> Result<&'static str> {
    match std::env::consts::ARCH {
        "x86_64" => Ok("amd64"),
        "aarch64" => Ok("arm64"),
        other => bail!("images for {other} are not made; build them from dev/images/Containerfile"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_content_gives_the_same_bytes_and_hashes_that_fit() {
        let make = |text: &str| {
            let stage = Stage::new("self-test").unwrap();
            fs::write(stage.root.join("file"), text).unwrap();
            let path =
                stage.archive("freehold.dev/self-test:1", &json!({"Cmd": ["/file"]})).unwrap();
            let bytes = fs::read(&path).unwrap();
            fs::remove_file(&path).unwrap();
            (path, bytes)
        };
        let (first, second, other) = (make("one"), make("one"), make("two"));
        assert_eq!(first, second);
        assert_ne!(first.0, other.0);

        let folder = std::env::temp_dir().join(format!("freehold-images-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("archive"), first.1).unwrap();
        let mut tar = Command::new("tar");
        let unpacked =
            tar.current_dir(&folder).args(["--extract", "--file", "archive"]).status().unwrap();
        assert!(unpacked.success());
        let read = |path: &str| -> Value {
            serde_json::from_slice(&fs::read(folder.join(path)).unwrap()).unwrap()
        };
        let index = read("index.json");
        assert_eq!(
            index.pointer("/manifests/0/annotations/io.containerd.image.name").unwrap(),
            "freehold.dev/self-test:1"
        );
        for entry in fs::read_dir(folder.join("blobs/sha256")).unwrap() {
            let path = entry.unwrap().path();
            let hash = format!("{:x}", Sha256::digest(fs::read(&path).unwrap()));
            assert_eq!(path.file_name().unwrap().to_str().unwrap(), hash);
        }
        let saved = read("manifest.json");
        let layer = saved.pointer("/0/Layers/0").and_then(Value::as_str).unwrap();
        assert!(folder.join(layer).exists(), "{layer}");
        fs::remove_dir_all(&folder).unwrap();
    }
}
