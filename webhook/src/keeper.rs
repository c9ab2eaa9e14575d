//! Keeps the keyring in its Secret, the server's TLS, and the two configurations in step.
//!
//! Replicas meet in one Secret, changed by compare-and-swap: whoever comes second takes what the first one made. The
//! order of a pass is what makes rotation seamless: store, then serve, then register the bundle. A pass that fails is
//! repeated at the next beat; what is served meanwhile stays valid, because everything is renewed at two thirds of its
//! life.

use crate::certificates::{self, CertificateError, Keyring, Lifetimes};
use crate::registration::Registration;
use axum_server::tls_rustls::RustlsConfig;
use ids::well_known::WEBHOOK_MANAGER;
use jiff::Timestamp;
use k8s_openapi::ByteString;
use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhookConfiguration, ValidatingWebhookConfiguration,
};
use k8s_openapi::api::core::v1::Secret;
use kube::Client;
use kube::api::{Api, DeleteParams, Patch, PatchParams};
use operator_kit::secret::{Entries, OwnSecret, SecretError};
use operator_kit::{Clock, ErrorChain, client};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// The Secret that replicas share.
pub const SECRET: &str = "freehold-webhook-certificates";
/// The whole keyring; the other entries of the Secret are for people to look at.
const KEYRING: &str = "keyring.json";
/// How often a lost race for the Secret is tried again within a pass.
const RACES_MAX: usize = 8;

/// Why a pass failed.
#[derive(Debug, thiserror::Error)]
pub enum KeeperError {
    /// The Secret could not be read or written.
    #[error("keep the keyring")]
    Secret(#[from] SecretError),
    /// Other replicas were always faster.
    #[error("store the keyring in Secret {SECRET}: lost {RACES_MAX} races in a row")]
    Races,
    /// The keyring cannot be written as JSON.
    #[error("write the keyring as JSON")]
    Encode(#[source] serde_json::Error),
    /// No certificate could be made.
    #[error("renew the webhook's certificates")]
    Certificate(#[from] CertificateError),
    /// The TLS library refused the certificate.
    #[error("load the serving certificate")]
    Load(#[source] std::io::Error),
    /// The keyring has nothing to serve.
    #[error("the keyring has no serving certificate")]
    Empty,
    /// A configuration could not be written.
    #[error("register {kind} `freehold`; the webhook's account needs create and patch on it")]
    Register {
        /// Which of the two.
        kind: &'static str,
        /// The server's answer.
        #[source]
        source: Box<kube::Error>,
    },
}

/// What keeps certificates and registration.
pub struct Keeper {
    client: Client,
    secret: OwnSecret,
    clock: Arc<dyn Clock>,
    lifetimes: Lifetimes,
    registration: Registration,
}

impl Keeper {
    /// A keeper of the Secret in the registration's own namespace.
    pub fn new(
        client: Client,
        clock: Arc<dyn Clock>,
        lifetimes: Lifetimes,
        registration: Registration,
    ) -> Self {
        let namespace = &registration.own_namespace;
        let secret = OwnSecret::new(client.clone(), namespace, SECRET, WEBHOOK_MANAGER);
        Self { client, secret, clock, lifetimes, registration }
    }

    /// Reads the keyring and does what it needs, until nothing is left to do.
    ///
    /// # Errors
    /// See [`KeeperError`].
    pub async fn keyring(&self) -> Result<Keyring, KeeperError> {
        let name = self.registration.advertise.certificate_name();
        for _ in 0..RACES_MAX {
            let stored = self.secret.read().await?;
            let found = stored.as_ref().map(read_keyring).unwrap_or_default();
            let now = self.clock.now();
            let wanted = self.settled(found.clone(), &name, now)?;
            if wanted == found && stored.is_some() {
                return Ok(found);
            }
            if self.write(stored, &wanted).await? {
                let ends = wanted.serving.as_ref().map(|serving| serving.ends);
                tracing::info!(
                    authorities = wanted.authorities.len(),
                    serving_ends = %ends.unwrap_or(now),
                    "certificates renewed"
                );
                return Ok(wanted);
            }
        }
        Err(KeeperError::Races)
    }

    fn settled(
        &self,
        mut keyring: Keyring,
        name: &str,
        now: Timestamp,
    ) -> Result<Keyring, KeeperError> {
        while let Some(step) = certificates::next_step(&keyring, name, &self.lifetimes, now) {
            keyring = certificates::take(&keyring, step, name, &self.lifetimes, now)?;
        }
        Ok(keyring)
    }

    /// Stores the keyring; false when somebody else was faster.
    async fn write(&self, stored: Option<Secret>, keyring: &Keyring) -> Result<bool, KeeperError> {
        let entries = entries(keyring)?;
        Ok(match stored {
            Some(read) => self.secret.replace(read, entries).await?,
            None => self.secret.create(BTreeMap::new(), entries).await?,
        })
    }

    /// Tells API servers how to reach us and whom to trust; nothing changes when all is as it should be.
    ///
    /// # Errors
    /// See [`KeeperError`].
    pub async fn register(&self, keyring: &Keyring) -> Result<(), KeeperError> {
        let bundle = keyring.bundle();
        let parameters = PatchParams::apply(WEBHOOK_MANAGER).force();
        let fail = |kind| move |error| KeeperError::Register { kind, source: Box::new(error) };
        let validating: Api<ValidatingWebhookConfiguration> = Api::all(self.client.clone());
        validating
            .patch(
                crate::registration::NAME,
                &parameters,
                &Patch::Apply(self.registration.validating(&bundle)),
            )
            .await
            .map_err(fail("ValidatingWebhookConfiguration"))?;
        let mutating: Api<MutatingWebhookConfiguration> = Api::all(self.client.clone());
        mutating
            .patch(
                crate::registration::NAME,
                &parameters,
                &Patch::Apply(self.registration.mutating(&bundle)),
            )
            .await
            .map_err(fail("MutatingWebhookConfiguration"))?;
        Ok(())
    }

    /// Renews, reloads and registers at every beat until `stop`.
    pub async fn run(
        &self,
        mut served: Keyring,
        tls: RustlsConfig,
        beat: Duration,
        stop: CancellationToken,
    ) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(beat) => {}
            }
            match self.pass(&served, &tls).await {
                Ok(keyring) => served = keyring,
                Err(error) => {
                    tracing::error!(error = %ErrorChain(&error), "certificates or registration need attention");
                }
            }
        }
    }

    async fn pass(&self, served: &Keyring, tls: &RustlsConfig) -> Result<Keyring, KeeperError> {
        let keyring = self.keyring().await?;
        if keyring.serving != served.serving {
            let (chain, key) = serving_pem(&keyring)?;
            tls.reload_from_pem(chain, key).await.map_err(KeeperError::Load)?;
        }
        self.register(&keyring).await?;
        Ok(keyring)
    }
}

/// The certificate and key to serve, PEM.
///
/// # Errors
/// [`KeeperError::Empty`].
pub fn serving_pem(keyring: &Keyring) -> Result<(Vec<u8>, Vec<u8>), KeeperError> {
    let serving = keyring.serving.as_ref().ok_or(KeeperError::Empty)?;
    Ok((serving.pem.clone().into_bytes(), serving.key.0.clone().into_bytes()))
}

/// What is in the Secret; nothing when it was emptied or half-written by another hand, which is then replaced.
fn read_keyring(secret: &Secret) -> Keyring {
    let bytes = secret.data.as_ref().and_then(|data| data.get(KEYRING));
    let Some(ByteString(bytes)) = bytes else { return Keyring::default() };
    serde_json::from_slice(bytes).unwrap_or_else(|_| {
        tracing::warn!("Secret {SECRET} holds no readable keyring; making a new one");
        Keyring::default()
    })
}

fn entries(keyring: &Keyring) -> Result<Entries, KeeperError> {
    let (chain, key) = serving_pem(keyring)?;
    let whole = serde_json::to_vec(keyring).map_err(KeeperError::Encode)?;
    let entries = [
        (KEYRING, whole),
        ("ca.crt", keyring.bundle().into_bytes()),
        ("tls.crt", chain),
        ("tls.key", key),
    ];
    Ok(entries.into_iter().map(|(name, bytes)| (name.to_owned(), ByteString(bytes))).collect())
}

/// Removes both configurations, so that nobody asks us any more; absent is done.
///
/// # Errors
/// See [`KeeperError`].
pub async fn unregister(client: Client) -> Result<(), KeeperError> {
    let parameters = DeleteParams::default();
    let done = |kind, result: Result<_, kube::Error>| match result {
        Err(error) if !client::is_not_found(&error) => {
            Err(KeeperError::Register { kind, source: Box::new(error) })
        }
        _ => Ok(()),
    };
    let validating: Api<ValidatingWebhookConfiguration> = Api::all(client.clone());
    let result = validating.delete(crate::registration::NAME, &parameters).await.map(|_| ());
    done("ValidatingWebhookConfiguration", result)?;
    let mutating: Api<MutatingWebhookConfiguration> = Api::all(client);
    let result = mutating.delete(crate::registration::NAME, &parameters).await.map(|_| ());
    done("MutatingWebhookConfiguration", result)
}
