//! Samples: counters are differenced, gauges integrated.
//!
//! Samples arrive repeated, out of order, from two senders at once, and with holes that a backfill mends hours later.
//! The fold keeps, per item, the watermark and the *steps* that could still be split: the latest few, and every step
//! wide enough to have a hole in it. A sample that falls strictly inside of such a step takes the step's contribution
//! back and folds its two halves; one that equals a known end is a replay; one that falls nowhere has been accounted
//! for long ago. So each accepted sample is in the sums exactly once, in time order, whatever order it came in, and
//! the memory per item is a few points and not a history.
//!
//! Amounts of a step depend on its two ends only, and its cut into windows on the timeline only; taking back is
//! folding with the sign turned. When the timeline changes in the past (a plan version or an owner learned late) that
//! would no longer hold, so steps are then closed to late samples (`ShardState::forget_steps`).

use crate::changes::{Gap, GapCause, GapKey, SuspenseCause, SuspenseKey, UsageWindow, WindowKey};
use crate::key::{SeriesHash, ShardNumber};
use crate::record::{MeterKind, MeterRule, Reading, Sample};
use crate::state::{ItemKey, ItemState, Point, Step};
use crate::step::Fold;
use calendar::{Instant, Interval};
use money::Quantity;

/// How many of the latest steps stay open to late samples although they have no hole.
const RECENT_STEPS: usize = 3;
/// How many steps stay open at most; the oldest holes close first. A day of one-minute outages every quarter hour.
const OPEN_STEPS_MAX: usize = 96;
/// A step of more than this many intervals is a gap: its total is exact, its distribution is not.
const GAP_INTERVALS: i64 = 4;
/// A replica is left after this much silence, or two intervals when that is more.
const REPLICA_SILENCE_MICROSECONDS: i64 = 30_000_000;

/// What a step is worth.
struct Worth {
    amount: i128,
    during: Interval,
    /// Time nobody can vouch for, and why.
    gap: Option<(GapCause, Interval)>,
    is_estimated: bool,
    is_reset: bool,
}

/// Turned when a step is taken back.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sign {
    Add,
    TakeBack,
}

impl Fold<'_> {
    /// Folds one sample of a known resource and meter.
    pub(crate) fn sample(&mut self, sample: &Sample, rule: &MeterRule) {
        let key = ItemKey {
            resource: sample.resource,
            meter: sample.meter.clone(),
            part: sample.part.clone(),
        };
        let value = match &sample.reading {
            // Not scraped is not gone: only the lifecycle ends a series.
            Reading::Stale => return,
            Reading::Refused(_) => {
                let at = Interval::new(sample.at, sample.at.plus_microseconds(1));
                self.suspend(suspense_key(&key, SuspenseCause::Unreadable), at, Quantity::ZERO, 1);
                return;
            }
            Reading::Value(value) => *value,
        };
        let point = Point { at: sample.at, value, started_at: sample.started_at };
        let Some(item) = self.state.items.get(&key) else {
            self.first(key, sample.replica, point, rule);
            return;
        };
        if point.at > item.last.at {
            if sample.replica != item.replica && !has_fallen_silent(item, &point, rule) {
                self.changes.counts.shadowed = self.changes.counts.shadowed.saturating_add(1);
                return;
            }
            self.next(&key, sample.replica, point, rule);
        } else {
            self.late(&key, sample.replica, point, rule);
        }
    }

    /// The first sample of an item: counted from zero when its birth is known and lies in the same billing period,
    /// else a baseline.
    fn first(&mut self, key: ItemKey, replica: SeriesHash, point: Point, rule: &MeterRule) {
        let birth = self.birth(&key, &point, rule);
        let step = Step {
            from: birth.map(|at| Point { at, value: Quantity::ZERO, started_at: None }),
            to: point.clone(),
        };
        self.fold_step(&key, &step, rule, Sign::Add);
        self.found_samples(&key);
        self.state
            .items
            .insert(key, ItemState { replica, last: point, steps: vec![step], silent: false });
    }

    fn birth(&mut self, key: &ItemKey, point: &Point, rule: &MeterRule) -> Option<Instant> {
        if rule.kind != MeterKind::Counter {
            return None;
        }
        let (tenant, _) = self.state.owner(key.resource, point.at)?;
        let entries = &self.state.resources.get(&key.resource)?.entries;
        let created_at = entries.first().map(|entry| entry.created_at);
        let period_start = self.state.segment(tenant, point.at).period_start;
        let birth = [point.started_at, created_at]
            .into_iter()
            .flatten()
            .find(|birth| *birth >= period_start && *birth <= point.at)?;
        // What it counted under an owner of another shard is that shard's to bill.
        let (first_owner, _) = self.state.owner(key.resource, birth)?;
        (ShardNumber::of(first_owner) == self.state.shard).then_some(birth)
    }

    /// A sample after the watermark.
    fn next(&mut self, key: &ItemKey, replica: SeriesHash, point: Point, rule: &MeterRule) {
        let Some(item) = self.state.items.get_mut(key) else { return };
        let mut from = item.last.clone();
        if replica != item.replica && point.value < from.value {
            // Another replica may simply be behind: only its own fall would be a reset, so it starts a level course.
            from.value = point.value;
        }
        let step = Step { from: Some(from), to: point.clone() };
        item.replica = replica;
        item.last = point;
        item.silent = false;
        item.steps.push(step.clone());
        prune(item, rule);
        self.fold_step(key, &step, rule, Sign::Add);
    }

    /// A sample at or before the watermark: a replay, a conflict, the filler of a hole, or history.
    fn late(&mut self, key: &ItemKey, replica: SeriesHash, point: Point, rule: &MeterRule) {
        let Some(item) = self.state.items.get(key) else { return };
        let counts = &mut self.changes.counts;
        let ends = item.steps.iter().flat_map(|step| step.from.iter().chain([&step.to]));
        if let Some(known) = ends.into_iter().find(|known| known.at == point.at) {
            let tally = if known.value == point.value {
                &mut counts.replays
            } else {
                &mut counts.conflicts
            };
            *tally = tally.saturating_add(1);
            return;
        }
        let found = item.steps.iter().position(|step| {
            step.to.at > point.at && step.from.as_ref().is_none_or(|from| from.at < point.at)
        });
        let same_sender = replica == item.replica;
        let open = found.and_then(|index| Some((index, item.steps.get(index)?.clone())));
        let Some((index, whole)) = open.filter(|(_, step)| same_sender || has_hole(step, rule))
        else {
            counts.replays = counts.replays.saturating_add(1);
            return;
        };
        counts.fillers = counts.fillers.saturating_add(1);
        let halves = [
            Step { from: whole.from.clone(), to: point.clone() },
            Step { from: Some(point), to: whole.to.clone() },
        ];
        self.fold_step(key, &whole, rule, Sign::TakeBack);
        for half in &halves {
            self.fold_step(key, half, rule, Sign::Add);
        }
        if let Some(item) = self.state.items.get_mut(key) {
            item.steps.splice(index..=index, halves);
            prune(item, rule);
        }
    }

    /// Adds a step to the windows, gaps and suspense, or takes it back.
    fn fold_step(&mut self, key: &ItemKey, step: &Step, rule: &MeterRule, sign: Sign) {
        let Some(from) = &step.from else { return };
        let worth = worth_of(from, &step.to, rule);
        if sign == Sign::Add {
            self.changes.counts.samples = self.changes.counts.samples.saturating_add(1);
            if worth.is_reset {
                self.changes.counts.resets = self.changes.counts.resets.saturating_add(1);
            }
        }
        if let Some((cause, during)) = worth.gap {
            self.record_gap(key, cause, during, rule, sign == Sign::TakeBack);
        }
        if is_implausible(&worth, rule) {
            let key = suspense_key(key, SuspenseCause::Implausible);
            let (amount, facts) = match sign {
                Sign::Add => (worth.amount, 1),
                Sign::TakeBack => (worth.amount.saturating_neg(), -1),
            };
            self.suspend(key, worth.during, Quantity(amount), facts);
            return;
        }
        let pieces = self.state.pieces(key, worth.during);
        let amounts = split(worth.amount, pieces.iter().map(|piece| piece.during.microseconds()));
        let is_estimated = worth.is_estimated && pieces.len() > 1;
        for (piece, amount) in pieces.into_iter().zip(amounts) {
            self.add_to_window(&piece.window, amount, 1, is_estimated, sign == Sign::TakeBack);
        }
    }

    /// Adds `amount` to a window, with so many facts; or takes both away. A piece of a span is no fact of its own: how
    /// many pieces there are depends on how often time is recorded, which nothing that is billed may show.
    pub(crate) fn add_to_window(
        &mut self,
        key: &WindowKey,
        amount: i128,
        facts: u64,
        is_estimated: bool,
        is_taken_back: bool,
    ) {
        let released = self.state.tenants.get(&key.tenant).and_then(|known| known.released_before);
        if released.is_some_and(|before| key.start < before) {
            let (amount, waiting) =
                if is_taken_back { (amount.saturating_neg(), -1) } else { (amount, 1) };
            let item = ItemKey {
                resource: key.resource,
                meter: key.meter.clone(),
                part: key.part.clone(),
            };
            let during = Interval::new(key.start, key.start.next_hour());
            let place = suspense_key(&item, SuspenseCause::AfterClose);
            self.suspend(place, during, Quantity(amount), waiting);
            return;
        }
        let window = self.state.windows.get_or_insert_with(key, || UsageWindow {
            quantity: Quantity::ZERO,
            facts: 0,
            estimated_facts: 0,
        });
        let estimated = u64::from(is_estimated);
        // Bounded by 2^53 × 10^12 per reading: 128 bits hold more steps than any log.
        if is_taken_back {
            window.quantity = Quantity(window.quantity.0.saturating_sub(amount));
            window.facts = window.facts.saturating_sub(facts);
            window.estimated_facts = window.estimated_facts.saturating_sub(estimated);
        } else {
            window.quantity = Quantity(window.quantity.0.saturating_add(amount));
            window.facts = window.facts.saturating_add(facts);
            window.estimated_facts = window.estimated_facts.saturating_add(estimated);
        }
        if window.quantity == Quantity::ZERO && window.facts == 0 {
            // Whatever was here has been taken back: as if it had never been.
            self.state.windows.remove(key);
        }
        self.touched_windows.insert(key.clone());
    }

    fn record_gap(
        &mut self,
        key: &ItemKey,
        cause: GapCause,
        during: Interval,
        rule: &MeterRule,
        is_filled: bool,
    ) {
        let tenant = self.state.owner(key.resource, during.from).map(|(tenant, _)| tenant);
        let gap = Gap {
            tenant,
            to: Some(during.to),
            informational: rule.kind == MeterKind::Counter,
            filled: is_filled,
            policy: rule.gap_policy,
        };
        self.changes.gaps.insert(gap_key(key, cause, during.from), gap);
    }

    /// Notices at a tick which items have fallen silent: a gap without an end, until a sample or the end of the life.
    pub(crate) fn notice_silence(&mut self, at: Instant) {
        let mut silent = Vec::new();
        for (key, item) in self.state.items.iter().filter(|(_, item)| !item.silent) {
            let Some(rule) = self.state.meters.get(&key.meter) else { continue };
            let ended_at =
                self.state.resources.get(&key.resource).and_then(|known| known.life.ended_at);
            let vouched_to = item.last.at.plus_microseconds(gap_microseconds(rule));
            if vouched_to < ended_at.unwrap_or(at).min(at) {
                let from = if rule.kind == MeterKind::Gauge { vouched_to } else { item.last.at };
                silent.push((key.clone(), from, ended_at.filter(|end| *end <= at), rule.clone()));
            }
        }
        for (key, from, to, rule) in silent {
            let tenant = self.state.owner(key.resource, from).map(|(tenant, _)| tenant);
            let informational = rule.kind == MeterKind::Counter;
            let gap = Gap { tenant, to, informational, filled: false, policy: rule.gap_policy };
            self.changes.gaps.insert(gap_key(&key, GapCause::NoSeries, from), gap);
            if let Some(item) = self.state.items.get_mut(&key) {
                item.silent = true;
            }
        }
    }
}

pub(crate) fn gap_key(key: &ItemKey, cause: GapCause, from: Instant) -> GapKey {
    GapKey { resource: key.resource, meter: key.meter.clone(), part: key.part.clone(), from, cause }
}

pub(crate) fn suspense_key(key: &ItemKey, cause: SuspenseCause) -> SuspenseKey {
    SuspenseKey { resource: key.resource, meter: key.meter.clone(), part: key.part.clone(), cause }
}

pub(crate) fn gap_microseconds(rule: &MeterRule) -> i64 {
    rule.interval_microseconds.saturating_mul(GAP_INTERVALS)
}

fn worth_of(from: &Point, to: &Point, rule: &MeterRule) -> Worth {
    let during = Interval::new(from.at, to.at);
    let limit = gap_microseconds(rule);
    let is_long = during.microseconds() > limit;
    if rule.kind == MeterKind::Gauge {
        let held = during.microseconds().min(limit);
        let end = from.at.plus_microseconds(held);
        let gap = is_long.then_some((GapCause::NoSeries, Interval::new(end, to.at)));
        return Worth {
            amount: per_second(from.value.0, held),
            during: Interval::new(from.at, end),
            gap,
            is_estimated: false,
            is_reset: false,
        };
    }
    let restarted_at = to.started_at.filter(|start| *start > from.at && *start <= to.at);
    let is_reset = restarted_at.is_some() || to.value < from.value;
    let (amount, during) = match restarted_at {
        Some(start) => (to.value.0, Interval::new(start, to.at)),
        None if is_reset => (to.value.0, during),
        None => (to.value.0.saturating_sub(from.value.0), during),
    };
    let gap = if is_reset {
        Some((GapCause::Unobserved, Interval::new(from.at, restarted_at.unwrap_or(to.at))))
    } else {
        is_long.then_some((GapCause::NoSeries, during))
    };
    Worth { amount, during, gap, is_estimated: is_long, is_reset }
}

/// `rate` base units per second held for `microseconds`, whole units.
fn per_second(rate: i128, microseconds: i64) -> i128 {
    rate.saturating_mul(i128::from(microseconds)).div_euclid(1_000_000)
}

/// Whether a step claims more than the meter's bound allows in its time. Compared in products, so nothing is rounded.
fn is_implausible(worth: &Worth, rule: &MeterRule) -> bool {
    rule.base_units_per_second_max.is_some_and(|bound| {
        let microseconds = i128::from(worth.during.microseconds());
        worth.amount.saturating_mul(1_000_000) > bound.0.saturating_mul(microseconds)
    })
}

/// Splits `amount` ≥ 0 by `weights` ≥ 0 in whole units: each piece takes the floor of its share, the remainder goes to
/// the last. The result has as many entries as `weights` and sums to `amount` (nothing to sum when that is empty).
fn split(amount: i128, weights: impl Iterator<Item = i64>) -> Vec<i128> {
    let weights: Vec<i128> = weights.map(i128::from).collect();
    let total: i128 = weights.iter().sum();
    let mut shares: Vec<i128> = weights
        .iter()
        .map(|weight| {
            let product = amount.checked_mul(*weight);
            // Beyond 128 bits the share of a piece is taken from the amount per microsecond instead.
            product
                .and_then(|product| product.checked_div_euclid(total))
                .or_else(|| amount.checked_div_euclid(total)?.checked_mul(*weight))
                .unwrap_or(0)
        })
        .collect();
    let before_last: i128 = shares.iter().rev().skip(1).sum();
    if let Some(last) = shares.last_mut() {
        *last = amount.saturating_sub(before_last);
    }
    shares
}

fn has_fallen_silent(item: &ItemState, point: &Point, rule: &MeterRule) -> bool {
    let silence = point.at.microseconds_since(item.last.at);
    silence > REPLICA_SILENCE_MICROSECONDS.max(rule.interval_microseconds.saturating_mul(2))
}

/// Whether at least one sample is missing within a step: it is longer than one and a half intervals.
fn has_hole(step: &Step, rule: &MeterRule) -> bool {
    step.from.as_ref().is_some_and(|from| {
        let microseconds = step.to.at.microseconds_since(from.at);
        microseconds.saturating_mul(2) > rule.interval_microseconds.saturating_mul(3)
    })
}

/// Drops the steps that no late sample needs any more.
fn prune(item: &mut ItemState, rule: &MeterRule) {
    let recent = item.steps.len().saturating_sub(RECENT_STEPS);
    let surplus = item.steps.len().saturating_sub(OPEN_STEPS_MAX);
    let mut index = 0_usize;
    item.steps.retain(|step| {
        let place = index;
        index = index.saturating_add(1);
        place >= surplus && (place >= recent || has_hole(step, rule))
    });
}
