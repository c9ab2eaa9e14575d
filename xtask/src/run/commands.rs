//! Commands that are run to their end, watched meanwhile: they end when we are interrupted, and who waits hears of them.
//!
//! Each leads a process group of its own, so that Ctrl-C in a terminal reaches us alone: we end the group when it is time,
//! and a command that takes things away is not stopped half-way.

use super::{END_LIMIT, POLL};
use crate::interrupt;
use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process_group};
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// How long somebody waits before being told that it still goes on.
const NEWS_EVERY: Duration = Duration::from_secs(20);

/// Says what is being done, for people who wait. A terminal that is gone is no reason to stop ending things.
pub fn progress(text: &str) {
    writeln!(std::io::stderr(), "▸ {text}").ok();
}

/// Says now and then that something still goes on.
pub struct News {
    started: Instant,
    next: Duration,
}

impl News {
    /// Nothing to say yet.
    pub fn new() -> Self {
        Self { started: Instant::now(), next: NEWS_EVERY }
    }

    /// Says `what` if it is time to.
    pub fn tell(&mut self, what: impl FnOnce() -> String) {
        let elapsed = self.started.elapsed();
        if elapsed >= self.next {
            self.next = elapsed.saturating_add(NEWS_EVERY);
            progress(&format!("  still, after {} s: {}", elapsed.as_secs(), what()));
        }
    }
}

/// Runs a command to its end, its output in a log; a failure shows the end of that log.
pub fn finish(what: &str, log: &Path, command: &mut Command) -> Result<()> {
    finish_while(what, log, command, || Ok(()))
}

/// [`finish`], given up as soon as `check` fails.
pub fn finish_while(
    what: &str,
    log: &Path,
    command: &mut Command,
    check: impl FnMut() -> Result<()>,
) -> Result<()> {
    if let Some(folder) = log.parent() {
        fs::create_dir_all(folder)?;
    }
    let output = File::create(log).with_context(|| format!("create {}", log.display()))?;
    command.stdout(output.try_clone()?).stderr(output);
    let status = attend(what, command, check)?;
    if !status.success() {
        let text = fs::read_to_string(log).unwrap_or_default();
        let tail = last_lines(&text);
        bail!("{what} failed ({status}); log: {}{tail}", log.display());
    }
    Ok(())
}

/// Runs a command to its end and says how it ended; if `check` fails or we are interrupted, it is ended.
pub fn attend(
    what: &str,
    command: &mut Command,
    mut check: impl FnMut() -> Result<()>,
) -> Result<ExitStatus> {
    interrupt::check()?;
    let mut child = command
        .stdin(Stdio::null())
        .process_group(0)
        .spawn()
        .with_context(|| format!("{what}: start {}", command.get_program().display()))?;
    let mut news = News::new();
    let mut pause = Duration::from_millis(1);
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if let Err(reason) = interrupt::check().and_then(|()| check()) {
            end_group(&mut child);
            return Err(reason);
        }
        news.tell(|| what.to_owned());
        std::thread::sleep(pause);
        pause = POLL.min(pause.saturating_mul(2));
    }
}

/// Ends a command with everything it started.
fn end_group(child: &mut Child) {
    let Some(group) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) else { return };
    // An error means that the group is gone already.
    kill_process_group(group, Signal::TERM).ok();
    let deadline = Instant::now() + END_LIMIT;
    while matches!(child.try_wait(), Ok(None)) && Instant::now() < deadline {
        std::thread::sleep(POLL);
    }
    kill_process_group(group, Signal::KILL).ok();
    child.wait().ok();
}

/// The end of a log, to be shown with a failure.
pub fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let tail = lines.get(lines.len().saturating_sub(6)..).unwrap_or_default();
    tail.iter().flat_map(|line| ["\n  | ", line]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_ends_with_what_it_started_once_the_check_fails() {
        let folder = std::env::temp_dir().join(format!("freehold-attend-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let pids = folder.join("pids");
        let mut command = Command::new("sh");
        command.args(["-c", "sleep 600 & echo $$ $! > \"$0.new\"; mv \"$0.new\" \"$0\"; wait"]);
        let result = attend("a long sleep", command.arg(&pids), || {
            if pids.exists() {
                bail!("enough");
            }
            Ok(())
        });
        assert_eq!(result.unwrap_err().to_string(), "enough");
        for pid in fs::read_to_string(&pids).unwrap().split_whitespace() {
            let deadline = Instant::now() + END_LIMIT;
            // The second is an orphan; whoever adopted it buries it.
            while super::super::start_ticks(pid.parse().unwrap()).is_some() {
                assert!(Instant::now() < deadline, "{pid} is alive");
                std::thread::sleep(POLL);
            }
        }
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_program_that_is_not_there_is_named_once_and_a_failure_shows_the_log() {
        let folder = std::env::temp_dir().join(format!("freehold-finish-{}", std::process::id()));
        let log = folder.join("log");
        let absent = finish("build it", &log, &mut Command::new("freehold-no-such-program"));
        assert!(
            format!("{:#}", absent.unwrap_err())
                .starts_with("build it: start freehold-no-such-program: ")
        );
        let failed =
            finish("say no", &log, Command::new("sh").args(["-c", "echo because; exit 3"]));
        let said = failed.unwrap_err().to_string();
        assert!(
            said.contains("say no failed (exit status: 3)") && said.ends_with("\n  | because"),
            "{said}"
        );
        fs::remove_dir_all(&folder).unwrap();
    }
}
