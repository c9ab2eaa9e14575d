//! The network's rules: what stands between a declaration and the others, over tables that only the operator writes.
//!
//! Schemas judge one object; here prefixes are held against their parent and siblings, pools against their prefix, claims
//! against pools, and whatever shrinks or goes against what is in use. Texts of addresses and ids are parsed with `ipam`,
//! whose refusals are said as they are. A copy can be a moment old, so two prefixes made in the same instant can both
//! pass; the table of their parent then takes one of them, and the other one says so in its status.

pub mod address_space;
pub mod holds;
pub mod interfaces;
pub mod ip_claim;
pub mod ip_pool;
pub mod prefix;
pub mod security_zone;
pub mod vlan;
pub mod vlan_pool;

mod choice;
mod customer;
mod ground;
mod tables;
mod tree;

#[cfg(test)]
mod scene;

use super::with;
use crate::finding::Verdict;
use crate::review::Request;
use crate::world::World;

/// What the rules of the object's kind say.
pub fn judge(request: &Request, world: &World) -> Verdict {
    if let Some(verdict) = tables::judge(request) {
        return verdict;
    }
    match request.kind.kind.as_str() {
        "AddressSpace" => with(request, |change| address_space::check(change, world)),
        "Prefix" => with(request, |change| prefix::check(change, world)),
        "IPPool" => with(request, |change| ip_pool::check(change, world)),
        "IPClaim" => with(request, |change| ip_claim::check(change, world)),
        "VLANPool" => with(request, |change| vlan_pool::check(change, world)),
        "VLAN" => with(request, |change| vlan::check(change, world)),
        "SecurityZone" => with(request, |change| security_zone::check(change, world)),
        _ => Verdict::default(),
    }
}

/// A zone as messages name it.
fn zone_words(zone: Option<&str>) -> String {
    zone.map_or_else(|| "in no zone".to_owned(), |zone| format!("in zone `{zone}`"))
}

/// Says that something named is not there, which may only be a matter of order.
fn not_there(field: &str, kind: &str, name: &str, verdict: &mut Verdict) {
    verdict.warn(format!("{field}: there is no {kind} `{name}` yet"));
}
