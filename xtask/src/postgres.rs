//! A real PostgreSQL with fsync on, in a folder of the run's own, on a free port of the loopback address.
//!
//! The server refuses to run as root, so root runs it as the package's user, whose data is outside root's home: nobody has
//! to be let in there.

use crate::packages::{self, POSTGRESQL};
use crate::run::{self, Run, free_port};
use anyhow::Result;
use std::process::Command;
use std::time::Duration;

const PROGRAMS: &str = "/usr/lib/postgresql/15/bin";
const START_LIMIT: Duration = Duration::from_mins(1);

/// Starts a server; the result is a superuser's URL.
pub fn start(run: &mut Run) -> Result<String> {
    packages::require(&[POSTGRESQL])?;
    run::progress("starting PostgreSQL");
    let folder = if packages::is_root() {
        let folder = run.outer_folder("postgres")?;
        let mut chown = Command::new("chown");
        run::finish("chown", &run.log("chown"), chown.arg("postgres").arg(&folder))?;
        folder
    } else {
        run.subfolder("postgres")?
    };
    let data = folder.join("data");
    let mut initdb = as_server_user("initdb");
    initdb
        .args(["--auth=trust", "--username=postgres", "--encoding=UTF8", "--locale=C", "--pgdata"])
        .arg(&data);
    run::finish("initdb", &run.log("initdb"), &mut initdb)?;
    let port = free_port()?;
    let mut server = as_server_user("postgres");
    server
        .arg("-D")
        .arg(&data)
        // No socket in the file system: its path may be longer than sockets' may.
        .args(["-h", "127.0.0.1", "-p", &port.to_string(), "-k", ""])
        .args(["-c", "fsync=on", "-c", "full_page_writes=on", "-c", "max_connections=200"])
        .args(["-c", "shared_buffers=256MB", "-c", "log_min_messages=warning"]);
    run.start("postgres", &mut server)?;
    run.wait("postgres", "PostgreSQL accepts connections", START_LIMIT, || {
        let mut ready = Command::new(format!("{PROGRAMS}/pg_isready"));
        let output = ready.args(["-q", "-h", "127.0.0.1", "-p", &port.to_string()]).output();
        output.is_ok_and(|output| output.status.success())
    })?;
    Ok(format!("postgres://postgres@127.0.0.1:{port}/postgres"))
}

fn as_server_user(program: &str) -> Command {
    let path = format!("{PROGRAMS}/{program}");
    if packages::is_root() {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups", &path]);
        command.env("HOME", "/tmp").current_dir("/");
        command
    } else {
        Command::new(path)
    }
}
