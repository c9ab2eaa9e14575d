//! The tree of prefixes: what one inherits from those above it, and what is below it.

use crate::world::World;
use crds::network::{IPPool, Prefix};
use ipam::address::Cidr;
use kube::ResourceExt;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Something said by a prefix for itself and all below it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// The name of the zone or the tenant.
    pub name: String,
    /// The prefix that says it.
    pub by: String,
}

/// What holds at a place in the tree.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Standing {
    /// The space at the top; `None` where the way up is not all known yet.
    pub space: Option<String>,
    /// The nearest zone.
    pub zone: Option<Said>,
    /// The nearest tenant.
    pub tenant: Option<Said>,
    /// Whether the way up comes back to where it began.
    pub is_circle: bool,
}

impl Standing {
    /// The zone's name.
    pub fn zone(&self) -> Option<&str> {
        self.zone.as_ref().map(|said| said.name.as_str())
    }

    fn hear(&mut self, name: &str, prefix: &Prefix) {
        let said = |name_of: &str| Said { name: name_of.to_owned(), by: name.to_owned() };
        let spec = &prefix.spec;
        self.zone =
            self.zone.take().or_else(|| spec.zone_ref.as_ref().map(|zone| said(&zone.name)));
        self.tenant = self
            .tenant
            .take()
            .or_else(|| spec.tenant_ref.as_ref().map(|tenant| said(&tenant.name)));
        self.space = spec.space_ref.as_ref().map(|space| space.name.clone());
    }
}

/// What the prefixes above say, without the prefix itself.
pub fn above(name: &str, prefix: &Prefix, world: &World) -> Standing {
    let mut standing = Standing {
        space: prefix.spec.space_ref.as_ref().map(|space| space.name.clone()),
        ..Standing::default()
    };
    let mut seen = BTreeSet::from([name.to_owned()]);
    let mut next = prefix.parent().map(str::to_owned);
    while let Some(parent) = next {
        if !seen.insert(parent.clone()) {
            standing.is_circle = true;
            break;
        }
        let Some(found) = World::named(&world.prefixes, &parent) else { break };
        standing.hear(&parent, &found);
        next = found.parent().map(str::to_owned);
    }
    standing
}

/// What holds for a prefix: its own word first, then what is above.
pub fn standing(name: &str, prefix: &Prefix, world: &World) -> Standing {
    let above = above(name, prefix, world);
    let mut own = Standing::default();
    own.hear(name, prefix);
    Standing {
        space: own.space.or(above.space),
        zone: own.zone.or(above.zone),
        tenant: own.tenant.or(above.tenant),
        is_circle: above.is_circle,
    }
}

/// The network of a prefix, where it has one that can be read.
pub fn network_of(prefix: &Prefix) -> Option<Cidr> {
    prefix.cidr()?.parse().ok()
}

/// The prefixes directly below, sorted by name.
pub fn children(name: &str, world: &World) -> Vec<Arc<Prefix>> {
    let mut children = world.prefixes.state_filter(|prefix| prefix.parent() == Some(name));
    children.sort_by_key(|child| child.name_any());
    children
}

/// The pools that hand out of a prefix, sorted by name.
pub fn pools(name: &str, world: &World) -> Vec<Arc<IPPool>> {
    let mut pools = world.pools.state_filter(|pool| pool.spec.prefix_ref.name == name);
    pools.sort_by_key(|pool| pool.name_any());
    pools
}

/// What a pool stands on: its prefix's word, and its own zone before that.
pub fn zone_of_pool(pool: &IPPool, world: &World) -> Option<String> {
    let declared = pool.spec.zone_ref.as_ref().map(|zone| zone.name.clone());
    declared.or_else(|| {
        let prefix = &pool.spec.prefix_ref.name;
        let found = World::named(&world.prefixes, prefix)?;
        standing(prefix, &found, world).zone.map(|zone| zone.name)
    })
}
