//! Processes that belong together: started with a log each, recorded at once, and all ended again.
//!
//! A run is a folder. Every process is written down with its pid *and* its start time before anything else happens, so
//! that a run can be ended by a later process without ever touching a stranger that inherited a pid. Each process leads
//! a group of its own, and the group is what is ended, so children of children go too.

mod commands;

use crate::{interrupt, paths};
use anyhow::{Context, Result, bail};
pub use commands::{News, attend, finish, progress};
use commands::{finish_while, last_lines};
use rustix::process::{Pid, Signal, kill_process_group};
use serde::{Deserialize, Serialize};
use std::fs::{self, DirBuilder, File};
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// A process of a run.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Recorded {
    name: String,
    pid: i32,
    /// Field 22 of `/proc/PID/stat`: with the pid it names one process for ever.
    start_ticks: u64,
    log: PathBuf,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Record {
    owner: Option<(i32, u64)>,
    processes: Vec<Recorded>,
    /// Control groups made for the run, removed once its processes are gone.
    #[serde(default)]
    cgroups: Vec<PathBuf>,
    /// Folders outside the run's, for who cannot reach that.
    #[serde(default)]
    folders: Vec<PathBuf>,
}

impl Record {
    /// Ends every process, the last one started first, removes what they lived in, and forgets both.
    fn end(&mut self) {
        for process in self.processes.drain(..).rev() {
            end(&process);
        }
        for path in self.cgroups.drain(..) {
            // A group is busy until the last process of it has been buried.
            let deadline = Instant::now() + END_LIMIT;
            while path.exists() && !remove_cgroup(&path) && Instant::now() < deadline {
                std::thread::sleep(POLL);
            }
        }
        for path in self.folders.drain(..) {
            // It may be that there was no time to make it.
            fs::remove_dir_all(path).ok();
        }
    }
}

/// Removes a control group with those below it; false if something is left.
fn remove_cgroup(path: &Path) -> bool {
    let Ok(entries) = fs::read_dir(path) else { return true };
    for entry in entries.flatten().filter(|entry| entry.path().is_dir()) {
        remove_cgroup(&entry.path());
    }
    fs::remove_dir(path).is_ok()
}

/// A folder with the processes started in it.
pub struct Run {
    folder: PathBuf,
    record: Record,
    ends_with_us: bool,
}

/// How long a process may take to end by itself after being asked.
const END_LIMIT: Duration = Duration::from_secs(15);
/// How often a condition is looked at.
const POLL: Duration = Duration::from_millis(50);
/// How long the logs of a run that failed are kept.
const LOGS_KEPT: Duration = Duration::from_hours(7 * 24);

impl Run {
    /// A run that ends with this process, however it ends; what a killed predecessor left is ended first.
    pub fn temporary(kind: &str) -> Result<Self> {
        sweep()?;
        let mut run = Self::at(&paths::runs()?.join(format!("{kind}-{}", std::process::id())))?;
        run.ends_with_us = true;
        let own = i32::try_from(std::process::id())?;
        run.record.owner = Some((own, start_ticks(own).context("read our own start time")?));
        run.save()?;
        Ok(run)
    }

    /// A run that outlives this process, in a folder of its name; it must not exist yet.
    pub fn lasting(name: &str) -> Result<Self> {
        let folder = paths::runs()?.join(name);
        if folder.join("processes.json").exists() {
            bail!("{name} is there already; `cargo xtask cluster down --name …` ends it");
        }
        Self::at(&folder)
    }

    /// A lasting run started earlier; `None` when there is none.
    pub fn open(name: &str) -> Result<Option<Self>> {
        let folder = paths::runs()?.join(name);
        if !folder.join("processes.json").exists() {
            return Ok(None);
        }
        let mut run = Self::at(&folder)?;
        run.record = load(&folder)?;
        Ok(Some(run))
    }

    fn at(folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder.join("logs"))
            .with_context(|| format!("create {}", folder.display()))?;
        Ok(Self { folder: folder.to_owned(), record: Record::default(), ends_with_us: false })
    }

    /// The run's own folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// A folder below the run's, made if missing.
    pub fn subfolder(&self, name: &str) -> Result<PathBuf> {
        let folder = self.folder.join(name);
        fs::create_dir_all(&folder)?;
        Ok(folder)
    }

    /// Where the log of a process of this name goes.
    pub fn log(&self, name: &str) -> PathBuf {
        self.folder.join("logs").join(format!("{name}.log"))
    }

    /// A folder that every user can be given, which the one below the person's home is not.
    pub fn outer_folder(&mut self, name: &str) -> Result<PathBuf> {
        let path = Path::new("/var/tmp").join(format!("freehold-{name}-{}", std::process::id()));
        self.record.folders.push(path.clone());
        self.save()?;
        DirBuilder::new()
            .mode(0o700)
            .create(&path)
            .with_context(|| format!("create {}", path.display()))?;
        Ok(path)
    }

    /// Starts a process in the background, its output in a log of its name.
    pub fn start(&mut self, name: &str, command: &mut Command) -> Result<()> {
        interrupt::check()?;
        let log = self.log(name);
        let output = File::create(&log).with_context(|| format!("create {}", log.display()))?;
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output).process_group(0);
        let child = command.spawn().with_context(|| format!("start {name} ({command:?})"))?;
        let pid = i32::try_from(child.id())?;
        let start_ticks = start_ticks(pid).with_context(|| {
            format!("{name} ended at once; its log: {}{}", log.display(), self.tail(name))
        })?;
        self.record.processes.push(Recorded { name: name.to_owned(), pid, start_ticks, log });
        self.save()
    }

    /// Writes down a control group that is to be made, so that it goes with the run.
    pub fn record_cgroup(&mut self, path: &Path) -> Result<()> {
        self.record.cgroups.push(path.to_owned());
        self.save()
    }

    /// The pid of a process that the process `name` started.
    pub fn child_of(&self, name: &str) -> Option<i32> {
        let parent = self.record.processes.iter().find(|process| process.name == name)?.pid;
        let entries = fs::read_dir("/proc").ok()?;
        let mut pids =
            entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        pids.find(|pid| field(*pid, 1).as_deref() == Some(parent.to_string().as_str()))
    }

    /// Waits until somebody asks us to stop; fails when a process ends before.
    pub fn until_interrupted(&self) -> Result<()> {
        while interrupt::check().is_ok() {
            self.check_alive("somebody asked it to")?;
            std::thread::sleep(POLL);
        }
        Ok(())
    }

    /// Processes that are dead.
    pub fn dead(&self) -> Vec<String> {
        self.record
            .processes
            .iter()
            .filter(|process| !is_alive(process))
            .map(|process| process.name.clone())
            .collect()
    }

    /// Whether a process of this name lives.
    pub fn is_alive(&self, name: &str) -> bool {
        self.record.processes.iter().any(|process| process.name == name && is_alive(process))
    }

    /// Fails if a process has ended: all are meant to live as long as the run.
    pub fn check_alive(&self, before: &str) -> Result<()> {
        match self.dead().first() {
            Some(name) => bail!(
                "{name} ended by itself before {before}; its log: {}{}",
                self.log(name).display(),
                self.tail(name)
            ),
            None => Ok(()),
        }
    }

    /// Runs a command to its end, its output in the log of that name; given up as soon as a process of the run ends.
    pub fn finish(&self, what: &str, log: &str, command: &mut Command) -> Result<()> {
        finish_while(what, &self.log(log), command, || self.check_alive(what))
    }

    /// Waits until `ready` says yes; fails when a process dies, time runs out, or we are asked to stop.
    pub fn wait(
        &self,
        name: &str,
        what: &str,
        limit: Duration,
        mut ready: impl FnMut() -> bool,
    ) -> Result<()> {
        let deadline = Instant::now() + limit;
        let mut news = News::new();
        loop {
            interrupt::check()?;
            if ready() {
                return Ok(());
            }
            self.check_alive(what)?;
            if Instant::now() >= deadline {
                bail!(
                    "{what}: not within {limit:?}; log of {name}: {}{}",
                    self.log(name).display(),
                    self.tail(name)
                );
            }
            news.tell(|| format!("wait until {what}; log of {name}: {}", self.log(name).display()));
            std::thread::sleep(POLL);
        }
    }

    fn tail(&self, name: &str) -> String {
        let text = fs::read_to_string(self.log(name)).unwrap_or_default();
        last_lines(&text)
    }

    fn save(&self) -> Result<()> {
        let text = serde_json::to_string_pretty(&self.record)?;
        let (path, fresh) =
            (self.folder.join("processes.json"), self.folder.join("processes.json.new"));
        fs::write(&fresh, text)?;
        fs::rename(&fresh, &path).with_context(|| format!("write {}", path.display()))
    }

    /// Ends every process, the last one started first, and forgets them.
    pub fn end(&mut self) {
        self.record.end();
    }

    /// Ends the processes of this name and forgets them.
    pub fn end_process(&mut self, name: &str) -> Result<()> {
        self.record.processes.iter().filter(|process| process.name == name).for_each(end);
        self.record.processes.retain(|process| process.name != name);
        self.save()
    }

    /// Ends every process and removes the folder.
    pub fn remove(mut self) -> Result<()> {
        self.end();
        self.ends_with_us = false;
        fs::remove_dir_all(&self.folder)
            .with_context(|| format!("remove {}", self.folder.display()))
    }

    /// Lets the processes outlive us.
    pub fn keep(mut self) {
        self.ends_with_us = false;
    }

    /// From now on the processes end with this value.
    pub fn end_on_drop(&mut self) {
        self.ends_with_us = true;
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        if self.ends_with_us {
            self.end();
            // Logs stay for whoever reads the failure; a folder without its record is swept later.
            if fs::remove_file(self.folder.join("processes.json")).is_err() {
                return;
            }
            keep_logs_only(&self.folder);
        }
    }
}

fn keep_logs_only(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        if entry.file_name() != "logs" {
            let path = entry.path();
            // What cannot be removed is only litter in the cache.
            if path.is_dir() {
                fs::remove_dir_all(&path).ok()
            } else {
                fs::remove_file(&path).ok()
            };
        }
    }
}

/// Ends runs whose owner was killed, and removes logs of runs long over.
fn sweep() -> Result<()> {
    let runs = paths::runs()?;
    let Ok(entries) = fs::read_dir(&runs) else { return Ok(()) };
    for entry in entries.flatten() {
        let folder = entry.path();
        if !folder.join("processes.json").exists() {
            forget_old_logs(&folder);
            continue;
        }
        let Ok(mut record) = load(&folder) else { continue };
        let Some((pid, ticks)) = record.owner else { continue };
        if start_ticks(pid) != Some(ticks) {
            record.end();
            fs::remove_dir_all(&folder)?;
        }
    }
    Ok(())
}

/// Removes what is left of a run that was over long ago.
fn forget_old_logs(folder: &Path) {
    let age = fs::metadata(folder).and_then(|about| about.modified()).ok();
    let age = age.and_then(|modified| modified.elapsed().ok());
    if age.is_some_and(|age| age > LOGS_KEPT) {
        // What cannot be removed is only litter in the cache.
        fs::remove_dir_all(folder).ok();
    }
}

fn load(folder: &Path) -> Result<Record> {
    let path = folder.join("processes.json");
    let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("read {}", path.display()))
}

fn start_ticks(pid: i32) -> Option<u64> {
    field(pid, 19)?.parse().ok()
}

/// A field of `/proc/PID/stat`, counted from the one behind the name; `None` for a process that has ended.
fn field(pid: i32, number: usize) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name may contain anything, so fields are counted behind its closing bracket.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    if fields.first() == Some(&"Z") {
        return None;
    }
    fields.get(number).map(|field| (*field).to_owned())
}

fn is_alive(process: &Recorded) -> bool {
    start_ticks(process.pid) == Some(process.start_ticks)
}

fn end(process: &Recorded) {
    let Some(pid) = Pid::from_raw(process.pid) else { return };
    if !is_alive(process) {
        return;
    }
    for signal in [Signal::TERM, Signal::KILL] {
        // An error means that the group is gone already.
        if kill_process_group(pid, signal).is_err() {
            return;
        }
        let deadline = Instant::now() + END_LIMIT;
        while Instant::now() < deadline {
            if !is_alive(process) {
                // Children that outlived their leader; an error means there are none.
                kill_process_group(pid, Signal::KILL).ok();
                return;
            }
            std::thread::sleep(POLL);
        }
    }
}

/// A TCP port of the loopback address that nobody uses now.
pub fn free_port() -> Result<u16> {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).context("find a free port")?;
    Ok(listener.local_addr()?.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_known_by_pid_and_start() {
        let own = i32::try_from(std::process::id()).unwrap();
        let ticks = start_ticks(own).unwrap();
        let recorded = |start_ticks| Recorded {
            name: "self".to_owned(),
            pid: own,
            start_ticks,
            log: PathBuf::new(),
        };
        assert!(is_alive(&recorded(ticks)));
        assert!(!is_alive(&recorded(ticks + 1)), "another process with our pid is a stranger");
    }
}
