//! `network vlans`: one trunk for each fabric and zone, as switches are configured with it.

use super::names::Accounts;
use super::reader::Reader;
use crate::failure::Failure;
use crate::output::{self, plain};
use crds::Tenant;
use crds::network::{IPPool, Prefix, VLAN, VLANPool, VlanState};
use kube::ResourceExt;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// All trunks.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct VlansReport {
    /// By fabric and zone.
    pub trunks: Vec<Trunk>,
}

/// The ids of a zone on a fabric.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Trunk {
    pub fabric: String,
    /// None for pools without a zone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// The ids that are held, as switches take them: 100,102-104.
    pub allowed: String,
    /// By id; one that rests is not in the trunk.
    pub vlans: Vec<Member>,
}

/// One id of a trunk.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Member {
    pub id: i64,
    pub state: VlanState,
    pub tenant: String,
    /// `namespace/name`.
    pub vlan: String,
    pub pool: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub purpose: Option<String>,
    /// Networks whose addresses are reached by it.
    pub prefixes: Vec<String>,
}

/// Reads the trunks.
pub async fn vlans(reader: &Reader) -> Result<VlansReport, Failure> {
    let pools: Vec<VLANPool> = reader.list().await?;
    let sources = Sources {
        vlans: reader.list().await?,
        ip_pools: reader.list().await?,
        prefixes: reader.list().await?,
        accounts: Accounts::of(reader.list_if_allowed::<Tenant>().await?),
    };
    let mut trunks: BTreeMap<(String, Option<String>), Vec<Member>> = BTreeMap::new();
    for pool in &pools {
        let zone = pool.spec.zone_ref.as_ref().map(|zone| zone.name.clone());
        let ids = trunks.entry((pool.spec.fabric.clone(), zone)).or_default();
        ids.extend(sources.ids(pool));
    }
    let trunks = trunks.into_iter().map(|((fabric, zone), mut vlans)| {
        vlans.sort_by_key(|one| one.id);
        let held = vlans.iter().filter(|one| one.state == VlanState::Allocated);
        Trunk { fabric, zone, allowed: ranges(held.map(|one| one.id)), vlans }
    });
    Ok(VlansReport { trunks: trunks.collect() })
}

struct Sources {
    vlans: Vec<VLAN>,
    ip_pools: Vec<IPPool>,
    prefixes: Vec<Prefix>,
    accounts: Accounts,
}

impl Sources {
    fn ids(&self, pool: &VLANPool) -> Vec<Member> {
        let owners = pool.status.iter().flat_map(|status| &status.owners);
        let id = |owner: &crds::network::VlanOwner| {
            // The UID decides; a later VLAN of the same name reaches what it says itself.
            let vlan =
                self.vlans.iter().find(|vlan| vlan.metadata.uid.as_ref() == Some(&owner.uid));
            Member {
                id: owner.id,
                state: owner.state,
                tenant: self.accounts.name(&owner.tenant),
                vlan: owner.reference.clone(),
                pool: pool.name_any(),
                purpose: vlan.and_then(|vlan| vlan.spec.purpose.clone()),
                prefixes: vlan.map(|vlan| self.reached(vlan)).unwrap_or_default(),
            }
        };
        owners.map(id).collect()
    }

    /// The prefix that the VLAN names, and those of pools that name the VLAN.
    fn reached(&self, vlan: &VLAN) -> Vec<String> {
        let (namespace, name) = (vlan.namespace().unwrap_or_default(), vlan.name_any());
        let own = vlan.spec.prefix_ref.iter().map(|prefix| prefix.name.as_str());
        let of_pools = self.ip_pools.iter().filter(|pool| {
            let named = pool.spec.vlan_ref.as_ref();
            named.is_some_and(|named| named.namespace == namespace && named.name == name)
        });
        let names: BTreeSet<&str> =
            own.chain(of_pools.map(|pool| pool.spec.prefix_ref.name.as_str())).collect();
        names
            .into_iter()
            .map(|name| {
                let prefix = self.prefixes.iter().find(|prefix| prefix.name_any() == name);
                let cidr = prefix.and_then(Prefix::cidr);
                cidr.map_or_else(|| format!("{name} (no network)"), str::to_owned)
            })
            .collect()
    }
}

/// Ascending ids as switches take them.
fn ranges(ids: impl Iterator<Item = i64>) -> String {
    let mut runs: Vec<(i64, i64)> = Vec::new();
    for id in ids {
        match runs.last_mut() {
            Some((_, last)) if last.saturating_add(1) == id => *last = id,
            _ => runs.push((id, id)),
        }
    }
    let text =
        runs.iter().map(
            |(first, last)| {
                if first == last { first.to_string() } else { format!("{first}-{last}") }
            },
        );
    text.collect::<Vec<_>>().join(",")
}

/// The trunks for people.
pub fn text(report: &VlansReport) -> String {
    if report.trunks.is_empty() {
        return "There is no VLAN pool; examples/network has one.\n".to_owned();
    }
    let mut texts = Vec::new();
    for trunk in &report.trunks {
        let zone = trunk
            .zone
            .as_ref()
            .map_or_else(|| "no zone".to_owned(), |zone| format!("zone {}", plain(zone)));
        let allowed = if trunk.allowed.is_empty() { "no id is held" } else { &trunk.allowed };
        let mut text = format!("Fabric {}, {zone}: {allowed}\n", plain(&trunk.fabric));
        if !trunk.vlans.is_empty() {
            let mut table =
                output::table(&["id", "tenant", "vlan", "reaches", "purpose", "state"], &[0]);
            for one in &trunk.vlans {
                let state = match one.state {
                    VlanState::Allocated => "held",
                    VlanState::Quarantined => "rests",
                };
                table.add_row([
                    one.id.to_string(),
                    plain(&one.tenant),
                    plain(&one.vlan),
                    plain(&one.prefixes.join(", ")),
                    plain(one.purpose.as_deref().unwrap_or_default()),
                    state.to_owned(),
                ]);
            }
            text.push_str(&table.to_string());
            text.push('\n');
        }
        texts.push(text);
    }
    texts.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_written_as_switches_take_them() {
        assert_eq!(ranges([100, 102, 103, 104, 4094].into_iter()), "100,102-104,4094");
        assert_eq!(ranges([7, 8].into_iter()), "7-8");
        assert_eq!(ranges(std::iter::empty()), "");
    }
}
