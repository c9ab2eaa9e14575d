//! Generated files: written, or compared.

use crate::{paths, run};
use anyhow::Result;
use std::process::Command;

/// Writes all generated files, or with `check` says which are out of date; true if all was current or is now.
pub fn run(check: bool) -> Result<bool> {
    run::progress(if check { "comparing generated files" } else { "writing generated files" });
    let mut command = Command::new(env!("CARGO"));
    command.current_dir(paths::repository()?);
    command.args(["run", "--quiet", "--package", "crds", "--bin", "crds-codegen", "--"]);
    if check {
        command.arg("--check");
    }
    Ok(command.status()?.success())
}
