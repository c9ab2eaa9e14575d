//! Addresses, VLANs and zones: what is declared is booked in the one object that decides it, then told in the status.

pub mod addresses;
pub mod audit;
pub mod claim;
pub mod pool;
pub mod prefix;
pub mod space;
pub mod tree;
pub mod vlan;
pub mod vlan_pool;
pub mod vlans;
pub mod zone;

mod claimant;
mod housekeeping;

use crate::world::World;
use crds::network::{
    AddressSpace, ClaimPhase, IPClaim, IPPool, IPPoolStatus, Prefix, PrefixStatus, SecurityZone,
    VLAN, VLANPool,
};
use k8s_openapi::api::core::v1::Namespace;
use kube::ResourceExt;
use kube_runtime::reflector::ObjectRef;
use operator_kit::ErrorChain;
use operator_kit::controller::{Controller, Queue, Wiring};
use std::sync::{Arc, Weak};

/// Claims worked on at once: as many as one write of a block is worth.
const CLAIMS_AT_ONCE: u16 = 128;

/// Asks for a pass over the claim `namespace/name`.
pub fn wake(claims: Option<&Queue<IPClaim>>, key: &str) {
    if let (Some(queue), Some((namespace, name))) = (claims, key.split_once('/')) {
        queue.push(ObjectRef::new(name).within(namespace));
    }
}

/// Connects events with the queues of this area.
pub fn register(world: &Arc<World>, wiring: &Wiring<World>) -> Vec<Controller> {
    let counted = wiring.fed_by_declarations();
    let (claims, claim) =
        wiring.at_once(CLAIMS_AT_ONCE).controller("ip-claim", &world.claims, claim::reconcile);
    let (pools, pool) = counted.controller("ip-pool", &world.pools, pool::reconcile);
    world.wake_by(claims.clone());

    let (near, queue) = (Arc::downgrade(world), claims.clone());
    // The generation that the status speaks about is the one that the allocator knows.
    let ready = |pool: &IPPool| {
        let status = pool.status.as_ref();
        let told = |status: &IPPoolStatus| {
            (status.space.clone(), status.zone.clone(), status.observed_generation)
        };
        (pool.metadata.generation, status.map(told))
    };
    world.pools.on_change_of(ready, move |pool| push_unbound(&near, pool, &queue));
    let (prefixes, prefix) = wiring.controller("prefix", &world.prefixes, prefix::reconcile);
    let (spaces, space) = wiring.controller("address-space", &world.spaces, space::reconcile);
    tree_events(world, &prefixes, &spaces, &pools);
    let (near, queue) = (Arc::downgrade(world), pools.clone());
    world.zones.on_change(move |zone| {
        let name = zone.name_any();
        let is_in = |pool: &IPPool| {
            let told = pool.status.as_ref().and_then(|status| status.zone.as_ref());
            told == Some(&name) || pool.spec.zone_ref.as_ref().is_some_and(|zone| zone.name == name)
        };
        if let Some(world) = near.upgrade() {
            world.pools.push_where(&queue, is_in);
        }
    });
    let (near, queue) = (Arc::downgrade(world), claims);
    world.namespaces.on_change(move |namespace| {
        if let Some(world) = near.upgrade() {
            world.claims.push_in(&namespace.name_any(), &queue);
        }
    });
    let (vlan_pools, vlan_pool) =
        wiring.controller("vlan-pool", &world.vlan_pools, vlan_pool::reconcile);
    let (vlans, vlan) = wiring.controller("vlan", &world.vlan_claims, vlan::reconcile);
    vlan_events(world, &vlan_pools, &vlans);
    let (zones, zone) = counted.controller("security-zone", &world.zones, zone::reconcile);
    let (fences, fence) = wiring.controller("fence", &world.namespaces, zone::fence::reconcile);
    zone_events(world, &zones, &fences);
    let audit = audit::run(world, pools.clone(), wiring.stop().clone());
    let housekeeping = housekeeping::run(world, pools, wiring.stop().clone());
    vec![
        claim,
        pool,
        prefix,
        space,
        vlan_pool,
        vlan,
        zone,
        fence,
        Box::pin(audit),
        Box::pin(housekeeping),
    ]
}

/// What a prefix is goes down the tree, what is used of it goes up.
fn tree_events(
    world: &Arc<World>,
    prefixes: &Queue<Prefix>,
    spaces: &Queue<AddressSpace>,
    pools: &Queue<IPPool>,
) {
    let queues = (prefixes.clone(), spaces.clone());
    let used = |prefix: &Prefix| {
        let told = |status: &PrefixStatus| (status.used.clone(), status.cidr.clone());
        (prefix.status.as_ref().map(told), prefix.metadata.deletion_timestamp.is_some())
    };
    world.prefixes.on_change_of(used, move |prefix| {
        if let Some(parent) = prefix.parent() {
            queues.0.push(ObjectRef::new(parent));
        }
        if let Some(space) = prefix.status.as_ref().and_then(|status| status.space.as_ref()) {
            queues.1.push(ObjectRef::new(space));
        }
    });
    let (near, queues) = (Arc::downgrade(world), (prefixes.clone(), pools.clone()));
    let inherited = |prefix: &Prefix| {
        let status = prefix.status.clone().unwrap_or_default();
        let table = (status.children.len(), status.pools.len());
        (prefix.metadata.generation, status.cidr, status.zone, status.tenant, table)
    };
    world.prefixes.on_change_of(inherited, move |prefix| {
        let Some(world) = near.upgrade() else { return };
        let name = prefix.name_any();
        world.pools.push_where(&queues.1, |pool| pool.spec.prefix_ref.name == name);
        let is_below = |child: &Prefix| {
            let chooses = child.spec.parent_selector.as_ref();
            child.parent() == Some(name.as_str())
                || chooses.is_some_and(|selector| selector.matches(prefix.labels()))
        };
        world.prefixes.push_where(&queues.0, is_below);
    });
    let (near, queue) = (Arc::downgrade(world), prefixes.clone());
    let roots = |space: &AddressSpace| {
        (space.metadata.generation, space.status.as_ref().map(|status| status.roots.len()))
    };
    world.spaces.on_change_of(roots, move |space| {
        let Some(world) = near.upgrade() else { return };
        let name = space.name_any();
        let is_root = |prefix: &Prefix| {
            prefix.spec.space_ref.as_ref().is_some_and(|space| space.name == name)
        };
        world.prefixes.push_where(&queue, is_root);
    });
    let queues = (prefixes.clone(), spaces.clone());
    let counts = |pool: &IPPool| {
        let told = |status: &IPPoolStatus| {
            (status.used.clone(), status.free.clone(), status.total.clone())
        };
        pool.status.as_ref().map(told)
    };
    world.pools.on_change_of(counts, move |pool| {
        queues.0.push(ObjectRef::new(&pool.spec.prefix_ref.name));
        if let Some(space) = pool.status.as_ref().and_then(|status| status.space.as_ref()) {
            queues.1.push(ObjectRef::new(space));
        }
    });
}

/// A namespace's fence follows the zones it uses, their networks and trust, and what somebody else did to it; a zone tells of
/// its fences.
fn zone_events(world: &Arc<World>, zones: &Queue<SecurityZone>, fences: &Queue<Namespace>) {
    let (near, queue) = (Arc::downgrade(world), fences.clone());
    let fence_all = move || {
        if let Some(world) = near.upgrade() {
            world.namespaces.push_all(&queue);
        }
    };
    let (near, queue) = (Arc::downgrade(world), zones.clone());
    let tell_all = move || {
        if let Some(world) = near.upgrade() {
            world.zones.push_all(&queue);
        }
    };
    let fence = fence_all.clone();
    // Trust is between zones: a change of one concerns all.
    world.zones.on_change_of(|zone| zone.metadata.generation, move |_| fence());
    let (fence, tell) = (fence_all.clone(), tell_all.clone());
    let networks = |prefix: &Prefix| {
        let told = |status: &PrefixStatus| (status.cidr.clone(), status.zone.clone());
        prefix.status.as_ref().map(told)
    };
    world.prefixes.on_change_of(networks, move |_| {
        fence();
        tell();
    });
    let (fence, tell) = (fence_all, tell_all.clone());
    let zone_of = |pool: &IPPool| pool.status.as_ref().and_then(|status| status.zone.clone());
    world.pools.on_change_of(zone_of, move |_| {
        fence();
        tell();
    });
    let (queue, tell) = (fences.clone(), tell_all);
    world.policies.on_change(move |policy| {
        if policy.name_any() == zone::policy::NAME {
            queue.push(ObjectRef::new(&policy.namespace().unwrap_or_default()));
            tell();
        }
    });
    let queue = fences.clone();
    let zone_of = |vlan: &VLAN| vlan.status.as_ref().and_then(|status| status.zone.clone());
    world.vlan_claims.on_change_of(zone_of, move |vlan| {
        queue.push(ObjectRef::new(&vlan.namespace().unwrap_or_default()));
    });
    let queue = fences.clone();
    let pools = |claim: &IPClaim| -> Vec<String> {
        let addresses = claim.status.iter().flat_map(|status| &status.addresses);
        addresses.map(|address| address.pool.clone()).collect()
    };
    world.claims.on_change_of(pools, move |claim| {
        queue.push(ObjectRef::new(&claim.namespace().unwrap_or_default()));
    });
}

/// What a VLAN waits for: its pool, room in it, the zone of its prefix, its namespace.
fn vlan_events(world: &Arc<World>, pools: &Queue<VLANPool>, vlans: &Queue<VLAN>) {
    let push_unbound = |world: &Weak<World>, queue: &Queue<VLAN>| {
        let Some(world) = world.upgrade() else { return };
        let is_unbound = |vlan: &VLAN| {
            vlan.status.as_ref().and_then(|status| status.phase) != Some(ClaimPhase::Bound)
        };
        world.vlan_claims.push_oldest_first(queue, is_unbound);
    };
    let (near, queue) = (Arc::downgrade(world), vlans.clone());
    let room = |pool: &VLANPool| {
        (pool.metadata.generation, pool.status.as_ref().and_then(|status| status.free.clone()))
    };
    world.vlan_pools.on_change_of(room, move |_| push_unbound(&near, &queue));
    let (near, queue) = (Arc::downgrade(world), vlans.clone());
    let zone_of = |prefix: &Prefix| prefix.status.as_ref().and_then(|status| status.zone.clone());
    world.prefixes.on_change_of(zone_of, move |_| push_unbound(&near, &queue));
    let (near, queue) = (Arc::downgrade(world), vlans.clone());
    world.namespaces.on_change(move |namespace| {
        if let Some(world) = near.upgrade() {
            world.vlan_claims.push_in(&namespace.name_any(), &queue);
        }
    });
    // A pool that was refused its ranges may get them when the register changes.
    let (near, queue) = (Arc::downgrade(world), pools.clone());
    world.fabrics.on_change(move |fabric| {
        let (name, Some(world)) = (fabric.name_any(), near.upgrade()) else { return };
        world.vlan_pools.push_where(&queue, |pool| pool.spec.fabric == name);
    });
}

/// Claims of a pool that have nothing yet get another try when the pool changes, the oldest first.
fn push_unbound(world: &Weak<World>, pool: &IPPool, claims: &Queue<IPClaim>) {
    let Some(world) = world.upgrade() else { return };
    let is_meant = |claim: &IPClaim| {
        let is_bound = claim.status.as_ref().and_then(|status| status.phase);
        let names = claim.spec.pool_ref.as_ref().is_some_and(|name| name.name == pool.name_any());
        let chooses =
            claim.spec.pool_selector.as_ref().is_some_and(|one| one.matches(pool.labels()));
        is_bound != Some(ClaimPhase::Bound) && (names || chooses)
    };
    world.claims.push_oldest_first(claims, is_meant);
}

/// What is tried again by itself the next time.
fn tried_again<T>(what: &'static str, result: Result<T, impl std::error::Error + 'static>) {
    if let Err(error) = result {
        tracing::warn!(error = %ErrorChain(&error), "{what}, trying again");
    }
}
