//! Texts of specs as the allocator reads them; what cannot be read names its field.

use ipam::address::{Address, AddressRange, AddressRefused};

/// A field that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("{field}: {refusal}")]
pub struct Unreadable {
    field: &'static str,
    refusal: AddressRefused,
}

/// An address.
pub fn address(field: &'static str, text: &str) -> Result<Address, Unreadable> {
    text.parse().map_err(|refusal| Unreadable { field, refusal })
}

/// An address, a network or `first-last`.
pub fn range(field: &'static str, text: &str) -> Result<AddressRange, Unreadable> {
    text.parse().map_err(|refusal| Unreadable { field, refusal })
}
