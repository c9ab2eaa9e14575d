//! Who holds which address: the one writer of all blocks.
//!
//! Passes do not write blocks. They ask here, and all who ask while a write is under way are served by the next one. A
//! second process that writes too, by mistake or by a pause, is refused by the API server or finds by the owner's UID what
//! was done; nothing here depends on being alone.

mod ledger;

pub use ledger::Standing;

use super::audit::Told;
use crds::network::IPBlock;
use ids::{ResourceUid, well_known};
use ipam::address::Address;
use ipam::audit::Report;
use ipam::plan::{Claim, Refusal, Verdict};
use ipam::pool::{Pool, PoolRefused};
use ledger::{Answer, Ask, Blocks};
use operator_kit::cache::Cache;
use operator_kit::group_commit::{CommitError, GroupCommit};
use operator_kit::{Applier, Clock};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The writer of blocks.
pub struct Addresses(GroupCommit<Blocks>);

/// Told of claims, as `namespace/name`, that should ask again because something became free.
pub type Wake = Box<dyn Fn(&str) + Send + Sync>;

impl Addresses {
    /// Writes the blocks of `cache`.
    pub fn new(
        cache: Arc<Cache<IPBlock>>,
        applier: Applier,
        clock: Arc<dyn Clock>,
        wake: Wake,
    ) -> Self {
        let ledger = Blocks::new(clock, wake);
        Self(GroupCommit::new(ledger, cache, applier, well_known::ADDRESS_MANAGER))
    }

    /// All that the claim asks for, or why it has nothing.
    ///
    /// # Errors
    /// [`CommitError`]; asking again finds by the claim's UID what was done.
    pub async fn claim(&self, space: &str, claim: Claim) -> Result<Verdict, CommitError> {
        let ask = Ask::Claim { space: space.to_owned(), claim: Box::new(claim) };
        let Answer::Verdict(verdict) = self.0.ask(ask).await? else {
            return Ok(Verdict::Refused(Refusal::NoPool));
        };
        Ok(verdict)
    }

    /// Turns what the claim's status now names from held into its own.
    ///
    /// # Errors
    /// As [`Addresses::claim`].
    pub async fn publish(&self, owner: ResourceUid) -> Result<(), CommitError> {
        self.0.ask(Ask::Publish { owner }).await.map(|_| ())
    }

    /// Gives everything back that the claim of this UID holds, and forgets that it waits. False, and nothing done, while a
    /// pool of it that is among `pools` is not declared yet: how long an address rests is the pool's to say.
    ///
    /// # Errors
    /// As [`Addresses::claim`].
    pub async fn release(
        &self,
        owner: ResourceUid,
        pools: BTreeSet<ResourceUid>,
    ) -> Result<bool, CommitError> {
        Ok(!matches!(self.0.ask(Ask::Release { owner, pools }).await?, Answer::NotYet))
    }

    /// Declares a pool, or asks how it stands when nothing about it has changed.
    ///
    /// # Errors
    /// As [`Addresses::claim`]; within, what is wrong with the pool.
    pub async fn pool(
        &self,
        space: &str,
        pool: Pool,
    ) -> Result<Result<Standing, PoolRefused>, CommitError> {
        let ask = Ask::Pool { space: space.to_owned(), pool: Box::new(pool) };
        let Answer::Pool(answer) = self.0.ask(ask).await? else {
            return Ok(Ok(Standing::default()));
        };
        Ok(*answer)
    }

    /// Takes a pool away unless somebody holds an address of it; how many do.
    ///
    /// # Errors
    /// As [`Addresses::claim`].
    pub async fn drop_pool(&self, pool: ResourceUid) -> Result<u128, CommitError> {
        let Answer::Live(live) = self.0.ask(Ask::DropPool { pool }).await? else { return Ok(0) };
        Ok(live)
    }

    /// Takes a claim out of the lines of those that wait, since it cannot be served whatever becomes free.
    ///
    /// # Errors
    /// As [`Addresses::claim`].
    pub async fn withdraw(&self, owner: ResourceUid) -> Result<(), CommitError> {
        self.0.ask(Ask::Withdraw { owner }).await.map(|_| ())
    }

    /// Compares the slots with what claims say to have, by address space.
    ///
    /// # Errors
    /// As [`Addresses::claim`].
    pub async fn audit(
        &self,
        told: Told,
    ) -> Result<BTreeMap<String, Report<Address>>, CommitError> {
        let Answer::Audited(reports) = self.0.ask(Ask::Audit { told }).await? else {
            return Ok(BTreeMap::new());
        };
        Ok(reports)
    }

    /// Frees what has rested long enough, and wakes who waits for it.
    ///
    /// # Errors
    /// As [`Addresses::claim`].
    pub async fn tick(&self) -> Result<(), CommitError> {
        self.0.ask(Ask::Tick).await.map(|_| ())
    }
}
