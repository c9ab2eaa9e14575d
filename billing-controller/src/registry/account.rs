//! Tenant → an account of the books, and which plan it is on from when.
//!
//! A subscription is written down when it begins. Another plan is another subscription, from the moment it is noticed; one
//! that lays the periods out otherwise (another zone or anchor day) begins with the next period, so that periods tile.
//! The past stays as it was billed.

use super::World;
use super::announce::{AnnounceError, Audience};
use calendar::{Instant, Periods};
use crds::Tenant;
use ids::AccountId;
use jiff::Timestamp;
use kube::ResourceExt;
use metering::{PlanUid, Record, Subscription};
use operator_kit::controller::Outcome;
use std::sync::Arc;
use std::time::Duration;
use store::registry::{AccountRow, SubscriptionRow};

/// Why a pass failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The account's id cannot be read.
    #[error("account of Tenant")]
    Account(#[from] ids::InvalidUuid),
    /// The object has no UID; the API server gives every object one.
    #[error("Tenant has no UID")]
    NoUid,
    /// The periods cannot be laid out.
    #[error("billing periods of Tenant: correct spec.timeZone or the plan's spec.anchorDay")]
    Periods(#[from] calendar::AnchorRefused),
    /// Rows could not be read or written.
    #[error("register Tenant")]
    Store(#[from] store::Error),
    /// The subscription is not in the usage log.
    #[error("register Tenant")]
    Announce(#[from] AnnounceError),
}

/// How long to wait for the plan, which also announces itself by an event.
const WAIT: Duration = Duration::from_secs(30);

/// One pass.
pub async fn reconcile(tenant: Arc<Tenant>, world: Arc<World>) -> Result<Outcome, Error> {
    let account: AccountId = tenant.account_id().ok_or(Error::NoUid)?.parse()?;
    let now = world.clock.now();
    let acquire = |source| store::Error::Database { act: "register a tenant", source };
    let mut connection = world.pool.acquire().await.map_err(acquire)?;
    let row = AccountRow {
        tenant: account.0,
        name: tenant.name_any(),
        display_name: tenant.spec.display_name.clone(),
        currency: tenant.spec.currency.clone(),
        seen_at_microseconds: now.as_microsecond(),
    };
    store::registry::account_put(&mut connection, &row).await?;
    let mut subscriptions = store::registry::subscriptions_of(&mut connection, account.0).await?;
    let plan = world.plans.get(&tenant.spec.plan_ref.name, None);
    let wanted = plan.as_ref().and_then(|plan| {
        let plan_uid = plan.uid()?.parse().ok()?;
        let anchor_day = plan.spec.anchor_day.unwrap_or(1);
        Some((plan_uid, plan.name_any(), i16::try_from(anchor_day).ok()?))
    });
    if let Some((plan_uid, plan_name, anchor_day)) = wanted {
        let time_zone = tenant.spec.time_zone.clone().unwrap_or_else(|| "UTC".to_owned());
        Periods::monthly(&time_zone, i64::from(anchor_day))?;
        let last = subscriptions.last();
        let is_same = last.is_some_and(|last| {
            let same = (plan_uid, &time_zone, anchor_day);
            last.to_microseconds.is_none()
                && (last.plan_uid, &last.time_zone, last.anchor_day) == same
        });
        if !is_same {
            let from_microseconds =
                begins(&tenant, &subscriptions, (&time_zone, anchor_day), now)?.microseconds();
            let id = store::Uuid::new_v5(
                &account.0,
                format!("{plan_uid}/{from_microseconds}").as_bytes(),
            );
            let row = SubscriptionRow {
                tenant: account.0,
                id,
                plan_uid,
                plan_name,
                from_microseconds,
                to_microseconds: None,
                time_zone,
                anchor_day,
            };
            store::registry::subscription_add(&mut connection, &row).await?;
            subscriptions = store::registry::subscriptions_of(&mut connection, account.0).await?;
        }
    }
    drop(connection);
    for row in &subscriptions {
        announce(&world, account, row).await?;
    }
    Ok(if plan.is_some() { Outcome::Converged } else { Outcome::Waiting(WAIT) })
}

/// Says which plan an account is on, and from when until when.
pub(super) async fn announce(
    world: &World,
    account: AccountId,
    row: &SubscriptionRow,
) -> Result<(), Error> {
    let instant = |at| Instant::from_microseconds(at).unwrap_or(Instant::EPOCH);
    let record = Record::Subscription(Subscription {
        tenant: account,
        id: row.id,
        plan: PlanUid(row.plan_uid),
        from: instant(row.from_microseconds),
        to: row.to_microseconds.map(instant),
        periods: Periods::monthly(&row.time_zone, i64::from(row.anchor_day))?,
    });
    let key = format!("subscription/{}", row.id);
    Ok(world.announcer.announce(key, Audience::Account(account), record).await?)
}

/// The first subscription begins with the tenant; a later one now, or with the next period when it is laid out otherwise.
fn begins(
    tenant: &Tenant,
    known: &[SubscriptionRow],
    layout: (&str, i16),
    now: Timestamp,
) -> Result<Instant, calendar::AnchorRefused> {
    let now = Instant::from_timestamp(now);
    if let Some(pending) = known.last().filter(|last| last.from_microseconds > now.microseconds()) {
        // What was going to begin never has: it is replaced.
        return Ok(Instant::from_microseconds(pending.from_microseconds).unwrap_or(now));
    }
    let in_force = known.iter().rev().find(|one| one.from_microseconds <= now.microseconds());
    let Some(current) = in_force.or_else(|| known.first()) else {
        let created = tenant.metadata.creation_timestamp.as_ref();
        return Ok(created.map_or(now, |time| Instant::from_timestamp(time.0)));
    };
    if (current.time_zone.as_str(), current.anchor_day) == layout {
        return Ok(now);
    }
    let periods = Periods::monthly(&current.time_zone, i64::from(current.anchor_day))?;
    Ok(periods.containing(now)?.during.to)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(zone: &str, from: &str) -> SubscriptionRow {
        SubscriptionRow {
            tenant: store::Uuid::nil(),
            id: store::Uuid::nil(),
            plan_uid: store::Uuid::nil(),
            plan_name: "p".to_owned(),
            from_microseconds: from.parse::<Instant>().unwrap().microseconds(),
            to_microseconds: None,
            time_zone: zone.to_owned(),
            anchor_day: 1,
        }
    }

    #[test]
    fn another_layout_begins_with_the_next_period() {
        let tenant: Tenant = serde_json::from_value(serde_json::json!({
            "metadata": {"name": "t", "creationTimestamp": "2026-11-02T08:30:00Z"},
            "spec": {"type": "Individual", "displayName": "T", "currency": "EUR", "paymentMode": "Postpaid",
                "planRef": {"name": "p"}},
        }))
        .unwrap();
        let now: Timestamp = "2026-11-20T10:00:00Z".parse().unwrap();
        let begin = |known: &[SubscriptionRow], zone: &str, day: i16| {
            begins(&tenant, known, (zone, day), now).unwrap().to_string()
        };
        let berlin = [known("Europe/Berlin", "2026-11-02T08:30:00Z")];
        assert_eq!(begin(&[], "UTC", 1), "2026-11-02T08:30:00Z", "the first: with the tenant");
        assert_eq!(begin(&berlin, "Europe/Berlin", 1), "2026-11-20T10:00:00Z", "another plan: now");
        assert_eq!(begin(&berlin, "UTC", 1), "2026-11-30T23:00:00Z", "another zone");
        assert_eq!(begin(&berlin, "Europe/Berlin", 15), "2026-11-30T23:00:00Z", "another day");
        let pending = [berlin[0].clone(), known("UTC", "2026-11-30T23:00:00Z")];
        assert_eq!(
            begin(&pending, "Asia/Tokyo", 1),
            "2026-11-30T23:00:00Z",
            "instead of the pending one"
        );
    }
}
