//! Reading back what was missed.
//!
//! An interval is asked for in pieces of an hour, each overlapping its neighbours by a minute: a sample that lies on a
//! boundary comes twice rather than never, and the fold drops a replay. What an answer holds is appended at once, even
//! when the server warns that it is not whole: the samples are true. But the piece then counts as missing, and whoever
//! asked comes again.
//!
//! Raw samples from a TSDB lack what the sender knows besides: no start timestamps, no external labels. The same
//! normaliser reads them, so they are of the same items, from a replica without a name.

use super::normalise::{Batch, Normaliser};
use super::prometheus::{LabelledSamples, PrometheusClient, PrometheusError, instant_of};
use calendar::{HOUR_MICROSECONDS, Instant, Interval};
use operator_kit::ErrorChain;
use stream::{LogError, UsageLog};

const MINUTE_MICROSECONDS: i64 = 60_000_000;
/// A piece that is too much even in this time cannot be had.
const PIECE_MICROSECONDS_MIN: i64 = MINUTE_MICROSECONDS;
/// Records appended at once.
const RECORDS_MAX: u64 = 50_000;

/// Why reading back had to stop. What was appended stays; come again.
#[derive(Debug, thiserror::Error)]
pub enum BackfillError {
    /// The log did not take what was read.
    #[error("append what was read back")]
    Log(#[from] LogError),
}

/// What was read back.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Pieces of time, per meter's selector, that were had whole.
    pub pieces: u64,
    /// Samples found.
    pub samples: u64,
    /// Records appended; most may be known already.
    pub records: u64,
    /// Pieces that were not had whole, and why.
    pub missing: Vec<Missing>,
}

/// A piece that was not had whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// What was asked for.
    pub selector: String,
    /// When.
    pub interval: Interval,
    /// What the server said.
    pub reason: String,
}

impl Report {
    /// Whether everything there is has been read back.
    pub fn is_complete(&self) -> bool {
        self.missing.is_empty()
    }
}

/// Reads every sampled meter's raw samples of an interval and appends them. `now`: by the clock, as for requests.
///
/// # Errors
/// [`BackfillError`] when the log refuses; trouble with Prometheus is in the report.
pub async fn backfill(
    prometheus: &PrometheusClient,
    normaliser: &Normaliser,
    log: &dyn UsageLog,
    interval: Interval,
    now: Instant,
) -> Result<Report, BackfillError> {
    let mut report = Report::default();
    for selector in normaliser.identity().meters().selectors() {
        for piece in pieces(interval) {
            // Halves of what is too much, the earlier on top.
            let mut open = vec![piece];
            while let Some(piece) = open.pop() {
                let answer = prometheus.raw_samples(&selector, piece).await;
                let reason = match answer {
                    Ok(found) => {
                        let text = found.warnings.join("; ");
                        append(normaliser, log, found.series, now, &mut report).await?;
                        (!text.is_empty()).then(|| format!("warned: {text}"))
                    }
                    Err(PrometheusError::TooMuch(_)) if halves(piece).is_some() => {
                        open.extend(halves(piece).into_iter().flatten());
                        continue;
                    }
                    Err(error) => Some(ErrorChain(&error).to_string()),
                };
                match reason {
                    None => report.pieces = report.pieces.saturating_add(1),
                    Some(reason) => {
                        let selector = selector.clone();
                        report.missing.push(Missing { selector, interval: piece, reason });
                    }
                }
            }
        }
    }
    Ok(report)
}

async fn append(
    normaliser: &Normaliser,
    log: &dyn UsageLog,
    series: Vec<LabelledSamples>,
    now: Instant,
    report: &mut Report,
) -> Result<(), BackfillError> {
    let mut batch = Batch::default();
    for LabelledSamples { labels, mut samples } in series {
        samples.retain(|sample| instant_of(sample).is_some_and(|at| at <= now));
        let labels = labels.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        normaliser.series(labels, &samples, now, &mut batch);
        if batch.tally.records >= RECORDS_MAX {
            flush(log, std::mem::take(&mut batch), report).await?;
        }
    }
    flush(log, batch, report).await
}

async fn flush(log: &dyn UsageLog, batch: Batch, report: &mut Report) -> Result<(), BackfillError> {
    if !batch.flush.is_empty() {
        log.append(batch.flush).await?;
    }
    report.samples = report.samples.saturating_add(batch.tally.counts.samples);
    report.records = report.records.saturating_add(batch.tally.records);
    Ok(())
}

/// Hours of an interval, each a minute longer at both ends.
fn pieces(interval: Interval) -> impl Iterator<Item = Interval> {
    let mut from = interval.from;
    std::iter::from_fn(move || {
        if from >= interval.to {
            return None;
        }
        let to = from.plus_microseconds(HOUR_MICROSECONDS).min(interval.to);
        let piece = Interval::new(
            from.plus_microseconds(-MINUTE_MICROSECONDS),
            to.plus_microseconds(MINUTE_MICROSECONDS),
        );
        from = to;
        Some(piece)
    })
}

/// The later and the earlier half, both with the instant between; `None` for what is short already.
fn halves(piece: Interval) -> Option<[Interval; 2]> {
    let half = piece.microseconds().div_euclid(2);
    let middle = piece.from.plus_microseconds(half);
    (half >= PIECE_MICROSECONDS_MIN)
        .then(|| [Interval::new(middle, piece.to), Interval::new(piece.from, middle)])
}

#[cfg(test)]
mod tests;
