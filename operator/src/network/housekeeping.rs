//! What happens by the passing of time: addresses have rested long enough, pools tell how they stand.
//!
//! A pool's figures follow its blocks, which change with every batch of claims. They are told every few seconds instead, so
//! that telling costs nothing beside claiming.

use crate::world::World;
use crds::network::{IPPool, VLANPool};
use ids::ResourceUid;
use kube::ResourceExt;
use operator_kit::controller::Queue;
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How often; also how late a rested address may be free.
const EVERY: Duration = Duration::from_secs(2);

/// Pools whose blocks have changed, by UID.
type Dirty = Arc<Mutex<BTreeSet<ResourceUid>>>;

/// Runs until `stop`.
pub fn run(
    world: &Arc<World>,
    pools: Queue<IPPool>,
    stop: CancellationToken,
) -> impl Future<Output = &'static str> + use<> {
    let dirty = Dirty::default();
    let (noted, before) = (Arc::clone(&dirty), Mutex::new(BTreeMap::new()));
    world.blocks.on_change(move |block| {
        let slots = block.status.iter().flat_map(|status| &status.slots);
        let uids: BTreeSet<ResourceUid> =
            slots.filter_map(|slot| slot.pool.parse::<ResourceUid>().ok()).collect();
        let mut before = before.lock().unwrap_or_else(PoisonError::into_inner);
        // The pool of a slot that has just become free is in the earlier version only.
        let earlier = before.insert(block.name_any(), uids.clone()).unwrap_or_default();
        noted
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend(uids.into_iter().chain(earlier));
    });
    let world = Arc::clone(world);
    async move {
        let mut interval = tokio::time::interval(EVERY);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while stop.run_until_cancelled(interval.tick()).await.is_some() {
            let freed = world.addresses.tick().await;
            super::tried_again("rested addresses could not be freed", freed);
            for pool in world.vlan_pools.store().state_filter(rests_enough(&world)) {
                let freed = world.vlans.tick(&pool.name_any()).await;
                super::tried_again("rested VLAN ids could not be freed", freed);
            }
            let changed =
                std::mem::take(&mut *dirty.lock().unwrap_or_else(PoisonError::into_inner));
            let is_meant = |pool: &IPPool| {
                pool.uid()
                    .and_then(|uid| uid.parse::<ResourceUid>().ok())
                    .is_some_and(|uid| changed.contains(&uid))
            };
            world.pools.push_where(&pools, is_meant);
        }
        "addresses' housekeeping"
    }
}

/// Whether an id of a pool has rested long enough.
fn rests_enough(world: &World) -> impl Fn(&VLANPool) -> bool + use<> {
    let now = world.clock.now();
    move |pool| {
        let owners = pool.status.iter().flat_map(|status| &status.owners);
        owners.filter_map(|owner| owner.until.as_ref()).any(|until| until.0 <= now)
    }
}
