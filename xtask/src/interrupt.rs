//! Somebody wants us to stop: Ctrl-C, a request to terminate, a terminal that was closed.
//!
//! The signal is only noted. Whatever takes long looks here and fails with [`Interrupted`], so that an interruption takes
//! the same way out as every failure, past everything that has to be ended. While things are being ended nobody is
//! interrupted any more: a second Ctrl-C changes nothing.

use anyhow::{Context, Result};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};

/// The last signal that came; zero for none.
static SIGNAL: LazyLock<Arc<AtomicUsize>> = LazyLock::new(Arc::default);
static IS_ENDING: AtomicBool = AtomicBool::new(false);

/// The failure of whatever was interrupted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interrupted {
    signal: u8,
}

impl Interrupted {
    /// What a shell says of a program that the signal ended: 130 for Ctrl-C, 143 for SIGTERM, 129 for SIGHUP.
    pub fn exit_code(self) -> u8 {
        128_u8.saturating_add(self.signal)
    }
}

impl fmt::Display for Interrupted {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match i32::from(self.signal) {
            SIGINT => "SIGINT (Ctrl-C)",
            SIGTERM => "SIGTERM",
            SIGHUP => "SIGHUP (the terminal was closed)",
            _ => "a signal",
        };
        write!(formatter, "interrupted by {name}")
    }
}

impl std::error::Error for Interrupted {}

/// Notes signals from now on, instead of dying of them.
pub fn listen() -> Result<()> {
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        let value = usize::try_from(signal)?;
        signal_hook::flag::register_usize(signal, Arc::clone(&SIGNAL), value)
            .with_context(|| format!("listen to signal {signal}"))?;
    }
    Ok(())
}

/// Fails if somebody wants us to stop.
pub fn check() -> Result<()> {
    if IS_ENDING.load(Ordering::Acquire) {
        return Ok(());
    }
    match u8::try_from(SIGNAL.load(Ordering::Acquire)) {
        Ok(0) | Err(_) => Ok(()),
        Ok(signal) => Err(Interrupted { signal }.into()),
    }
}

/// From now on things are being ended, which is what an interruption would ask for.
pub fn ignore() {
    IS_ENDING.store(true, Ordering::Release);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exit_code_is_the_shells() {
        let codes = [SIGINT, SIGTERM, SIGHUP]
            .map(|signal| Interrupted { signal: u8::try_from(signal).unwrap() }.exit_code());
        assert_eq!(codes, [130, 143, 129]);
    }

    #[test]
    fn an_interruption_is_known_below_its_step() {
        let error =
            anyhow::Error::from(Interrupted { signal: 2 }).context("demo, step: a").context("b");
        assert_eq!(error.downcast_ref::<Interrupted>(), Some(&Interrupted { signal: 2 }));
        assert_eq!(format!("{error:#}"), "b: demo, step: a: interrupted by SIGINT (Ctrl-C)");
    }
}
