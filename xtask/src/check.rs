//! Everything about the source that a machine can judge.

use crate::{codegen, paths, run, tidy};
use anyhow::Result;
use std::process::Command;

/// Runs every check, even after one has failed; true if all passed.
#[expect(clippy::print_stdout, reason = "the verdicts are the result")]
pub fn run() -> Result<bool> {
    let verdicts = [
        ("format", cargo(&["fmt", "--all", "--", "--check"])?),
        (
            "lints",
            cargo(&[
                "clippy",
                "--quiet",
                "--workspace",
                "--all-targets",
                "--",
                "--deny",
                "warnings",
            ])?,
        ),
        ("generated files", codegen::run(true)?),
        ("tidiness", tidy::run()?),
        ("licences, bans, sources", deny()?),
    ];
    println!();
    for (name, passed) in verdicts {
        println!("{name}: {}", if passed { "ok" } else { "FAILED" });
    }
    Ok(verdicts.iter().all(|(_, passed)| *passed))
}

fn cargo(arguments: &[&str]) -> Result<bool> {
    let what = format!("cargo {}", arguments.join(" "));
    run::progress(&what);
    let mut command = Command::new(env!("CARGO"));
    command.current_dir(paths::repository()?).args(arguments);
    Ok(run::attend(&what, &mut command, || Ok(()))?.success())
}

/// The version of cargo-deny that is installed where there is none.
const DENY_VERSION: &str = "0.20.2";

/// cargo-deny without its advisory data, which is not available offline.
fn deny() -> Result<bool> {
    let root = paths::cache()?.join(format!("tools/cargo-deny-{DENY_VERSION}"));
    let program = root.join("bin/cargo-deny");
    if !program.exists() {
        run::progress("installing cargo-deny (cached afterwards)");
        let log = paths::cache()?.join("logs/install-cargo-deny.log");
        let mut install = Command::new(env!("CARGO"));
        install.args([
            "install",
            "--quiet",
            "--locked",
            "--debug",
            "--version",
            DENY_VERSION,
            "cargo-deny",
            "--root",
        ]);
        install.env_remove("CARGO_TARGET_DIR").current_dir("/");
        run::finish("install cargo-deny", &log, install.arg(&root))?;
    }
    run::progress("cargo deny check licenses bans sources");
    let mut check = Command::new(program);
    check.current_dir(paths::repository()?).args([
        "--log-level",
        "error",
        "check",
        "licenses",
        "bans",
        "sources",
    ]);
    Ok(check.status()?.success())
}
