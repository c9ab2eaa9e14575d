//! A real guest, seen by a real Prometheus, billed to the last digit of its raw samples, through outages of every part.
//!
//! Prometheus' own store is the witness: what is billed of the guest's processor time has to be what its raw samples say,
//! by a sum so dull that it cannot be wrong.
#![expect(clippy::indexing_slicing, reason = "a test fails by panicking")]

use anyhow::{Context, Result, bail};
use crds::VirtualMachine;
use kube::ResourceExt;
use kube::api::{Api, DeleteParams};
use metering::scale::reading_to_base_units;
use pricing::report::{ExplainReport, UsageReport};
use serde_json::json;
use std::time::Duration;
use system_tests::billing::{Billing, Settings};
use system_tests::ground::{bill, ground, home, line, machine};
use system_tests::prometheus::{Prometheus, SCRAPE_SECONDS};
use system_tests::samples::{Sample, packed, series};
use system_tests::{Home, Operator, SOON, client, until_gone};
use testkit::{GUEST_INITRD, GUEST_KERNEL, LIBVIRT_SOCKET, eventually, setting};

const METRIC: &str = "libvirt_domain_info_cpu_time_seconds_total";
/// Two minutes, and a little so that it counts as an outage.
const STOPPED: Duration = Duration::from_secs(122);
/// A backfill begins a minute after samples come again.
const BACKFILLED: Duration = Duration::from_mins(3);

/// What raw samples of a counter add up to, from its birth: growth, and the new value after a fall.
fn dull_sum(samples: &[(i64, f64)]) -> Result<i128> {
    let (mut total, mut last) = (0, 0);
    for (_, value) in samples {
        let value = reading_to_base_units(*value, 1_000_000)?.0;
        total += if value < last { value } else { value - last };
        last = value;
    }
    Ok(total)
}

async fn used(billing: &Billing, home: &Home, meter: &str) -> Result<UsageReport> {
    billing.get(&format!("/api/v1/usage?tenant={}&meter={meter}", home.tenant)).await
}

fn total(usage: &UsageReport) -> i128 {
    usage.windows.iter().map(|window| window.base_units.0).sum()
}

/// Waits until `count` samples more than now are in Prometheus.
async fn more_samples(prometheus: &Prometheus, uid: &str, count: usize) -> Result<()> {
    let before = prometheus.samples(METRIC, uid).await?.len();
    eventually("the guest is scraped", SOON, async || {
        let now = prometheus.samples(METRIC, uid).await?.len();
        Ok((now >= before + count).then_some(()))
    })
    .await
}

/// Waits until all that Prometheus has of the guest is billed, and returns how much that is.
async fn settled(
    billing: &Billing,
    home: &Home,
    meter: &str,
    prometheus: &Prometheus,
    uid: &str,
    limit: Duration,
) -> Result<i128> {
    eventually("what Prometheus has is billed", limit, async || {
        let samples = prometheus.samples(METRIC, uid).await?;
        let (expected, found) = (dull_sum(&samples)?, total(&used(billing, home, meter).await?));
        if samples.is_empty() || expected != found {
            bail!("{found} is billed, {expected} is in {} raw samples", samples.len());
        }
        Ok(Some(found))
    })
    .await
}

#[tokio::test]
async fn a_real_guest_is_billed_what_its_raw_samples_say() -> Result<()> {
    let client = client().await?;
    let operator = Operator::start_with(true).await?;
    let mut billing = Billing::start(Settings { workers: 2, ..Settings::default() }).await?;
    let mut prometheus = Prometheus::start(&billing.write_url()).await?;
    let image = json!({"name": "tiny", "kernelPath": setting(GUEST_KERNEL)?, "initrdPath": setting(GUEST_INITRD)?,
        "kernelArguments": "console=ttyS0 quiet"});
    let libvirt =
        json!({"socket": setting(LIBVIRT_SOCKET)?, "acceleration": "Emulation", "images": [image]});
    let provider = json!({"kind": "Libvirt", "libvirt": libvirt});
    let ground = ground(&client, provider, "128Mi", METRIC).await?;
    let home = home(&client, &ground).await?;
    let uid = machine(&client, &home, &ground, true).await?.uid().context("no UID")?;
    let [vcpu, _, cpu] = &ground.meters;

    more_samples(&prometheus, &uid, 4).await?;
    settled(&billing, &home, cpu, &prometheus, &uid, SOON).await?;

    // The billing-controller is away for a while: Prometheus keeps what it could not send.
    billing.kill().await?;
    more_samples(&prometheus, &uid, 4).await?;
    billing.revive().await?;
    settled(&billing, &home, cpu, &prometheus, &uid, SOON).await?;

    // Prometheus is away for two minutes: nothing was scraped, and yet the counter's total is exact.
    prometheus.stop().await?;
    tokio::time::timeout(STOPPED, std::future::pending::<()>()).await.ok();
    prometheus.resume().await?;
    more_samples(&prometheus, &uid, 3).await?;
    settled(&billing, &home, cpu, &prometheus, &uid, SOON).await?;

    machine(&client, &home, &ground, false).await?;
    let billed = settled(&billing, &home, cpu, &prometheus, &uid, SOON).await?;
    assert!(billed > 0, "a guest uses its processor");
    evidence(&billing, &home, &prometheus, &uid).await?;
    held(&billing, &home, vcpu, &uid).await?;
    let windows = used(&billing, &home, cpu).await?;
    billing.close().await?;
    from_prometheus_alone(&home, cpu, &prometheus, &uid, &windows).await?;

    // Without billing nothing holds the machine.
    let machines: Api<VirtualMachine> = Api::namespaced(client.clone(), &home.project);
    let billing = Billing::start(Settings::default()).await?;
    machines.delete("web", &DeleteParams::default()).await?;
    until_gone(&machines, "web").await?;
    home.close().await?;
    operator.stop().await?;
    billing.close().await
}

/// The line's evidence is Prometheus' own samples, each of them, to the last digit; the outage is a gap record.
async fn evidence(
    billing: &Billing,
    home: &Home,
    prometheus: &Prometheus,
    uid: &str,
) -> Result<()> {
    let bill = bill(billing, home).await?;
    let key = &line(&bill, "cpu").context("no line")?.key;
    let explained: ExplainReport = billing.get(&format!("/api/v1/lines/explain?key={key}")).await?;
    let found: Vec<(i64, i128)> = explained
        .samples
        .iter()
        .map(|sample| (sample.at.0.microseconds(), sample.base_units.0))
        .collect();
    let mut raw = Vec::new();
    for (at, value) in prometheus.samples(METRIC, uid).await? {
        raw.push((at * 1000, reading_to_base_units(value, 1_000_000)?.0));
    }
    assert_eq!(found, raw, "the evidence is what Prometheus has");
    let gap = explained.gaps.iter().find(|gap| {
        let to = gap.to.map_or(0, |to| to.0.microseconds());
        to - gap.from.0.microseconds() > 100 * SCRAPE_SECONDS * 500_000
    });
    let gap = gap.context("no gap record for two minutes without a scrape")?;
    assert!(gap.informational, "a counter's total is exact all the same");
    Ok(())
}

/// Processors held are the spans between transitions, to the microsecond.
async fn held(billing: &Billing, home: &Home, meter: &str, uid: &str) -> Result<()> {
    let billed = total(&used(billing, home, meter).await?);
    let spans: Vec<(i64, Option<i64>)> = sqlx::query_as(
        "SELECT from_microseconds, to_microseconds FROM metering.span
         WHERE resource_uid = $1::uuid AND sku = 'compute/vcpu'",
    )
    .bind(uid)
    .fetch_all(&billing.database.pool)
    .await?;
    let held: i64 = spans.iter().map(|(from, to)| to.unwrap_or(*from) - from).sum();
    assert!(held > 0 && spans.iter().all(|(_, to)| to.is_some()), "{spans:?}");
    assert_eq!(billed, i128::from(held) * 2, "two processors");
    Ok(())
}

/// A billing-controller that never heard of the samples reads them back from Prometheus, and bills the same windows.
async fn from_prometheus_alone(
    home: &Home,
    meter: &str,
    prometheus: &Prometheus,
    uid: &str,
    windows: &UsageReport,
) -> Result<()> {
    let first = prometheus.samples(METRIC, uid).await?[0].0;
    let settings = Settings { prometheus_url: Some(prometheus.url()), ..Settings::default() };
    let billing = Billing::start_over(settings, async |database| {
        store::migrate(&database.pool).await?;
        store::receiver::received(&mut *database.pool.acquire().await?, (first - 60_000) * 1000)
            .await?;
        Ok(())
    })
    .await?;
    // Something has to come in for the silence before it to be over.
    let now = Sample { value: 1.0, timestamp: first };
    let other = packed(vec![series("unmetered_total", uid, vec![now])])?;
    assert!(billing.write(other).await?.is_success());
    settled(&billing, home, meter, prometheus, uid, BACKFILLED).await?;
    let found = used(&billing, home, meter).await?;
    let shape = |usage: &UsageReport| -> Vec<(i64, i128)> {
        usage.windows.iter().map(|one| (one.start.0.microseconds(), one.base_units.0)).collect()
    };
    assert_eq!(shape(&found), shape(windows), "backfilled");
    billing.close().await
}
