//! What must be true: of a plan made on the newest state, and of the stored objects at every moment.

use super::World;
use crate::plain::{Live, Plain, Question, Resting, spanned};
use ids::{AccountId, ResourceUid};
use ipam::address::{Address, BlockId, Family};
use ipam::audit::recount;
use ipam::block::{Block, Holding, SlotState};
use ipam::plan::{Batch, Claim, Outcome, Refusal, Released, Verdict};
use ipam::pool::Strategy;
use ipam::space::Space;
use std::collections::{BTreeMap, BTreeSet};

impl World {
    /// What must be true of a plan made on the newest state: each choice is the rule's, each refusal is true.
    pub(super) fn check_rules(&mut self, before: &Space, batch: &Batch, outcome: &Outcome) {
        let mut plain = self.plain.clone();
        let now = self.now;
        plain.resting.retain(|_, resting| resting.until > now);
        for (release, released) in batch.releases.iter().zip(&outcome.releases) {
            if *released == Released::NoMatch {
                continue;
            }
            let live = plain.live.remove(&release.address).expect("released what nobody has");
            if let Released::Quarantined(until) = released {
                let Live { tenant, sticky_key, .. } = live;
                plain
                    .resting
                    .insert(release.address, Resting { tenant, sticky_key, until: *until });
            }
        }
        let mut known: BTreeSet<BlockId> = before.blocks().map(Block::id).collect();
        let stored: BTreeMap<BlockId, Block> =
            before.blocks().map(|block| (block.id(), block.clone())).collect();
        let claims: BTreeMap<ResourceUid, &Claim> =
            batch.claims.iter().map(|claim| (claim.uid, claim)).collect();
        for (uid, verdict) in &outcome.verdicts {
            let claim = claims[uid];
            match verdict {
                Verdict::Refused(refusal) => self.check_refusal(&plain, claim, refusal),
                Verdict::Bound(bound) => {
                    let mut numbers: BTreeMap<Family, u16> = BTreeMap::new();
                    for family in claim.families.list() {
                        let of = bound.iter().filter(|one| one.address.family() == *family);
                        assert_eq!(of.count(), usize::from(claim.count), "all or nothing");
                    }
                    for one in bound {
                        let number = numbers.entry(one.address.family()).or_default();
                        let family = one.address.family();
                        // Of many addresses of one claim the first ones and then each eighth: going through all takes long.
                        let is_looked_at = *number < 3 || number.is_multiple_of(8);
                        if one.why.is_some() && claim.address.is_none() && is_looked_at {
                            let pool = self.pools.iter().find(|pool| pool.uid == one.pool).unwrap();
                            let usable = &self.usable[&one.pool];
                            let (plain, known, stored) = (&plain, &known, &stored);
                            let question = Question {
                                plain,
                                pool,
                                usable,
                                known,
                                stored,
                                claim,
                                family,
                                number: *number,
                            };
                            assert_eq!(
                                Some(one.address),
                                question.answer(),
                                "{:?} {:?}",
                                pool.strategy,
                                one
                            );
                        }
                        *number += 1;
                        if one.why.is_some() {
                            plain.take(claim, one.pool, one.address, one.is_held);
                            known.insert(BlockId::of(one.address).0);
                        }
                    }
                }
            }
        }
    }

    fn check_refusal(&self, plain: &Plain, claim: &Claim, refusal: &Refusal) {
        match refusal {
            Refusal::InUse { address } => assert!(plain.live.contains_key(address)),
            Refusal::Quarantined { address, until } => {
                assert_eq!(plain.resting.get(address).map(|one| one.until), Some(*until));
            }
            Refusal::OutOfRange { address } | Refusal::Excluded { address, .. } => {
                assert!(!claim.pools.iter().any(|pool| self.usable[pool].contains(address)));
            }
            Refusal::PoolExhausted { pool, family, wanted, .. } => {
                let declared = self.pools.iter().find(|one| one.uid == *pool).unwrap();
                if declared.is_exclusive() || claim.sticky_key.is_some() {
                    return;
                }
                let usable = self.usable[pool].iter().filter(|one| one.family() == *family);
                let free = usable
                    .filter(|one| !plain.live.contains_key(one) && !plain.resting.contains_key(one))
                    .count();
                assert!(free < usize::from(*wanted), "{free} are free");
            }
            Refusal::KeptForOlder { .. }
            | Refusal::NoIsolatedSlot { .. }
            | Refusal::BlockTaken { .. } => {}
            Refusal::NoSuchFamily { pool, family } => {
                assert!(!self.usable[pool].iter().any(|one| one.family() == *family));
            }
            other => panic!("not expected here: {other}"),
        }
    }

    /// What holds of the stored objects at every moment.
    pub fn check(&self) {
        let mut live = BTreeMap::new();
        let mut resting = BTreeMap::new();
        for (_, block) in self.store.values() {
            for Holding { address, slot } in block.holdings() {
                let sticky_key = slot.sticky_key.as_deref().map(str::to_owned);
                let (owner, tenant, pool) = (slot.owner, slot.tenant, slot.pool);
                match slot.state {
                    SlotState::Quarantined { until } if until > self.now => {
                        resting.insert(address, Resting { tenant, sticky_key, until });
                    }
                    SlotState::Quarantined { .. } => {}
                    state => {
                        let is_held = state == SlotState::Held;
                        live.insert(address, Live { owner, tenant, pool, sticky_key, is_held });
                    }
                }
            }
        }
        assert_eq!(live, self.plain.live);
        let rests: BTreeMap<Address, Resting> = self
            .plain
            .resting
            .iter()
            .filter(|(_, resting)| resting.until > self.now)
            .map(|(address, resting)| (*address, resting.clone()))
            .collect();
        assert_eq!(resting, rests);
        for (uid, object) in &self.objects {
            for address in object.status.iter().flatten().filter(|_| !object.deleting) {
                assert_eq!(
                    live.get(address).map(|one| one.owner),
                    Some(*uid),
                    "{address} of a bound claim"
                );
            }
        }
        self.check_pools();
    }

    fn check_pools(&self) {
        let view = self.fresh_writer().view;
        for pool in &self.pools {
            for family in [Family::V4, Family::V6] {
                let counts = view.counts(pool.uid, family);
                assert!(counts.add_up(), "{counts:?}");
                let usable = &self.usable[&pool.uid];
                let of = |one: &&Address| one.family() == family && usable.contains(*one);
                let spanned = spanned(pool).iter().filter(|one| one.family() == family).count();
                assert_eq!(counts.total, spanned as u128);
                assert_eq!(counts.allocated, self.plain.live.keys().filter(of).count() as u128);
                let usable = usable.iter().filter(|one| one.family() == family).count();
                assert_eq!(counts.excluded, (spanned - usable) as u128);
                let scores = view.scores(pool.uid, family);
                if pool.strategy == (Strategy::Dispersed { strict: true }) && !self.pools_change {
                    assert_eq!(scores.foreign_neighbours, 0);
                }
            }
            if pool.is_exclusive() && !self.pools_change {
                let mut tenants: BTreeMap<BlockId, BTreeSet<AccountId>> = BTreeMap::new();
                for (address, one) in self.plain.live.iter().filter(|(_, one)| one.pool == pool.uid)
                {
                    tenants.entry(BlockId::of(*address).0).or_default().insert(one.tenant);
                }
                assert!(tenants.values().all(|tenants| tenants.len() == 1));
            }
        }
        for writer in &self.writers {
            for ((pool, family), counted) in recount(&writer.view) {
                assert!(counted.add_up(), "{counted:?}");
                assert_eq!(writer.view.counts(pool, family), counted, "a counter has drifted");
            }
        }
    }
}
