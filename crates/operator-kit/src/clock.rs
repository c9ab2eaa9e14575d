//! The one place that asks what time it is.
//!
//! Everything that decides takes time as an argument; programs get it from here, tests from a clock of their own.

use jiff::Timestamp;

/// A source of wall-clock time, UTC.
pub trait Clock: Send + Sync + 'static {
    /// The present instant.
    fn now(&self) -> Timestamp;
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the one place that may ask")]
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}
