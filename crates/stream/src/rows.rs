//! From what the fold found to rows.

use ids::AccountId;
use metering::{
    Changes, Gap, GapCause, GapKey, GapPolicy, ShardNumber, Span, SpanKey, SuspenseCause,
    SuspenseEntry, SuspenseKey, UsageWindow, WindowKey,
};
use store::fact::{GapRow, SpanRow, SuspenseRow};
use store::window::WindowRow;

/// A window's row; over nothing where the quantity has moved away.
pub(crate) fn window(key: &WindowKey, window: Option<&UsageWindow>) -> WindowRow {
    WindowRow {
        tenant: key.tenant.0,
        resource_uid: key.resource.0,
        meter: key.meter.as_str().to_owned(),
        part: key.part.as_str().to_owned(),
        window_start_microseconds: key.start.microseconds(),
        plan_uid: key.version.map(|version| version.plan.0),
        plan_generation: key.version.map(|version| version.generation),
        quantity: quantity(key, window),
        facts: window.map_or(0, |window| count(window.facts)),
        estimated_facts: window.map_or(0, |window| count(window.estimated_facts)),
    }
}

/// What is never negative. If it were, by a mistake of ours, the database would refuse it and with it everything that
/// shares the shard; a window over nothing and a loud log harm one line.
fn quantity(key: &WindowKey, window: Option<&UsageWindow>) -> String {
    let quantity = window.map_or(0, |window| window.quantity.0);
    if quantity < 0 {
        tracing::error!(resource = %key.resource, meter = %key.meter, start = %key.start, quantity, "a usage window is below nothing");
    }
    quantity.max(0).to_string()
}

/// Writes the facts that an epoch changed.
pub(crate) async fn facts_put(
    connection: &mut store::PgConnection,
    shard: ShardNumber,
    changes: &Changes,
) -> Result<(), store::Error> {
    let spans: Vec<SpanRow> = changes.spans.iter().map(|(key, value)| span(key, value)).collect();
    store::fact::spans_put(connection, &spans).await?;
    let gaps: Vec<GapRow> = changes.gaps.iter().map(|(key, value)| gap(key, value)).collect();
    store::fact::gaps_put(connection, &gaps).await?;
    for during in &changes.receiver_gaps {
        let during = (during.from.microseconds(), during.to.microseconds());
        store::fact::receiver_gap_put(connection, during).await?;
    }
    let suspense: Vec<SuspenseRow> =
        changes.suspense.iter().map(|(key, value)| suspense(shard, key, value)).collect();
    store::fact::suspense_put(connection, &suspense).await
}

fn span(key: &SpanKey, span: &Span) -> SpanRow {
    SpanRow {
        tenant: span.tenant.0,
        resource_uid: key.resource.0,
        sku: key.sku.clone(),
        number: count(key.number),
        quantity_millionths: span.quantity.to_string(),
        from_microseconds: span.from.microseconds(),
        to_microseconds: span.to.map(calendar::Instant::microseconds),
    }
}

fn gap(key: &GapKey, gap: &Gap) -> GapRow {
    let cause = match key.cause {
        GapCause::NoSeries => "noSeries",
        GapCause::Unobserved => "unobserved",
    };
    let policy = match gap.policy {
        GapPolicy::Hold => "hold",
        GapPolicy::Estimate => "estimate",
        GapPolicy::Waive => "waive",
    };
    GapRow {
        tenant: gap.tenant.unwrap_or(AccountId(store::Uuid::nil())).0,
        resource_uid: key.resource.0,
        meter: key.meter.as_str().to_owned(),
        part: key.part.as_str().to_owned(),
        from_microseconds: key.from.microseconds(),
        cause: cause.to_owned(),
        to_microseconds: gap.to.map(calendar::Instant::microseconds),
        informational: gap.informational,
        filled: gap.filled,
        policy: policy.to_owned(),
    }
}

fn suspense(shard: ShardNumber, key: &SuspenseKey, entry: &SuspenseEntry) -> SuspenseRow {
    let cause = match key.cause {
        SuspenseCause::UnknownResource => "unknownResource",
        SuspenseCause::UnknownMeter => "unknownMeter",
        SuspenseCause::Unreadable => "unreadable",
        SuspenseCause::Implausible => "implausible",
        SuspenseCause::AfterClose => "afterClose",
    };
    SuspenseRow {
        shard: i16::from(shard.number()),
        resource_uid: key.resource.0,
        meter: key.meter.as_str().to_owned(),
        part: key.part.as_str().to_owned(),
        cause: cause.to_owned(),
        facts: count(entry.facts),
        quantity: entry.quantity.to_string(),
        from_microseconds: entry.during.from.microseconds(),
        to_microseconds: entry.during.to.microseconds(),
        overflowed: count(entry.overflowed),
    }
}

fn count(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
