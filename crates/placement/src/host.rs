//! A host as placement sees it, and the filters.

use crate::{Amounts, Request};
use std::collections::BTreeMap;
use std::fmt;

/// One resource of a host and the rules for parts of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InventoryLine {
    /// The real amount, ≥ 0.
    pub total: i64,
    /// What the host keeps, 0 to `total`.
    pub reserved: i64,
    /// Promised per real amount, in thousandths, ≥ 1.
    pub ratio_thousandths: i64,
    /// The least a machine may take, ≥ 1.
    pub min_unit: i64,
    /// The most a machine may take.
    pub max_unit: Option<i64>,
    /// Amounts are multiples of this, ≥ 1.
    pub step: i64,
}

impl InventoryLine {
    /// A line without overcommitment, reserve or rules.
    pub fn plain(total: i64) -> Self {
        Self { total, reserved: 0, ratio_thousandths: 1000, min_unit: 1, max_unit: None, step: 1 }
    }

    /// What may be promised: ⌊(total − reserved) × ratio⌋, at most `i64::MAX`, at least 0.
    pub fn capacity(&self) -> i64 {
        let real = i128::from(self.total).saturating_sub(i128::from(self.reserved)).max(0);
        let promised = real.saturating_mul(i128::from(self.ratio_thousandths)).checked_div(1000);
        promised.and_then(|amount| i64::try_from(amount).ok()).unwrap_or(i64::MAX)
    }

    fn admits(&self, amount: i64) -> bool {
        amount >= self.min_unit
            && self.max_unit.is_none_or(|most| amount <= most)
            && amount.checked_rem(self.step) == Some(0)
    }
}

/// A host with what is promised on it already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// Its unique name.
    pub name: String,
    /// The cluster it belongs to.
    pub cluster: String,
    /// Whether it can take machines at all.
    pub healthy: bool,
    /// Whether new machines are kept away.
    pub cordoned: bool,
    /// What it has.
    pub inventory: BTreeMap<String, InventoryLine>,
    /// What is promised, by resource.
    pub allocated: Amounts,
}

/// Why a host does not do; in the order in which the filters are asked.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Refusal {
    /// The request names another cluster.
    OtherCluster,
    /// The host is not healthy.
    NotReady,
    /// The host takes no new machines.
    Cordoned,
    /// The host has none of the resource.
    Lacks(String),
    /// The amount breaks the host's rules for parts (least, most, step).
    UnitNotOffered(String),
    /// Too little is left.
    Insufficient(String),
}

impl fmt::Display for Refusal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OtherCluster => formatter.write_str("OtherCluster"),
            Self::NotReady => formatter.write_str("NotReady"),
            Self::Cordoned => formatter.write_str("Cordoned"),
            Self::Lacks(resource) => write!(formatter, "Lacks {resource}"),
            Self::UnitNotOffered(resource) => write!(formatter, "UnitNotOffered {resource}"),
            Self::Insufficient(resource) => write!(formatter, "Insufficient {resource}"),
        }
    }
}

impl Host {
    /// The first reason against the request, in the order of the filters.
    pub fn refuses(&self, request: &Request) -> Option<Refusal> {
        if request.cluster.as_ref().is_some_and(|cluster| *cluster != self.cluster) {
            return Some(Refusal::OtherCluster);
        }
        if !self.healthy {
            return Some(Refusal::NotReady);
        }
        if self.cordoned {
            return Some(Refusal::Cordoned);
        }
        request.amounts.iter().find_map(|(resource, amount)| self.refuses_amount(resource, *amount))
    }

    fn refuses_amount(&self, resource: &str, amount: i64) -> Option<Refusal> {
        let Some(line) = self.inventory.get(resource) else {
            return Some(Refusal::Lacks(resource.to_owned()));
        };
        if !line.admits(amount) {
            return Some(Refusal::UnitNotOffered(resource.to_owned()));
        }
        let after = self.allocated_of(resource).saturating_add(amount);
        (after > line.capacity()).then(|| Refusal::Insufficient(resource.to_owned()))
    }

    /// What is promised of a resource.
    pub fn allocated_of(&self, resource: &str) -> i64 {
        self.allocated.get(resource).copied().unwrap_or(0)
    }
}
