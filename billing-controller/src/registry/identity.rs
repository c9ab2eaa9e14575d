//! Who owns what, for the intake: a memory that only decides into which shard a sample goes first.
//!
//! A wrong or missing answer loses nothing: the fold itself decides by the registry, and forwards what is not its own.

use crate::intake::meters::{Identity, MeterIndex, SampledMeter};
use crds::Meter;
use ids::{AccountId, ResourceUid};
use kube::ResourceExt;
use metering::MeterName;
use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};
use store::PgPool;

/// Owners of resources, and the meters that read samples.
#[derive(Default)]
pub struct KnownOwners {
    owners: RwLock<BTreeMap<ResourceUid, AccountId>>,
    meters: RwLock<Arc<MeterIndex>>,
}

impl KnownOwners {
    /// The owners that have been registered so far.
    ///
    /// # Errors
    /// The database refused or could not be reached.
    pub async fn load(pool: &PgPool) -> Result<Self, store::Error> {
        let acquire = |source| store::Error::Database { act: "load the owners", source };
        let mut connection = pool.acquire().await.map_err(acquire)?;
        let rows = store::registry::resources_all(&mut connection).await?;
        // In order of beginning within a resource's account; the last one that begins wins.
        let owners = rows
            .into_iter()
            .map(|row| (ResourceUid(row.resource_uid), AccountId(row.tenant)))
            .collect();
        Ok(Self { owners: RwLock::new(owners), meters: RwLock::default() })
    }

    /// Notes an owner.
    pub(super) fn set(&self, resource: ResourceUid, owner: AccountId) {
        if self.account_of(resource) != Some(owner) {
            self.owners.write().unwrap_or_else(PoisonError::into_inner).insert(resource, owner);
        }
    }

    /// Notes the meters as they are declared now.
    pub(super) fn set_meters(&self, meters: &[Arc<Meter>]) {
        let sampled = meters.iter().filter_map(|meter| {
            let source = meter.spec.source.prometheus.as_ref()?;
            Some(SampledMeter {
                name: MeterName::from(meter.name_any()),
                metric: source.metric.clone(),
                match_labels: source.match_labels.clone(),
                resource_label: source.resource_label.clone(),
                part_label: source.part_label.clone(),
                base_units_per_unit: meter.spec.base_units_per_unit,
            })
        });
        let index = Arc::new(MeterIndex::new(sampled));
        let mut known = self.meters.write().unwrap_or_else(PoisonError::into_inner);
        if **known != *index {
            *known = index;
        }
    }
}

impl Identity for KnownOwners {
    fn account_of(&self, resource: ResourceUid) -> Option<AccountId> {
        self.owners.read().unwrap_or_else(PoisonError::into_inner).get(&resource).copied()
    }

    fn meters(&self) -> Arc<MeterIndex> {
        Arc::clone(&self.meters.read().unwrap_or_else(PoisonError::into_inner))
    }
}
