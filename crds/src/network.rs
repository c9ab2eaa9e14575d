//! `network.freehold.dev`: addresses, VLAN ids and the zones they belong to.
//!
//! Each invariant lives in one object, which one compare-and-swap changes: an address has one owner in its `IPBlock`,
//! prefixes and pools are kept apart in the table of their parent, an id has one owner in its `VLANPool`, and the pools
//! of a fabric in its `VLANFabric`. Everything else in a status is derived from those and can be computed again.

mod address_space;
mod ip_block;
mod ip_claim;
mod ip_pool;
mod prefix;
mod security_zone;
mod text;
mod vlan;
mod vlan_fabric;
mod vlan_pool;

use crate::tenancy::ShortText;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

pub use address_space::{
    AddressSpace, AddressSpaceSpec, AddressSpaceStatus, BookedPrefix, SpacePattern, SpaceTotals,
};
pub use ip_block::{IPBlock, IPBlockSpec, IPBlockStatus, Slot, SlotState};
pub use ip_claim::{
    ClaimExplanation, ClaimPhase, ClaimedAddress, IPClaim, IPClaimSpec, IPClaimStatus, PassedOver,
    ResourceReference,
};
pub use ip_pool::{IPPool, IPPoolSpec, IPPoolStatus, PoolScores, PoolStrategy, VlanName};
pub use prefix::{
    BookedPool, CarvingStrategy, NetworkClass, Prefix, PrefixRole, PrefixSpec, PrefixStatus,
};
pub use security_zone::{
    Isolation, SecurityZone, SecurityZoneSpec, SecurityZoneStatus, ZoneMembers, ZonePolicies,
};
pub use text::{AddressRange, Cidr, IpAddress, TenantPattern, VlanRange};
pub use vlan::{VLAN, VLANSpec, VLANStatus};
pub use vlan_fabric::{RegisteredPool, VLANFabric, VLANFabricSpec, VLANFabricStatus};
pub use vlan_pool::{VLANPool, VLANPoolSpec, VLANPoolStatus, VlanOwner, VlanState};

/// One of the two families of addresses.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub enum AddressFamily {
    /// 32 bits.
    IPv4,
    /// 128 bits.
    IPv6,
}

/// Addresses by what became of them, as decimals; the last four add up to the first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AddressCounts {
    /// All addresses.
    pub total: String,
    /// Addresses that can be handed out now.
    pub free: String,
    /// Addresses that claims hold.
    pub used: String,
    /// Addresses that rest after their release.
    pub quarantined: String,
    /// Addresses that are never handed out.
    pub excluded: String,
}

/// Objects by their labels; all that are named have to be there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.matchLabels.size() > 0").message("an empty selector would choose everything; name at least one label"))]
pub struct LabelSelector {
    /// Labels and their values.
    #[schemars(extend("maxProperties" = 16))]
    pub match_labels: BTreeMap<String, ShortText>,
}

impl LabelSelector {
    /// Whether an object with these labels is meant; an empty selector means nothing.
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        let is_there = |(key, value): (&String, &ShortText)| labels.get(key) == Some(&value.0);
        !self.match_labels.is_empty() && self.match_labels.iter().all(is_there)
    }
}

/// Whether a tenant is among those allowed: absent and empty allow nobody, `*` allows all.
fn allows(allowed: Option<&[TenantPattern]>, tenant: &str) -> bool {
    allowed.into_iter().flatten().any(|pattern| pattern.0 == "*" || pattern.0 == tenant)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_allowed_unless_it_is_said() {
        let pattern =
            |texts: &[&str]| texts.iter().map(|text| TenantPattern::from(*text)).collect();
        for (allowed, acme) in [
            (None, false),
            (Some(vec![]), false),
            (Some(pattern(&["beta"])), false),
            (Some(pattern(&["beta", "acme"])), true),
            (Some(pattern(&["*"])), true),
        ] {
            assert_eq!(allows(allowed.as_deref(), "acme"), acme, "{allowed:?}");
        }
    }

    #[test]
    fn a_selector_means_what_has_all_its_labels() {
        let of = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
            pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
        };
        let selector = |pairs| LabelSelector {
            match_labels: of(pairs)
                .into_iter()
                .map(|(key, value)| (key, ShortText(value)))
                .collect(),
        };
        let labels = of(&[("tier", "gold"), ("site", "a")]);
        assert!(selector(&[("tier", "gold")]).matches(&labels));
        assert!(!selector(&[("tier", "gold"), ("site", "b")]).matches(&labels));
        assert!(!selector(&[]).matches(&labels), "an empty selector means nothing");
    }
}
