//! Where time is cut for an account: hours, billing periods, plan versions.
//!
//! A *segment* is a stretch within one billing period and under one plan version; a *piece* is the part of a stretch
//! of usage that falls into one window, that is into one UTC hour of one segment and one owner. Segments need the time
//! zone database and a search over versions, and are the same for thousands of samples in a row, so the latest of each
//! account are remembered. The memory is a function of the tables and is dropped whenever they change; it is no part
//! of the state.

use crate::changes::WindowKey;
use crate::record::{PlanUid, VersionKey};
use crate::state::{ItemKey, PlanState, ShardState};
use calendar::{Instant, Interval, Period, Periods};
use ids::{AccountId, ResourceUid};
use std::collections::BTreeMap;

/// A stretch within one billing period and under one plan version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Segment {
    pub(crate) during: Interval,
    pub(crate) version: Option<VersionKey>,
    pub(crate) period_start: Instant,
}

/// The latest segments by account. Equal to any other: it is derived.
#[derive(Debug, Clone, Default)]
pub(crate) struct SegmentCache(BTreeMap<AccountId, Segment>);

impl PartialEq for SegmentCache {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for SegmentCache {}

impl SegmentCache {
    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }
}

/// What falls into one window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) during: Interval,
    pub(crate) window: WindowKey,
}

/// How many pieces one stretch is cut into at most: a year of hours. What lies beyond goes into the last piece, so the
/// total stays exact and a wild timestamp cannot exhaust memory.
const PIECES_MAX: usize = 8_784;

impl ShardState {
    /// The segment of `tenant` that contains `at`.
    pub(crate) fn segment(&mut self, tenant: AccountId, at: Instant) -> Segment {
        if let Some(segment) = self.segments.0.get(&tenant)
            && segment.during.contains(at)
        {
            return *segment;
        }
        let segment = self.find_segment(tenant, at);
        self.segments.0.insert(tenant, segment);
        segment
    }

    fn find_segment(&self, tenant: AccountId, at: Instant) -> Segment {
        let subscriptions = self.subscriptions_of(tenant);
        let current = subscriptions.iter().rev().find(|subscription| subscription.from <= at);
        let current = current.filter(|one| one.to.is_none_or(|to| at < to));
        let whole = Interval::new(Instant::MIN, at.plus_microseconds(1));
        let mut during = self.period_of(tenant, at).map_or(whole, |period| period.during);
        let period_start = during.from;
        for subscription in subscriptions {
            narrow(&mut during, at, subscription.from);
            if let Some(to) = subscription.to {
                narrow(&mut during, at, to);
            }
        }
        let version = current.and_then(|subscription| {
            let plan = self.plans.get(&subscription.plan)?;
            for start in plan.starts.values() {
                narrow(&mut during, at, *start);
            }
            version_at(subscription.plan, plan, at)
        });
        Segment { during, version, period_start }
    }

    /// The stretch around `at` without a change of owner, and its owner. A resource has its UID for one life, so what
    /// lies before the first entry or after the last is a matter of clocks and belongs to the nearest owner.
    pub(crate) fn owner(
        &self,
        resource: ResourceUid,
        at: Instant,
    ) -> Option<(AccountId, Interval)> {
        let entries = &self.resources.get(&resource)?.entries;
        let mut owner = entries.first()?.tenant;
        let mut during = Interval::new(Instant::MIN, Instant::MAX);
        for entry in entries.iter().skip(1) {
            narrow(&mut during, at, entry.valid_from);
            if entry.valid_from <= at {
                owner = entry.tenant;
            }
        }
        Some((owner, during))
    }

    /// Cuts `during` of an item into pieces, ascending, tiling it; one piece at its start when it is empty. Empty when
    /// nobody owns the resource.
    pub(crate) fn pieces(&mut self, item: &ItemKey, during: Interval) -> Vec<Piece> {
        let mut pieces = Vec::with_capacity(1);
        let mut from = during.from;
        while let Some((tenant, owned)) = self.owner(item.resource, from) {
            let segment = self.segment(tenant, from);
            let start = from.hour_start().max(segment.during.from).max(owned.from);
            let end = from.next_hour().min(segment.during.to).min(owned.to);
            let is_last = end >= during.to || pieces.len().saturating_add(1) >= PIECES_MAX;
            let to = if is_last { during.to } else { end };
            let window = WindowKey {
                tenant,
                resource: item.resource,
                meter: item.meter.clone(),
                part: item.part.clone(),
                start,
                version: segment.version,
            };
            pieces.push(Piece { during: Interval::new(from, to), window });
            if is_last {
                break;
            }
            from = to;
        }
        pieces
    }

    /// The stretch of time that a window covers: to the end of its hour, or to the cut before it.
    pub fn window_interval(&mut self, key: &WindowKey) -> Interval {
        let segment = self.segment(key.tenant, key.start);
        let owned_to =
            self.owner(key.resource, key.start).map_or(Instant::MAX, |(_, owned)| owned.to);
        let to = key.start.next_hour().min(segment.during.to).min(owned_to);
        Interval::new(key.start, to)
    }

    /// Where the billing period of `tenant` around `at` begins.
    pub fn period_start(&mut self, tenant: AccountId, at: Instant) -> Instant {
        self.segment(tenant, at).period_start
    }

    /// The billing period of `tenant` around `at`; `None` at the ends of the calendar.
    pub fn period_of(&self, tenant: AccountId, at: Instant) -> Option<Period> {
        self.periods_of(tenant, at).containing(at).ok()
    }

    /// Which version holds when within `during` for `tenant`: adjacent stretches, ascending, tiling it.
    pub fn versions_within(
        &mut self,
        tenant: AccountId,
        during: Interval,
    ) -> Vec<(Interval, Option<VersionKey>)> {
        let mut found = Vec::new();
        let mut from = during.from;
        while from < during.to && found.len() < PIECES_MAX {
            let segment = self.segment(tenant, from);
            let to = segment.during.to.min(during.to);
            found.push((Interval::new(from, to), segment.version));
            if to <= from {
                break;
            }
            from = to;
        }
        found
    }

    /// The layout of an account's periods at `at`. Before the first subscription its periods hold already: the layout
    /// belongs to the account.
    fn periods_of(&self, tenant: AccountId, at: Instant) -> Periods {
        let subscriptions = self.subscriptions_of(tenant);
        let current = subscriptions.iter().rev().find(|subscription| subscription.from <= at);
        current
            .or_else(|| subscriptions.first())
            .map_or_else(Periods::utc, |one| one.periods.clone())
    }

    /// The version in force for an account at `at`.
    pub(crate) fn version(&mut self, tenant: AccountId, at: Instant) -> Option<VersionKey> {
        self.segment(tenant, at).version
    }
}

fn narrow(during: &mut Interval, at: Instant, cut: Instant) {
    if cut <= at {
        during.from = during.from.max(cut);
    } else {
        during.to = during.to.min(cut);
    }
}

/// The version of `plan` in force: the latest start by then, the highest generation among equal starts.
fn version_at(plan: PlanUid, state: &PlanState, at: Instant) -> Option<VersionKey> {
    let started = state.starts.iter().filter(|(_, start)| **start <= at);
    let (generation, _) = started.max_by_key(|(generation, start)| (**start, **generation))?;
    Some(VersionKey { plan, generation: *generation })
}
