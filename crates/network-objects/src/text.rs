//! Texts of objects as the allocator reads and writes them; what cannot be read names its field.

use calendar::Instant;
use ipam::address::{Address, AddressRange, AddressRefused};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

/// A field that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("{field}: {refusal}")]
pub struct Unreadable {
    field: &'static str,
    refusal: AddressRefused,
}

/// An address.
///
/// # Errors
/// What is wrong with the field.
pub fn address(field: &'static str, text: &str) -> Result<Address, Unreadable> {
    text.parse().map_err(|refusal| Unreadable { field, refusal })
}

/// An address, a network or `first-last`.
///
/// # Errors
/// What is wrong with the field.
pub fn range(field: &'static str, text: &str) -> Result<AddressRange, Unreadable> {
    text.parse().map_err(|refusal| Unreadable { field, refusal })
}

/// Objects store whole seconds; the end of a rest is never early.
pub fn seconds(instant: Instant, up: bool) -> Time {
    let exact = instant.to_timestamp();
    let whole = exact.as_second();
    let next = up && exact.subsec_nanosecond() > 0;
    Time(Timestamp::from_second(whole.saturating_add(i64::from(next))).unwrap_or(exact))
}
