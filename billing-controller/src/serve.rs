//! Servers and small tasks of the program.

use anyhow::{Context, Result};
use axum::Router;
use billing_controller::intake::LastReceived;
use operator_kit::ErrorChain;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use store::PgPool;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// How often it is noted when samples were last received.
const NOTE_EVERY: Duration = Duration::from_secs(5);

/// Serves `router` at `address` until `stop`.
pub async fn spawn(
    tasks: &mut JoinSet<&'static str>,
    name: &'static str,
    address: SocketAddr,
    router: Router,
    stop: &CancellationToken,
) -> Result<()> {
    let listener = TcpListener::bind(address)
        .await
        .with_context(|| format!("{name}: listen on {address}; is the port taken?"))?;
    tracing::info!(server = name, address = %listener.local_addr()?, "listening");
    let stop = stop.clone();
    tasks.spawn(async move {
        let served =
            axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned()).await;
        if let Err(error) = served {
            tracing::error!(server = name, %error, "server ended");
        }
        name
    });
    Ok(())
}

/// Keeps in the database up to when everything sent has been taken in, for the next start.
pub fn spawn_receipts(
    tasks: &mut JoinSet<&'static str>,
    pool: PgPool,
    received: Arc<LastReceived>,
    stop: CancellationToken,
) {
    tasks.spawn(async move {
        let mut interval = tokio::time::interval(NOTE_EVERY);
        while stop.run_until_cancelled(interval.tick()).await.is_some() {
            let Some(vouched_to) = received.vouched_to() else { continue };
            let noted = async {
                let acquire =
                    |source| store::Error::Database { act: "note when samples came", source };
                let mut connection = pool.acquire().await.map_err(acquire)?;
                store::receiver::received(&mut connection, vouched_to.microseconds()).await
            };
            if let Err(error) = noted.await {
                tracing::warn!(error = %ErrorChain(&error), "receipts could not be noted, trying again");
            }
        }
        "the notes of receipts"
    });
}
