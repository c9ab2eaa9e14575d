//! Whether the processor's virtualisation really runs a guest.
//!
//! A device file says that somebody offers it, not that it works: in nested and emulated environments a guest may be
//! accepted, burn time and never boot. So one is run that restarts as soon as it executes (see [`domain::probe`]), which
//! ends it; if it is still there after [`LIMIT`], guests are emulated in software, which is slow and true.

use super::adapter::{Acceleration, classified};
use super::client::{ClientError, Domain, LibvirtClient};
use super::domain;
use crate::{Image, ProviderError};
use std::time::Duration;
use tokio::time::Instant;

/// The name of the guest that is tried; it does not end like the names of machines do.
const NAME: &str = "freehold-probe";
/// A working host needs about two seconds; a busy one several.
const LIMIT: Duration = Duration::from_secs(20);
/// How often the guest is looked for.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// What really runs guests on the daemon's host, found by running one.
///
/// # Errors
/// The daemon did not answer; nothing is known.
pub(super) async fn tried(
    client: &LibvirtClient,
    image: &Image,
) -> Result<Acceleration, ProviderError> {
    // One that a killed predecessor left would run for ever and keep the name.
    for left in client.domains().await.map_err(classified)?.iter().filter(|it| it.name == NAME) {
        ended(client, left).await?;
    }
    let kernel = image.kernel_path.as_deref();
    let guest = match client.run_once(&domain::probe(NAME, kernel, Acceleration::Kvm)).await {
        Ok(guest) => guest,
        Err(ClientError::Refused { message, .. }) => {
            tracing::warn!(%message, "no hardware virtualisation here: guests are emulated");
            return Ok(Acceleration::Emulation);
        }
        Err(error) => return Err(classified(error)),
    };
    let deadline = Instant::now() + LIMIT;
    while Instant::now() < deadline {
        tokio::time::sleep(LOOK_EVERY).await;
        if client.domain_by_uuid(guest.uuid).await.map_err(classified)?.is_none() {
            tracing::info!("hardware virtualisation runs guests");
            return Ok(Acceleration::Kvm);
        }
    }
    tracing::warn!(
        "hardware virtualisation accepts guests and does not run them: guests are emulated"
    );
    ended(client, &guest).await?;
    Ok(Acceleration::Emulation)
}

async fn ended(client: &LibvirtClient, guest: &Domain) -> Result<(), ProviderError> {
    match client.destroy(guest).await {
        // Gone in the last moment is as good.
        Ok(()) | Err(ClientError::Refused { .. }) => Ok(()),
        Err(error) => Err(classified(error)),
    }
}
