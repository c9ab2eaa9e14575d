//! Price versions that have been needed so far. They never change, so what is read once stays true.

use metering::PlanUid;
use pricing::PlanVersion;
use std::collections::BTreeMap;
use store::{PgConnection, PgPool};

/// Why price versions could not be read.
#[derive(Debug, thiserror::Error)]
pub enum CatalogueError {
    /// The database refused or could not be reached.
    #[error("read price versions")]
    Store(#[from] store::Error),
    /// A stored version cannot be read by this program.
    #[error(
        "read version {generation} of plan {plan}: it was stored by another release; upgrade this program"
    )]
    Content {
        /// The plan's name.
        plan: String,
        /// The generation.
        generation: i64,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
}

impl CatalogueError {
    /// Whether what is stored is at fault: trying again changes nothing.
    pub fn is_refusal(&self) -> bool {
        match self {
            Self::Store(error) => error.is_refusal(),
            Self::Content { .. } => true,
        }
    }
}

/// Versions by plan and generation.
#[derive(Debug, Clone, Default)]
pub struct Catalogue {
    plans: BTreeMap<PlanUid, BTreeMap<i64, PlanVersion>>,
}

impl Catalogue {
    /// Reads the versions of `plan` if `generation` is not known yet.
    ///
    /// # Errors
    /// [`CatalogueError`].
    pub async fn ensure(
        &mut self,
        pool: &PgPool,
        plan: PlanUid,
        generation: i64,
    ) -> Result<(), CatalogueError> {
        if self.plans.get(&plan).is_some_and(|versions| versions.contains_key(&generation)) {
            return Ok(());
        }
        let acquire = |source| store::Error::Database { act: "read price versions", source };
        let mut connection = pool.acquire().await.map_err(acquire)?;
        let versions = versions_of(&mut connection, plan).await?;
        self.plans.insert(plan, versions);
        Ok(())
    }

    /// The versions of a plan that are known, by generation.
    pub fn versions(&self, plan: PlanUid) -> Option<&BTreeMap<i64, PlanVersion>> {
        self.plans.get(&plan)
    }

    /// Adds a version; for who has it at hand.
    pub fn insert(&mut self, plan: PlanUid, generation: i64, version: PlanVersion) {
        self.plans.entry(plan).or_default().insert(generation, version);
    }
}

/// All stored versions of a plan.
///
/// # Errors
/// [`CatalogueError`].
pub async fn versions_of(
    connection: &mut PgConnection,
    plan: PlanUid,
) -> Result<BTreeMap<i64, PlanVersion>, CatalogueError> {
    let rows = store::catalogue::plan_versions_of(connection, plan.0).await?;
    rows.into_iter()
        .map(|row| {
            let generation = row.generation;
            let content = serde_json::from_value(row.content).map_err(|source| {
                CatalogueError::Content { plan: row.plan_name.clone(), generation, source }
            })?;
            Ok((generation, content))
        })
        .collect()
}
