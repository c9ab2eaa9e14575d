//! What becomes of each series and sample; and that both protocols, and any way of writing them, say the same.

use super::*;
use crate::intake::messages as wire;
use crate::intake::messages::{Label, TimeSeries, WriteRequest, as_v2};
use crate::intake::support::{
    ACCOUNT, NOW_MILLISECONDS, OWNED, Owners, UNOWNED, cpu, now, samples_of,
};
use money::Quantity;
use proptest::prelude::*;
use prost::Message;

const T: i64 = NOW_MILLISECONDS;

fn normaliser() -> Normaliser {
    let settings = NormaliserSettings { series_remembered_max: 4096, ..Default::default() };
    Normaliser::new(Arc::new(Owners::usual()), settings)
}

fn labels(pairs: &[(&str, &str)]) -> Vec<Label> {
    let label =
        |(name, value): &(&str, &str)| Label { name: (*name).into(), value: (*value).into() };
    pairs.iter().map(label).collect()
}

/// Labels, and values with their times.
type Given<'a> = (&'a [(&'a str, &'a str)], &'a [(f64, i64)]);

fn request(series: &[Given<'_>]) -> WriteRequest {
    let timeseries = series.iter().map(|(pairs, samples)| TimeSeries {
        labels: labels(pairs),
        samples: samples
            .iter()
            .map(|(value, timestamp)| wire::Sample {
                value: *value,
                timestamp: *timestamp,
                start_timestamp: 0,
            })
            .collect(),
        ..Default::default()
    });
    WriteRequest { timeseries: timeseries.collect(), metadata: Vec::new() }
}

/// The records of a request, which must be the same by both protocols, and when the labels are remembered.
fn batch(request: &WriteRequest) -> Batch {
    let normaliser = normaliser();
    let first = normaliser.request(Protocol::V1, &request.encode_to_vec(), now()).unwrap();
    let again = normaliser.request(Protocol::V1, &request.encode_to_vec(), now()).unwrap();
    let second = normaliser.request(Protocol::V2, &as_v2(request).encode_to_vec(), now()).unwrap();
    assert_eq!(first.flush, again.flush);
    assert_eq!(first.flush, second.flush);
    assert_eq!(first.tally, again.tally);
    assert_eq!(first.tally, second.tally);
    first
}

fn samples(request: &WriteRequest) -> Vec<Sample> {
    samples_of(batch(request).flush.into_values().flatten())
}

const CPU: [(&str, &str); 3] =
    [("__name__", "cpu_seconds_total"), ("mode", "user"), ("uuid", OWNED)];

#[test]
fn a_sample_goes_to_its_owners_shard_in_base_units() {
    let batch = batch(&request(&[(&CPU, &[(12.5, T - 1000), (12.75, T)])]));
    let account = ACCOUNT.parse().unwrap();
    assert_eq!(batch.flush.keys().copied().collect::<Vec<_>>(), vec![ShardNumber::of(account)]);
    let samples = samples_of(batch.flush.into_values().flatten());
    let wanted = Sample {
        resource: OWNED.parse().unwrap(),
        meter: "cpu-time".into(),
        part: Part::whole(),
        series: hash_labels(CPU, &[]),
        replica: SeriesHash(0),
        at: Instant::from_milliseconds(T - 1000).unwrap(),
        reading: Reading::Value(Quantity(12_500_000)),
        started_at: None,
    };
    assert_eq!(samples[0], wanted);
    assert_eq!(samples[1].reading, Reading::Value(Quantity(12_750_000)));
    assert_eq!((batch.tally.records, batch.tally.counts.samples), (2, 2));
}

#[test]
fn a_resource_without_owner_waits_in_its_own_shard() {
    let series = [("__name__", "cpu_seconds_total"), ("mode", "user"), ("uuid", UNOWNED)];
    let batch = batch(&request(&[(&series, &[(1.0, T)])]));
    let resource: ResourceUid = UNOWNED.parse().unwrap();
    assert_eq!(*batch.flush.keys().next().unwrap(), ShardNumber::of_unknown(resource));
    assert_eq!(samples_of(batch.flush.into_values().flatten())[0].resource, resource);
}

#[test]
fn a_resource_that_is_no_uuid_stays_in_sight() {
    let traffic = |uuid: &'static str| [("__name__", "network_bytes_total"), ("uuid", uuid)];
    let [one, other] = [traffic("vm-7"), traffic("vm-8")];
    let twice = [("__name__", "network_bytes_total"), ("uuid", OWNED), ("uuid", UNOWNED)];
    let request = request(&[(&one, &[(1.0, T)]), (&other, &[(1.0, T)]), (&twice, &[(1.0, T)])]);
    assert_eq!(batch(&request).tally.nameless, 3);
    let mut found = samples(&request);
    found.sort_by(|a, b| a.part.cmp(&b.part));
    let both = format!("{OWNED}\u{1f}{UNOWNED}");
    let hash = hash_labels([("part", both.as_str())], &[]);
    assert_eq!(found[0].part.as_str(), format!("{OWNED}\u{fffd}{UNOWNED}~{:016x}", hash.0));
    assert_eq!(found[1].part.as_str(), "vm-7");
    assert_eq!(found[2].part.as_str(), "vm-8");
    // Pinned: the log of a later release must name the same resource.
    assert_eq!(found[1].resource.to_string(), "8bb65486-2411-5d84-955d-111e92904d56");
    assert_ne!(found[1].resource, found[2].resource);
}

#[test]
fn what_no_meter_asks_for_is_only_counted() {
    let batch = batch(&request(&[
        (&[("__name__", "up"), ("uuid", OWNED)], &[(1.0, T)]),
        (&[("__name__", "cpu_seconds_total"), ("mode", "idle"), ("uuid", OWNED)], &[(1.0, T)]),
        (&[("uuid", OWNED)], &[(1.0, T)]),
        (&[], &[(1.0, T)]),
        (&[("__name__", "cpu_seconds_total"), ("mode", "user")], &[(1.0, T), (2.0, T)]),
        (&[("__name__", "cpu_seconds_total"), ("mode", "user"), ("uuid", "")], &[(1.0, T)]),
        (&CPU, &[]),
    ]));
    assert!(batch.flush.is_empty());
    assert_eq!((batch.tally.unwanted, batch.tally.without_resource), (4, 3));
    assert_eq!(batch.tally.counts.series, 7);
}

#[test]
fn bad_numbers_and_times_become_refused_readings() {
    let stale = f64::from_bits(STALE_BITS);
    let (ahead, behind) = (T + 5 * 60 * 1000, T - 400 * 24 * 3600 * 1000);
    for (value, milliseconds, wanted) in [
        (f64::NAN, T, "the reading NaN is not a number"),
        (f64::INFINITY, T, "the reading inf is not a number"),
        (-1.0, T, "the reading -1 is negative"),
        (9_007_199_254_740_994.0, T, "the reading 9007199254740994 is beyond 2^53"),
        (1.0, ahead + 1, "the reading 1 at 1793491500001 ms is not dated near its arrival"),
        (1.0, T * 1000, "the reading 1 at 1793491200000000 ms is not dated near its arrival"),
        (1.0, behind - 1, "the reading 1 at 1758931199999 ms is not dated near its arrival"),
        (1.0, T / 1000, "the reading 1 at 1793491200 ms is not dated near its arrival"),
        (1.0, i64::MAX, "the reading 1 at 9223372036854775807 ms is not dated near its arrival"),
        (1.0, i64::MIN, "the reading 1 at -9223372036854775808 ms is not dated near its arrival"),
    ] {
        let found = samples(&request(&[(&CPU, &[(value, milliseconds)])])).remove(0);
        let Reading::Refused(refused) = &found.reading else { panic!("{found:?}") };
        assert!(refused.to_string().starts_with(wanted), "{refused}");
        assert_eq!(found.at, now(), "nothing is dated ahead");
    }
    let good = [(stale, T), (1.0, ahead), (1.0, T - 1), (-0.0, behind)];
    let found = samples(&request(&[(&CPU, &good)]));
    assert_eq!(found.iter().filter(|one| one.reading == Reading::Stale).count(), 1);
    assert!(found.iter().all(|one| !matches!(one.reading, Reading::Refused(_))), "{found:?}");
    assert!(samples(&request(&[(&CPU, &[(stale, i64::MAX)])]))[0].at == now());
}

#[test]
fn the_start_is_read_where_each_sender_puts_it() {
    let mut request = as_v2(&request(&[(&CPU, &[(1.0, T - 1), (2.0, T)])]));
    request.timeseries[0].created_timestamp = 1000;
    request.timeseries[0].samples[1].start_timestamp = 2000;
    let batch = normaliser().request(Protocol::V2, &request.encode_to_vec(), now()).unwrap();
    let starts: Vec<Option<Instant>> = samples_of(batch.flush.into_values().flatten())
        .iter()
        .map(|sample| sample.started_at)
        .collect();
    let at = |milliseconds| Some(Instant::from_milliseconds(milliseconds).unwrap());
    assert_eq!(starts, vec![at(1000), at(2000)]);
    request.timeseries[0].created_timestamp = i64::MIN;
    let batch = normaliser().request(Protocol::V2, &request.encode_to_vec(), now()).unwrap();
    assert_eq!(samples_of(batch.flush.into_values().flatten())[0].started_at, None);
}

#[test]
fn replicas_are_one_series_of_two_senders() {
    let of = |replica: &'static str| [CPU[0], ("prometheus_replica", replica), CPU[1], CPU[2]];
    let [a, b, none] = [of("a"), of("b"), of("")];
    let found = samples(&request(&[(&a, &[(1.0, T)]), (&b, &[(1.0, T)]), (&none, &[(1.0, T)])]));
    assert!(found.iter().all(|sample| sample.series == hash_labels(CPU, &[])));
    assert_ne!(found[0].replica, found[1].replica);
    assert_eq!(found[0].replica, hash_labels([("prometheus_replica", "a")], &[]));
    assert_eq!(found[2].replica, SeriesHash(0));
}

#[test]
fn disorder_and_repetition_change_nothing() {
    let mut turned = CPU;
    turned.reverse();
    let doubled = [CPU[0], CPU[1], CPU[1], CPU[2], ("__name__", "cpu_seconds_total")];
    for pairs in [&turned[..], &doubled] {
        assert_eq!(
            samples(&request(&[(pairs, &[(1.0, T)])])),
            samples(&request(&[(&CPU, &[(1.0, T)])])),
        );
    }
    // In order of time; of one time in the order sent, so that the fold sees the first first.
    let found = samples(&request(&[(&CPU, &[(3.0, T), (1.0, T - 1), (2.0, T), (3.0, T)])]));
    let values: Vec<&Reading> = found.iter().map(|sample| &sample.reading).collect();
    let value = |units: i128| Reading::Value(Quantity(units * 1_000_000));
    assert_eq!(values, [&value(1), &value(3), &value(2), &value(3)]);
}

#[test]
fn parts_are_bounded_clean_and_distinct() {
    let of = |interface: &str| {
        let pairs =
            [("__name__", "network_bytes_total"), ("interface", interface), ("uuid", OWNED)];
        samples(&request(&[(&pairs, &[(1.0, T)])])).remove(0).part.as_str().to_owned()
    };
    assert_eq!(of("eth0"), "eth0");
    assert_eq!(of(""), "");
    let longest = "ä".repeat(PART_BYTES_MAX / 2);
    assert_eq!(of(&longest), longest);
    let [one, other] = [of(&format!("{longest}1")), of(&format!("{longest}2"))];
    assert_ne!(one, other);
    assert!(one.len() <= PART_BYTES_MAX && one.starts_with("ääää"), "{one}");
    assert!(!of("a\0b\n").contains(char::is_control), "no table holds a NUL");
    assert_ne!(of("a\0b"), of("a\u{1}b"));
}

#[test]
fn several_meters_may_read_one_series() {
    let owners = Owners::usual();
    let mut all = cpu();
    all.name = "all-cpu".into();
    all.match_labels.clear();
    all.base_units_per_unit = 1;
    *owners.meters.lock().unwrap() = Arc::new(MeterIndex::new([cpu(), all]));
    let owners = Arc::new(owners);
    let normaliser = Normaliser::new(owners.clone(), NormaliserSettings::default());
    let message = request(&[(&CPU, &[(2.0, T)])]).encode_to_vec();
    let batch = normaliser.request(Protocol::V1, &message, now()).unwrap();
    let found = samples_of(batch.flush.into_values().flatten());
    let meters: Vec<&str> = found.iter().map(|sample| sample.meter.as_str()).collect();
    assert_eq!(meters, ["all-cpu", "cpu-time"]);
    assert_eq!(batch.tally.records, 2);
    // Meters change: what was remembered of the label set no longer holds.
    *owners.meters.lock().unwrap() = Arc::new(MeterIndex::default());
    let batch = normaliser.request(Protocol::V1, &message, now()).unwrap();
    assert_eq!((batch.tally.records, batch.tally.unwanted), (0, 1));
}

#[test]
fn what_cannot_be_decoded_is_refused_whole() {
    let good = request(&[(&CPU, &[(1.0, T)])]);
    let refused = |protocol, bytes: &[u8]| {
        normaliser().request(protocol, bytes, now()).map(|batch| batch.tally).unwrap_err()
    };
    let v1 = good.encode_to_vec();
    let v2 = as_v2(&good);
    assert_eq!(refused(Protocol::V1, &v1[..v1.len() - 1]), Malformed::Cut);
    let other = |declared| Malformed::OtherMessage { declared };
    assert_eq!(refused(Protocol::V2, &v1), other("io.prometheus.write.v2.Request"));
    assert_eq!(refused(Protocol::V1, &v2.encode_to_vec()), other("prometheus.WriteRequest"));
    let mut odd = v2.clone();
    odd.timeseries[0].labels_refs.pop();
    assert_eq!(refused(Protocol::V2, &odd.encode_to_vec()), Malformed::OddLabels { count: 5 });
    let mut beyond = v2.clone();
    beyond.timeseries[0].labels_refs[5] = 99;
    let wanted = Malformed::Symbol { reference: 99, symbols: 7 };
    assert_eq!(refused(Protocol::V2, &beyond.encode_to_vec()), wanted);
    // Not UTF-8, in a label and in a symbol.
    for (protocol, mut bytes) in [(Protocol::V1, v1), (Protocol::V2, v2.encode_to_vec())] {
        let place = bytes.windows(4).position(|window| window == b"user").unwrap();
        bytes[place] = 0xff;
        assert_eq!(refused(protocol, &bytes), Malformed::Text);
    }
}

#[test]
fn an_empty_request_is_taken() {
    for protocol in [Protocol::V1, Protocol::V2] {
        let batch = normaliser().request(protocol, &[], now()).unwrap();
        assert!(batch.flush.is_empty());
        assert_eq!(batch.tally, Tally::default());
    }
}

fn any_series() -> impl Strategy<Value = TimeSeries> {
    let name = prop_oneof![
        Just("__name__"),
        Just("mode"),
        Just("uuid"),
        Just("interface"),
        Just("prometheus_replica"),
        Just("x")
    ];
    let value = prop_oneof![
        Just("cpu_seconds_total".to_owned()),
        Just("network_bytes_total".to_owned()),
        Just("user".to_owned()),
        Just(OWNED.to_owned()),
        Just(UNOWNED.to_owned()),
        Just(String::new()),
        ".{0,12}",
    ];
    let label = (name, value).prop_map(|(name, value)| Label { name: name.to_owned(), value });
    let timestamp = prop_oneof![any::<i64>(), T - 1_000_000..T + 1_000_000];
    // The library that writes leaves a zero out, whatever its sign.
    let number = any::<f64>().prop_map(|value| if value == 0.0 { 0.0 } else { value });
    let sample = (number, timestamp).prop_map(|(value, timestamp)| wire::Sample {
        value,
        timestamp,
        start_timestamp: 0,
    });
    let other = || proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..4), 0..2);
    (
        proptest::collection::vec(label, 0..6),
        proptest::collection::vec(sample, 0..4),
        other(),
        other(),
    )
        .prop_map(|(labels, samples, exemplars, histograms)| TimeSeries {
            labels,
            samples,
            exemplars,
            histograms,
        })
}

fn any_request() -> impl Strategy<Value = WriteRequest> {
    proptest::collection::vec(any_series(), 0..8)
        .prop_map(|timeseries| WriteRequest { timeseries, metadata: Vec::new() })
}

/// What a decoder hands on, as the messages a request was written from.
fn read_back(protocol: Protocol, bytes: &[u8]) -> Result<(Vec<TimeSeries>, Counts), Malformed> {
    let mut found = Vec::new();
    let counts = decode(protocol, bytes, &LabelsKeyMaker::default(), |series| {
        found.push(TimeSeries {
            labels: labels(&series.labels()?),
            samples: series
                .samples
                .iter()
                .map(|sample| wire::Sample {
                    value: sample.value,
                    timestamp: sample.milliseconds,
                    start_timestamp: sample.started_milliseconds,
                })
                .collect(),
            ..Default::default()
        });
        Ok(())
    })?;
    Ok((found, counts))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..Default::default() })]

    #[test]
    fn what_is_written_is_read(request in any_request()) {
        let stripped: Vec<TimeSeries> = request.timeseries.iter().cloned().map(|series| TimeSeries {
            exemplars: Vec::new(), histograms: Vec::new(), ..series
        }).collect();
        // Debug text, since a NaN does not equal itself.
        let wanted = format!("{stripped:?}");
        let (first, counts) = read_back(Protocol::V1, &request.encode_to_vec()).unwrap();
        prop_assert_eq!(&format!("{first:?}"), &wanted);
        let (second, same) = read_back(Protocol::V2, &as_v2(&request).encode_to_vec()).unwrap();
        prop_assert_eq!(&format!("{second:?}"), &wanted);
        prop_assert_eq!(counts, same);
        let histograms: usize = request.timeseries.iter().map(|one| one.histograms.len()).sum();
        prop_assert_eq!(counts.histograms, u64::try_from(histograms).unwrap());
    }

    /// And every sample is accounted for: a record, or counted as what nobody asks for.
    #[test]
    fn both_protocols_make_the_same_records(request in any_request()) {
        let tally = batch(&request).tally;
        let counted = tally.records + tally.unwanted + tally.without_resource;
        // A label set with two metric names may concern both meters.
        prop_assert!(counted >= tally.counts.samples && tally.records <= 2 * tally.counts.samples);
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        for protocol in [Protocol::V1, Protocol::V2] {
            if let Ok(batch) = normaliser().request(protocol, &bytes, now()) {
                prop_assert!(batch.tally.counts.samples <= 200);
            }
        }
    }

    /// Requests with a byte changed get further than noise does.
    #[test]
    fn no_damage_makes_it_panic(
        request in any_request(),
        place in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        for (protocol, mut bytes) in [
            (Protocol::V1, request.encode_to_vec()),
            (Protocol::V2, as_v2(&request).encode_to_vec()),
        ] {
            if !bytes.is_empty() {
                let place = place.index(bytes.len());
                bytes[place] = byte;
            }
            let first = normaliser().request(protocol, &bytes, now());
            let second = normaliser().request(protocol, &bytes, now());
            prop_assert_eq!(first.map(|one| one.flush), second.map(|one| one.flush));
        }
    }
}
