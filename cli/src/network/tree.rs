//! The tree of a network as data: space → prefixes → pools → blocks.
//!
//! Figures of prefixes and pools are those of their status; those of blocks are counted from the slots. What has no place in
//! the tree is listed too: an object that nobody shows is an object that nobody repairs.

use super::names::{Accounts, State};
use super::reader::Reader;
use crate::failure::Failure;
use crds::network::{
    AddressSpace, IPBlock, IPPool, NetworkClass, PoolScores, Prefix, PrefixRole, SpaceTotals,
};
use crds::{ObjectName, Tenant};
use ids::ResourceUid;
use ipam::address::Cidr;
use ipam::block::Block;
use ipam::pool::Territory;
use kube::ResourceExt;
use network_objects::block::read;
use network_objects::pool::declared;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// Everything.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TreeReport {
    /// By name.
    pub spaces: Vec<SpaceNode>,
    /// Prefixes whose parent or space is not there.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub lost_prefixes: Vec<PrefixNode>,
    /// Pools whose prefix is not there.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub lost_pools: Vec<PoolNode>,
}

/// An address space.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SpaceNode {
    pub name: String,
    #[serde(flatten)]
    pub state: State,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub totals: Option<SpaceTotals>,
    pub prefixes: Vec<PrefixNode>,
    /// Blocks that no pool hands out of any more.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub blocks: Vec<BlockNode>,
}

/// A prefix.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PrefixNode {
    pub name: String,
    pub role: PrefixRole,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cidr: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class: Option<NetworkClass>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    #[serde(flatten)]
    pub state: State,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub free: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub used: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub utilisation: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fragmentation: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub free_by_size: BTreeMap<String, String>,
    pub prefixes: Vec<PrefixNode>,
    pub pools: Vec<PoolNode>,
}

/// A pool.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PoolNode {
    pub name: String,
    pub prefix: String,
    pub strategy: String,
    pub ranges: Vec<String>,
    pub allowed_tenants: Vec<String>,
    pub disabled: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    #[serde(flatten)]
    pub state: State,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub free: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub used: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quarantined: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub excluded: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub out_of_range: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waiting: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scores: Option<PoolScores>,
    pub blocks: Vec<BlockNode>,
}

/// What a pool has in a block.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BlockNode {
    pub name: String,
    pub cidr: String,
    /// Addresses that the pool can hand out here.
    pub total: u16,
    pub used: u16,
    pub quarantined: u16,
    pub free: u16,
    /// The tenant that the whole block is kept for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// Why the block cannot be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unreadable: Option<String>,
}

/// Reads the tree; of one space alone where it is named.
pub async fn tree(reader: &Reader, only: Option<&str>) -> Result<TreeReport, Failure> {
    let mut spaces = reader.list::<AddressSpace>().await?;
    if let Some(only) = only {
        let names: BTreeSet<String> = spaces.iter().map(ResourceExt::name_any).collect();
        spaces.retain(|space| space.name_any() == only);
        if spaces.is_empty() {
            let names: Vec<String> = names.into_iter().collect();
            let there = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
            return Err(Failure::refused(format!(
                "--space {only}: there is no such AddressSpace; there is {there}"
            )));
        }
    }
    let mut builder = Builder {
        prefixes: reader.list().await?,
        pools: reader.list().await?,
        blocks: Blocks::of(reader.list().await?),
        accounts: Accounts::of(reader.list_if_allowed::<Tenant>().await?),
        shown_prefixes: BTreeSet::new(),
        shown_pools: BTreeSet::new(),
        shown_blocks: BTreeSet::new(),
    };
    spaces.sort_by_key(ResourceExt::name_any);
    let spaces = spaces.iter().map(|space| builder.space(space)).collect();
    let (lost_prefixes, lost_pools) =
        if only.is_some() { (Vec::new(), Vec::new()) } else { builder.lost() };
    Ok(TreeReport { spaces, lost_prefixes, lost_pools })
}

/// Blocks by space, readable or not.
struct Blocks(Vec<(IPBlock, Result<Block, String>)>);

impl Blocks {
    fn of(objects: Vec<IPBlock>) -> Self {
        let mut blocks: Vec<_> = objects
            .into_iter()
            .map(|object| {
                let block = read(&object).map_err(|error| crate::server::chain(&error));
                (object, block)
            })
            .collect();
        blocks
            .sort_by_key(|(object, block)| (block.as_ref().ok().map(Block::id), object.name_any()));
        Self(blocks)
    }
}

struct Builder {
    prefixes: Vec<Prefix>,
    pools: Vec<IPPool>,
    blocks: Blocks,
    accounts: Accounts,
    shown_prefixes: BTreeSet<String>,
    shown_pools: BTreeSet<String>,
    shown_blocks: BTreeSet<String>,
}

impl Builder {
    fn space(&mut self, space: &AddressSpace) -> SpaceNode {
        let name = space.name_any();
        let is_root = |prefix: &Prefix| named(prefix.spec.space_ref.as_ref(), &name);
        let prefixes = self.prefixes_where(is_root, &name);
        let others: Vec<BlockNode> = self
            .blocks
            .0
            .iter()
            .filter(|(object, block)| {
                let is_used = block.as_ref().map_or(true, |block| !block.slots().is_empty());
                object.spec.space_ref.name == name
                    && is_used
                    && !self.shown_blocks.contains(&object.name_any())
            })
            .map(|(object, block)| self.block(object, block, None))
            .collect();
        let status = space.status.as_ref();
        SpaceNode {
            name,
            state: State::of(status.map(|status| &status.conditions)),
            totals: status.and_then(|status| status.totals.clone()),
            prefixes,
            blocks: others,
        }
    }

    /// Prefixes by network; one that was shown is not shown again, so that a circle ends.
    fn prefixes_where(&mut self, wanted: impl Fn(&Prefix) -> bool, space: &str) -> Vec<PrefixNode> {
        let mut found: Vec<Prefix> =
            self.prefixes.iter().filter(|prefix| wanted(prefix)).cloned().collect();
        found.retain(|prefix| self.shown_prefixes.insert(prefix.name_any()));
        found.sort_by_key(|prefix| {
            let cidr: Option<Cidr> = prefix.cidr().and_then(|text| text.parse().ok());
            (cidr.is_none(), cidr, prefix.name_any())
        });
        found.iter().map(|prefix| self.prefix(prefix, space)).collect()
    }

    fn prefix(&mut self, prefix: &Prefix, space: &str) -> PrefixNode {
        let name = prefix.name_any();
        let prefixes = self.prefixes_where(|child| child.parent() == Some(&name), space);
        let mut pools: Vec<IPPool> =
            self.pools.iter().filter(|pool| pool.spec.prefix_ref.name == name).cloned().collect();
        pools.sort_by_key(ResourceExt::name_any);
        let cidr: Option<Cidr> = prefix.cidr().and_then(|text| text.parse().ok());
        let pools = pools.iter().map(|pool| self.pool(pool, cidr, space)).collect();
        let status = prefix.status.clone().unwrap_or_default();
        let own = |name: &Option<ObjectName>| name.as_ref().map(|name| name.name.clone());
        PrefixNode {
            role: prefix.role(),
            cidr: prefix.cidr().map(str::to_owned),
            class: status.class,
            zone: status.zone.or_else(|| own(&prefix.spec.zone_ref)),
            tenant: status.tenant.or_else(|| own(&prefix.spec.tenant_ref)),
            state: State::of(prefix.status.as_ref().map(|status| &status.conditions)),
            total: status.total,
            free: status.free,
            used: status.used,
            utilisation: status.utilisation,
            fragmentation: status.fragmentation,
            free_by_size: status.free_by_size,
            prefixes,
            pools,
            name,
        }
    }

    fn pool(&mut self, pool: &IPPool, cidr: Option<Cidr>, space: &str) -> PoolNode {
        let name = pool.name_any();
        self.shown_pools.insert(name.clone());
        let blocks = cidr.map(|cidr| self.blocks_of(pool, cidr, space)).unwrap_or_default();
        let status = pool.status.clone().unwrap_or_default();
        let spec = &pool.spec;
        let strategy =
            spec.strategy.map_or_else(|| "Sequential".to_owned(), |one| format!("{one:?}"));
        PoolNode {
            name,
            prefix: spec.prefix_ref.name.clone(),
            strategy,
            ranges: spec.ranges.iter().map(ToString::to_string).collect(),
            allowed_tenants: spec
                .allowed_tenants
                .iter()
                .flatten()
                .map(|pattern| pattern.0.clone())
                .collect(),
            disabled: spec.disabled.unwrap_or(false),
            zone: status.zone,
            state: State::of(pool.status.as_ref().map(|status| &status.conditions)),
            total: status.total,
            free: status.free,
            used: status.used,
            quarantined: status.quarantined,
            excluded: status.excluded,
            out_of_range: status.out_of_range,
            waiting: status.waiting,
            scores: status.scores,
            blocks,
        }
    }

    /// Blocks that the pool hands out of, or has handed out of.
    fn blocks_of(&mut self, pool: &IPPool, cidr: Cidr, space: &str) -> Vec<BlockNode> {
        let uid: Option<ResourceUid> = pool.uid().and_then(|uid| uid.parse().ok());
        let Some(uid) = uid else { return Vec::new() };
        let Ok(declared) = declared(pool, uid, cidr) else { return Vec::new() };
        let territory = declared.territory(cidr.family());
        let mut nodes = Vec::new();
        for (object, block) in &self.blocks.0 {
            let Ok(known) = block else { continue };
            let is_here = known.id().family() == cidr.family()
                && (!territory.slots(known.id()).is_empty()
                    || known.slots().values().any(|slot| slot.pool == uid));
            if object.spec.space_ref.name == space && is_here {
                nodes.push(self.block(object, block, Some((uid, &territory))));
            }
        }
        self.shown_blocks.extend(nodes.iter().map(|node| node.name.clone()));
        nodes
    }

    /// A block, with what one pool has in it or with all.
    fn block(
        &self,
        object: &IPBlock,
        block: &Result<Block, String>,
        of: Option<(ResourceUid, &Territory)>,
    ) -> BlockNode {
        let (name, cidr) = (object.name_any(), object.spec.cidr.to_string());
        let block = match block {
            Ok(block) => block,
            Err(why) => {
                let unreadable = Some(why.clone());
                return BlockNode {
                    name,
                    cidr,
                    total: 0,
                    used: 0,
                    quarantined: 0,
                    free: 0,
                    tenant: None,
                    unreadable,
                };
            }
        };
        let (mut used, mut quarantined, mut taken) = (0_u16, 0_u16, 0_u16);
        for (index, slot) in block.slots() {
            let is_inside =
                of.is_none_or(|(_, territory)| territory.contains(block.id().address(*index)));
            if is_inside {
                taken = taken.saturating_add(1);
            }
            if is_inside || of.is_some_and(|(uid, _)| slot.pool == uid) {
                let count = if slot.state.is_live() { &mut used } else { &mut quarantined };
                *count = count.saturating_add(1);
            }
        }
        let total = of.map_or(256, |(_, territory)| territory.slots(block.id()).count());
        BlockNode {
            name,
            cidr,
            total,
            used,
            quarantined,
            free: total.saturating_sub(taken),
            tenant: block.tenant().map(|tenant| self.accounts.name(&tenant.to_string())),
            unreadable: None,
        }
    }

    fn lost(&mut self) -> (Vec<PrefixNode>, Vec<PoolNode>) {
        let shown = self.shown_prefixes.clone();
        let names: BTreeSet<String> = self.prefixes.iter().map(ResourceExt::name_any).collect();
        let is_top = |prefix: &Prefix| {
            let parent = prefix.parent();
            !shown.contains(&prefix.name_any()) && parent.is_none_or(|name| !names.contains(name))
        };
        let mut prefixes = self.prefixes_where(is_top, "");
        // What is left now is in a circle.
        prefixes.extend(self.prefixes_where(|_| true, ""));
        let mut pools: Vec<IPPool> = self.pools.clone();
        pools.retain(|pool| !self.shown_pools.contains(&pool.name_any()));
        (prefixes, pools.iter().map(|pool| self.pool(pool, None, "")).collect())
    }
}

fn named(reference: Option<&ObjectName>, name: &str) -> bool {
    reference.is_some_and(|reference| reference.name == name)
}
