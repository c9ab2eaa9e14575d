//! Figures of the stream for Prometheus.

use metering::StepCounts;
use operator_kit::metrics::Metrics;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FactLabel {
    fate: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WorkerLabel {
    worker: u64,
}

/// Counts what the stream folds and rates.
#[derive(Clone, Default)]
pub struct StreamMetrics {
    records: Counter,
    facts: Family<FactLabel, Counter>,
    lines: Counter,
    behind: Family<WorkerLabel, Gauge>,
    parked: Family<WorkerLabel, Gauge>,
}

impl StreamMetrics {
    /// Registers the figures.
    pub fn new(metrics: &Metrics) -> Self {
        let own = Self::default();
        metrics.register(|registry| {
            registry.register(
                "freehold_stream_records",
                "Records of the usage log folded and committed",
                own.records.clone(),
            );
            registry.register(
                "freehold_stream_facts",
                "Facts by what became of them",
                own.facts.clone(),
            );
            registry.register("freehold_stream_lines_rated", "Bill lines rated", own.lines.clone());
            registry.register(
                "freehold_stream_behind",
                "1 while a worker has sent work that is not committed everywhere",
                own.behind.clone(),
            );
            registry.register(
                "freehold_stream_shards_parked",
                "Shards that are not folded because their content is refused",
                own.parked.clone(),
            );
        });
        own
    }

    pub(super) fn committed(&self, counts: &StepCounts) {
        self.records.inc_by(counts.records);
        for (fate, number) in [
            ("stepped", counts.samples),
            ("replayed", counts.replays),
            ("conflicting", counts.conflicts),
            ("reset", counts.resets),
            ("filling", counts.fillers),
            ("shadowed", counts.shadowed),
            ("suspended", counts.suspended),
        ] {
            self.facts.get_or_create(&FactLabel { fate }).inc_by(number);
        }
    }

    pub(super) fn rated(&self, lines: usize) {
        self.lines.inc_by(u64::try_from(lines).unwrap_or(u64::MAX));
    }

    pub(super) fn parked(&self, worker: usize, shards: usize) {
        let worker = u64::try_from(worker).unwrap_or(u64::MAX);
        let shards = i64::try_from(shards).unwrap_or(i64::MAX);
        self.parked.get_or_create(&WorkerLabel { worker }).set(shards);
    }

    pub(super) fn behind(&self, worker: usize, is_behind: bool) {
        let worker = u64::try_from(worker).unwrap_or(u64::MAX);
        self.behind.get_or_create(&WorkerLabel { worker }).set(i64::from(is_behind));
    }
}
