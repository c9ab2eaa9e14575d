//! The same facts give the same lines, byte for byte: killed, restarted, repeated, late, by any number of workers; and
//! again from the usage log alone.
//!
//! A script of samples and transitions over the past hours is played through the real doors (remote write, the watch of
//! the API server) into a billing-controller over a new database, once in quiet and then under faults. The test plays
//! the operator itself, so that every run is about the same objects.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

#[path = "oracle/program.rs"]
mod program;

use anyhow::{Context, Result, bail};
use billing_controller::stream::{self as engine, Stream, StreamMetrics};
use crds::{Meter, PricePlan, Tenant, VirtualMachine};
use http::StatusCode;
use ids::AccountId;
use ids::well_known::{
    OPERATOR_MANAGER, PROJECT_LABEL, ROLE_LABEL, ROLE_PROJECT, TENANT_LABEL, TENANT_UID_LABEL,
};
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{Api, Patch, PatchParams};
use kube::{Client, ResourceExt};
use metering::ShardNumber;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;
use stream::{PostgresLog, UsageLog};
use system_tests::billing::{Billing, Settings};
use system_tests::samples::{Sample, TimeSeries, packed, series};
use system_tests::{apply, client, is_ready, tenant_declaration, unique, until};
use testkit::database::{self, Database};
use testkit::eventually;
use tokio_util::sync::CancellationToken;

/// How long a run may take to come to rest.
const REST: Duration = Duration::from_mins(2);
const MACHINES: [&str; 3] = ["web", "worker", "cache"];
const SAMPLE_SECONDS: i64 = 15;
/// Samples of one request, per machine.
const PER_REQUEST: i64 = 60;
/// Three hours.
const REQUESTS: i64 = 12;

/// The objects that all runs are about.
struct Stage {
    client: Client,
    account: AccountId,
    plan_uid: String,
    plan: String,
    metric: String,
    namespace: String,
    uids: BTreeMap<&'static str, String>,
    /// Milliseconds since 1970: the beginning of the script, four hours ago, on the hour.
    begins: i64,
}

/// One thing that happens.
enum Act {
    /// A remote-write request.
    Write(Vec<u8>),
    /// Machines hold something else.
    Hold(Vec<(&'static str, Value)>),
}

async fn stage() -> Result<Stage> {
    let client = client().await?;
    let (plan, metric, tenant) =
        (unique("p"), format!("{}_seconds_total", unique("m")), unique("t"));
    let (vcpu, cpu) = (unique("vcpu"), unique("cpu"));
    let meters: Api<Meter> = Api::all(client.clone());
    for (name, kind, source) in [
        (&vcpu, "Allocation", json!({"lifecycle": {"resource": "compute/vcpu"}})),
        (&cpu, "Counter", json!({"prometheus": {"metric": metric, "resourceLabel": "uuid"}})),
    ] {
        let spec = json!({"kind": kind, "unit": "s", "baseUnitsPerUnit": 1_000_000,
            "displayUnit": {"name": "hour", "units": 3600}, "source": source});
        apply(&meters, json!({"metadata": {"name": name}, "spec": spec})).await?;
    }
    let plans: Api<PricePlan> = Api::all(client.clone());
    let tiers =
        json!([{"from": "0", "rate": "0.37"}, {"from": "0.5", "rate": "0.11", "flat": "1.00"}]);
    let spec = json!({"currency": "EUR", "effectiveFrom": "2026-01-01T00:00:00Z",
    "phases": [{"name": "evergreen", "rateCards": [
        {"id": "vcpu", "meterRef": {"name": vcpu}, "price": {"perUnit": {"rate": "0.123456789"}}},
        {"id": "cpu", "meterRef": {"name": cpu}, "price": {"graduated": {"tiers": tiers}}, "freeQuantity": "0.05"},
        {"id": "base", "price": {"flat": {"amount": "9.90"}}},
    ]}]});
    let declared = apply(&plans, json!({"metadata": {"name": plan}, "spec": spec})).await?;
    let tenants: Api<Tenant> = Api::all(client.clone());
    let mut declaration = tenant_declaration(&tenant);
    *declaration.pointer_mut("/spec/planRef/name").context("no plan")? = json!(plan);
    let tenant = apply(&tenants, declaration).await?;
    let namespace = format!("tn-{}-main", tenant.name_any());
    let labels = json!({TENANT_LABEL: tenant.name_any(), TENANT_UID_LABEL: tenant.uid(),
        PROJECT_LABEL: "main", ROLE_LABEL: ROLE_PROJECT});
    let namespaces: Api<Namespace> = Api::all(client.clone());
    apply(&namespaces, json!({"metadata": {"name": namespace, "labels": labels}})).await?;
    let machines: Api<VirtualMachine> = Api::namespaced(client.clone(), &namespace);
    let mut uids = BTreeMap::new();
    for name in MACHINES {
        let spec = json!({"instanceTypeRef": {"name": "any"}, "image": "tiny"});
        let machine = apply(&machines, json!({"metadata": {"name": name}, "spec": spec})).await?;
        uids.insert(name, machine.uid().context("no UID")?);
    }
    let hour = 3_600_000;
    let created = tenant.metadata.creation_timestamp.as_ref().context("no creation")?.0;
    let begins = (created.as_millisecond() / hour - 4) * hour;
    let account = tenant.account_id().context("no account")?.parse()?;
    let plan_uid = declared.uid().context("no UID")?;
    Ok(Stage { client, account, plan_uid, plan, metric, namespace, uids, begins })
}

impl Stage {
    fn series(&self, machine: &str, samples: Vec<Sample>) -> TimeSeries {
        series(&self.metric, self.uids.get(machine).unwrap(), samples)
    }

    /// What the counter of a machine shows at its n-th sample: uneven steps, fractions, and for one of them a restart.
    fn value(machine: &str, index: i64) -> f64 {
        let index = if machine == "worker" && index > 400 { index - 400 } else { index };
        let salt = i64::try_from(machine.len()).unwrap();
        let milliseconds = index * 3_217 * salt + (index * index * salt) % 911;
        f64::from(i32::try_from(milliseconds).unwrap()) / 1000.0
    }

    fn request(&self, number: i64) -> Result<Vec<u8>> {
        let indices = number * PER_REQUEST..(number + 1) * PER_REQUEST;
        let all = MACHINES.iter().map(|machine| {
            let seen = indices.clone().filter(|index| {
                // For two minutes nothing was scraped.
                !(300..308).contains(index)
            });
            let samples = seen.map(|index| Sample {
                value: Self::value(machine, index),
                timestamp: self.begins + index * SAMPLE_SECONDS * 1000,
            });
            self.series(machine, samples.collect())
        });
        packed(all.collect())
    }

    fn transition(&self, number: i64, after_seconds: i64, vcpus: Option<i64>, last: bool) -> Value {
        let at = jiff::Timestamp::from_microsecond(
            (self.begins + after_seconds * 1000) * 1000 + number * 1_001,
        );
        let holds =
            vcpus.map_or_else(|| json!({}), |vcpus| json!({"compute/vcpu": vcpus.to_string()}));
        json!({"number": number, "at": format!("{:.6}", at.unwrap()), "holds": holds,
            "reason": "Started", "final": last})
    }

    /// The script: requests in order, with what machines held in between.
    fn script(&self) -> Result<Vec<Act>> {
        let mut acts = Vec::new();
        for number in 0..REQUESTS {
            let at = number * PER_REQUEST * SAMPLE_SECONDS;
            let held = match number {
                0 => MACHINES
                    .iter()
                    .map(|name| (*name, self.transition(1, 1, Some(2), false)))
                    .collect(),
                3 => vec![("web", self.transition(2, at, None, false))],
                5 => vec![
                    ("web", self.transition(3, at + 7, Some(4), false)),
                    ("worker", self.transition(2, at, Some(1), false)),
                ],
                _ => Vec::new(),
            };
            if !held.is_empty() {
                acts.push(Act::Hold(held));
            }
            acts.push(Act::Write(self.request(number)?));
        }
        let end = REQUESTS * PER_REQUEST * SAMPLE_SECONDS;
        let numbers = [("web", 4), ("worker", 3), ("cache", 2)];
        acts.push(Act::Hold(
            numbers
                .iter()
                .map(|(name, number)| (*name, self.transition(*number, end, None, true)))
                .collect(),
        ));
        Ok(acts)
    }

    fn machines(&self) -> Api<VirtualMachine> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// As before any run.
    async fn reset(&self) -> Result<()> {
        for name in MACHINES {
            let status = json!({"status": {"transitions": null, "lastTransitionNumber": null, "metering": null}});
            self.machines()
                .patch_status(name, &PatchParams::default(), &Patch::Merge(&status))
                .await?;
        }
        Ok(())
    }

    async fn hold(&self, name: &str, transition: &Value) -> Result<()> {
        let machine = self.machines().get(name).await?;
        let before = machine.status.unwrap_or_default();
        let mut all = serde_json::to_value(before.transitions)?;
        all.as_array_mut().context("no list")?.push(transition.clone());
        let number = transition.get("number").cloned();
        let status = json!({"apiVersion": "compute.freehold.dev/v1alpha1", "kind": "VirtualMachine",
            "metadata": {"name": name}, "status": {"transitions": all, "lastTransitionNumber": number}});
        let parameters = PatchParams::apply(OPERATOR_MANAGER).force();
        self.machines().patch_status(name, &parameters, &Patch::Apply(&status)).await?;
        Ok(())
    }

    /// A billing-controller over a database in which the account has had its plan since before the script.
    async fn billing(&self, workers: usize) -> Result<Billing> {
        let settings = Settings { workers, ..Settings::default() };
        let seed = async |database: &Database| {
            store::migrate(&database.pool).await?;
            sqlx::query(
                "INSERT INTO registry.subscription VALUES ($1, $2, $3::uuid, $4, $5, 'UTC', 1)",
            )
            .bind(self.account.0)
            .bind(uuid::Uuid::new_v5(&self.account.0, b"first"))
            .bind(&self.plan_uid)
            .bind(&self.plan)
            .bind((self.begins - 86_400_000) * 1000)
            .execute(&database.pool)
            .await?;
            Ok(())
        };
        let billing = Billing::start_over(settings, seed).await?;
        let plans: Api<PricePlan> = Api::all(self.client.clone());
        until(&plans, &self.plan, "is published", is_ready).await?;
        Ok(billing)
    }
}

/// What is done to a run.
#[derive(Clone, Copy)]
struct Faults {
    workers: usize,
    kills: usize,
    database_crashes: usize,
    twice: bool,
    /// This request comes after the next one.
    late: Option<i64>,
}

const QUIET: Faults =
    Faults { workers: 1, kills: 0, database_crashes: 0, twice: false, late: None };

async fn run(stage: &Stage, faults: Faults) -> Result<Billing> {
    stage.reset().await?;
    let mut billing = stage.billing(faults.workers).await?;
    let mut acts = stage.script()?;
    if let Some(late) = faults.late {
        let place = acts.iter().enumerate().filter(|(_, act)| matches!(act, Act::Write(_)));
        let places: Vec<usize> = place.map(|(index, _)| index).collect();
        let late = usize::try_from(late)?;
        acts.swap(
            *places.get(late).context("no such request")?,
            *places.get(late + 1).context("no next")?,
        );
    }
    let (mut kills, mut crashes) = (faults.kills, faults.database_crashes);
    let count = acts.len();
    for (index, act) in acts.into_iter().enumerate() {
        match act {
            Act::Write(body) => {
                for _ in 0..if faults.twice { 2 } else { 1 } {
                    send(&billing, &body).await?;
                }
            }
            Act::Hold(held) => {
                for (name, transition) in held {
                    stage.hold(name, &transition).await?;
                }
            }
        }
        // Spread over the script, each at another step than the other.
        if crashes > 0 && index % (count / (faults.database_crashes + 1)) == 1 {
            crashes -= 1;
            crash_database(&billing.database).await?;
        }
        if kills > 0 && index * faults.kills / count >= faults.kills - kills {
            kills -= 1;
            billing.crash().await?;
        }
    }
    while kills > 0 {
        kills -= 1;
        billing.crash().await?;
    }
    rest(stage, &mut billing).await?;
    Ok(billing)
}

/// As a sender does: again until it is taken.
async fn send(billing: &Billing, body: &[u8]) -> Result<()> {
    eventually("the request is taken", REST, async || match billing.write(body.to_vec()).await? {
        StatusCode::NO_CONTENT => Ok(Some(())),
        StatusCode::SERVICE_UNAVAILABLE => Ok(None),
        other => bail!("{other}"),
    })
    .await
}

/// Kills the server process of our own connection: the whole server goes down and recovers from its log, as after a
/// crash.
async fn crash_database(database: &Database) -> Result<()> {
    let (pid,): (i32,) =
        sqlx::query_as("SELECT pg_backend_pid()").fetch_one(&database.pool).await?;
    let killed =
        tokio::process::Command::new("kill").args(["-KILL", &pid.to_string()]).status().await?;
    assert!(killed.success());
    eventually("the database is back", REST, async || {
        let answer = sqlx::query("SELECT 1").execute(&database.pool).await;
        Ok(answer.ok().map(|_| ()))
    })
    .await
}

/// Waits until everything is acknowledged, folded and in lines.
async fn rest(stage: &Stage, billing: &mut Billing) -> Result<()> {
    for name in MACHINES {
        until(&stage.machines(), name, "is acknowledged", |machine| {
            let status = machine.status.clone().unwrap_or_default();
            status.metering.and_then(|metering| metering.acknowledged_number)
                == status.last_transition_number
        })
        .await?;
    }
    eventually("the stream is at rest", REST, async || {
        let mut connection = billing.database.pool.acquire().await?;
        let (folded, lines) = store::shard::lag(&mut connection).await?;
        // A tick a second comes in all the time; what counts is that the account's shard has caught up with one.
        if folded + lines > 200 {
            bail!("{folded} entries are not folded, {lines} not in lines");
        }
        Ok(Some(()))
    })
    .await?;
    billing.kill().await?;
    // What the killed one left is folded by the engine alone, so that nothing moves any more.
    drain(&billing.database, 1).await
}

/// Folds a database's log to its end.
async fn drain(database: &Database, workers: usize) -> Result<()> {
    let pool = store::connect(&database.url()).await?;
    let stop = CancellationToken::new();
    let stream = Stream {
        log: PostgresLog::new(pool.clone()),
        pool: pool.clone(),
        metrics: StreamMetrics::default(),
        stop: stop.clone(),
    };
    let runtime = tokio::runtime::Handle::current();
    let running = tokio::task::spawn_blocking(move || engine::run(&stream, workers, &runtime));
    eventually("all is folded", REST, async || {
        let mut connection = pool.acquire().await?;
        Ok((store::shard::lag(&mut connection).await? == (0, 0)).then_some(()))
    })
    .await?;
    stop.cancel();
    Ok(running.await??)
}

/// Everything that is billed and what it rests on, as the database writes it.
async fn bytes(database: &Database, account: AccountId) -> Result<Vec<String>> {
    let mut all = Vec::new();
    for query in [
        "SELECT line::text FROM billing.line WHERE tenant = $1 AND state = 'live' ORDER BY line_key",
        "SELECT span::text FROM metering.span WHERE tenant = $1 ORDER BY resource_uid, sku, number",
        "SELECT usage_window::text FROM metering.usage_window WHERE tenant = $1 AND (quantity > 0 OR facts > 0)
         ORDER BY resource_uid, meter, part, window_start_microseconds",
    ] {
        let rows: Vec<(String,)> =
            sqlx::query_as(query).bind(account.0).fetch_all(&database.pool).await?;
        all.extend(rows.into_iter().map(|(text,)| text));
    }
    Ok(all)
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_repeats_and_workers_leave_the_same_bytes() -> Result<()> {
    let stage = stage().await?;
    let quiet = run(&stage, QUIET).await?;
    let expected = bytes(&quiet.database, stage.account).await?;
    assert!(expected.len() > 3 * 2 + 1, "{expected:#?}");
    judge(&stage, &quiet.database).await?;
    from_the_log_alone(&stage, &quiet.database, &expected).await?;
    quiet.close().await?;
    for faults in [
        Faults { workers: 2, kills: 10, database_crashes: 2, twice: true, late: None },
        Faults { workers: 4, kills: 2, database_crashes: 1, twice: true, late: Some(6) },
        Faults { workers: 1, kills: 2, database_crashes: 0, twice: true, late: Some(2) },
    ] {
        let faulty = run(&stage, faults).await?;
        let found = bytes(&faulty.database, stage.account).await?;
        assert_eq!(found, expected, "{} workers, {} kills", faults.workers, faults.kills);
        faulty.close().await?;
    }
    Ok(())
}

/// Counters are billed by the difference of the samples that bound them, to the last digit: restarts count from zero.
async fn judge(stage: &Stage, database: &Database) -> Result<()> {
    let last = REQUESTS * PER_REQUEST - 1;
    for machine in MACHINES {
        let base = |index: i64| {
            metering::scale::reading_to_base_units(Stage::value(machine, index), 1_000_000)
                .unwrap()
                .0
        };
        let expected = if machine == "worker" {
            base(400) - base(0) + base(last)
        } else {
            base(last) - base(0)
        };
        let (total,): (String,) = sqlx::query_as(
            "SELECT sum(quantity)::text FROM billing.line WHERE resource_uid = $1::uuid AND rate_card = 'cpu'",
        )
        .bind(stage.uids.get(machine))
        .fetch_one(&database.pool)
        .await?;
        assert_eq!(total, expected.to_string(), "{machine}");
    }
    Ok(())
}

/// The usage log and the price versions, in an empty schema, give the same lines; and an oracle of another kind reads
/// the same quantities from the same log.
async fn from_the_log_alone(stage: &Stage, database: &Database, expected: &[String]) -> Result<()> {
    let copy = database::create().await?;
    store::migrate(&copy.pool).await?;
    let log: Vec<(i16, i64, Vec<u8>)> =
        sqlx::query_as("SELECT shard, seq, payload FROM stream.log ORDER BY shard, seq")
            .fetch_all(&database.pool)
            .await?;
    for (shard, seq, payload) in log {
        sqlx::query("INSERT INTO stream.log VALUES ($1, $2, $3)")
            .bind(shard)
            .bind(seq)
            .bind(payload)
            .execute(&copy.pool)
            .await?;
        sqlx::query("UPDATE stream.log_head SET next_seq = $2 WHERE shard = $1")
            .bind(shard)
            .bind(seq + 1)
            .execute(&copy.pool)
            .await?;
    }
    let plan = uuid::Uuid::parse_str(&stage.plan_uid)?;
    let versions =
        store::catalogue::plan_versions_of(&mut *database.pool.acquire().await?, plan).await?;
    for version in versions {
        store::catalogue::plan_version_add(&mut *copy.pool.acquire().await?, &version).await?;
    }
    drain(&copy, 3).await?;
    assert_eq!(bytes(&copy, stage.account).await?, expected, "from the log alone");
    oracle(stage, &copy).await?;
    copy.drop_now().await
}

async fn oracle(stage: &Stage, database: &Database) -> Result<()> {
    let log = PostgresLog::new(database.pool.clone());
    let shard = ShardNumber::of(stage.account);
    let (mut records, mut next) = (Vec::new(), 0);
    loop {
        let page = log.read(shard, next, 100).await?;
        let Some((last, _)) = page.last() else { break };
        next = last + 1;
        records.extend(page.into_iter().flat_map(|(_, records)| records));
    }
    let found = program::usage(&records, 3);
    let stored: Vec<(uuid::Uuid, String, i64, String)> = sqlx::query_as(
        "SELECT resource_uid, meter, window_start_microseconds, sum(quantity)::text FROM metering.usage_window
         WHERE tenant = $1 AND quantity > 0 GROUP BY 1, 2, 3",
    )
    .bind(stage.account.0)
    .fetch_all(&database.pool)
    .await?;
    let stored: BTreeMap<(uuid::Uuid, String, i64), i128> = stored
        .into_iter()
        .map(|(uid, meter, start, quantity)| ((uid, meter, start), quantity.parse().unwrap()))
        .collect();
    let found: BTreeMap<(uuid::Uuid, String, i64), i128> = found
        .windows
        .into_iter()
        .filter(|(key, _)| key.tenant == stage.account.0)
        .map(|(key, quantity)| ((key.resource, key.meter, key.start), quantity))
        .collect();
    assert!(!stored.is_empty());
    assert_eq!(found, stored, "the oracle");
    Ok(())
}
