//! Names of tenants and projects, and the namespaces derived from them.
//!
//! A namespace name is a DNS label of at most 63 characters, and `tn-<tenant>-<project>` has to fit in one. Both parts
//! may contain hyphens, so two pairs can spell the same namespace (`a-b`/`c` and `a`/`b-c`); whoever makes a namespace
//! therefore compares the tenant UID on its label and never trusts the name alone.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// What every namespace of a tenant begins with; nobody but the operator may create such a name.
pub const NAMESPACE_PREFIX: &str = "tn-";
/// 3 for the prefix, 30 for the tenant, 1 for the hyphen, 29 for the project: 63 in all.
pub const TENANT_NAME_LENGTH_MAX: usize = 30;
/// See [`TENANT_NAME_LENGTH_MAX`].
pub const PROJECT_NAME_LENGTH_MAX: usize = 29;

/// Why a text cannot name a tenant or a project.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{what} `{name}` must be 1 to {length_max} lower-case letters, digits or hyphens, starting with a letter and not \
     ending with a hyphen"
)]
pub struct InvalidName {
    /// `metadata.name of Tenant` or the like.
    pub what: &'static str,
    /// The name as given.
    pub name: String,
    /// The longest name allowed, in characters.
    pub length_max: usize,
}

/// A tenant's name: 1 to 30 characters of a DNS label, first a letter.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TenantName(String);

/// A project's name within its tenant: 1 to 29 characters of a DNS label, first a letter.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ProjectName(String);

fn check(what: &'static str, name: &str, length_max: usize) -> Result<String, InvalidName> {
    let starts_well = name.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase());
    let is_label =
        name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    if starts_well && is_label && !name.ends_with('-') && name.len() <= length_max {
        Ok(name.to_owned())
    } else {
        Err(InvalidName { what, name: name.to_owned(), length_max })
    }
}

macro_rules! name_newtype {
    ($name:ident, $what:literal, $length_max:expr) => {
        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidName;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                check($what, text, $length_max).map(Self)
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidName;

            fn try_from(text: String) -> Result<Self, Self::Error> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(&self.0)
            }
        }
    };
}

name_newtype!(TenantName, "metadata.name of Tenant", TENANT_NAME_LENGTH_MAX);
name_newtype!(ProjectName, "metadata.name of Project", PROJECT_NAME_LENGTH_MAX);

impl TenantName {
    /// The namespace in which the tenant's own objects (projects, members) live.
    pub fn home_namespace(&self) -> String {
        format!("{NAMESPACE_PREFIX}{self}")
    }

    /// The namespace of one of the tenant's projects.
    pub fn project_namespace(&self, project: &ProjectName) -> String {
        format!("{NAMESPACE_PREFIX}{self}-{project}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_are_accepted_and_refused() {
        for good in ["a", "acme", "acme-2", &"a".repeat(30)] {
            assert!(good.parse::<TenantName>().is_ok(), "{good} was refused");
        }
        for bad in ["", "-a", "a-", "2a", "Acme", "a_b", "a.b", "ä", &"a".repeat(31)] {
            let refusal = bad.parse::<TenantName>().unwrap_err();
            assert!(refusal.to_string().contains("metadata.name of Tenant"), "{refusal}");
        }
    }

    proptest! {
        #[test]
        fn every_namespace_is_a_dns_label(
            tenant in "[a-z][a-z0-9-]{0,28}[a-z0-9]",
            project in "[a-z][a-z0-9-]{0,27}[a-z0-9]",
        ) {
            let tenant: TenantName = tenant.parse().unwrap();
            let project: ProjectName = project.parse().unwrap();
            prop_assert!(tenant.home_namespace().len() <= 63);
            prop_assert!(tenant.project_namespace(&project).len() <= 63);
        }
    }
}
