//! `network audit`: slots counted again from nothing, and compared with what claims and counters say.
//!
//! The rules are `ipam::audit`'s, as in the operator. Objects change while they are read, so what differs is read a second
//! time, and only what differs in the same way again is told. A list that was not read to its end tells nothing.

use super::names::number;
use super::reader::Reader;
use crate::failure::Failure;
use crate::output::plain;
use crate::server::chain;
use calendar::Instant;
use crds::network::{AddressSpace, IPBlock, IPClaim, IPPool, Prefix, VLAN, VLANPool};
use ids::ResourceUid;
use ipam::address::{Address, Cidr};
use ipam::audit::{Finding, Owners, examine, examine_vlans};
use ipam::pool::Counts;
use ipam::space::{SideKey, Space};
use ipam::vlan::VlanId;
use kube::ResourceExt;
use network_objects::{block, pool, vlan};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::time::Duration;

/// A pass over everything.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AuditReport {
    /// By name.
    pub spaces: Vec<Audited>,
    /// By name.
    pub vlan_pools: Vec<Audited>,
}

/// One space, or one pool of VLAN ids.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Audited {
    pub name: String,
    pub matches: bool,
    /// Over all changes up to this number.
    pub generation: u64,
    /// Pools of addresses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pools: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blocks: Option<usize>,
    /// Addresses or ids that claims hold.
    pub held: usize,
    pub findings: Vec<Difference>,
}

/// Something that does not agree.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Difference {
    /// A constant word.
    pub kind: &'static str,
    pub message: String,
    pub remedy: &'static str,
}

impl AuditReport {
    /// Whether everything agrees.
    pub fn matches(&self) -> bool {
        self.spaces.iter().chain(&self.vlan_pools).all(|audited| audited.matches)
    }

    /// Keeps what an earlier pass has found too.
    fn confirm(mut self, earlier: &Self) -> Self {
        confirm(&mut self.spaces, &earlier.spaces);
        confirm(&mut self.vlan_pools, &earlier.vlan_pools);
        self
    }
}

fn confirm(now: &mut [Audited], earlier: &[Audited]) {
    for audited in now {
        let before = earlier.iter().find(|before| before.name == audited.name);
        audited
            .findings
            .retain(|finding| before.is_some_and(|before| before.findings.contains(finding)));
        audited.matches = audited.findings.is_empty();
    }
}

/// Reads and compares.
pub async fn audit(reader: &Reader, confirm_after_seconds: u64) -> Result<AuditReport, Failure> {
    let first = pass(reader).await?;
    if first.matches() {
        return Ok(first);
    }
    tokio::time::sleep(Duration::from_secs(confirm_after_seconds)).await;
    Ok(pass(reader).await?.confirm(&first))
}

async fn pass(reader: &Reader) -> Result<AuditReport, Failure> {
    let spaces: Vec<AddressSpace> = reader.list().await?;
    let prefixes: Vec<Prefix> = reader.list().await?;
    let pools: Vec<IPPool> = reader.list().await?;
    let vlan_pools: Vec<VLANPool> = reader.list().await?;
    // What is held before who holds it: a claim that comes in between has nothing that was seen.
    let blocks: Vec<IPBlock> = reader.list().await?;
    let claims: Vec<IPClaim> = reader.list().await?;
    let vlans: Vec<VLAN> = reader.list().await?;
    let mut names: BTreeSet<String> = spaces.iter().map(ResourceExt::name_any).collect();
    names.extend(blocks.iter().map(|block| block.spec.space_ref.name.clone()));
    let networks: BTreeMap<String, (Cidr, String)> =
        prefixes.iter().filter_map(|prefix| Some((prefix.name_any(), network(prefix)?))).collect();
    let spaces = names.into_iter().map(|name| {
        let mut view = View::new(&name);
        view.take_pools(&pools, &networks);
        view.take_blocks(&blocks);
        view.compare(&claims)
    });
    let mut ids: Vec<Audited> = vlan_pools.iter().map(|pool| audit_ids(pool, &vlans)).collect();
    ids.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(AuditReport { spaces: spaces.collect(), vlan_pools: ids })
}

/// The network of a prefix, and its space.
fn network(prefix: &Prefix) -> Option<(Cidr, String)> {
    let status = prefix.status.as_ref()?;
    Some((status.cidr.as_ref()?.parse().ok()?, status.space.clone()?))
}

/// An address space put together again.
struct View<'a> {
    name: &'a str,
    space: Space,
    /// Names of pools.
    pools: BTreeMap<ResourceUid, String>,
    published: BTreeMap<SideKey, Counts>,
    blocks: usize,
    /// Names of blocks that say nothing; their claims are left alone.
    unreadable: BTreeSet<String>,
    differences: Vec<Difference>,
}

impl<'a> View<'a> {
    fn new(name: &'a str) -> Self {
        Self {
            name,
            space: Space::default(),
            pools: BTreeMap::new(),
            published: BTreeMap::new(),
            blocks: 0,
            unreadable: BTreeSet::new(),
            differences: Vec::new(),
        }
    }

    fn differ(&mut self, kind: &'static str, message: String, remedy: &'static str) {
        self.differences.push(Difference { kind, message, remedy });
    }

    fn take_pools(&mut self, pools: &[IPPool], networks: &BTreeMap<String, (Cidr, String)>) {
        for object in pools {
            let name = object.name_any();
            let Some((cidr, space)) = networks.get(&object.spec.prefix_ref.name) else { continue };
            let uid: Option<ResourceUid> = object.uid().and_then(|uid| uid.parse().ok());
            let (true, Some(uid)) = (space == self.name, uid) else { continue };
            let declared = match pool::declared(object, uid, *cidr) {
                Ok(declared) => declared,
                Err(error) => {
                    let message = format!("IPPool {name}: {error}");
                    self.differ("PoolUnreadable", message, "correct the pool");
                    continue;
                }
            };
            if let Err(refused) = self.space.set_pool(declared) {
                let message = self.named(&format!("IPPool {name}: {refused}"));
                self.differ(
                    "PoolRefused",
                    message,
                    "correct the pool; its own status says the same",
                );
                continue;
            }
            if let Some(counts) = published(object) {
                self.published.insert((uid, cidr.family()), counts);
            }
            self.pools.insert(uid, name);
        }
    }

    fn take_blocks(&mut self, blocks: &[IPBlock]) {
        let name = self.name;
        for object in blocks.iter().filter(|object| object.spec.space_ref.name == name) {
            match block::read(object) {
                Ok(block) => {
                    self.blocks = self.blocks.saturating_add(1);
                    self.space.replace_block(block);
                }
                Err(error) => {
                    let message = format!("IPBlock {}: {}", object.name_any(), chain(&error));
                    let remedy = "restore the object from a backup; nothing of it is handed out, and neither its claims nor counters were compared";
                    self.differ("BlockUnreadable", message, remedy);
                    self.unreadable.insert(object.name_any());
                    self.published.clear();
                }
            }
        }
    }

    fn compare(mut self, claims: &[IPClaim]) -> Audited {
        let owners = owners(claims, self.name, &self.unreadable);
        // Only how two passes lie in time is read from the instant, and there is one pass.
        let report = examine(&self.space, &self.published, &owners, Instant::EPOCH);
        let known = |uid: ResourceUid| {
            let claim = claims.iter().find(|claim| has_uid(claim.metadata.uid.as_ref(), uid));
            claim.map(full_name)
        };
        let written = |address: Address| {
            let slot = self.space.slot(address);
            slot.map_or_else(|| "unknown".to_owned(), |slot| slot.reference.to_string())
        };
        let mut found: Vec<Difference> = report
            .findings
            .iter()
            .map(|finding| difference(finding, ADDRESSES, &known, &written))
            .collect();
        for drift in &report.drifts {
            let pool = self.pools.get(&drift.key.0).cloned().unwrap_or_default();
            let message = format!(
                "IPPool {pool} says {}, the slots say {}",
                counts_text(&drift.kept),
                counts_text(&drift.counted)
            );
            found.push(Difference {
                kind: "CounterDiffers",
                message,
                remedy: "see whether the operator runs: it writes the counters anew; addresses are safe",
            });
        }
        self.differences.extend(found);
        let held = self.space.holdings().filter(|holding| holding.slot.state.is_live()).count();
        Audited {
            name: self.name.to_owned(),
            matches: self.differences.is_empty(),
            generation: report.generation,
            pools: Some(self.pools.len()),
            blocks: Some(self.blocks),
            held,
            findings: self.differences,
        }
    }

    /// With pools by their names.
    fn named(&self, text: &str) -> String {
        let name = |text: String, (uid, name): (&ResourceUid, &String)| {
            text.replace(&uid.to_string(), name)
        };
        self.pools.iter().fold(text.to_owned(), name)
    }
}

/// What a pool's status says, where it says anything.
fn published(object: &IPPool) -> Option<Counts> {
    let status = object.status.as_ref()?;
    Some(Counts {
        total: number(status.total.as_ref())?,
        free: number(status.free.as_ref())?,
        allocated: number(status.used.as_ref())?,
        quarantined: number(status.quarantined.as_ref())?,
        excluded: number(status.excluded.as_ref())?,
        out_of_range: number(status.out_of_range.as_ref()).unwrap_or(0),
    })
}

fn counts_text(counts: &Counts) -> String {
    format!(
        "{} held, {} resting, {} free, {} never handed out, {} out of range",
        counts.allocated, counts.quarantined, counts.free, counts.excluded, counts.out_of_range
    )
}

/// Every claim, with what its status names in this space; one that goes away names nothing any more.
fn owners(claims: &[IPClaim], space: &str, unreadable: &BTreeSet<String>) -> Owners<Address> {
    let entry = |claim: &IPClaim| {
        let uid: ResourceUid = claim.metadata.uid.as_ref()?.parse().ok()?;
        let stays = claim.metadata.deletion_timestamp.is_none();
        let told = claim.status.iter().flat_map(|status| &status.addresses).filter(|_| stays);
        let here = told.filter_map(|told| {
            let address: Address = told.address.parse().ok()?;
            let (id, _) = ipam::address::BlockId::of(address);
            let block = block::block_name(space, id);
            (told.block == block && !unreadable.contains(&block)).then_some(address)
        });
        Some((uid, here.collect()))
    };
    Owners { claims: claims.iter().filter_map(entry).collect(), is_complete: true }
}

fn has_uid(text: Option<&String>, uid: ResourceUid) -> bool {
    text.and_then(|text| text.parse::<ResourceUid>().ok()) == Some(uid)
}

fn full_name<K: ResourceExt>(object: &K) -> String {
    format!("{}/{}", object.namespace().unwrap_or_default(), object.name_any())
}

/// The kind of claim, what its places are called, and what becomes of a place without owner.
#[derive(Clone, Copy)]
struct Words {
    kind: &'static str,
    place: &'static str,
    when_gone: &'static str,
}

const ADDRESSES: Words = Words {
    kind: "IPClaim",
    place: "",
    when_gone: "the operator gives it back in its second audit, ten minutes after its first; if it does not, see its log",
};
const IDS: Words = Words {
    kind: "VLAN",
    place: "id ",
    when_gone: "the id stays taken; see the operator's log of the time when the VLAN was deleted",
};

fn difference<Place: Display + Copy>(
    finding: &Finding<Place>,
    words: Words,
    known: &dyn Fn(ResourceUid) -> Option<String>,
    written: &dyn Fn(Place) -> String,
) -> Difference {
    let Words { kind, place: noun, when_gone } = words;
    let name = |uid: &ResourceUid| known(*uid).unwrap_or_else(|| format!("of UID {uid}"));
    match finding {
        Finding::OwnerGone { place, owner, seq } => Difference {
            kind: "OwnerGone",
            message: format!(
                "{noun}{place} is held for {kind} {} (UID {owner}, number {seq}), which is not there",
                written(*place)
            ),
            remedy: when_gone,
        },
        Finding::OwnerWithoutSlot { place, owner } => Difference {
            kind: "OwnerWithoutSlot",
            message: format!(
                "{kind} {} says to have {noun}{place}, which is not booked for it",
                name(owner)
            ),
            remedy: "stop using it at once, somebody else may get it; delete the claim and create another",
        },
        Finding::SeveralOwners { place, owners } => Difference {
            kind: "SeveralOwners",
            message: format!(
                "{noun}{place} is claimed by several: {kind} {}; it is booked for {}",
                owners.iter().map(name).collect::<Vec<_>>().join(", "),
                written(*place)
            ),
            remedy: "delete the claims that it is not booked for",
        },
    }
}

fn audit_ids(object: &VLANPool, vlans: &[VLAN]) -> Audited {
    let name = object.name_any();
    let Some(table) = vlan::read(object) else {
        let finding = Difference {
            kind: "TableUnreadable",
            message: format!("VLANPool {name}: status.owners cannot be read"),
            remedy: "restore the object from a backup; nothing of it is handed out",
        };
        return Audited {
            name,
            matches: false,
            generation: 0,
            pools: None,
            blocks: None,
            held: 0,
            findings: vec![finding],
        };
    };
    let entry = |claim: &VLAN| {
        let uid: ResourceUid = claim.metadata.uid.as_ref()?.parse().ok()?;
        let stays = claim.metadata.deletion_timestamp.is_none();
        let status =
            claim.status.as_ref().filter(|status| stays && status.pool.as_ref() == Some(&name));
        let id = status.and_then(|status| VlanId::new(u16::try_from(status.id?).ok()?).ok());
        Some((uid, id.into_iter().collect()))
    };
    let owners = Owners { claims: vlans.iter().filter_map(entry).collect(), is_complete: true };
    let report = examine_vlans(&table, &owners, Instant::EPOCH);
    let known = |uid: ResourceUid| {
        vlans.iter().find(|vlan| has_uid(vlan.metadata.uid.as_ref(), uid)).map(full_name)
    };
    let written = |id: VlanId| {
        table.tags().get(&id).map_or_else(|| "unknown".to_owned(), |tag| tag.reference.to_string())
    };
    let findings: Vec<Difference> =
        report.findings.iter().map(|finding| difference(finding, IDS, &known, &written)).collect();
    Audited {
        name,
        matches: findings.is_empty(),
        generation: report.generation,
        pools: None,
        blocks: None,
        held: table.tags().values().filter(|tag| tag.state.is_live()).count(),
        findings,
    }
}

/// The pass for people.
pub fn text(report: &AuditReport) -> String {
    let mut text = String::new();
    if report.spaces.is_empty() && report.vlan_pools.is_empty() {
        text.push_str("There is no address space and no VLAN pool; nothing to compare.\n");
    }
    let with_kind = |kind: &'static str| move |audited| (kind, audited);
    let spaces = report.spaces.iter().map(with_kind("vrf"));
    for (kind, audited) in spaces.chain(report.vlan_pools.iter().map(with_kind("VLANPool"))) {
        let verdict = if audited.matches {
            format!("matches at generation {}", audited.generation)
        } else {
            format!("DIFFERS at generation {}", audited.generation)
        };
        let what = match (audited.pools, audited.blocks) {
            (Some(pools), Some(blocks)) => format!(
                "{}, {}, {} held",
                counted(pools, "pool", "pools"),
                counted(blocks, "block", "blocks"),
                counted(audited.held, "address", "addresses")
            ),
            _ => format!("{} held", counted(audited.held, "id", "ids")),
        };
        let name = plain(&audited.name);
        text.extend([kind, " ", &name, ": ", &verdict, " (", &what, ")\n"]);
        for finding in &audited.findings {
            let message = plain(&finding.message);
            text.extend(["  ", finding.kind, ": ", &message, "\n    ", finding.remedy, "\n"]);
        }
    }
    text
}

fn counted(count: usize, one: &str, many: &str) -> String {
    if count == 1 { format!("1 {one}") } else { format!("{count} {many}") }
}
