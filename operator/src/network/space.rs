//! AddressSpace: the roots in it are booked in its table; here it says how much there is.

use crate::report::{TellError, Verdict, tell};
use crate::world::World;
use crds::network::{AddressCounts, AddressFamily, AddressSpace, IPPool, Prefix, SpaceTotals};
use ids::well_known;
use kube::ResourceExt;
use operator_kit::apply::ApplyError;
use operator_kit::controller::Outcome;
use operator_kit::words::named;
use std::sync::Arc;

/// Why a pass failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A finalizer could not be written.
    #[error("hold AddressSpace")]
    Apply(#[from] ApplyError),
    /// The status could not be told.
    #[error("report on AddressSpace")]
    Tell(#[from] TellError),
}

/// One pass.
pub async fn reconcile(object: Arc<AddressSpace>, world: Arc<World>) -> Result<Outcome, Error> {
    let mut status = object.status.clone().unwrap_or_default();
    let verdict = if object.metadata.deletion_timestamp.is_some() {
        let roots: Vec<String> = status.roots.iter().map(|root| root.name.clone()).collect();
        if roots.is_empty() {
            world.applier.remove_finalizer(object.as_ref(), well_known::TREE_FINALIZER).await?;
            return Ok(Outcome::Converged);
        }
        let message = format!("prefixes in it: {}; delete those first", named(roots));
        Verdict::Waiting("InUse", message)
    } else {
        if world.applier.add_finalizers(object.as_ref(), &[well_known::TREE_FINALIZER]).await? {
            return Ok(Outcome::Converged);
        }
        Verdict::Ready("Open", "takes prefixes".to_owned())
    };
    status.totals = Some(totals(&object.name_any(), &world));
    Ok(tell(&world, object.as_ref(), object.status.as_ref(), status, &verdict).await?)
}

fn totals(name: &str, world: &World) -> SpaceTotals {
    let is_here = |space: Option<&String>| space.is_some_and(|space| space == name);
    let prefix_is_here =
        |prefix: &Prefix| is_here(prefix.status.as_ref().and_then(|status| status.space.as_ref()));
    let pool_is_here =
        |pool: &IPPool| is_here(pool.status.as_ref().and_then(|status| status.space.as_ref()));
    let pools = world.pools.store().state_filter(pool_is_here);
    SpaceTotals {
        prefixes: world.prefixes.store().state_filter(prefix_is_here).len().to_string(),
        pools: pools.len().to_string(),
        ipv4: counts(&pools, AddressFamily::IPv4),
        ipv6: counts(&pools, AddressFamily::IPv6),
    }
}

/// The sums over the pools of a family; none where there is no pool.
fn counts(pools: &[Arc<IPPool>], family: AddressFamily) -> Option<AddressCounts> {
    let told = pools.iter().filter_map(|pool| pool.status.as_ref());
    let told: Vec<_> = told.filter(|status| status.family == Some(family)).collect();
    let sum = |figure: fn(&crds::network::IPPoolStatus) -> Option<&String>| {
        let figures = told.iter().filter_map(|status| figure(status)?.parse::<u128>().ok());
        figures.fold(0, u128::saturating_add).to_string()
    };
    (!told.is_empty()).then(|| AddressCounts {
        total: sum(|status| status.total.as_ref()),
        free: sum(|status| status.free.as_ref()),
        used: sum(|status| status.used.as_ref()),
        quarantined: sum(|status| status.quarantined.as_ref()),
        excluded: sum(|status| status.excluded.as_ref()),
    })
}
