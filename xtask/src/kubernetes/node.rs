//! A real node: containerd, kubelet, kube-proxy and a name server, in namespaces of the run's own.
//!
//! One process holds a mount, a network and a process namespace, and everything of the node lives in them. So the end
//! of that process, however it comes, is the end of every container, every mount, every bridge and every packet filter
//! rule: there is nothing to clean up by name. Two things are no namespace's: control groups, which the run records and
//! removes, and kernel settings, which kubelet would change for the whole machine and finds replaced by files here.

use super::{Cluster, Place};
use crate::packages::{self, NODE};
use crate::run::{self, Run};
use crate::{images, paths, tools};
use anyhow::{Context, Result, bail};
use serde_json::json;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const START_LIMIT: Duration = Duration::from_mins(2);
/// The node's name in the cluster.
const NAME: &str = "freehold-node";
/// How many volumes the node offers.
const VOLUMES: u8 = 3;

/// Addresses of a run: nobody else on the machine uses them.
pub struct Addresses {
    number: u8,
}

impl Addresses {
    /// The machine's end of the link, where the API server listens.
    pub fn machine(&self) -> String {
        format!("10.213.{}.1", self.number)
    }

    fn node(&self) -> String {
        format!("10.213.{}.2", self.number)
    }

    fn pods(&self) -> String {
        format!("10.214.{}.0/24", self.number)
    }

    fn unused() -> Result<Self> {
        let output = Command::new("ip").args(["-4", "-o", "address"]).output().context("run ip")?;
        let taken = String::from_utf8_lossy(&output.stdout).into_owned();
        let number = (0..=u8::MAX).find(|number| !taken.contains(&format!(" 10.213.{number}.1/")));
        let number = number.context("all networks 10.213.0.0/16 are in use by other runs")?;
        Ok(Self { number })
    }
}

/// The namespaces of a node, before anything runs in them.
pub struct Ground {
    /// Where what is.
    pub addresses: Addresses,
    folder: PathBuf,
    cgroup: String,
    /// The process that holds the namespaces.
    pid: i32,
}

/// Makes the namespaces and the link to them.
pub fn prepare(run: &mut Run, folder: &Path) -> Result<Ground> {
    if !packages::is_root() {
        bail!("a node needs root; `--node kwok` pretends one without");
    }
    packages::require(&NODE)?;
    let addresses = Addresses::unused()?;
    let folder = folder.join("node");
    fs::create_dir_all(folder.join("cni"))?;
    for number in 1..=VOLUMES {
        fs::create_dir_all(folder.join(format!("volumes/{number}")))?;
    }
    let script = folder.join("start");
    fs::write(&script, script_text(&folder, &addresses)?)?;
    run.start(
        "node",
        // The machine's network namespace stays open as descriptor 9 until the link is made.
        Command::new("sh").args(["-euc", HOLD, "sh"]).arg(&script),
    )?;
    let ready = folder.join("ready");
    run.wait("node", "the node's namespaces are there", START_LIMIT, || ready.exists())?;
    let pid = run.child_of("node").context("the process in the node's namespaces is gone")?;
    let cgroup = format!("freehold-{}", addresses.number);
    make_cgroups(run, &cgroup)?;
    Ok(Ground { addresses, folder, cgroup, pid })
}

const HOLD: &str = r#"exec 9</proc/self/ns/net
exec unshare --mount --propagation private --net --pid --fork --kill-child --mount-proc sh -eu "$1""#;

fn script_text(folder: &Path, addresses: &Addresses) -> Result<String> {
    let (cache, number) = (paths::cache()?, addresses.number);
    let (machine, node, pods) = (addresses.machine(), addresses.node(), addresses.pods());
    let (cache, folder) = (cache.display(), folder.display());
    Ok(format!(
        r#"trap 'exit 0' TERM INT
mount --make-rshared /
# Programs of the node write below these, whatever they are told; the cache stays where it is, even below one of them.
mount -t tmpfs none /run
mkdir -p /run/keep /run/settings /run/containerd /run/lock
mount --bind {cache} /run/keep
mount -t tmpfs none /var/lib
mount -t tmpfs none /var/log
mkdir -p {cache}
mount --bind /run/keep {cache}
mkdir -p /var/lib/kubelet /var/lib/containerd /var/lib/cni {folder}/kubelet {folder}/containerd
mount --bind {folder}/kubelet /var/lib/kubelet
mount --make-rshared /var/lib/kubelet
mount --bind {folder}/containerd /var/lib/containerd
# What kubelet sets for the whole machine, it finds set.
for setting in vm/overcommit_memory=1 vm/panic_on_oom=0 kernel/panic=10 kernel/panic_on_oops=1 \
    kernel/keys/root_maxkeys=1000000 kernel/keys/root_maxbytes=25000000; do
  file=/run/settings/$(echo "${{setting%=*}}" | tr / .)
  echo "${{setting#*=}}" > "$file"
  mount --bind "$file" "/proc/sys/${{setting%=*}}"
done
ip link set lo up
ip link add fh{number}n type veth peer name fh{number}m netns /proc/self/fd/9
nsenter --net=/proc/self/fd/9 sh -euc 'ip address add {machine}/30 dev fh{number}m
ip link set fh{number}m up
ip route add {pods} via {node}'
exec 9<&-
ip address add {node}/30 dev fh{number}n
ip link set fh{number}n up
ip route add default via {machine}
echo 1 > /proc/sys/net/ipv4/ip_forward
touch {folder}/ready
while :; do sleep 3600 & wait "$!" || true; done
"#
    ))
}

/// Kubelet wants its root group to be there, in every hierarchy.
fn make_cgroups(run: &mut Run, cgroup: &str) -> Result<()> {
    let top = Path::new("/sys/fs/cgroup");
    let mut roots = vec![top.to_owned()];
    if !top.join("cgroup.controllers").exists() {
        roots = fs::read_dir(top)?.flatten().map(|entry| entry.path()).collect();
    }
    for root in roots.iter().filter(|root| root.is_dir() && !root.is_symlink()) {
        let path = root.join(cgroup);
        run.record_cgroup(&path)?;
        fs::create_dir_all(&path).with_context(|| format!("create {}", path.display()))?;
    }
    Ok(())
}

impl Ground {
    /// A command that runs inside the node.
    pub fn inside(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.pid.to_string(), "--mount", "--net", "--pid", "--"]);
        command.arg(program);
        command
    }

    /// Makes an image known to the node.
    pub fn import(&self, log: &Path, archive: &Path) -> Result<()> {
        let mut command = self.inside("ctr");
        command.args(["--namespace", "k8s.io", "images", "import"]).arg(archive);
        run::finish(&format!("import {}", archive.display()), log, &mut command)
    }

    fn start_containerd(&self, run: &mut Run) -> Result<()> {
        let path = self.folder.join("containerd.toml");
        fs::write(&path, containerd_settings(&self.folder))?;
        fs::write(self.folder.join("cni/10-bridge.conflist"), self.bridge())?;
        run.start("containerd", self.inside("containerd").arg("--config").arg(&path))?;
        let log = run.log("containerd-version");
        run.wait("containerd", "containerd answers", START_LIMIT, || {
            run::finish("ctr version", &log, self.inside("ctr").arg("version")).is_ok()
        })?;
        let pause = images::busybox()?;
        self.import(&run.log("import"), &pause)
    }

    fn bridge(&self) -> String {
        json!({
            "cniVersion": "0.4.0",
            "name": "freehold",
            "plugins": [{
                "type": "bridge",
                "bridge": format!("fh{}b", self.addresses.number),
                "isGateway": true,
                "hairpinMode": true,
                "ipam": {
                    "type": "host-local",
                    "ranges": [[{"subnet": self.addresses.pods()}]],
                    "routes": [{"dst": "0.0.0.0/0"}],
                    "dataDir": "/run/cni",
                },
            }, {"type": "portmap", "capabilities": {"portMappings": true}}],
        })
        .to_string()
    }

    fn start_kubelet(&self, run: &mut Run, place: &Place) -> Result<()> {
        let path = self.folder.join("kubelet.json");
        let settings = kubelet_settings(&place.file("ca.pem"), &self.addresses, &self.cgroup);
        fs::write(&path, serde_json::to_string_pretty(&settings)?)?;
        let mut kubelet = self.inside(place.tools.join("kubelet"));
        kubelet
            .arg("--config")
            .arg(&path)
            .args(["--kubeconfig", &place.file("kubelet.kubeconfig")])
            .args(["--hostname-override", NAME, "--node-ip", &self.addresses.node(), "--v=1"]);
        run.start("kubelet", &mut kubelet)
    }

    fn start_proxy(&self, run: &mut Run, place: &Place, cluster: &Cluster) -> Result<()> {
        let mut proxy = self.inside(place.tools.join("kube-proxy"));
        proxy
            .arg("--kubeconfig")
            .arg(&cluster.kubeconfig)
            .args(["--hostname-override", NAME, "--proxy-mode=iptables"])
            .args(["--cluster-cidr", &self.addresses.pods()])
            // These are settings of the whole machine; zero leaves them alone.
            .args(["--conntrack-max-per-core=0", "--conntrack-min=0"])
            .args(["--conntrack-tcp-timeout-established=0s"])
            .args(["--conntrack-tcp-timeout-close-wait=0s", "--v=1"]);
        run.start("kube-proxy", &mut proxy)
    }

    fn start_names(&self, run: &mut Run, cluster: &Cluster) -> Result<()> {
        let path = self.folder.join("Corefile");
        let (address, kubeconfig) = (self.addresses.node(), cluster.kubeconfig.display());
        let text = format!(
            ".:53 {{\n  bind {address}\n  errors\n  kubernetes cluster.local {{\n    kubeconfig {kubeconfig}\n  }}\n}}\n"
        );
        fs::write(&path, text)?;
        run.start("coredns", self.inside(tools::coredns()?).arg("-conf").arg(&path))
    }

    /// Starts everything that makes these namespaces a node, and waits until it is ready.
    pub fn start(&self, run: &mut Run, place: &Place, cluster: &Cluster) -> Result<()> {
        run::progress("starting a node");
        self.start_containerd(run)?;
        self.start_kubelet(run, place)?;
        self.start_proxy(run, place, cluster)?;
        self.start_names(run, cluster)?;
        run.wait("kubelet", "the node is registered", START_LIMIT, || {
            cluster.succeeds(&["get", "node", NAME])
        })?;
        let mut wait = cluster.kubectl();
        wait.args(["wait", "--for=condition=Ready", "--timeout=120s", &format!("node/{NAME}")]);
        run::finish("wait until the node is ready", &run.log("kubectl"), &mut wait)?;
        self.offer_volumes(run, cluster)
    }

    /// Folders of the node as volumes, of a class that is the default.
    fn offer_volumes(&self, run: &Run, cluster: &Cluster) -> Result<()> {
        let mut items = vec![json!({
            "apiVersion": "storage.k8s.io/v1",
            "kind": "StorageClass",
            "metadata": {
                "name": "local",
                "annotations": {"storageclass.kubernetes.io/is-default-class": "true"},
            },
            "provisioner": "kubernetes.io/no-provisioner",
            "volumeBindingMode": "WaitForFirstConsumer",
        })];
        let here = json!([{"matchExpressions": [
            {"key": "kubernetes.io/hostname", "operator": "In", "values": [NAME]},
        ]}]);
        items.extend((1..=VOLUMES).map(|number| {
            json!({
                "apiVersion": "v1",
                "kind": "PersistentVolume",
                "metadata": {"name": format!("local-{number}")},
                "spec": {
                    "capacity": {"storage": "20Gi"},
                    "accessModes": ["ReadWriteOnce"],
                    "storageClassName": "local",
                    "local": {"path": self.folder.join(format!("volumes/{number}"))},
                    "nodeAffinity": {"required": {"nodeSelectorTerms": here}},
                },
            })
        }));
        let path = self.folder.join("volumes.json");
        let list = json!({"apiVersion": "v1", "kind": "List", "items": items});
        fs::write(&path, list.to_string())?;
        let mut apply = cluster.kubectl();
        run::finish(
            "offer volumes",
            &run.log("kubectl"),
            apply.args(["apply", "--filename"]).arg(&path),
        )
    }
}

fn containerd_settings(folder: &Path) -> String {
    format!(
        r#"version = 2
disabled_plugins = ["io.containerd.internal.v1.opt", "io.containerd.internal.v1.tracing", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.aufs"]
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{pause}"
# Without CAP_SYS_RESOURCE nobody may lower an OOM score; harmless with it.
restrict_oom_score_adj = true
netns_mounts_under_state_dir = true
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "/usr/lib/cni"
conf_dir = "{folder}/cni"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
SystemdCgroup = false
"#,
        pause = images::BUSYBOX,
        folder = folder.display(),
    )
}

fn kubelet_settings(authority: &str, addresses: &Addresses, cgroup: &str) -> serde_json::Value {
    json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": {"enabled": false},
            "webhook": {"enabled": true},
            "x509": {"clientCAFile": authority},
        },
        "authorization": {"mode": "Webhook"},
        "containerRuntimeEndpoint": "unix:///run/containerd/containerd.sock",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": format!("/{cgroup}"),
        "failCgroupV1": false,
        "failSwapOn": false,
        "enforceNodeAllocatable": [],
        "clusterDomain": "cluster.local",
        "clusterDNS": [addresses.node()],
        // The machine's own resolver is not reachable from pods.
        "resolvConf": "",
        // A full disk of a developer is not the node's business.
        "imageGCHighThresholdPercent": 100,
        "evictionHard": {"memory.available": "50Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
    })
}
