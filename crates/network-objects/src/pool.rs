//! A pool as declared.

use crate::text::{Unreadable, address, range};
use crds::network::{AddressRange, IPPool, PoolStrategy};
use ids::ResourceUid;
use ipam::address::Cidr;
use ipam::pool::{Allowed, Pool, QUARANTINE_SECONDS_DEFAULT, Strategy};

/// The pool in the network of its prefix; its zone may make it exclusive, which it does not know.
///
/// # Errors
/// The first field that cannot be read.
pub fn declared(object: &IPPool, uid: ResourceUid, cidr: Cidr) -> Result<Pool, Unreadable> {
    let spec = &object.spec;
    let ranges = |field, texts: &[AddressRange]| {
        texts.iter().map(|text| range(field, text.as_str())).collect::<Result<Vec<_>, _>>()
    };
    let declared = ranges("spec.ranges", &spec.ranges)?;
    let gateway = spec.gateway.as_ref().map(|text| address("spec.gateway", text.as_str()));
    Ok(Pool {
        uid,
        ranges: if declared.is_empty() { vec![cidr.range()] } else { declared },
        on_link: vec![cidr],
        excluded: ranges("spec.exclude", &spec.exclude)?,
        gateways: gateway.transpose()?.into_iter().collect(),
        allow_edges: spec.allow_reserved_addresses.unwrap_or(false),
        avoid_zero_and_255: spec.avoid_zero_and_255.unwrap_or(false),
        strategy: match spec.strategy.unwrap_or(PoolStrategy::Sequential) {
            PoolStrategy::Sequential => Strategy::Sequential,
            PoolStrategy::TenantRun => Strategy::TenantRun,
            PoolStrategy::Dispersed => Strategy::Dispersed { strict: spec.strict.unwrap_or(true) },
            PoolStrategy::ExclusiveBlock => Strategy::ExclusiveBlock,
            PoolStrategy::LeastRecentlyUsed => Strategy::LeastRecentlyUsed,
        },
        exclusive: false,
        quarantine_seconds: spec
            .quarantine_seconds
            .and_then(|seconds| seconds.try_into().ok())
            .unwrap_or(QUARANTINE_SECONDS_DEFAULT),
        sticky: spec.sticky.unwrap_or(true),
        // Tenants are judged by name where the claim is resolved.
        allowed: Allowed::Everybody,
        disabled: spec.disabled.unwrap_or(false),
    })
}
