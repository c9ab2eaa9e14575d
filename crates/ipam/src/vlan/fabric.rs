//! The register of a fabric: which pool has which ranges of ids.

use super::VlanRange;
use ids::ResourceUid;
use std::collections::BTreeMap;

/// Disjoint ranges and the pools they belong to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Fabric {
    ranges: BTreeMap<VlanRange, ResourceUid>,
}

/// Why a pool cannot have its ranges on a fabric.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FabricRefused {
    /// No range at all.
    #[error("the pool has no ranges; add an id like 100, or a range like 100-199")]
    NoRanges,
    /// A range repeats another of the same pool.
    #[error("ranges {range} and {other} of the pool overlap")]
    RangeTwice {
        /// As asked.
        range: VlanRange,
        /// The one that it overlaps.
        other: VlanRange,
    },
    /// Another pool has some of it.
    #[error("range {range} overlaps {other} of pool {pool} on this fabric")]
    Overlaps {
        /// As asked.
        range: VlanRange,
        /// The one that it overlaps.
        other: VlanRange,
        /// UID of the pool that has it.
        pool: ResourceUid,
    },
}

impl Fabric {
    /// The register as read from its object.
    ///
    /// # Errors
    /// The first range that overlaps another.
    pub fn from_parts(
        parts: impl IntoIterator<Item = (VlanRange, ResourceUid)>,
    ) -> Result<Self, FabricRefused> {
        let mut fabric = Self::default();
        for (range, pool) in parts {
            fabric.check(pool, range, &[])?;
            fabric.ranges.insert(range, pool);
        }
        Ok(fabric)
    }

    /// All ranges, ascending.
    pub fn ranges(&self) -> impl Iterator<Item = (VlanRange, ResourceUid)> {
        self.ranges.iter().map(|(range, pool)| (*range, *pool))
    }

    /// Books exactly these ranges for a pool, in place of those it had. Ids that are still in use in the pool's table have to
    /// stay in its ranges: ask [`Table::in_the_way`](super::Table::in_the_way) first. Done again, it changes nothing.
    ///
    /// # Errors
    /// Why it cannot have them; then nothing has changed.
    pub fn book(&mut self, pool: ResourceUid, ranges: &[VlanRange]) -> Result<(), FabricRefused> {
        if ranges.is_empty() {
            return Err(FabricRefused::NoRanges);
        }
        for (number, range) in ranges.iter().enumerate() {
            self.check(pool, *range, ranges.get(..number).unwrap_or_default())?;
        }
        self.release(pool);
        self.ranges.extend(ranges.iter().map(|range| (*range, pool)));
        Ok(())
    }

    /// Gives the ranges of a pool back.
    pub fn release(&mut self, pool: ResourceUid) {
        self.ranges.retain(|_, owner| *owner != pool);
    }

    fn check(
        &self,
        pool: ResourceUid,
        range: VlanRange,
        own: &[VlanRange],
    ) -> Result<(), FabricRefused> {
        if let Some(other) = own.iter().find(|other| other.overlaps(&range)) {
            return Err(FabricRefused::RangeTwice { range, other: *other });
        }
        let overlapping =
            |(other, owner): &(&VlanRange, &ResourceUid)| **owner != pool && other.overlaps(&range);
        match self.ranges.iter().find(overlapping) {
            Some((other, owner)) => {
                Err(FabricRefused::Overlaps { range, other: *other, pool: *owner })
            }
            None => Ok(()),
        }
    }
}
