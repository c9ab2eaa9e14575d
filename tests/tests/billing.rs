//! From a machine on the cluster to an invoice in the books, by the real programs, a real API server and a real PostgreSQL.
//!
//! Tests take turns by the billing-controller, so each starts it first: then no other test's operator is at work.

#![expect(clippy::indexing_slicing, reason = "a test fails by panicking")]

use anyhow::{Context, Result};
use crds::VirtualMachine;
use http::{Method, StatusCode};
use ids::AccountId;
use ids::well_known::METERING_FINALIZER;
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, Patch, PatchParams};
use metering::ShardNumber;
use pricing::report::{DoctorReport, ExplainReport, InvoiceList, InvoiceReport, UsageReport};
use serde_json::json;
use system_tests::billing::{Billing, Settings};
use system_tests::ground::{Ground, bill, ground, home, line, machine, minor};
use system_tests::samples::{Sample, packed, series};
use system_tests::{Home, Operator, SOON, client, until, until_gone};
use testkit::eventually;

const METRIC: &str = "test_cpu_seconds_total";

/// The programs over one simulated host, and what the tests of this file declare.
struct Stage {
    client: kube::Client,
    billing: Billing,
    operator: Operator,
    ground: Ground,
}

async fn stage(settings: Settings) -> Result<Stage> {
    let client = client().await?;
    let billing = Billing::start(settings).await?;
    let operator = Operator::start_with(true).await?;
    let simulator = json!({"hosts": 1, "vcpusPerHost": 8, "memoryMibPerHost": 4096});
    let provider = json!({"kind": "Simulator", "simulator": simulator});
    let ground = ground(&client, provider, "512Mi", METRIC).await?;
    Ok(Stage { client, billing, operator, ground })
}

/// Microseconds that the machine held something, by its own record.
fn held_microseconds(machine: &VirtualMachine) -> i64 {
    let transitions = machine.status.clone().unwrap_or_default().transitions;
    transitions
        .windows(2)
        .filter(|pair| !pair[0].holds.is_empty())
        .map(|pair| pair[1].at.0.as_microsecond() - pair[0].at.0.as_microsecond())
        .sum()
}

#[tokio::test]
async fn a_machine_is_billed_to_the_microsecond_and_invoiced_to_the_cent() -> Result<()> {
    let Stage { client, mut billing, operator, ground } = stage(Settings::default()).await?;
    let home = home(&client, &ground).await?;
    let started = machine(&client, &home, &ground, true).await?;
    let uid = started.uid().context("no UID")?;
    assert!(started.finalizers().contains(&METERING_FINALIZER.to_owned()), "held for billing");

    // Samples: a counter that grows by 70.5 seconds in all, in three requests, the last one sent twice.
    let created = started.metadata.creation_timestamp.clone().context("no creation")?.0;
    let at = |seconds: i64| created.as_millisecond() + seconds * 1000;
    for (values, times) in [
        (vec![0.25, 10.0], vec![0, 1]),
        (vec![40.0], vec![2]),
        (vec![70.5], vec![3]),
        (vec![70.5], vec![3]),
    ] {
        let samples = values
            .iter()
            .zip(&times)
            .map(|(value, time)| Sample { value: *value, timestamp: at(*time) });
        let status = billing.write(packed(vec![series(METRIC, &uid, samples.collect())])?).await?;
        assert_eq!(status, StatusCode::NO_CONTENT);
    }
    let counted = eventually("the samples are billed", SOON, async || {
        let bill = bill(&billing, &home).await?;
        Ok(line(&bill, "cpu").filter(|line| line.quantity == "70.5").cloned())
    })
    .await?;
    // 60 at 0.05 and 10.5 at 0.02.
    assert_eq!(counted.amount, "3.21");
    assert_eq!(counted.object, "VirtualMachine/web");

    // A crash in between changes nothing.
    billing.crash().await?;
    machine(&client, &home, &ground, false).await?;
    let machines: Api<VirtualMachine> = Api::namespaced(client.clone(), &home.project);
    let stopped = until(&machines, "web", "its stop is acknowledged", |machine| {
        let status = machine.status.clone().unwrap_or_default();
        let acknowledged = status.metering.and_then(|metering| metering.acknowledged_number);
        acknowledged.is_some() && acknowledged == status.last_transition_number
    })
    .await?;
    // The transitions that are acknowledged may be gone from the object; the spans have them.
    let spans = spans(&billing, &uid).await?;
    let microseconds: i64 = spans.iter().map(|(from, to)| to.unwrap_or(*from) - from).sum();
    if stopped.status.as_ref().is_some_and(|status| status.transitions.len() == 2) {
        assert_eq!(microseconds, held_microseconds(&stopped), "spans follow the record");
    }
    let quantity = eventually("what was held is billed", SOON, async || {
        let bill = bill(&billing, &home).await?;
        let usage: UsageReport = billing
            .get(&format!("/api/v1/usage?tenant={}&meter={}", home.tenant, ground.meters[0]))
            .await?;
        let total: i128 = usage.windows.iter().map(|window| window.base_units.0).sum();
        let expected = i128::from(microseconds) * 2;
        Ok((total == expected && line(&bill, "vcpu").is_some()).then_some(total))
    })
    .await?;
    assert_eq!(quantity, i128::from(microseconds) * 2, "two processors, to the microsecond");

    invoice(&billing, &home).await?;
    explain(&billing, &home, &uid).await?;

    machines.delete("web", &DeleteParams::default()).await?;
    until_gone(&machines, "web").await?;
    home.close().await?;
    operator.stop().await?;
    billing.close().await
}

async fn spans(billing: &Billing, uid: &str) -> Result<Vec<(i64, Option<i64>)>> {
    eventually("the span is closed", SOON, async || {
        let rows: Vec<(i64, Option<i64>)> = sqlx::query_as(
            "SELECT from_microseconds, to_microseconds FROM metering.span
             WHERE resource_uid = $1::uuid AND sku = 'compute/vcpu' ORDER BY number",
        )
        .bind(uid)
        .fetch_all(&billing.database.pool)
        .await?;
        Ok((!rows.is_empty() && rows.iter().all(|(_, to)| to.is_some())).then_some(rows))
    })
    .await
}

async fn invoice(billing: &Billing, home: &Home) -> Result<()> {
    let (status, body) = billing.order(&home.tenant, "first").await?;
    assert_eq!(status, StatusCode::CREATED, "{}", String::from_utf8_lossy(&body));
    let issued: InvoiceReport = serde_json::from_slice(&body)?;
    assert_eq!(issued.summary.number, "FH-000001");
    let lines = issued.lines.iter().map(|line| minor(&line.amount)).sum::<Result<i64>>()?;
    let total = minor(&issued.summary.total)?;
    assert_eq!(lines, total, "lines sum to the total");
    assert_eq!(bill(billing, home).await?.total, issued.summary.total, "all of the bill is in it");

    let (status, again) = billing.order(&home.tenant, "first").await?;
    assert_eq!((status, again), (StatusCode::CREATED, body), "asked again: the same invoice");
    let (status, body) = billing.order(&home.tenant, "second").await?;
    assert_eq!(status, StatusCode::CONFLICT, "{}", String::from_utf8_lossy(&body));
    let list: InvoiceList =
        billing.get(&format!("/api/v1/invoices?tenant={}", home.tenant)).await?;
    assert_eq!(list.invoices, std::slice::from_ref(&issued.summary));
    let shown: InvoiceReport = billing.get("/api/v1/invoices/FH-000001").await?;
    assert_eq!(shown, issued);

    let balances: Vec<(String, i64)> =
        sqlx::query_as("SELECT name, posted_minor FROM ledger.account ORDER BY name")
            .fetch_all(&billing.database.pool)
            .await?;
    let of = |what: &str| {
        balances.iter().find(|(name, _)| name.ends_with(what)).map(|(_, minor)| *minor)
    };
    assert_eq!(
        (of("/receivable"), of("/revenue"), of("/accrued")),
        (Some(total), Some(-total), Some(0))
    );
    let doctor: DoctorReport = billing.get("/api/v1/doctor").await?;
    let books = doctor.checks.iter().find(|check| check.name == "books").context("no check")?;
    assert!(books.ok, "{}", books.message);
    Ok(())
}

async fn explain(billing: &Billing, home: &Home, uid: &str) -> Result<()> {
    let bill = bill(billing, home).await?;
    let key = &line(&bill, "cpu").context("no line")?.key;
    let explained: ExplainReport = billing.get(&format!("/api/v1/lines/explain?key={key}")).await?;
    assert_eq!(explained.resource.map(|uid| uid.to_string()).as_deref(), Some(uid));
    assert_eq!(explained.generation, 1);
    let values: Vec<i128> = explained.samples.iter().map(|sample| sample.base_units.0).collect();
    assert_eq!(values, [250_000, 10_000_000, 40_000_000, 70_500_000], "samples, each once");
    let key = &line(&bill, "vcpu").context("no line")?.key;
    let explained: ExplainReport = billing.get(&format!("/api/v1/lines/explain?key={key}")).await?;
    assert_eq!(explained.spans.len(), 1);
    assert_eq!(explained.spans[0].quantity, "2");
    Ok(())
}

#[tokio::test]
async fn questions_are_refused_with_a_reason() -> Result<()> {
    let billing = Billing::start(Settings::default()).await?;
    for (method, path, body, status, words) in [
        (Method::GET, "/api/v1/bill", "", StatusCode::BAD_REQUEST, "tenant"),
        (Method::GET, "/api/v1/bill?tenant=nobody", "", StatusCode::NOT_FOUND, "nobody"),
        (Method::GET, "/api/v1/bill?tenant=a&colour=red", "", StatusCode::BAD_REQUEST, "colour"),
        (Method::GET, "/api/v1/usage?tenant=a&from=yesterday", "", StatusCode::BAD_REQUEST, "from"),
        (Method::GET, "/api/v1/invoices/7", "", StatusCode::BAD_REQUEST, "FH-000001"),
        (Method::GET, "/api/v1/invoices/FH-000007", "", StatusCode::NOT_FOUND, "FH-000007"),
        (Method::GET, "/api/v1/lines/explain?key=x", "", StatusCode::NOT_FOUND, "bill line"),
        (Method::GET, "/api/v1/nothing", "", StatusCode::NOT_FOUND, "/api/v1/nothing"),
        (Method::POST, "/api/v1/invoices", "{", StatusCode::BAD_REQUEST, "JSON"),
        (
            Method::POST,
            "/api/v1/invoices",
            r#"{"tenant":"a","through":"2026-01-01T00:00:00Z"}"#,
            StatusCode::BAD_REQUEST,
            "now",
        ),
        (
            Method::POST,
            "/api/v1/invoices",
            r#"{"tenant":"nobody","through":"now"}"#,
            StatusCode::NOT_FOUND,
            "nobody",
        ),
    ] {
        let (found, answer) = billing.ask(method.clone(), path, body.into()).await?;
        let answer = String::from_utf8_lossy(&answer).into_owned();
        assert_eq!(found, status, "{method} {path}: {answer}");
        assert!(answer.contains(words), "{method} {path}: {answer}");
        let report: pricing::report::ErrorReport = serde_json::from_str(&answer)?;
        assert!(!report.error.contains('\n'), "{answer}");
    }
    billing.close().await
}

fn check<'a>(doctor: &'a DoctorReport, name: &str) -> Result<&'a pricing::report::CheckReport> {
    doctor.checks.iter().find(|check| check.name == name).context("no such check")
}

async fn account_of(client: &kube::Client, home: &Home) -> Result<AccountId> {
    let tenants: Api<crds::Tenant> = Api::all(client.clone());
    let tenant = tenants.get(&home.tenant).await?;
    Ok(tenant.account_id().context("no account")?.parse()?)
}

/// Two tenants whose shards differ.
async fn two_homes(client: &kube::Client, ground: &Ground) -> Result<(Home, Home)> {
    let first = home(client, ground).await?;
    let shard = ShardNumber::of(account_of(client, &first).await?);
    loop {
        let second = home(client, ground).await?;
        if ShardNumber::of(account_of(client, &second).await?) != shard {
            return Ok((first, second));
        }
        second.close().await?;
    }
}

/// Makes the database refuse every line of the account from now on.
async fn poison(billing: &Billing, account: AccountId) -> Result<()> {
    let forbid = format!(
        "ALTER TABLE billing.line ADD CONSTRAINT poisoned CHECK (tenant <> '{account}') NOT VALID"
    );
    sqlx::query(sqlx::AssertSqlSafe(forbid)).execute(&billing.database.pool).await?;
    Ok(())
}

async fn mend(billing: &Billing) -> Result<()> {
    sqlx::query("ALTER TABLE billing.line DROP CONSTRAINT poisoned")
        .execute(&billing.database.pool)
        .await?;
    Ok(())
}

async fn is_parked(billing: &Billing, account: AccountId) -> Result<()> {
    let shard = ShardNumber::of(account).number();
    eventually("the doctor names the shard", SOON, async || {
        let doctor: DoctorReport = billing.get("/api/v1/doctor").await?;
        let found = check(&doctor, "shards")?;
        Ok((!found.ok && found.message.contains(&format!("shard {shard}:"))).then_some(()))
    })
    .await
}

#[tokio::test]
async fn an_order_that_was_served_is_answered_whatever_has_happened_since() -> Result<()> {
    let Stage { client, billing, operator, ground } = stage(Settings::default()).await?;
    let home = home(&client, &ground).await?;
    let account = account_of(&client, &home).await?;
    machine(&client, &home, &ground, true).await?;
    let issued = eventually("something is used", SOON, async || {
        let (status, body) = billing.order(&home.tenant, "once").await?;
        Ok((status == StatusCode::CREATED).then_some(body))
    })
    .await?;
    // The machine runs on, so its shard meets the refusal within a tick.
    poison(&billing, account).await?;
    is_parked(&billing, account).await?;
    let (status, again) = billing.order(&home.tenant, "once").await?;
    assert_eq!(
        (status, String::from_utf8_lossy(&again)),
        (StatusCode::CREATED, String::from_utf8_lossy(&issued))
    );
    let (status, body) = billing.order(&home.tenant, "another").await?;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{}", String::from_utf8_lossy(&body));
    mend(&billing).await?;
    home.close().await?;
    operator.stop().await?;
    billing.close().await
}

#[tokio::test]
async fn a_row_that_is_refused_stops_its_own_shard_alone() -> Result<()> {
    let Stage { client, billing, operator, ground } = stage(Settings::default()).await?;
    let (refused, other) = two_homes(&client, &ground).await?;
    let account = account_of(&client, &refused).await?;
    poison(&billing, account).await?;
    for home in [&refused, &other] {
        let machine = machine(&client, home, &ground, true).await?;
        let uid = machine.uid().context("no UID")?;
        let created = machine.metadata.creation_timestamp.context("no creation")?.0;
        let sample = |value: f64, second: i64| {
            let timestamp = created.as_millisecond() + second * 1000;
            Sample { value, timestamp }
        };
        let body = packed(vec![series(METRIC, &uid, vec![sample(1.0, 0), sample(8.0, 1)])])?;
        assert_eq!(billing.write(body).await?, StatusCode::NO_CONTENT);
    }
    let is_billed = async |home: &Home| {
        let bill = bill(&billing, home).await?;
        Ok(line(&bill, "cpu").filter(|line| line.quantity == "8").map(|_| ()))
    };
    eventually("the other tenant is billed", SOON, async || is_billed(&other).await).await?;
    is_parked(&billing, account).await?;
    let (status, body) = billing.order(&refused.tenant, "parked").await?;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{}", String::from_utf8_lossy(&body));
    assert!(String::from_utf8_lossy(&body).contains("parked"));
    let (status, body) = billing.order(&other.tenant, "goes on").await?;
    assert_eq!(status, StatusCode::CREATED, "{}", String::from_utf8_lossy(&body));

    mend(&billing).await?;
    eventually("what waited is billed", SOON, async || is_billed(&refused).await).await?;
    let doctor: DoctorReport = billing.get("/api/v1/doctor").await?;
    assert!(check(&doctor, "shards")?.ok, "mended by itself");
    refused.close().await?;
    other.close().await?;
    operator.stop().await?;
    billing.close().await
}

#[tokio::test]
async fn a_wrong_clock_moves_no_usage_and_issues_nothing() -> Result<()> {
    let settings = Settings { clock_offset: Some("+3600s"), ..Settings::default() };
    let Stage { client, billing, operator, ground } = stage(settings).await?;
    let home = home(&client, &ground).await?;
    machine(&client, &home, &ground, true).await?;
    let path = format!("/api/v1/usage?tenant={}&meter={}", home.tenant, ground.meters[0]);
    let usage: UsageReport = eventually("time is counted", SOON, async || {
        let usage: UsageReport = billing.get(&path).await?;
        Ok((!usage.windows.is_empty()).then_some(usage))
    })
    .await?;
    let (ahead,): (bool,) =
        sqlx::query_as("SELECT to_timestamp($1::float8 / 1000000) > clock_timestamp()")
            .bind(usage.windows.iter().map(|window| window.start.0.microseconds()).max())
            .fetch_one(&billing.database.pool)
            .await?;
    assert!(!ahead, "no usage lies in the hour that only the machine's clock knows");
    let used: i128 = usage.windows.iter().map(|window| window.base_units.0).sum();
    assert!(used < 2 * 600 * 1_000_000, "seconds of use, not an hour: {used}");
    let (status, body) = billing.order(&home.tenant, "wrong").await?;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{}", String::from_utf8_lossy(&body));
    assert!(String::from_utf8_lossy(&body).contains("clock"));
    let doctor: DoctorReport = billing.get("/api/v1/doctor").await?;
    let clocks = check(&doctor, "clocks")?;
    assert!(!clocks.ok && clocks.message.contains("ahead of"), "{}", clocks.message);
    home.close().await?;
    operator.stop().await?;
    billing.close().await
}

/// As a restore of an older etcd, or a person with all rights, would have it: without an end of the record.
async fn vanish(machines: &Api<VirtualMachine>, name: &str) -> Result<()> {
    let nothing = json!({"metadata": {"finalizers": null}});
    machines.delete(name, &DeleteParams::default()).await?;
    eventually("the machine is gone without an end", SOON, async || {
        match machines.patch(name, &PatchParams::default(), &Patch::Merge(&nothing)).await {
            Ok(_) => Ok(None),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(Some(())),
            Err(error) => Err(error.into()),
        }
    })
    .await
}

#[tokio::test]
async fn what_is_gone_is_not_billed_any_more() -> Result<()> {
    let Stage { client, mut billing, operator, ground } = stage(Settings::default()).await?;
    let home = home(&client, &ground).await?;
    let account = account_of(&client, &home).await?;
    let started = machine(&client, &home, &ground, true).await?;
    let uid = started.uid().context("no UID")?;
    let record = started.status.context("no status")?.transitions;
    let began = record.last().context("nothing is held")?.at.0.as_microsecond();
    eventually("its usage is counted, and all was seen to be there", SOON, async || {
        let counted = line(&bill(&billing, &home).await?, "vcpu").is_some();
        let seen = seen_at(&billing).await?;
        Ok(seen.filter(|seen| counted && *seen > began))
    })
    .await?;

    // Nobody looks while it goes: neither the operator, which would end its record, nor billing.
    operator.stop().await?;
    billing.kill().await?;
    let seen = seen_at(&billing).await?.context("nothing was seen")?;
    let machines: Api<VirtualMachine> = Api::namespaced(client.clone(), &home.project);
    vanish(&machines, "web").await?;
    billing.revive().await?;
    let spans = spans(&billing, &uid).await?;
    let last = spans.iter().filter_map(|(_, to)| *to).max();
    assert_eq!(last, Some(seen), "held until it was last known to be there");

    let operator = Operator::start_with(true).await?;
    let tenant = home.tenant.clone();
    home.close().await?;
    let end: Option<i64> = eventually("the subscription ends", SOON, async || {
        let row: Option<(Option<i64>,)> =
            sqlx::query_as("SELECT to_microseconds FROM registry.subscription WHERE tenant = $1")
                .bind(account.0)
                .fetch_optional(&billing.database.pool)
                .await?;
        Ok(row.filter(|(to,)| to.is_some()).map(|(to,)| to))
    })
    .await?;
    assert!(end > Some(seen), "after the machine's end");
    eventually("the fee is for the time until then", SOON, async || {
        let row: Option<(bool,)> = sqlx::query_as(
            "SELECT upper(billed) = to_timestamp($2::numeric / 1000000) FROM billing.line
             WHERE tenant = $1 AND rate_card = 'base' AND state = 'live'",
        )
        .bind(account.0)
        .bind(end)
        .fetch_optional(&billing.database.pool)
        .await?;
        Ok(row.filter(|(ends,)| *ends))
    })
    .await?;
    let by_name: pricing::report::BillReport =
        billing.get(&format!("/api/v1/bill?tenant={tenant}")).await?;
    let by_id: pricing::report::BillReport =
        billing.get(&format!("/api/v1/bill?tenant={account}")).await?;
    assert_eq!(by_name.lines, by_id.lines, "an account can be asked for by its id");
    operator.stop().await?;
    billing.close().await
}

async fn seen_at(billing: &Billing) -> Result<Option<i64>> {
    Ok(sqlx::query_scalar("SELECT seen_at_microseconds FROM registry.watch")
        .fetch_optional(&billing.database.pool)
        .await?)
}
