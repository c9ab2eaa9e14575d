//! Names and identities that every part of Freehold shares.
//!
//! A word that two programs must agree on (an API group, a label, a finalizer, a field manager, the way a namespace
//! is named after its tenant) is written here once; nothing else in the workspace spells one out. Identities are
//! newtypes, so that an account cannot be passed where a resource is meant.
#![cfg_attr(
    not(test),
    deny(clippy::float_arithmetic, clippy::as_conversions, clippy::arithmetic_side_effects)
)]
#![deny(clippy::wildcard_enum_match_arm)]

pub mod names;
pub mod well_known;

use serde::{Deserialize, Serialize};
use std::fmt;
use uuid::Uuid;

pub use names::{InvalidName, ProjectName, TenantName};

/// The books' key of a tenant: a UUID chosen once, never reused, independent of the object's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AccountId(pub Uuid);

/// The UID of the Kubernetes object a usage or a machine belongs to; providers use it as their idempotency key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ResourceUid(pub Uuid);

macro_rules! uuid_newtype {
    ($name:ident, $what:literal) => {
        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.as_hyphenated().fmt(formatter)
            }
        }

        impl std::str::FromStr for $name {
            type Err = InvalidUuid;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                // Only the hyphenated form: one identity has one spelling in keys, labels and logs.
                match Uuid::try_parse(text) {
                    Ok(uuid) if text.len() == 36 => Ok(Self(uuid)),
                    _ => Err(InvalidUuid { what: $what, text: text.to_owned() }),
                }
            }
        }
    };
}

uuid_newtype!(AccountId, "account id");
uuid_newtype!(ResourceUid, "resource uid");

/// A text that should have been a UUID in its hyphenated form.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} `{text}` is not a UUID; write it like 123e4567-e89b-12d3-a456-426614174000")]
pub struct InvalidUuid {
    /// Which identity was expected.
    pub what: &'static str,
    /// The text as given.
    pub text: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uuid_has_one_spelling() {
        let text = "123e4567-e89b-12d3-a456-426614174000";
        assert_eq!(text.parse::<AccountId>().unwrap().to_string(), text);
        for other in
            ["123e4567e89b12d3a456426614174000", "{123e4567-e89b-12d3-a456-426614174000}", ""]
        {
            assert!(other.parse::<ResourceUid>().is_err(), "{other} was accepted");
        }
    }
}
