//! Transitions: what is held, and for how long.
//!
//! Transitions are followed in the order of their numbers; one that comes early waits for those before it. Between two
//! of them amounts are constant, so usage is amount × time, counted up to the latest tick while a span is open. Base
//! units up to an instant are the floor of the exact product since the span began, and a piece is the difference of
//! two such floors: pieces of any cut add up to the whole, to the last base unit. A transition dated before the latest
//! tick takes the surplus back the same way.

use crate::changes::{Gap, GapCause, Span, SpanKey};
use crate::key::{MeterName, Part};
use crate::record::{MeterKind, MeterRule, Transition};
use crate::sampled::{gap_key, gap_microseconds};
use crate::state::{ItemKey, OpenSpan};
use crate::step::Fold;
use calendar::{Instant, Interval};
use ids::ResourceUid;
use money::Quantity;
use std::collections::BTreeMap;

/// How many transitions may wait for an earlier number before later ones are dropped (the sender repeats them until
/// they are acknowledged).
const EARLY_TRANSITIONS_MAX: usize = 1_024;

impl Fold<'_> {
    /// Follows one transition of a known resource, and those that waited for it.
    pub(crate) fn transition(&mut self, transition: &Transition) {
        let Some(resource) = self.state.resources.get_mut(&transition.resource) else { return };
        let life = &mut resource.life;
        if transition.number <= life.number || life.ended_at.is_some() {
            self.changes.counts.replays = self.changes.counts.replays.saturating_add(1);
            return;
        }
        if life.early.len() < EARLY_TRANSITIONS_MAX {
            life.early.insert(transition.number, transition.clone());
        }
        loop {
            let Some(known) = self.state.resources.get_mut(&transition.resource) else { return };
            let next = known.life.number.saturating_add(1);
            let Some(due) = known.life.early.remove(&next) else { return };
            self.follow(&due);
        }
    }

    /// Ends the life of a resource whose record never will. Transitions that wait for an earlier one are lost with it.
    pub(crate) fn vanished(&mut self, resource: ResourceUid, at: Instant) {
        let Some(known) = self.state.resources.get(&resource) else { return };
        if known.life.ended_at.is_some() {
            return;
        }
        let number = known.life.number.saturating_add(1);
        self.follow(&Transition { resource, number, at, holds: BTreeMap::new(), is_final: true });
    }

    fn follow(&mut self, transition: &Transition) {
        let uid = transition.resource;
        let Some(known) = self.state.resources.get(&uid) else { return };
        // Never before the transition before it: time within a life does not run backwards.
        let at = known.life.changed_at.map_or(transition.at, |changed| changed.max(transition.at));
        let counted_to = known.life.counted_to.unwrap_or(at);
        if counted_to < at {
            self.count_open(uid, Interval::new(counted_to, at), false);
        } else {
            self.count_open(uid, Interval::new(at, counted_to), true);
        }
        self.change_spans(transition, at);
        // The clock may be past it already: the new amounts have held since.
        self.count_open(uid, Interval::new(at, counted_to), false);
        let Some(known) = self.state.resources.get_mut(&uid) else { return };
        let life = &mut known.life;
        life.number = transition.number;
        life.began_at = life.began_at.or(Some(at));
        life.changed_at = Some(at);
        life.counted_to = Some(counted_to.max(at));
        if transition.is_final {
            life.ended_at = Some(at);
            life.early.clear();
            self.end_gaps(uid, at);
        }
    }

    /// Closes the spans whose amount changes at `at` and opens those that begin.
    fn change_spans(&mut self, transition: &Transition, at: Instant) {
        let uid = transition.resource;
        let Some((tenant, _)) = self.state.owner(uid, at) else { return };
        let Some(known) = self.state.resources.get_mut(&uid) else { return };
        let nothing = BTreeMap::new();
        let holds = if transition.is_final { &nothing } else { &transition.holds };
        let open = &mut known.life.open;
        let mut spans = Vec::new();
        open.retain(|sku, span| {
            let stays = holds.get(sku) == Some(&span.quantity);
            if !stays {
                spans.push((sku.clone(), span.clone(), Some(at)));
            }
            stays
        });
        for (sku, quantity) in holds.iter().filter(|(_, quantity)| quantity.0 > 0) {
            if !open.contains_key(sku) {
                let span = OpenSpan { number: transition.number, from: at, quantity: *quantity };
                open.insert(sku.clone(), span.clone());
                spans.push((sku.clone(), span, None));
            }
        }
        for (sku, span, to) in spans {
            let key = SpanKey { resource: uid, sku, number: span.number };
            let span = Span { tenant, quantity: span.quantity, from: span.from, to };
            self.changes.spans.insert(key, span);
        }
    }

    /// Counts everything a resource holds over `during`, or takes it back.
    fn count_open(&mut self, uid: ResourceUid, during: Interval, is_taken_back: bool) {
        if during.is_empty() {
            return;
        }
        let Some(known) = self.state.resources.get(&uid) else { return };
        let spans: Vec<(String, OpenSpan)> =
            known.life.open.iter().map(|(sku, span)| (sku.clone(), span.clone())).collect();
        for (sku, span) in spans {
            for rule in self.allocation_meters(&sku) {
                self.count_span(uid, &span, &rule, during, is_taken_back);
            }
        }
    }

    fn allocation_meters(&self, wanted: &str) -> Vec<MeterRule> {
        let counts = |rule: &MeterRule| match &rule.kind {
            MeterKind::Allocation { sku } => sku == wanted,
            MeterKind::Counter | MeterKind::Gauge => false,
        };
        self.state
            .meters
            .iter()
            .map(|(_, rule)| rule)
            .filter(|rule| counts(rule))
            .cloned()
            .collect()
    }

    fn count_span(
        &mut self,
        uid: ResourceUid,
        span: &OpenSpan,
        rule: &MeterRule,
        during: Interval,
        is_taken_back: bool,
    ) {
        let item = ItemKey { resource: uid, meter: rule.name.clone(), part: Part::whole() };
        for piece in self.state.pieces(&item, during) {
            let amount = held_until(span, rule, piece.during.to).saturating_sub(held_until(
                span,
                rule,
                piece.during.from,
            ));
            self.add_to_window(&piece.window, amount, 0, false, is_taken_back);
        }
    }

    /// Counts every open span up to `at`.
    pub(crate) fn count_until(&mut self, at: Instant) {
        let due: Vec<(ResourceUid, Instant)> = self
            .state
            .resources
            .iter()
            .filter(|(_, known)| !known.life.open.is_empty())
            .filter_map(|(uid, known)| Some((*uid, known.life.counted_to?)))
            .filter(|(_, counted_to)| *counted_to < at)
            .collect();
        for (uid, counted_to) in due {
            self.count_open(uid, Interval::new(counted_to, at), false);
            if let Some(known) = self.state.resources.get_mut(&uid) {
                known.life.counted_to = Some(at);
            }
        }
    }

    /// A meter declared after a span began counts it from its beginning.
    pub(crate) fn count_for_new_meter(&mut self, rule: &MeterRule) {
        let MeterKind::Allocation { sku } = &rule.kind else { return };
        let due: Vec<(ResourceUid, OpenSpan, Instant)> = self
            .state
            .resources
            .iter()
            .filter_map(|(uid, known)| {
                Some((*uid, known.life.open.get(sku)?.clone(), known.life.counted_to?))
            })
            .collect();
        for (uid, span, counted_to) in due {
            let during = Interval::new(span.from, counted_to);
            if !during.is_empty() {
                self.count_span(uid, &span, rule, during, false);
            }
        }
    }

    /// Notices resources of a kind that should be sampled and never were: their life so far is a gap.
    pub(crate) fn notice_unsampled(&mut self, at: Instant) {
        let mut found = Vec::new();
        for (uid, known) in self.state.resources.iter() {
            let Some(began_at) = known.life.began_at else { continue };
            let Some(kind) = known.entries.last().map(|entry| &entry.kind) else { continue };
            for (name, rule) in self.state.meters.iter() {
                let is_due = began_at.plus_microseconds(gap_microseconds(rule)) < at
                    || known.life.ended_at.is_some();
                if is_due
                    && rule.expected_of_kinds.contains(kind)
                    && !known.unsampled.contains_key(name)
                    && !self.is_sampled(*uid, name)
                {
                    found.push((*uid, rule.clone(), began_at, known.life.ended_at));
                }
            }
        }
        for (uid, rule, from, to) in found {
            self.record_unsampled(uid, &rule.name, &rule, from, to, false);
            if let Some(known) = self.state.resources.get_mut(&uid) {
                known.unsampled.insert(rule.name, from);
            }
        }
    }

    fn is_sampled(&self, uid: ResourceUid, meter: &MeterName) -> bool {
        let least = ItemKey { resource: uid, meter: meter.clone(), part: Part::whole() };
        let next = self.state.items.range(least..).next();
        next.is_some_and(|(key, _)| key.resource == uid && key.meter == *meter)
    }

    fn record_unsampled(
        &mut self,
        uid: ResourceUid,
        meter: &MeterName,
        rule: &MeterRule,
        from: Instant,
        to: Option<Instant>,
        filled: bool,
    ) {
        let item = ItemKey { resource: uid, meter: meter.clone(), part: Part::whole() };
        let tenant = self.state.owner(uid, from).map(|(tenant, _)| tenant);
        // Unlike a hole between samples this one hides a total.
        let gap = Gap { tenant, to, informational: false, filled, policy: rule.gap_policy };
        self.changes.gaps.insert(gap_key(&item, GapCause::NoSeries, from), gap);
    }

    /// A first sample has come: the life is not unsampled any more.
    pub(crate) fn found_samples(&mut self, item: &ItemKey) {
        let Some(known) = self.state.resources.get(&item.resource) else { return };
        let Some(from) = known.unsampled.get(&item.meter).copied() else { return };
        let to = known.life.ended_at;
        let Some(rule) = self.state.meters.get(&item.meter).cloned() else { return };
        self.record_unsampled(item.resource, &item.meter, &rule, from, to, true);
        if let Some(known) = self.state.resources.get_mut(&item.resource) {
            known.unsampled.remove(&item.meter);
        }
    }

    /// A life has ended: gaps that were open end with it.
    fn end_gaps(&mut self, uid: ResourceUid, at: Instant) {
        let Some(known) = self.state.resources.get(&uid) else { return };
        let unsampled: Vec<(MeterName, Instant)> =
            known.unsampled.iter().map(|(name, from)| (name.clone(), *from)).collect();
        for (name, from) in unsampled {
            if let Some(rule) = self.state.meters.get(&name).cloned() {
                self.record_unsampled(uid, &name, &rule, from, Some(at), false);
            }
        }
        let least = ItemKey { resource: uid, meter: MeterName::from(""), part: Part::whole() };
        let silent: Vec<ItemKey> = self
            .state
            .items
            .range(least..)
            .take_while(|(key, _)| key.resource == uid)
            .filter(|(_, item)| item.silent)
            .map(|(key, _)| key.clone())
            .collect();
        for key in silent {
            if let Some(item) = self.state.items.get_mut(&key) {
                item.silent = false;
            }
        }
        self.notice_silence(self.state.clock.unwrap_or(at).max(at));
    }
}

/// Base units of a span from its beginning until `at`: the floor of millionths × microseconds × scale ÷ 10^12.
fn held_until(span: &OpenSpan, rule: &MeterRule, at: Instant) -> i128 {
    let microseconds = i128::from(at.microseconds_since(span.from).max(0));
    let scale = i128::from(rule.base_units_per_unit);
    let Quantity(millionths) = span.quantity;
    let product = millionths.checked_mul(microseconds).and_then(|held| held.checked_mul(scale));
    match product {
        Some(product) => product.div_euclid(1_000_000_000_000),
        // Beyond 128 bits: the amount is taken in whole units, which such an amount always is.
        None => millionths
            .div_euclid(1_000_000)
            .saturating_mul(microseconds)
            .saturating_mul(scale)
            .div_euclid(1_000_000),
    }
}
