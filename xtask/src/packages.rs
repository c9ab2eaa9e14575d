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
    let is_there = |file: &str| Path::new(file).exists();
    let names = missing(packages, is_there);
    if names.is_empty() {
        return Ok(());
    }
    if !is_root() {
        bail!("{}", advice(&names));
    }
    run::progress(&format!("installing Debian packages: {}", names.join(" ")));
    let log = paths::cache()?.join("logs/apt-get.log");
    run::finish("apt-get update", &log, apt().arg("update"))?;
    run::finish(&command(&names), &log, apt().args(INSTALL).args(&names))?;
    let still = missing(packages, is_there);
    if !still.is_empty() {
        bail!("installed, but without the files of Debian 12: {}", still.join(" "));
    }
    Ok(())
}

const INSTALL: [&str; 3] = ["install", "--yes", "--no-install-recommends"];

/// Names of packages whose file is not there, each once.
fn missing(packages: &[Package], is_there: impl Fn(&str) -> bool) -> Vec<&'static str> {
    let missing = packages.iter().filter(|package| !is_there(package.file));
    let mut names = Vec::new();
    for package in missing {
        if !names.contains(&package.name) {
            names.push(package.name);
        }
    }
    names
}

fn command(names: &[&str]) -> String {
    format!("apt-get {} {}", INSTALL.join(" "), names.join(" "))
}

/// What somebody who may not install packages can do.
fn advice(names: &[&str]) -> String {
    format!("packages are missing: {}; run: sudo {}", names.join(" "), command(names))
}

/// `apt-get` that asks nothing.
pub fn apt() -> Command {
    let mut command = Command::new("apt-get");
    command.env("DEBIAN_FRONTEND", "noninteractive").args(["-o", "DPkg::Lock::Timeout=300"]);
    // Services of a package are ours to start, on ports and folders of ours.
    command.env("RUNLEVEL", "1").env("SYSTEMD_OFFLINE", "1");
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_missing_package_is_named_once_with_one_command() {
        let packages = [PROMETHEUS, BUSYBOX, POSTGRESQL, BUSYBOX];
        let names = missing(&packages, |file| file == PROMETHEUS.file);
        assert_eq!(names, ["busybox-static", "postgresql-15"]);
        assert_eq!(
            advice(&names),
            "packages are missing: busybox-static postgresql-15; \
             run: sudo apt-get install --yes --no-install-recommends busybox-static postgresql-15"
        );
        assert!(missing(&packages, |_| true).is_empty());
    }
}
