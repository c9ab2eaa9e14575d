//! A libvirt daemon of the run's own, and a guest to boot.
//!
//! The daemon's folders are fixed when it is built, so it gets a mount namespace in which they are the run's: nothing of
//! the machine's own libvirt is read or written. It also gets a process namespace, because guests outlive their daemon:
//! they end with the namespace, whatever ended it. Its first process is a shell and not the daemon, because guests are
//! that process's children: the shell reaps those that end, the daemon would not, and would wait for them half a minute
//! each. Guests run as root there, without cgroups and a log daemon.

use crate::packages::{self, LIBVIRT};
use crate::paths;
use crate::run::{self, Run};
use anyhow::{Context, Result, bail};
use std::fs;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const START_LIMIT: Duration = Duration::from_mins(1);
/// The daemon's name among the processes of a run.
pub const DAEMON: &str = "libvirtd";

/// A daemon that answers.
pub struct Libvirt {
    /// Its unix socket.
    pub socket: PathBuf,
}

/// What a guest boots.
pub struct Guest {
    /// A kernel.
    pub kernel: PathBuf,
    /// An initial RAM disk that keeps a processor busy now and then.
    pub initrd: PathBuf,
}

/// Starts a daemon.
pub fn start(run: &mut Run) -> Result<Libvirt> {
    if !packages::is_root() {
        bail!(
            "a libvirt daemon with folders of its own needs root; the simulator provider does not"
        );
    }
    packages::require(&LIBVIRT)?;
    run::progress("starting libvirt");
    let folder = run.subfolder("libvirt")?;
    let script = folder.join("start");
    fs::write(&script, script_text(&folder))?;
    run.start(
        DAEMON,
        Command::new("unshare")
            .args([
                "--mount",
                "--propagation",
                "private",
                "--pid",
                "--fork",
                "--kill-child",
                "--mount-proc",
                "sh",
            ])
            .arg(&script),
    )?;
    let socket = folder.join("socket/libvirt-sock");
    run.wait(DAEMON, "libvirt listens", START_LIMIT, || UnixStream::connect(&socket).is_ok())?;
    Ok(Libvirt { socket })
}

fn script_text(folder: &Path) -> String {
    let folder = folder.display();
    format!(
        r#"set -e
cd {folder}
mkdir -p etc lib run cache log socket
cp -a /etc/libvirt/. etc/
mkdir -p /var/lib/libvirt /run/libvirt /var/cache/libvirt /var/log/libvirt
mount --bind etc /etc/libvirt
mount --bind lib /var/lib/libvirt
mount --bind run /run/libvirt
mount --bind cache /var/cache/libvirt
mount --bind log /var/log/libvirt
cat > /etc/libvirt/qemu.conf <<END
user = "root"
group = "root"
security_driver = "none"
stdio_handler = "file"
cgroup_controllers = [ ]
END
cat > /etc/libvirt/libvirtd.conf <<END
unix_sock_dir = "{folder}/socket"
auth_unix_ro = "none"
auth_unix_rw = "none"
END
/usr/sbin/libvirtd --config /etc/libvirt/libvirtd.conf --pid-file {folder}/pid
exit $?
"#
    )
}

/// A kernel of Debian's and a RAM disk with nothing but busybox, made once and cached.
pub fn guest() -> Result<Guest> {
    let folder = paths::cache()?.join("guest");
    let guest = Guest { kernel: folder.join("kernel"), initrd: folder.join("initrd.gz") };
    if guest.kernel.exists() && guest.initrd.exists() {
        return Ok(guest);
    }
    packages::require(&LIBVIRT)?;
    run::progress("making a guest image");
    let work = folder.join("work");
    fs::create_dir_all(&work)?;
    let log = paths::cache()?.join("logs/guest.log");
    let mut script = Command::new("sh");
    script.current_dir(&work).args(["-euc", GUEST_SCRIPT]);
    run::finish("make a guest image", &log, &mut script)?;
    fs::rename(work.join("initrd.gz"), &guest.initrd)?;
    fs::rename(work.join("kernel"), &guest.kernel)?;
    fs::remove_dir_all(&work).with_context(|| format!("remove {}", work.display()))?;
    Ok(guest)
}

const GUEST_SCRIPT: &str = r#"
apt-get update
package=$(apt-cache depends linux-image-cloud-amd64 | awk '/Depends: linux-image/ { print $2; exit }')
apt-get download "$package"
dpkg-deb --extract "$package"_*.deb unpacked
cp unpacked/boot/vmlinuz-* kernel
mkdir -p root/bin root/proc
cp /bin/busybox root/bin/busybox
cat > root/init <<'END'
#!/bin/busybox sh
/bin/busybox mount -t proc proc /proc
/bin/busybox echo guest is up
while true; do
  count=0
  while [ $count -lt 5000 ]; do count=$((count + 1)); done
  /bin/busybox sleep 1
done
END
chmod +x root/init
(cd root && find . | cpio --create --format=newc | gzip > ../initrd.gz)
"#;
