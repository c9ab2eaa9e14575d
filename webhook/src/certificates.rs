//! The webhook's own authority and certificate: when each is made, which one signs, which ones are trusted.
//!
//! Replicas share one [`Keyring`] in a Secret. What to do next is a pure function of the keyring and the present
//! instant ([`next_step`]); only [`take`] makes keys. A new authority is *trusted first and used later*: it joins the
//! bundle at two thirds of its predecessor's life and signs only after every API server has had time to learn the new
//! bundle; the old one stays trusted until it ends. So at no instant does a server meet a certificate it cannot check.

use jiff::{SignedDuration, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SerialNumber,
};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;

/// How long things live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lifetimes {
    /// An authority's life.
    pub authority: SignedDuration,
    /// A serving certificate's life.
    pub serving: SignedDuration,
    /// How long an authority is trusted before it signs.
    pub settle: SignedDuration,
}

/// A clock of another machine may be behind by this much; certificates begin so much earlier.
const BACKDATED: SignedDuration = SignedDuration::from_mins(5);

/// A private key in PEM form; never printed.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PrivateKey(pub String);

impl fmt::Debug for PrivateKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("***")
    }
}

/// A certificate with its key and its life.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Certificate {
    /// Counts the certificates of the keyring from 1, authorities and serving ones together.
    pub number: u64,
    /// The number of the authority that signed it; its own for an authority.
    pub signed_by: u64,
    /// The certificate, PEM.
    pub pem: String,
    /// Its key, PEM.
    pub key: PrivateKey,
    /// When it was made.
    pub made: Timestamp,
    /// When it ends.
    pub ends: Timestamp,
}

/// Everything replicas share.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Keyring {
    /// Trusted authorities, oldest first.
    pub authorities: Vec<Certificate>,
    /// What is shown to API servers.
    pub serving: Option<Certificate>,
    /// The name that the serving certificate is for: a DNS name or an IP address.
    pub name: String,
}

/// The next thing a keyring needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Drop authorities that have ended.
    Forget,
    /// Trust a new authority.
    AddAuthority,
    /// Sign a new serving certificate by the authority of this number.
    Serve {
        /// The authority's number.
        signer: u64,
    },
}

/// Why no certificate could be made.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// The library refused.
    #[error("make a certificate for `{name}`")]
    Make {
        /// The name it was for.
        name: String,
        /// Why.
        #[source]
        source: rcgen::Error,
    },
    /// The signer is not in the keyring any more.
    #[error("sign with authority {0}, which is not in the keyring")]
    NoSigner(u64),
}

impl Keyring {
    /// All trusted authorities as one PEM bundle, for `caBundle`.
    pub fn bundle(&self) -> String {
        self.authorities.iter().map(|authority| authority.pem.as_str()).collect()
    }

    fn next_number(&self) -> u64 {
        let numbers = self.authorities.iter().chain(&self.serving).map(|entry| entry.number);
        numbers.max().unwrap_or(0).saturating_add(1)
    }
}

/// Whether two thirds of a life are over.
fn is_due(certificate: &Certificate, now: Timestamp) -> bool {
    let life = certificate.made.duration_until(certificate.ends);
    let lived = certificate.made.duration_until(now);
    lived.saturating_mul(3) >= life.saturating_mul(2)
}

/// What the keyring needs now, for a server that is called by `name`; `None` when all is well.
pub fn next_step(
    keyring: &Keyring,
    name: &str,
    lifetimes: &Lifetimes,
    now: Timestamp,
) -> Option<Step> {
    if keyring.authorities.iter().any(|authority| authority.ends <= now) {
        return Some(Step::Forget);
    }
    let newest = keyring.authorities.last();
    if newest.is_none_or(|authority| is_due(authority, now)) {
        return Some(Step::AddAuthority);
    }
    let signer = signer(keyring, lifetimes, now)?;
    let stale = keyring.serving.as_ref().is_none_or(|serving| {
        keyring.name != name || serving.signed_by != signer || is_due(serving, now)
    });
    stale.then_some(Step::Serve { signer })
}

/// The newest authority that has settled. The first of a keyring has nobody to disturb and signs at once.
fn signer(keyring: &Keyring, lifetimes: &Lifetimes, now: Timestamp) -> Option<u64> {
    let settled = |authority: &&Certificate| authority.made.duration_until(now) >= lifetimes.settle;
    let newest = keyring.authorities.iter().rev().find(settled);
    newest.or(keyring.authorities.first()).map(|authority| authority.number)
}

/// The keyring after a step.
///
/// # Errors
/// See [`CertificateError`].
pub fn take(
    keyring: &Keyring,
    step: Step,
    name: &str,
    lifetimes: &Lifetimes,
    now: Timestamp,
) -> Result<Keyring, CertificateError> {
    let mut next = keyring.clone();
    match step {
        Step::Forget => next.authorities.retain(|authority| authority.ends > now),
        Step::AddAuthority => {
            let number = keyring.next_number();
            next.authorities.push(authority(number, name, lifetimes, now)?);
        }
        Step::Serve { signer } => {
            let by = keyring.authorities.iter().find(|authority| authority.number == signer);
            let by = by.ok_or(CertificateError::NoSigner(signer))?;
            next.serving = Some(serving(keyring.next_number(), by, name, lifetimes, now)?);
            name.clone_into(&mut next.name);
        }
    }
    Ok(next)
}

fn authority(
    number: u64,
    name: &str,
    lifetimes: &Lifetimes,
    now: Timestamp,
) -> Result<Certificate, CertificateError> {
    let fail = |source| CertificateError::Make { name: name.to_owned(), source };
    let ends = now.saturating_add(lifetimes.authority).unwrap_or(Timestamp::MAX);
    let key = KeyPair::generate().map_err(fail)?;
    let certificate = authority_parameters(number, now, ends).self_signed(&key).map_err(fail)?;
    Ok(Certificate {
        number,
        signed_by: number,
        pem: certificate.pem(),
        key: PrivateKey(key.serialize_pem()),
        made: now,
        ends,
    })
}

fn authority_parameters(number: u64, made: Timestamp, ends: Timestamp) -> CertificateParams {
    let mut parameters = CertificateParams::default();
    // Two authorities of one name would be confused by checkers that look issuers up by name.
    parameters
        .distinguished_name
        .push(DnType::CommonName, format!("freehold-webhook authority {number}"));
    parameters.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    parameters.serial_number = Some(SerialNumber::from(number));
    live(&mut parameters, made, ends);
    parameters
}

fn serving(
    number: u64,
    by: &Certificate,
    name: &str,
    lifetimes: &Lifetimes,
    now: Timestamp,
) -> Result<Certificate, CertificateError> {
    let fail = |source| CertificateError::Make { name: name.to_owned(), source };
    // Nothing outlives the one who vouches for it.
    let ends = now.saturating_add(lifetimes.serving).unwrap_or(Timestamp::MAX).min(by.ends);
    let signing_key = KeyPair::from_pem(&by.key.0).map_err(fail)?;
    let issuer = Issuer::new(authority_parameters(by.number, by.made, by.ends), signing_key);
    let key = KeyPair::generate().map_err(fail)?;
    let mut parameters = CertificateParams::new(vec![name.to_owned()]).map_err(fail)?;
    parameters.distinguished_name.push(DnType::CommonName, "freehold-webhook");
    parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    parameters.use_authority_key_identifier_extension = true;
    parameters.serial_number = Some(SerialNumber::from(number));
    live(&mut parameters, now, ends);
    let certificate = parameters.signed_by(&key, &issuer).map_err(fail)?;
    Ok(Certificate {
        number,
        signed_by: by.number,
        pem: certificate.pem(),
        key: PrivateKey(key.serialize_pem()),
        made: now,
        ends,
    })
}

/// Sets the life of a certificate, in the whole seconds that certificates have.
fn live(parameters: &mut CertificateParams, made: Timestamp, ends: Timestamp) {
    let begins = made.saturating_sub(BACKDATED).unwrap_or(made);
    let since_epoch =
        |at: Timestamp| Duration::from_secs(u64::try_from(at.as_second()).unwrap_or(0));
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    parameters.not_before = epoch + since_epoch(begins);
    parameters.not_after = epoch + since_epoch(ends);
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: &str = "127.0.0.1";

    fn lifetimes() -> Lifetimes {
        Lifetimes {
            authority: SignedDuration::from_hours(90 * 24),
            serving: SignedDuration::from_hours(30 * 24),
            settle: SignedDuration::from_mins(2),
        }
    }

    fn start() -> Timestamp {
        "2026-01-01T00:00:00Z".parse().unwrap()
    }

    fn settled(mut keyring: Keyring, now: Timestamp) -> (Keyring, Vec<Step>) {
        let mut steps = Vec::new();
        while let Some(step) = next_step(&keyring, NAME, &lifetimes(), now) {
            keyring = take(&keyring, step, NAME, &lifetimes(), now).unwrap();
            steps.push(step);
            assert!(steps.len() < 10, "no end: {steps:?}");
        }
        (keyring, steps)
    }

    #[test]
    fn an_empty_keyring_serves_at_once() {
        let (keyring, steps) = settled(Keyring::default(), start());
        assert_eq!(steps, [Step::AddAuthority, Step::Serve { signer: 1 }]);
        assert!(keyring.bundle().contains("BEGIN CERTIFICATE"));
        assert!(!format!("{keyring:?}").contains("PRIVATE KEY"), "keys are not printed");
    }

    #[test]
    fn a_year_of_rotations_never_shows_an_untrusted_certificate() {
        let hour = SignedDuration::from_hours(1);
        let (mut keyring, _) = settled(Keyring::default(), start());
        // What API servers trust: the bundle as it was one settling time ago.
        let mut known_to_servers = keyring.clone();
        let (mut now, mut served) = (start(), 0);
        for _ in 0..(365 * 24) {
            now = now.checked_add(hour).unwrap();
            let (next, steps) = settled(keyring.clone(), now);
            served += steps.iter().filter(|step| matches!(step, Step::Serve { .. })).count();
            let shown = next.serving.clone().unwrap();
            assert!(shown.ends > now, "an ended certificate is shown at {now}");
            let signer = |ring: &Keyring| {
                ring.authorities.iter().any(|authority| authority.number == shown.signed_by)
            };
            assert!(signer(&known_to_servers) && signer(&next), "untrusted at {now}");
            known_to_servers = next.clone();
            keyring = next;
        }
        assert!((17..=30).contains(&served), "{served} certificates a year");
        assert!(keyring.authorities.len() <= 2);
    }

    #[test]
    fn another_name_needs_another_certificate() {
        let (keyring, _) = settled(Keyring::default(), start());
        let step = next_step(&keyring, "webhook.example.svc", &lifetimes(), start());
        assert_eq!(step, Some(Step::Serve { signer: 1 }));
    }

    #[test]
    fn a_new_authority_is_trusted_before_it_signs() {
        let (keyring, _) = settled(Keyring::default(), start());
        let due = start().checked_add(SignedDuration::from_hours(61 * 24)).unwrap();
        let (keyring, _) = settled(keyring, due);
        let newest = keyring.authorities.last().unwrap().number;
        assert_eq!(keyring.authorities.len(), 2);
        assert_eq!(keyring.serving.as_ref().unwrap().signed_by, 1);
        let later = due.checked_add(lifetimes().settle).unwrap();
        let (keyring, _) = settled(keyring, later);
        assert_eq!(keyring.serving.as_ref().unwrap().signed_by, newest);
        assert_eq!(keyring.authorities.len(), 2, "the old one stays trusted until it ends");
    }
}
