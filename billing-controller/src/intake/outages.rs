//! After a silence: say that nobody listened, wait until the past has settled, read it back.

use super::backfill::{Report, backfill};
use super::figures::IntakeFigures;
use super::normalise::Normaliser;
use super::prometheus::PrometheusClient;
use super::received::LastReceived;
use calendar::{Instant, Interval};
use metering::{Record, ShardNumber};
use operator_kit::{Clock, ErrorChain};
use std::sync::Arc;
use std::time::Duration;
use stream::{LogError, UsageLog};
use tokio_util::sync::CancellationToken;

/// How outages are dealt with.
#[derive(Debug, Clone)]
pub struct OutageSettings {
    /// How long to wait before reading back: senders first send what they kept, and a federated store lags (two hours
    /// behind Thanos).
    pub settling: Duration,
    /// The first wait before asking again for what was not had whole; it doubles up to sixteen times that.
    pub retry: Duration,
}

impl Default for OutageSettings {
    fn default() -> Self {
        Self { settling: Duration::from_mins(1), retry: Duration::from_secs(30) }
    }
}

/// What the watch works with.
pub struct OutageWatch {
    /// Where to read back from; silences are recorded all the same where there is none.
    pub prometheus: Option<PrometheusClient>,
    /// The one of the requests.
    pub normaliser: Arc<Normaliser>,
    /// The log.
    pub log: Arc<dyn UsageLog>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// Where outages are noted; made with what the process before stored, so a restart is one.
    pub received: Arc<LastReceived>,
    /// The figures of the intake.
    pub figures: IntakeFigures,
}

/// Deals with one outage after the other until `stop`. An outage is settled only when it is recorded in all shards and
/// everything it may hide has been read back, however often that has to be tried.
pub async fn watch_outages(watch: OutageWatch, settings: OutageSettings, stop: CancellationToken) {
    let work = async {
        loop {
            let outage = watch.received.outage().await;
            tracing::warn!(from = %outage.from, to = %outage.to, "no samples came");
            watch.record(outage, &settings).await;
            if let Some(prometheus) = &watch.prometheus {
                tokio::time::sleep(settings.settling).await;
                watch.read_back(prometheus, outage, &settings).await;
            }
            watch.received.settle();
        }
    };
    tokio::select! {
        () = work => {}
        () = stop.cancelled() => {}
    }
}

impl OutageWatch {
    async fn record(&self, outage: Interval, settings: &OutageSettings) {
        let mut retries = Retries::new(settings);
        while let Err(error) = append_gap(self.log.as_ref(), outage).await {
            tracing::warn!(error = %ErrorChain(&error), "the silence could not be recorded yet");
            retries.wait().await;
        }
    }

    async fn read_back(
        &self,
        prometheus: &PrometheusClient,
        outage: Interval,
        settings: &OutageSettings,
    ) {
        let mut retries = Retries::new(settings);
        loop {
            let now = Instant::from_timestamp(self.clock.now());
            let (normaliser, log) = (self.normaliser.as_ref(), self.log.as_ref());
            match backfill(prometheus, normaliser, log, outage, now).await {
                Ok(report) => {
                    self.tell(&report, outage);
                    if report.is_complete() {
                        return;
                    }
                }
                Err(error) => {
                    self.figures.read_back("failed");
                    tracing::warn!(error = %ErrorChain(&error), "reading back stopped");
                }
            }
            retries.wait().await;
        }
    }

    fn tell(&self, report: &Report, outage: Interval) {
        for _ in 0..report.pieces {
            self.figures.read_back("whole");
        }
        for missing in &report.missing {
            self.figures.read_back("missing");
            let Interval { from, to } = missing.interval;
            tracing::warn!(selector = missing.selector, %from, %to, reason = missing.reason, "not read back");
        }
        let (samples, records) = (report.samples, report.records);
        tracing::info!(from = %outage.from, to = %outage.to, samples, records, "read back");
    }
}

/// Tells all shards that nobody listened.
async fn append_gap(log: &dyn UsageLog, during: Interval) -> Result<(), LogError> {
    let gap = |shard| (shard, vec![Record::ReceiverGap { during }]);
    log.append(ShardNumber::all().map(gap).collect()).await
}

/// Growing waits.
struct Retries {
    next: Duration,
    most: Duration,
}

impl Retries {
    fn new(settings: &OutageSettings) -> Self {
        Self { next: settings.retry, most: settings.retry.saturating_mul(16) }
    }

    async fn wait(&mut self) {
        tokio::time::sleep(self.next).await;
        self.next = self.next.saturating_mul(2).min(self.most);
    }
}
