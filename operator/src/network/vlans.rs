//! Who holds which VLAN id: the one writer of the pools' tables and of the fabrics' registers.
//!
//! An id has one owner on its fabric, because ranges of two pools of a fabric never overlap (the register in the
//! VLANFabric) and an id of a pool has one owner (the table in the VLANPool). Both are changed by compare-and-swap.

mod register;
mod table;

use crds::network::{VLANFabric, VLANPool};
use ids::{ResourceUid, well_known};
use ipam::vlan::{VlanClaim, VlanRange, VlanVerdict};
use operator_kit::cache::Cache;
use operator_kit::group_commit::{CommitError, GroupCommit};
use operator_kit::{Applier, Clock};
use register::Registers;
use std::sync::Arc;
use table::{Ask, Tables};

/// Why nothing is known of what was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It could not be written.
    #[error("write VLAN ids")]
    Commit(#[from] CommitError),
    /// A table contradicts itself.
    #[error("read VLAN ids")]
    Unreadable(#[from] table::Unreadable),
}

/// See the module.
pub struct Vlans {
    pools: GroupCommit<Tables>,
    fabrics: GroupCommit<Registers>,
}

impl Vlans {
    /// Writes what is in these caches.
    pub fn new(
        pools: Arc<Cache<VLANPool>>,
        fabrics: Arc<Cache<VLANFabric>>,
        applier: &Applier,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let manager = well_known::VLAN_MANAGER;
        Self {
            pools: GroupCommit::new(Tables::new(clock), pools, applier.clone(), manager),
            fabrics: GroupCommit::new(Registers, fabrics, applier.clone(), manager),
        }
    }

    /// An id of the pool for the claim, or why there is none; nothing when the pool is gone.
    ///
    /// # Errors
    /// [`Error`]; asking again finds by the claim's UID what was done.
    pub async fn claim(&self, pool: &str, claim: VlanClaim) -> Result<Option<VlanVerdict>, Error> {
        Ok(self.pools.ask(Ask::Claim { pool: pool.to_owned(), claim }).await??)
    }

    /// Gives back whatever the claim of this UID holds.
    ///
    /// # Errors
    /// As [`Vlans::claim`].
    pub async fn release(&self, owner: ResourceUid) -> Result<(), Error> {
        self.pools.ask(Ask::Release { owner }).await??;
        Ok(())
    }

    /// Frees ids of the pool that have rested long enough.
    ///
    /// # Errors
    /// As [`Vlans::claim`].
    pub async fn tick(&self, pool: &str) -> Result<(), Error> {
        self.pools.ask(Ask::Tick { pool: pool.to_owned() }).await??;
        Ok(())
    }

    /// Lets ids of these ranges be handed out, which stand in the fabric's register.
    ///
    /// # Errors
    /// As [`Vlans::claim`].
    pub async fn registered(&self, pool: &str, ranges: Vec<VlanRange>) -> Result<(), Error> {
        self.pools.ask(Ask::Registered { pool: pool.to_owned(), ranges }).await??;
        Ok(())
    }

    /// Books ranges for a pool on its fabric, in place of those it had; none gives them all back. Why not, in words.
    ///
    /// # Errors
    /// As [`Vlans::claim`].
    pub async fn register(
        &self,
        fabric: &str,
        name: &str,
        pool: ResourceUid,
        ranges: Vec<VlanRange>,
    ) -> Result<Result<(), String>, CommitError> {
        let (fabric, name) = (fabric.to_owned(), name.to_owned());
        self.fabrics.ask(register::Ask { fabric, name, pool, ranges }).await
    }
}
