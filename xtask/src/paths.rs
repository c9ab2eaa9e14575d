//! Where things are: the repository, the cache, the runs.

use anyhow::{Context, Result};
use std::path::{Path, PathBuf};

/// The top of the repository.
pub fn repository() -> Result<PathBuf> {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().map(Path::to_owned).context("xtask has no parent folder")
}

/// What is slow to make and may be kept between checkouts: `FREEHOLD_CACHE`, else `~/.cache/freehold`.
pub fn cache() -> Result<PathBuf> {
    if let Some(folder) = std::env::var_os("FREEHOLD_CACHE") {
        return Ok(folder.into());
    }
    let home = std::env::var_os("HOME").context("neither FREEHOLD_CACHE nor HOME is set")?;
    Ok(PathBuf::from(home).join(".cache/freehold"))
}

/// The state of everything that is running: one folder each.
pub fn runs() -> Result<PathBuf> {
    Ok(cache()?.join("runs"))
}
