//! Which pools a wish for addresses can be met from: a claim's, or that of a machine's interface.

use super::ground::Ground;
use super::{not_there, tree};
use crate::finding::{Verdict, named};
use crate::world::World;
use crds::network::{AddressFamily, IPPool, LabelSelector};
use crds::shared::ObjectName;
use ipam::address::Family;
use kube::ResourceExt;
use std::sync::Arc;

/// A wish, and where it stands in its object.
#[derive(Debug, Clone, Copy)]
pub struct Wish<'a> {
    /// The path of what the wish's fields are in, such as `spec`.
    pub path: &'a str,
    /// The pool by name.
    pub pool: Option<&'a ObjectName>,
    /// Pools by labels.
    pub selector: Option<&'a LabelSelector>,
    /// The families asked for.
    pub families: &'a [AddressFamily],
}

impl Wish<'_> {
    /// The field that names the pools.
    pub fn field(&self) -> String {
        let field = if self.pool.is_some() { "poolRef.name" } else { "poolSelector" };
        format!("{}.{field}", self.path)
    }

    /// The pools that are named and let the tenant in, sorted by name. A finding where some are named and none does, or
    /// none is of a family that is asked for.
    pub fn pools(&self, tenant: &str, world: &World, verdict: &mut Verdict) -> Vec<Arc<IPPool>> {
        let named_pools = self.named_pools(world);
        if named_pools.is_empty() {
            match self.pool {
                Some(pool) => not_there(&self.field(), "IPPool", &pool.name, verdict),
                None => verdict.warn(format!("{}: no IPPool has these labels yet", self.field())),
            }
            return Vec::new();
        }
        let lets_in =
            |pool: &&Arc<IPPool>| pool.spec.allows(tenant) && is_kept_for(pool, tenant, world);
        let open: Vec<_> = named_pools.iter().filter(lets_in).cloned().collect();
        if open.is_empty() {
            verdict.forbid(
                self.field(),
                format!(
                    "{} does not let tenant `{tenant}` in; ask its operator to name it in spec.allowedTenants, or choose another",
                    in_words(&named_pools)
                ),
            );
            return open;
        }
        if open.iter().all(|pool| pool.spec.disabled == Some(true)) {
            verdict.warn(format!(
                "{}: {} is disabled, so this waits",
                self.field(),
                in_words(&open)
            ));
        }
        self.families_are_there(&open, world, verdict);
        open
    }

    fn named_pools(&self, world: &World) -> Vec<Arc<IPPool>> {
        if let Some(pool) = self.pool {
            return World::named(&world.pools, &pool.name).into_iter().collect();
        }
        let Some(selector) = self.selector else { return Vec::new() };
        let mut pools = world.pools.state_filter(|pool| selector.matches(pool.labels()));
        pools.sort_by_key(|pool| pool.name_any());
        pools
    }

    fn families_are_there(&self, open: &[Arc<IPPool>], world: &World, verdict: &mut Verdict) {
        let known: Vec<Option<Family>> = open.iter().map(|pool| family_of(pool, world)).collect();
        // Of a pool whose prefix is not there yet nothing is known.
        if known.contains(&None) {
            return;
        }
        for wanted in self.families.iter().map(|family| parsed(*family)) {
            if !known.contains(&Some(wanted)) {
                verdict.invalid(
                    format!("{}.families", self.path),
                    format!("{wanted} is asked for, and {} has none; choose a pool of {wanted}, or another family", in_words(open)),
                );
            }
        }
    }
}

/// Pools as messages name them.
pub fn in_words(pools: &[Arc<IPPool>]) -> String {
    named(pools.iter().map(|pool| format!("IPPool `{}`", pool.name_any())))
}

/// The ground of a pool that is there.
pub fn ground_of(pool: &IPPool, world: &World) -> Ground {
    let prefix = World::named(&world.prefixes, &pool.spec.prefix_ref.name);
    Ground::of(&pool.spec, prefix.and_then(|prefix| tree::network_of(&prefix)))
}

fn family_of(pool: &IPPool, world: &World) -> Option<Family> {
    ground_of(pool, world).family()
}

/// The family as the parser knows it.
pub fn parsed(family: AddressFamily) -> Family {
    match family {
        AddressFamily::IPv4 => Family::V4,
        AddressFamily::IPv6 => Family::V6,
    }
}

fn is_kept_for(pool: &IPPool, tenant: &str, world: &World) -> bool {
    let name = &pool.spec.prefix_ref.name;
    let prefix = World::named(&world.prefixes, name);
    let kept = prefix.and_then(|prefix| tree::standing(name, &prefix, world).tenant);
    kept.is_none_or(|kept| kept.name == tenant)
}
