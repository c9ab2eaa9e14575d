//! Lines of fees: due for the time a subscription lasts, whatever is used.

use super::{Catalogue, Ground, Object, Surroundings, scope, subscription_of};
use calendar::Interval;
use ids::AccountId;
use metering::{PlanUid, ShardState};
use pricing::BillInput;
use std::collections::BTreeMap;
use stream::LinesDue;

/// Rates the fees of the billing period in which the shard's clock stands.
pub(super) fn rate(
    state: &mut ShardState,
    tenant: AccountId,
    catalogue: &Catalogue,
    due: &mut LinesDue,
) {
    let Some(clock) = state.clock() else { return };
    let Some(period) = state.period_of(tenant, clock) else { return };
    let Some(first) = state.subscriptions_of(tenant).first().map(|one| one.from) else { return };
    let during = Interval::new(period.during.from.max(first), period.during.to);
    let mut active: BTreeMap<PlanUid, Vec<(i64, Interval)>> = BTreeMap::new();
    for (within, version) in state.versions_within(tenant, during) {
        // Under another layout it is another period, with a fee of its own.
        let is_within = state.period_start(tenant, within.from) == period.during.from;
        if let Some(version) = version.filter(|_| is_within) {
            active.entry(version.plan).or_default().push((version.generation, within));
        }
    }
    let mut lines = Vec::new();
    for (plan, active) in active {
        let nothing = BTreeMap::new();
        let versions = catalogue.versions(plan).unwrap_or(&nothing);
        let subscription = subscription_of(state, tenant, plan, period.during.to);
        let subscription_text = subscription.to_string();
        let input = BillInput {
            subscription: &subscription_text,
            period: &period,
            versions,
            active: &active,
            usages: &BTreeMap::new(),
        };
        let bill = match pricing::bill(&input) {
            Ok(bill) => bill,
            Err(refusal) => {
                tracing::error!(%tenant, %refusal, "fees cannot be rated; correct the plan");
                continue;
            }
        };
        let surroundings = Surroundings { tenant, subscription, plan, period: &period };
        for line in bill.lines {
            let of_version = active.iter().filter(|(one, _)| *one == line.rated.generation);
            let billed = of_version.map(|(_, within)| *within).collect();
            let ground = Ground { billed, ..Ground::default() };
            lines.push(surroundings.row(line, Object::default(), &ground));
        }
    }
    due.scopes.push(scope(tenant, period.during.from, None, None, &lines));
    due.lines.append(&mut lines);
}
