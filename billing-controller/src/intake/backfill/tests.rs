//! Against a scripted Prometheus: what is asked for, what is appended, what counts as missing, and that an outage is
//! given up only when it has been read back whole.

use super::*;
use crate::intake::figures::IntakeFigures;
use crate::intake::normalise::NormaliserSettings;
use crate::intake::outages::{OutageSettings, OutageWatch, watch_outages};
use crate::intake::received::LastReceived;
use crate::intake::support::{FalseClock, MemoryLog, NOW_MILLISECONDS, OWNED, Owners, now};
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::routing::get;
use metering::{Reading, Record, ShardNumber};
use money::Quantity;
use operator_kit::metrics::Metrics;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// Answers scripted refusals first, then truthfully: one CPU series, a sample every 15 s, a unit each.
#[derive(Default)]
struct Script {
    asked: Mutex<Vec<(String, String)>>,
    refusals: Mutex<VecDeque<(u16, String)>>,
    /// More milliseconds of range than this are too much.
    range_max: Mutex<Option<i64>>,
}

type Asked = Query<BTreeMap<String, String>>;

async fn answer(State(script): State<Arc<Script>>, Query(asked): Asked) -> (StatusCode, String) {
    let (query, time) = (asked["query"].clone(), asked["time"].clone());
    script.asked.lock().unwrap().push((query.clone(), time.clone()));
    let (selector, range) = query.strip_suffix("ms]").unwrap().rsplit_once('[').unwrap();
    let range: i64 = range.parse().unwrap();
    if script.range_max.lock().unwrap().is_some_and(|most| range > most) {
        let text = r#"{"status":"error","error":"query processing would load too many samples into memory"}"#;
        return (StatusCode::UNPROCESSABLE_ENTITY, text.to_owned());
    }
    let to: i64 = time.replace('.', "").parse().unwrap();
    let mut values = Vec::new();
    // A range is open at its start.
    let mut at = (to - range).div_euclid(15_000) * 15_000 + 15_000;
    while at <= to {
        let (seconds, thousandths) = (at / 1000, at % 1000);
        values.push(format!(r#"[{seconds}.{thousandths:03},"{}"]"#, at / 15_000));
        at += 15_000;
    }
    let series = format!(
        r#"{{"metric":{{"__name__":"cpu_seconds_total","mode":"user","uuid":"{OWNED}"}},"values":[{}]}}"#,
        values.join(",")
    );
    let result = if selector.contains("cpu_seconds_total") { series } else { String::new() };
    let whole =
        format!(r#"{{"status":"success","data":{{"resultType":"matrix","result":[{result}]}}"#);
    match script.refusals.lock().unwrap().pop_front() {
        // A warning comes with whatever could be had.
        Some((200, text)) => (StatusCode::OK, format!(r#"{whole},"warnings":["{text}"]}}"#)),
        Some((status, text)) => (StatusCode::from_u16(status).unwrap(), text),
        None => (StatusCode::OK, format!("{whole}}}")),
    }
}

struct Stage {
    script: Arc<Script>,
    prometheus: PrometheusClient,
    normaliser: Arc<Normaliser>,
    log: Arc<MemoryLog>,
}

async fn stage() -> Stage {
    let script = Arc::new(Script::default());
    let router =
        axum::Router::new().route("/prefix/api/v1/query", get(answer)).with_state(script.clone());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    let prometheus = PrometheusClient::new(&format!("http://{address}/prefix/")).unwrap();
    let settings = NormaliserSettings { series_remembered_max: 64, ..Default::default() };
    let normaliser = Arc::new(Normaliser::new(Arc::new(Owners::usual()), settings));
    Stage { script, prometheus, normaliser, log: Arc::new(MemoryLog::default()) }
}

impl Stage {
    async fn backfill(&self, interval: Interval) -> Report {
        let log: &dyn UsageLog = self.log.as_ref();
        backfill(&self.prometheus, &self.normaliser, log, interval, now()).await.unwrap()
    }

    fn refuse(&self, status: u16, text: &str) {
        self.script.refusals.lock().unwrap().push_back((status, text.to_owned()));
    }

    /// The instants of all samples in the log, in seconds before now, each once.
    fn seconds_before_now(&self) -> Vec<i64> {
        let samples = self.log.samples();
        let mut found: Vec<i64> =
            samples.iter().map(|sample| now().microseconds_since(sample.at) / 1_000_000).collect();
        found.sort_unstable();
        found.dedup();
        found
    }
}

fn minutes_before_now(from: i64, to: i64) -> Interval {
    let at = |minutes: i64| now().plus_microseconds(-minutes * MINUTE_MICROSECONDS);
    Interval::new(at(from), at(to))
}

#[tokio::test]
async fn every_sample_of_an_interval_is_appended() {
    let stage = stage().await;
    let report = stage.backfill(minutes_before_now(150, 0)).await;
    // Three hours' pieces of two meters.
    assert_eq!((report.pieces, report.is_complete()), (6, true));
    let wanted: Vec<i64> = (0..=151 * 60).step_by(15).collect();
    assert_eq!(stage.seconds_before_now(), wanted);
    assert!(report.samples > u64::try_from(wanted.len()).unwrap(), "pieces overlap");
    let asked = stage.script.asked.lock().unwrap().clone();
    let selector = r#"{__name__="cpu_seconds_total",uuid!="",mode="user"}[3720001ms]"#;
    // From 151 to 89 minutes before now.
    assert_eq!(asked[0], (selector.to_owned(), "1793485860.000".to_owned()));
    let samples = stage.log.samples();
    let (sample, at) = (&samples[0], NOW_MILLISECONDS - 151 * 60_000);
    assert_eq!(sample.at, Instant::from_milliseconds(at).unwrap());
    assert_eq!(sample.reading, Reading::Value(Quantity(i128::from(at) / 15_000 * 1_000_000)));
    assert_eq!((sample.replica.0, sample.started_at), (0, None));
}

#[tokio::test]
async fn warnings_and_failures_are_not_complete() {
    let stage = stage().await;
    stage.refuse(200, "a store did not answer");
    stage.refuse(500, "<html>");
    stage.refuse(503, r#"{"status":"error","error":"starting"}"#);
    let report = stage.backfill(minutes_before_now(120, 0)).await;
    let reasons: Vec<&str> = report.missing.iter().map(|one| one.reason.as_str()).collect();
    let wanted = [
        "warned: a store did not answer",
        "ask Prometheus: 500, <html>",
        "ask Prometheus: 503, starting",
    ];
    assert_eq!(reasons, wanted);
    assert_eq!(report.pieces, 1);
    assert_eq!(report.missing[1].interval, minutes_before_now(61, -1));
    // What came with the warning is true all the same.
    assert!(stage.seconds_before_now().contains(&(121 * 60)));
    assert!(stage.backfill(minutes_before_now(120, 0)).await.is_complete());
}

#[tokio::test]
async fn what_is_too_much_is_asked_for_in_halves() {
    let stage = stage().await;
    *stage.script.range_max.lock().unwrap() = Some(20 * 60_000);
    let report = stage.backfill(minutes_before_now(60, 0)).await;
    assert!(report.is_complete());
    assert_eq!(stage.seconds_before_now(), (0..=61 * 60).step_by(15).collect::<Vec<i64>>());
    *stage.script.range_max.lock().unwrap() = Some(0);
    let report = stage.backfill(minutes_before_now(4, 0)).await;
    assert!(report.missing[0].reason.contains("too much"), "{report:?}");
}

#[tokio::test]
async fn a_server_that_is_gone_is_missing_all() {
    let stage = stage().await;
    let gone = PrometheusClient::new("http://127.0.0.1:1").unwrap();
    let log: &dyn UsageLog = stage.log.as_ref();
    let interval = minutes_before_now(60, 0);
    let report = backfill(&gone, &stage.normaliser, log, interval, now()).await.unwrap();
    assert_eq!((report.pieces, report.missing.len()), (0, 2));
}

#[tokio::test]
async fn an_outage_is_recorded_and_read_back_until_whole() {
    let stage = stage().await;
    stage.refuse(503, "not yet");
    stage.refuse(200, "partial");
    let outage = minutes_before_now(30, 0);
    let received = Arc::new(LastReceived::new(Some(outage.from), 120_000_000));
    let watch = OutageWatch {
        prometheus: Some(stage.prometheus.clone()),
        normaliser: stage.normaliser.clone(),
        log: stage.log.clone(),
        clock: Arc::new(FalseClock::at_now()),
        received: received.clone(),
        figures: IntakeFigures::new(&Metrics::default()),
    };
    let brief = Duration::from_millis(1);
    let stop = CancellationToken::new();
    let settings = OutageSettings { settling: brief, retry: brief };
    let task = tokio::spawn(watch_outages(watch, settings, stop.clone()));
    received.note(outage.to);
    assert_eq!(received.vouched_to(), Some(outage.from), "until it is read back");
    testkit::eventually("the outage is settled", Duration::from_secs(20), async || {
        Ok((received.vouched_to() == Some(outage.to)).then_some(()))
    })
    .await
    .unwrap();
    stop.cancel();
    task.await.unwrap();
    let records = stage.log.records();
    let gaps: Vec<ShardNumber> = records
        .iter()
        .filter(|(_, record)| *record == Record::ReceiverGap { during: outage })
        .map(|(shard, _)| *shard)
        .collect();
    assert_eq!(gaps, ShardNumber::all().collect::<Vec<_>>());
    assert_eq!(stage.seconds_before_now(), (0..=31 * 60).step_by(15).collect::<Vec<i64>>());
    // Two rounds over two selectors, the first of which was refused once and partial once.
    assert_eq!(stage.script.asked.lock().unwrap().len(), 4);
}
