//! A pool of VLAN ids with its table.

use crate::text::seconds;
use calendar::Instant;
use crds::network::{VLANPool, VLANPoolStatus, VlanOwner, VlanState};
use ipam::block::SlotState;
use ipam::pool::{Allowed, QUARANTINE_SECONDS_DEFAULT};
use ipam::vlan::{Table, Tag, VlanId, VlanPool, VlanRange, VlanRefused};
use k8s_openapi::ByteString;
use std::sync::Arc;

/// Counts the changes of the table.
pub fn sequence(object: &VLANPool) -> i64 {
    object.status.as_ref().and_then(|status| status.sequence).unwrap_or(0)
}

/// The pool as declared; tenants are judged by name where the claim is resolved.
///
/// # Errors
/// The first range that cannot be read.
pub fn pool_of(object: &VLANPool) -> Result<VlanPool, VlanRefused> {
    let spec = &object.spec;
    let ranges: Result<Vec<VlanRange>, VlanRefused> =
        spec.ranges.iter().map(|text| text.as_str().parse()).collect();
    Ok(VlanPool {
        ranges: ranges?,
        quarantine_seconds: spec
            .quarantine_seconds
            .and_then(|seconds| seconds.try_into().ok())
            .unwrap_or(QUARANTINE_SECONDS_DEFAULT),
        allowed: Allowed::Everybody,
        disabled: spec.disabled.unwrap_or(false),
    })
}

/// The table in an object; none when no writer of ours wrote it.
pub fn read(object: &VLANPool) -> Option<Table> {
    let generation = u64::try_from(sequence(object)).ok()?;
    let owners = object.status.iter().flat_map(|status| &status.owners);
    let tags: Option<Vec<(VlanId, Tag)>> = owners.map(tag).collect();
    Table::from_parts(generation, tags?).ok()
}

fn tag(owner: &VlanOwner) -> Option<(VlanId, Tag)> {
    let id = VlanId::new(u16::try_from(owner.id).ok()?).ok()?;
    let state = match owner.state {
        VlanState::Allocated => SlotState::Allocated,
        VlanState::Quarantined => {
            SlotState::Quarantined { until: Instant::from_timestamp(owner.until.as_ref()?.0) }
        }
    };
    let tag = Tag {
        state,
        owner: owner.uid.parse().ok()?,
        reference: Arc::from(owner.reference.as_str()),
        tenant: owner.tenant.parse().ok()?,
        since: Instant::from_timestamp(owner.since.0),
        seq: owner.seq.try_into().ok()?,
    };
    Some((id, tag))
}

/// The object with another table.
pub fn write(object: &VLANPool, table: &Table) -> VLANPool {
    let mut next = object.clone();
    let owner = |(id, tag): (&VlanId, &Tag)| {
        let (state, until) = match tag.state {
            SlotState::Held | SlotState::Allocated => (VlanState::Allocated, None),
            SlotState::Quarantined { until } => (VlanState::Quarantined, Some(until)),
        };
        VlanOwner {
            id: i64::from(id.number()),
            state,
            uid: tag.owner.to_string(),
            reference: tag.reference.to_string(),
            tenant: tag.tenant.to_string(),
            since: seconds(tag.since, false),
            until: until.map(|until| seconds(until, true)),
            seq: i64::try_from(tag.seq).unwrap_or(i64::MAX),
        }
    };
    let status = next.status.get_or_insert_with(VLANPoolStatus::default);
    status.owners = table.tags().iter().map(owner).collect();
    let bitmap = serde_json::to_value(ByteString(table.bitmap().to_vec()));
    status.bitmap = bitmap.ok().and_then(|value| value.as_str().map(str::to_owned));
    status.sequence = i64::try_from(table.generation()).ok();
    next
}
