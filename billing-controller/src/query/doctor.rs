//! Whether money is well: what is unpriced, waiting, gapped, behind, or does not add up.

use super::QueryState;
use super::refusal::Refusal;
use axum::Json;
use axum::extract::State;
use operator_kit::Clock;
use pricing::report::{CheckReport, DoctorReport};
use store::PgConnection;

/// How many findings are named in one message.
const NAMED_MAX: usize = 3;
/// A receiver that heard nothing for so long is asked after.
const SILENCE_SECONDS: i64 = 120;
/// How far behind is no trouble.
const BEHIND_ENTRIES: i64 = 2_000;

/// `GET /api/v1/doctor`.
pub(super) async fn show(State(state): State<QueryState>) -> Result<Json<DoctorReport>, Refusal> {
    let mut connection = state.connection().await?;
    let now = state.clock.now().as_microsecond();
    Ok(Json(DoctorReport {
        checks: vec![
            books(&mut connection).await?,
            unpriced(&mut connection).await?,
            suspense(&mut connection).await?,
            gaps(&mut connection).await?,
            stream(&mut connection).await?,
            shards(&mut connection).await?,
            receiver(&mut connection, now).await?,
            clocks(&state),
        ],
    }))
}

fn check(name: &str, findings: &[String], well: &str, remedy: &str) -> CheckReport {
    let ok = findings.is_empty();
    let mut message = findings.iter().take(NAMED_MAX).cloned().collect::<Vec<_>>().join("; ");
    if findings.len() > NAMED_MAX {
        message = format!("{message}; and {} more", findings.len().saturating_sub(NAMED_MAX));
    }
    CheckReport {
        name: name.to_owned(),
        ok,
        message: if ok { well.to_owned() } else { message },
        remedy: if ok { String::new() } else { remedy.to_owned() },
    }
}

async fn books(connection: &mut PgConnection) -> Result<CheckReport, Refusal> {
    let violations = store::ledger::violations(connection).await?;
    let findings: Vec<String> =
        violations.into_iter().map(|(rule, finding)| format!("{rule}: {finding}")).collect();
    let remedy = "stop issuing and compare with a backup: the books were changed from outside";
    Ok(check("books", &findings, "all transactions balance and numbers have no gaps", remedy))
}

async fn unpriced(connection: &mut PgConnection) -> Result<CheckReport, Refusal> {
    let rows = store::line::unpriced(connection, None).await?;
    let mut findings = Vec::new();
    for row in rows {
        let account = store::registry::account_by_id(connection, row.tenant).await?;
        let tenant = account.map_or_else(|| row.tenant.to_string(), |account| account.name);
        findings.push(format!("{} of {tenant} (plan generation {})", row.meter, row.generation));
    }
    let remedy = "add a rate card for the meter to the tenant's PricePlan";
    Ok(check("unpriced usage", &findings, "all usage has a price", remedy))
}

async fn suspense(connection: &mut PgConnection) -> Result<CheckReport, Refusal> {
    let rows = store::fact::suspense_open(connection, 100).await?;
    let said = |row: &store::fact::SuspenseRow| {
        let meter = if row.meter.is_empty() { "transitions" } else { &row.meter };
        format!("{} facts of {meter} of {}: {}", row.facts, row.resource_uid, row.cause)
    };
    let findings: Vec<String> = rows.iter().map(said).collect();
    let remedy = "declare the missing object or Meter, or correct the Meter's bounds";
    Ok(check("suspense", &findings, "all usage has an owner and is plausible", remedy))
}

async fn gaps(connection: &mut PgConnection) -> Result<CheckReport, Refusal> {
    let count = store::fact::gaps_open_count(connection).await?;
    let findings: Vec<String> =
        (count > 0).then(|| format!("{count} stretches without data")).into_iter().collect();
    let remedy =
        "see whether Prometheus scrapes the machines; kubectl freehold explain shows a line's gaps";
    Ok(check("gaps", &findings, "every metered machine is vouched for", remedy))
}

async fn stream(connection: &mut PgConnection) -> Result<CheckReport, Refusal> {
    let (folded, lines) = store::shard::lag(connection).await?;
    let findings: Vec<String> = (folded > BEHIND_ENTRIES || lines > BEHIND_ENTRIES)
        .then(|| format!("{folded} entries of the usage log are not folded, {lines} not in lines"))
        .into_iter()
        .collect();
    let remedy = "see the billing-controller's log; more --workers may help";
    Ok(check("stream", &findings, "bills are up to date with the usage log", remedy))
}

fn clocks(state: &QueryState) -> CheckReport {
    let skew = state.clock.skew_too_large();
    let finding = skew.map(|skew| {
        let side = if skew.is_positive() { "ahead of" } else { "behind" };
        format!("this machine's clock is {} {side} the database's", skew.abs())
    });
    let findings: Vec<String> = finding.into_iter().collect();
    let remedy = "set both machines by NTP; until then no invoice is issued";
    check("clocks", &findings, "this machine and the database agree on the time", remedy)
}

async fn shards(connection: &mut PgConnection) -> Result<CheckReport, Refusal> {
    let parked = store::shard::parked(connection).await?;
    let findings: Vec<String> =
        parked.into_iter().map(|(shard, because)| format!("shard {shard}: {because}")).collect();
    let remedy = "bills of these shards' tenants stand still; mend what is refused, they are tried again by themselves";
    Ok(check("shards", &findings, "every shard of the usage log is folded", remedy))
}

async fn receiver(connection: &mut PgConnection, now: i64) -> Result<CheckReport, Refusal> {
    let last = store::receiver::last_received(connection).await?;
    let silent = last.map(|last| now.saturating_sub(last).div_euclid(1_000_000));
    let finding = match silent {
        None => Some("no samples have been received yet".to_owned()),
        Some(seconds) if seconds > SILENCE_SECONDS => {
            Some(format!("no samples for {seconds} seconds"))
        }
        Some(_) => None,
    };
    let findings: Vec<String> = finding.into_iter().collect();
    let remedy =
        "see Prometheus' remote_write to /api/v1/write: its address, its credential, its log";
    Ok(check("receiver", &findings, "samples are coming in", remedy))
}
