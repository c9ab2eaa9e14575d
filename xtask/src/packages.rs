//! Debian packages: installed when we may, named with the command when we may not.

use crate::{paths, run};
use anyhow::{Result, bail};
use std::path::Path;
use std::process::Command;

/// A package, and a file that shows it is installed.
pub struct Package {
    /// Its name.
    pub name: &'static str,
    /// A file of it.
    pub file: &'static str,
}

/// The database server.
pub const POSTGRESQL: Package =
    Package { name: "postgresql-15", file: "/usr/lib/postgresql/15/bin/initdb" };
/// The time series database.
pub const PROMETHEUS: Package = Package { name: "prometheus", file: "/usr/bin/prometheus" };
/// What tells it what guests use.
pub const LIBVIRT_EXPORTER: Package =
    Package { name: "prometheus-libvirt-exporter", file: "/usr/bin/prometheus-libvirt-exporter" };
/// What runs guests, and what a guest is made of.
pub const LIBVIRT: [Package; 5] = [
    Package { name: "libvirt-daemon-system", file: "/usr/sbin/libvirtd" },
    Package {
        name: "libvirt-daemon-driver-qemu",
        file: "/usr/lib/x86_64-linux-gnu/libvirt/connection-driver/libvirt_driver_qemu.so",
    },
    Package { name: "qemu-system-x86", file: "/usr/bin/qemu-system-x86_64" },
    Package { name: "busybox-static", file: "/bin/busybox" },
    Package { name: "cpio", file: "/usr/bin/cpio" },
];

/// What runs containers, and what their images are made of.
pub const NODE: [Package; 5] = [
    Package { name: "containerd", file: "/usr/bin/containerd" },
    Package { name: "runc", file: "/usr/sbin/runc" },
    Package { name: "containernetworking-plugins", file: "/usr/lib/cni/bridge" },
    Package { name: "iptables", file: "/usr/sbin/iptables" },
    Package { name: "iproute2", file: "/usr/bin/ip" },
];
/// A library that lets a program believe another time.
pub const FAKETIME: Package =
    Package { name: "libfaketime", file: "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1" };
/// A shell and the small programs beside it, in one file.
pub const BUSYBOX: Package = Package { name: "busybox-static", file: "/bin/busybox" };

/// Whether this process may change the machine.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Makes sure that all of `packages` are installed.
pub fn require(packages: &[Package]) -> Result<()> {
    let missing: Vec<&str> = packages
        .iter()
        .filter(|package| !Path::new(package.file).exists())
        .map(|package| package.name)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let install = format!("apt-get install --yes --no-install-recommends {}", missing.join(" "));
    if !is_root() {
        bail!("packages are missing: {}; run: sudo {install}", missing.join(" "));
    }
    run::progress(&format!("installing Debian packages: {}", missing.join(" ")));
    let log = paths::cache()?.join("logs/apt-get.log");
    run::finish("apt-get update", &log, apt().arg("update"))?;
    run::finish(
        &install,
        &log,
        apt().args(["install", "--yes", "--no-install-recommends"]).args(&missing),
    )
}

/// `apt-get` that asks nothing.
pub fn apt() -> Command {
    let mut command = Command::new("apt-get");
    command.env("DEBIAN_FRONTEND", "noninteractive").args(["-o", "DPkg::Lock::Timeout=300"]);
    // Services of a package are ours to start, on ports and folders of ours.
    command.env("RUNLEVEL", "1").env("SYSTEMD_OFFLINE", "1");
    command
}
