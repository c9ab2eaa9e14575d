//! What the intake says about itself, for Prometheus to scrape.

use super::normalise::Tally;
use super::protocol::Protocol;
use calendar::Instant;
use operator_kit::metrics::Metrics;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use std::time::Duration;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    protocol: &'static str,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FateLabel {
    fate: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FormLabel {
    form: &'static str,
}

/// The intake's figures.
#[derive(Clone)]
pub struct IntakeFigures {
    requests: Family<RequestLabels, Counter>,
    samples: Family<FateLabel, Counter>,
    bytes: Family<FormLabel, Counter>,
    append_seconds: Histogram,
    last_received_seconds: Gauge,
    backfills: Family<FateLabel, Counter>,
}

impl IntakeFigures {
    /// Registers the figures.
    pub fn new(metrics: &Metrics) -> Self {
        let figures = Self {
            requests: Family::default(),
            samples: Family::default(),
            bytes: Family::default(),
            append_seconds: Histogram::new(exponential_buckets(0.001, 2.0, 16)),
            last_received_seconds: Gauge::default(),
            backfills: Family::default(),
        };
        metrics.register(|registry| {
            registry.register(
                "freehold_intake_requests",
                "Remote write requests, by protocol and outcome",
                figures.requests.clone(),
            );
            registry.register(
                "freehold_intake_samples",
                "What became of what was sent: record (refused, stale and nameless among them), unwanted, without_resource, histogram, exemplar",
                figures.samples.clone(),
            );
            registry.register(
                "freehold_intake_bytes",
                "Bytes of requests, packed and unpacked",
                figures.bytes.clone(),
            );
            registry.register(
                "freehold_intake_append_seconds",
                "How long the usage log took to make a request durable",
                figures.append_seconds.clone(),
            );
            registry.register(
                "freehold_intake_last_received_seconds",
                "When samples last came and were durable, in seconds since 1970",
                figures.last_received_seconds.clone(),
            );
            registry.register(
                "freehold_intake_backfill_pieces",
                "Pieces of time read back from Prometheus, by what became of them",
                figures.backfills.clone(),
            );
        });
        figures
    }

    pub(super) fn answered(&self, protocol: Option<Protocol>, outcome: &'static str) {
        let protocol = match protocol {
            Some(Protocol::V1) => "1.0",
            Some(Protocol::V2) => "2.0",
            None => "none",
        };
        self.requests.get_or_create(&RequestLabels { protocol, outcome }).inc();
    }

    pub(super) fn unpacked(&self, packed: usize, unpacked: usize) {
        for (form, bytes) in [("packed", packed), ("unpacked", unpacked)] {
            let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
            self.bytes.get_or_create(&FormLabel { form }).inc_by(bytes);
        }
    }

    pub(super) fn took(&self, tally: &Tally) {
        for (fate, number) in [
            ("record", tally.records),
            ("refused", tally.refused),
            ("stale", tally.stale),
            ("nameless", tally.nameless),
            ("unwanted", tally.unwanted),
            ("without_resource", tally.without_resource),
            ("histogram", tally.counts.histograms),
            ("exemplar", tally.counts.exemplars),
        ] {
            if number > 0 {
                self.samples.get_or_create(&FateLabel { fate }).inc_by(number);
            }
        }
    }

    pub(super) fn appended(&self, took: Duration) {
        self.append_seconds.observe(took.as_secs_f64());
    }

    pub(super) fn received(&self, at: Instant) {
        self.last_received_seconds.set(at.microseconds().div_euclid(1_000_000));
    }

    pub(super) fn read_back(&self, fate: &'static str) {
        self.backfills.get_or_create(&FateLabel { fate }).inc();
    }
}
