//! What each request is answered with, and that 204 is said of nothing that is not in the log.

use super::*;
use crate::intake::messages::{Label, Sample, TimeSeries, WriteRequest, as_v2};
use crate::intake::support::{FalseClock, MemoryLog, NOW_MILLISECONDS, OWNED, Owners, now};
use prost::Message;
use std::sync::atomic::Ordering;
use tower::ServiceExt;

const V1: &str = "application/x-protobuf;proto=prometheus.WriteRequest";
const V2: &str = "application/x-protobuf;proto=io.prometheus.write.v2.Request";

struct Door {
    router: Router,
    log: Arc<MemoryLog>,
    received: Arc<LastReceived>,
    metrics: Metrics,
}

fn door(settings: IntakeSettings) -> Door {
    let log = Arc::new(MemoryLog::default());
    let received = Arc::new(LastReceived::new(None, 120_000_000));
    let metrics = Metrics::default();
    let state = IntakeState::new(
        Arc::new(Owners::usual()),
        log.clone(),
        Arc::new(FalseClock::at_now()),
        received.clone(),
        &metrics,
        settings,
    );
    Door { router: router(state), log, received, metrics }
}

fn small() -> IntakeSettings {
    IntakeSettings { bytes_max: 10_000, ..Default::default() }
}

impl Door {
    async fn answer(&self, request: Request<Body>) -> Response {
        self.router.clone().oneshot(request).await.unwrap()
    }

    async fn status(&self, headers: &[(&str, &str)], body: Vec<u8>) -> u16 {
        self.answer(post(headers, body)).await.status().as_u16()
    }
}

fn post(headers: &[(&str, &str)], body: Vec<u8>) -> Request<Body> {
    let mut request = Request::post("/api/v1/write");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Body::from(body)).unwrap()
}

fn one_sample() -> WriteRequest {
    let label = |name: &str, value: &str| Label { name: name.to_owned(), value: value.to_owned() };
    let labels =
        vec![label("__name__", "cpu_seconds_total"), label("mode", "user"), label("uuid", OWNED)];
    let sample = Sample { value: 1.5, timestamp: NOW_MILLISECONDS, start_timestamp: 0 };
    let series = TimeSeries {
        labels,
        samples: vec![sample],
        histograms: vec![vec![]],
        exemplars: vec![vec![], vec![]],
    };
    WriteRequest { timeseries: vec![series], metadata: vec![vec![]] }
}

fn packed(message: &impl Message) -> Vec<u8> {
    snap::raw::Encoder::new().compress_vec(&message.encode_to_vec()).unwrap()
}

fn v1() -> Vec<u8> {
    packed(&one_sample())
}

#[tokio::test]
async fn a_request_is_written_and_counted() {
    let door = door(small());
    let headers = [("content-type", V1), ("content-encoding", "snappy")];
    let answer = door.answer(post(&headers, v1())).await;
    assert_eq!(answer.status(), 204);
    assert!(answer.headers().get("x-prometheus-remote-write-samples-written").is_none());
    assert_eq!(door.log.samples().len(), 1);
    assert_eq!(door.received.last(), Some(now()));
    let headers = [("content-type", V2), ("content-encoding", "snappy")];
    let answer = door.answer(post(&headers, packed(&as_v2(&one_sample())))).await;
    assert_eq!(answer.status(), 204);
    for (what, number) in [("samples", "1"), ("histograms", "0"), ("exemplars", "0")] {
        let name = format!("x-prometheus-remote-write-{what}-written");
        assert_eq!(answer.headers()[&name], number);
    }
    let samples = door.log.samples();
    assert_eq!(samples[0], samples[1]);
    let figures = door.metrics.encode().unwrap();
    for line in [
        r#"freehold_intake_requests_total{protocol="1.0",outcome="written"} 1"#,
        r#"freehold_intake_requests_total{protocol="2.0",outcome="written"} 1"#,
        r#"freehold_intake_samples_total{fate="record"} 2"#,
        r#"freehold_intake_samples_total{fate="histogram"} 2"#,
        r#"freehold_intake_samples_total{fate="exemplar"} 4"#,
        "freehold_intake_append_seconds_count 2",
        "freehold_intake_last_received_seconds 1793491200",
    ] {
        assert!(figures.contains(line), "{line} is missing in\n{figures}");
    }
}

/// One row per rule of the door: headers, body, status.
#[tokio::test]
async fn each_rule_has_its_answer() {
    let snappy = ("content-encoding", "snappy");
    let typed = |text| ("content-type", text);
    let (good, v2) = (v1(), packed(&as_v2(&one_sample())));
    let mut cut = good.clone();
    cut.truncate(good.len() / 2);
    let packed_noise = snap::raw::Encoder::new().compress_vec(&[0xff; 40]).unwrap();
    // Its head promises 4 GiB − 1: nothing is set aside for it.
    let bomb = vec![0xff, 0xff, 0xff, 0xff, 0x0f, 0x00];
    let unpacks_large = snap::raw::Encoder::new().compress_vec(&vec![0; 20_000]).unwrap();
    assert!(unpacks_large.len() < 10_000);
    for (what, headers, body, wanted) in [
        ("1.0", vec![typed(V1), snappy], good.clone(), 204),
        ("2.0", vec![typed(V2), snappy], v2.clone(), 204),
        ("bare type is 1.0", vec![typed("application/x-protobuf"), snappy], good.clone(), 204),
        ("no type is 1.0", vec![snappy], good.clone(), 204),
        ("no encoding is snappy", vec![typed(V1)], good.clone(), 204),
        (
            "case and spaces of a type",
            vec![
                typed("Application/X-Protobuf ; charset=utf-8; proto=\"prometheus.WriteRequest\""),
                ("content-encoding", "Snappy"),
            ],
            good.clone(),
            204,
        ),
        ("empty request", vec![typed(V1), snappy], vec![0], 204),
        ("JSON", vec![typed("application/json"), snappy], good.clone(), 415),
        (
            "unknown message",
            vec![typed("application/x-protobuf;proto=io.prometheus.write.v3.Request"), snappy],
            good.clone(),
            415,
        ),
        ("gzip", vec![typed(V1), ("content-encoding", "gzip")], good.clone(), 415),
        ("two encodings", vec![typed(V1), ("content-encoding", "snappy, gzip")], good.clone(), 415),
        ("type that is no text", vec![typed("\u{e4}"), snappy], good.clone(), 415),
        ("empty body", vec![typed(V1), snappy], vec![], 400),
        ("no snappy", vec![typed(V1), snappy], one_sample().encode_to_vec(), 400),
        ("cut snappy", vec![typed(V1), snappy], cut, 400),
        ("noise in snappy", vec![typed(V1), snappy], packed_noise, 400),
        ("2.0 as 1.0", vec![typed(V1), snappy], v2.clone(), 400),
        ("1.0 as 2.0", vec![typed(V2), snappy], good.clone(), 400),
        ("bomb", vec![typed(V1), snappy], bomb, 413),
        ("unpacks beyond the bound", vec![typed(V1), snappy], unpacks_large, 413),
        ("packed beyond the bound", vec![typed(V1), snappy], vec![0; 10_001], 413),
        (
            "announced beyond the bound",
            vec![typed(V1), snappy, ("content-length", "10001")],
            good.clone(),
            413,
        ),
    ] {
        let door = door(small());
        assert_eq!(door.status(&headers, body).await, wanted, "{what}");
        let logged = usize::from(wanted == 204 && what != "empty request");
        assert_eq!(door.log.samples().len(), logged, "{what}");
        assert_eq!(door.received.last().is_some(), logged == 1, "{what}");
    }
    let get = Request::get("/api/v1/write").body(Body::empty()).unwrap();
    assert_eq!(door(small()).answer(get).await.status(), 405);
}

#[tokio::test]
async fn a_token_is_asked_for_where_there_is_one() {
    let token = Token::new(" secret\n").unwrap();
    assert_eq!(format!("{token:?}"), "***");
    assert_eq!(Token::new(" \n"), None);
    let door = door(IntakeSettings { token: Some(token), ..small() });
    for (shown, wanted) in [
        (Some("Bearer secret"), 204),
        (Some("bearer  secret"), 204),
        (Some("Bearer Secret"), 401),
        (Some("Bearer secrets"), 401),
        (Some("Bearer secre"), 401),
        (Some("Bearer "), 401),
        (Some("Basic secret"), 401),
        (Some("secret"), 401),
        (None, 401),
    ] {
        let headers: Vec<(&str, &str)> =
            shown.iter().map(|text| ("authorization", *text)).collect();
        let answer = door.answer(post(&headers, v1())).await;
        assert_eq!(answer.status().as_u16(), wanted, "{shown:?}");
        assert_eq!(answer.headers().get("www-authenticate").is_some(), wanted == 401);
    }
    assert_eq!(door.log.samples().len(), 2);
}

#[tokio::test]
async fn a_log_in_trouble_is_a_503() {
    let door = door(small());
    door.log.broken.store(true, Ordering::SeqCst);
    let answer = door.answer(post(&[], v1())).await;
    assert_eq!(answer.status(), 503);
    assert_eq!(answer.headers()["retry-after"], "5");
    assert_eq!(door.received.last(), None);
    door.log.broken.store(false, Ordering::SeqCst);
    assert_eq!(door.status(&[], v1()).await, 204);
}

#[tokio::test]
async fn a_log_that_hangs_is_a_503() {
    let door = door(IntakeSettings { append_timeout: Duration::from_millis(20), ..small() });
    door.log.leave.forget_permits(usize::MAX);
    assert_eq!(door.status(&[], v1()).await, 503);
    assert_eq!(door.log.samples().len(), 0);
}

#[tokio::test]
async fn nothing_is_answered_before_the_log_and_a_full_house_says_so() {
    let door = door(IntakeSettings { requests_max: 1, ..small() });
    door.log.leave.forget_permits(usize::MAX);
    let mut first = Box::pin(door.answer(post(&[], v1())));
    // The first is asked to move first, and takes the only place.
    let second = tokio::select! {
        biased;
        answer = &mut first => panic!("answered {} before the log did", answer.status()),
        answer = door.answer(post(&[], v1())) => answer,
    };
    assert_eq!(second.status(), 503);
    assert_eq!(second.headers()["retry-after"], "5");
    door.log.leave.add_permits(10);
    assert_eq!(first.await.status(), 204);
    assert_eq!(door.log.samples().len(), 1);
    assert_eq!(door.status(&[], v1()).await, 204);
}

#[tokio::test]
async fn a_sender_that_never_ends_is_let_go() {
    let receive_timeout = Duration::from_millis(20);
    let door = door(IntakeSettings { requests_max: 1, receive_timeout, ..small() });
    let endless = futures::stream::once(async { Ok::<_, std::io::Error>(vec![0_u8]) })
        .chain(futures::stream::pending());
    let request = Request::post("/api/v1/write").body(Body::from_stream(endless)).unwrap();
    assert_eq!(door.answer(request).await.status(), 503);
    let broken = futures::stream::iter([Ok(vec![0_u8]), Err(std::io::Error::other("reset"))]);
    let request = Request::post("/api/v1/write").body(Body::from_stream(broken)).unwrap();
    assert_eq!(door.answer(request).await.status(), 503);
    assert_eq!(door.status(&[], v1()).await, 204);
}
