//! Lines of metered usage.

use super::{Catalogue, Ground, Group, Object, Surroundings, scope, subscription_of, unpriced};
use ids::ResourceUid;
use metering::{PlanUid, ShardState, UsageWindow, VersionKey, WindowKey};
use pricing::{BillInput, PlanVersion, Price, Usage};
use std::collections::{BTreeMap, BTreeSet};
use store::line::LineRow;
use stream::LinesDue;

/// Item, cell and generation: what a line of one card is for.
type Place = (String, String, i64);

/// One plan's share of the usage.
#[derive(Default)]
struct Share {
    usages: Vec<Usage>,
    grounds: BTreeMap<Place, Ground>,
}

/// Rates one meter of one account in one period, for `resources` alone where their lines depend on nothing else.
pub(super) fn rate(
    state: &mut ShardState,
    group: &Group,
    resources: &BTreeSet<ResourceUid>,
    catalogue: &Catalogue,
    due: &mut LinesDue,
) {
    let period = &group.period;
    let together = is_rated_together(state, group, catalogue);
    let mut windows = windows(state, group, (!together).then_some(resources));
    windows.retain(|(key, _)| state.period_start(key.tenant, key.start) == period.during.from);
    let mut shares: BTreeMap<PlanUid, Share> = BTreeMap::new();
    let mut without_plan: i128 = 0;
    for (key, window) in windows {
        let Some(version) = key.version else {
            without_plan = without_plan.saturating_add(window.quantity.0);
            continue;
        };
        let share = shares.entry(version.plan).or_default();
        share.add(state, &key, &window, version.generation);
    }
    let mut lines = Vec::new();
    for (plan, share) in shares {
        lines.extend(share.lines(state, group, plan, catalogue, due));
    }
    if without_plan != 0 {
        due.unpriced.push(unpriced(group, None, without_plan));
    }
    let resources = (!together).then_some(resources);
    due.scopes.push(scope(group.tenant, period.during.from, Some(&group.meter), resources, &lines));
    due.lines.append(&mut lines);
}

/// Whether a line of the meter depends on the usage of other resources: by tiers, by a free quantity, or because some of
/// the usage has no price and has to be added up.
fn is_rated_together(state: &ShardState, group: &Group, catalogue: &Catalogue) -> bool {
    let period = &group.period;
    let subscriptions = state.subscriptions_of(group.tenant);
    let in_force = subscriptions.iter().filter(|one| one.from < period.during.to);
    let plans: BTreeSet<PlanUid> = in_force.map(|one| one.plan).collect();
    let is_plain = |version: &PlanVersion| {
        version.card_of(group.meter.as_str()).is_some_and(|card| {
            matches!(card.price, Price::PerUnit { .. }) && card.free_quantity.is_zero()
        })
    };
    plans.is_empty()
        || subscriptions.first().is_none_or(|first| first.from > period.during.from)
        || !plans.iter().all(|plan| {
            catalogue.versions(*plan).is_some_and(|versions| {
                let begins = versions.values().map(|version| version.effective_from).min();
                begins.is_some_and(|begins| begins <= period.during.from)
                    && versions.values().all(is_plain)
            })
        })
}

fn windows(
    state: &ShardState,
    group: &Group,
    resources: Option<&BTreeSet<ResourceUid>>,
) -> Vec<(WindowKey, UsageWindow)> {
    let during = group.period.during;
    let within = |key: &WindowKey| key.meter == group.meter && during.contains(key.start);
    let owned = |(key, window): (&WindowKey, &UsageWindow)| (key.clone(), window.clone());
    match resources {
        None => state.windows_of(group.tenant).filter(|(key, _)| within(key)).map(owned).collect(),
        Some(resources) => resources
            .iter()
            .flat_map(|resource| state.windows_of_item(group.tenant, *resource, &group.meter))
            .filter(|(key, _)| within(key))
            .map(owned)
            .collect(),
    }
}

impl Share {
    fn add(
        &mut self,
        state: &mut ShardState,
        key: &WindowKey,
        window: &UsageWindow,
        generation: i64,
    ) {
        let (item, cell) = (key.resource.to_string(), key.part.as_str().to_owned());
        let ground = self.grounds.entry((item.clone(), cell.clone(), generation)).or_default();
        ground.facts = ground.facts.saturating_add(window.facts);
        ground.estimated_facts = ground.estimated_facts.saturating_add(window.estimated_facts);
        ground.billed.push(state.window_interval(key));
        let (window_start, quantity) = (key.start, window.quantity);
        self.usages.push(Usage { window_start, item, cell, generation, quantity });
    }

    fn lines(
        self,
        state: &ShardState,
        group: &Group,
        plan: PlanUid,
        catalogue: &Catalogue,
        due: &mut LinesDue,
    ) -> Vec<LineRow> {
        let period = &group.period;
        let total = |generation: i64| -> i128 {
            let of = self.usages.iter().filter(|usage| usage.generation == generation);
            of.map(|usage| usage.quantity.0).fold(0, i128::saturating_add)
        };
        let generations: BTreeSet<i64> = self.usages.iter().map(|usage| usage.generation).collect();
        let nothing = BTreeMap::new();
        let versions = catalogue.versions(plan).unwrap_or(&nothing);
        let subscription = subscription_of(state, group.tenant, plan, period.during.to);
        let usages = [(group.meter.as_str().to_owned(), self.usages.clone())].into();
        let subscription_text = subscription.to_string();
        let input = BillInput {
            subscription: &subscription_text,
            period,
            versions,
            active: &[],
            usages: &usages,
        };
        let bill = match pricing::bill(&input) {
            Ok(bill) => bill,
            Err(refusal) => {
                tracing::error!(tenant = %group.tenant, meter = %group.meter, %refusal, "usage cannot be rated; it waits as unpriced");
                for generation in generations {
                    let version = VersionKey { plan, generation };
                    due.unpriced.push(unpriced(group, Some(version), total(generation)));
                }
                return Vec::new();
            }
        };
        for one in &bill.unpriced {
            let version = VersionKey { plan, generation: one.generation };
            due.unpriced.push(unpriced(group, Some(version), one.quantity.0));
        }
        let surroundings = Surroundings { tenant: group.tenant, subscription, plan, period };
        let empty = Ground::default();
        bill.lines
            .into_iter()
            .map(|line| {
                let rated = &line.rated;
                let place = (rated.item.clone(), rated.cell.clone(), rated.generation);
                let object = object(state, group, &rated.item);
                surroundings.row(line, object, self.grounds.get(&place).unwrap_or(&empty))
            })
            .collect()
    }
}

fn object(state: &ShardState, group: &Group, item: &str) -> Object {
    let Ok(resource) = item.parse::<ResourceUid>() else { return Object::default() };
    let entries = state.entries_of(resource);
    let Some(entry) = entries.iter().rev().find(|entry| entry.tenant == group.tenant) else {
        return Object { resource: Some(resource), ..Object::default() };
    };
    Object {
        resource: Some(resource),
        kind: entry.kind.clone(),
        project: entry.project.clone(),
        name: entry.name.clone(),
    }
}
