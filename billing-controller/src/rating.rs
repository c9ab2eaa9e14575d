//! From windows that changed to the bill lines that follow from them.
//!
//! Everything here is a function of the shard's state and of immutable price versions: the same log gives the same
//! lines. Prices that look at all usage of a meter in a period (tiers, free quantity) are rated over all of it; a plain
//! price per unit only over the resources that changed.

mod catalogue;
mod fees;
#[cfg(test)]
mod tests;
mod usage;

pub use catalogue::{Catalogue, CatalogueError, versions_of};

use calendar::{Instant, Interval, Period};
use ids::{AccountId, ResourceUid};
use metering::{MeterName, PlanUid, ShardState, WindowKey};
use pricing::BillLine;
use std::collections::{BTreeMap, BTreeSet};
use store::line::{LineRow, RatedScope, UnpricedRow};
use stream::LinesDue;

/// Usage that is rated together.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Group {
    tenant: AccountId,
    /// By the layout in force where the usage is: a change of layout begins a period of its own.
    period: Period,
    meter: MeterName,
}

/// The lines that follow from the windows in `dirty`, and the fees of the accounts in `fees`.
pub fn lines_due(
    state: &mut ShardState,
    dirty: &BTreeSet<WindowKey>,
    fees: &BTreeSet<AccountId>,
    catalogue: &Catalogue,
) -> LinesDue {
    let mut groups: BTreeMap<Group, BTreeSet<ResourceUid>> = BTreeMap::new();
    for key in dirty {
        let Some(period) = state.period_of(key.tenant, key.start) else { continue };
        let group = Group { tenant: key.tenant, period, meter: key.meter.clone() };
        groups.entry(group).or_default().insert(key.resource);
    }
    let mut due = LinesDue::default();
    for (group, resources) in &groups {
        usage::rate(state, group, resources, catalogue, &mut due);
    }
    for tenant in fees {
        fees::rate(state, *tenant, catalogue, &mut due);
    }
    once_each(&mut due.lines);
    due
}

/// A statement that names a line twice is refused whole, and would be again for ever.
fn once_each(lines: &mut Vec<LineRow>) {
    let mut seen = BTreeSet::new();
    lines.retain(|line| {
        let is_first = seen.insert((line.tenant, line.line_key.clone()));
        if !is_first {
            tracing::error!(tenant = %line.tenant, key = %line.line_key, "a bill line was rated twice; the first is kept");
        }
        is_first
    });
}

/// Everything that a line's row has beside the line itself.
struct Surroundings<'a> {
    tenant: AccountId,
    subscription: store::Uuid,
    plan: PlanUid,
    period: &'a Period,
}

/// What is known of the object that a line is about.
#[derive(Default)]
struct Object {
    resource: Option<ResourceUid>,
    kind: String,
    project: String,
    name: String,
}

/// How much a line rests on, and the time it covers.
#[derive(Default)]
struct Ground {
    facts: u64,
    estimated_facts: u64,
    billed: Vec<Interval>,
}

impl Surroundings<'_> {
    fn row(&self, line: BillLine, object: Object, ground: &Ground) -> LineRow {
        let BillLine { key, rate_card, description, meter, rated } = line;
        let conversion = &rated.explanation.conversion;
        let count = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        LineRow {
            tenant: self.tenant.0,
            line_key: key,
            subscription: self.subscription,
            plan_uid: self.plan.0,
            generation: rated.generation,
            rate_card,
            description,
            meter,
            resource_uid: object.resource.map(|resource| resource.0),
            kind: object.kind,
            project: object.project,
            object_name: object.name,
            part: rated.cell.clone(),
            period_name: self.period.name.clone(),
            period_from_microseconds: self.period.during.from.microseconds(),
            period_to_microseconds: self.period.during.to.microseconds(),
            quantity: rated.quantity.to_string(),
            display_quantity: conversion.quantity.clone(),
            display_unit: conversion.display_unit.clone(),
            currency: rated.amount.currency().code().to_owned(),
            amount_minor: rated.amount.minor(),
            // Serialising plain structs of text and numbers into memory has no way to fail.
            explanation: serde_json::to_value(&rated.explanation).unwrap_or_default(),
            facts: count(ground.facts),
            estimated_facts: count(ground.estimated_facts),
            billed: multirange(&ground.billed),
            state: "live".to_owned(),
        }
    }
}

/// Intervals in any order as the text of a `tstzmultirange`, adjacent ones joined.
fn multirange(intervals: &[Interval]) -> String {
    let mut sorted: Vec<Interval> =
        intervals.iter().filter(|interval| !interval.is_empty()).copied().collect();
    sorted.sort_unstable();
    let mut joined: Vec<Interval> = Vec::new();
    for interval in sorted {
        match joined.last_mut() {
            Some(last) if interval.from <= last.to => last.to = last.to.max(interval.to),
            Some(_) | None => joined.push(interval),
        }
    }
    let texts: Vec<String> =
        joined.iter().map(|interval| format!("[{},{})", interval.from, interval.to)).collect();
    format!("{{{}}}", texts.join(","))
}

/// A scope over one meter's lines, or over fees.
fn scope(
    tenant: AccountId,
    period_start: Instant,
    meter: Option<&MeterName>,
    resources: Option<&BTreeSet<ResourceUid>>,
    lines: &[LineRow],
) -> RatedScope {
    RatedScope {
        tenant: tenant.0,
        period_from_microseconds: period_start.microseconds(),
        meter: meter.map(|meter| meter.as_str().to_owned()),
        resource_uids: resources.map(|uids| uids.iter().map(|uid| uid.0).collect()),
        line_keys: lines.iter().map(|line| line.line_key.clone()).collect(),
    }
}

/// The identity under which an account has `plan`: that of its latest subscription to it that begins before `before`.
fn subscription_of(
    state: &ShardState,
    tenant: AccountId,
    plan: PlanUid,
    before: Instant,
) -> store::Uuid {
    let of_plan = |one: &&metering::Subscription| one.plan == plan && one.from < before;
    let subscriptions = state.subscriptions_of(tenant);
    subscriptions.iter().rev().find(of_plan).map_or(store::Uuid::nil(), |one| one.id)
}

fn unpriced(group: &Group, version: Option<metering::VersionKey>, quantity: i128) -> UnpricedRow {
    UnpricedRow {
        tenant: group.tenant.0,
        period_from_microseconds: group.period.during.from.microseconds(),
        meter: group.meter.as_str().to_owned(),
        plan_uid: version.map_or(store::Uuid::nil(), |version| version.plan.0),
        generation: version.map_or(0, |version| version.generation),
        quantity: quantity.to_string(),
    }
}
