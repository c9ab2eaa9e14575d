//! What tests on real parts share: where those parts are, databases of their own, and waiting for a condition.
//!
//! The parts are started once by `cargo xtask test`, which says where they are in environment variables; a test that
//! needs one and finds its variable unset fails with a line that says so.

use anyhow::{Context, Result, anyhow};
use std::future::Future;
use std::time::{Duration, Instant};

pub mod database;

/// The value of an environment variable that `cargo xtask test` sets.
///
/// # Errors
/// The variable is unset.
pub fn setting(variable: &str) -> Result<String> {
    std::env::var(variable)
        .map_err(|_| anyhow!("{variable} is not set: run this test through `cargo xtask test`"))
}

/// Kubeconfig of a real control plane.
pub const KUBECONFIG: &str = "FREEHOLD_TEST_KUBECONFIG";
/// Superuser URL of a real PostgreSQL.
pub const DATABASE_URL: &str = "FREEHOLD_TEST_DATABASE_URL";
/// Unix socket of a real libvirt daemon.
pub const LIBVIRT_SOCKET: &str = "FREEHOLD_TEST_LIBVIRT_SOCKET";
/// A kernel that guests can boot.
pub const GUEST_KERNEL: &str = "FREEHOLD_TEST_GUEST_KERNEL";
/// The initial RAM disk that goes with it.
pub const GUEST_INITRD: &str = "FREEHOLD_TEST_GUEST_INITRD";
/// The program of a real Prometheus; a test starts its own, which writes to whom it tests.
pub const PROMETHEUS: &str = "FREEHOLD_TEST_PROMETHEUS";
/// The program that tells Prometheus what libvirt's guests use.
pub const LIBVIRT_EXPORTER: &str = "FREEHOLD_TEST_LIBVIRT_EXPORTER";

/// The library by which a program's clock is wrong.
pub const FAKETIME: &str = "FREEHOLD_TEST_FAKETIME";

/// Asks `probe` again and again until it has an answer.
///
/// # Errors
/// `what` did not come true within `limit`; the last answer's error is part of the message.
pub async fn eventually<T, F, Fut>(what: &str, limit: Duration, mut probe: F) -> Result<T>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<Option<T>>>,
{
    let deadline = Instant::now() + limit;
    loop {
        let last = match probe().await {
            Ok(Some(value)) => return Ok(value),
            Ok(None) => anyhow!("not yet"),
            Err(error) => error,
        };
        if Instant::now() >= deadline {
            return Err(last).with_context(|| format!("waited {limit:?} for: {what}"));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
