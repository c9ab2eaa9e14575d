//! From series to records of the usage log.
//!
//! A series concerns a meter when its metric and labels say so; it concerns an object when the meter's resource label is
//! there. Then every sample becomes a record, whatever is wrong with it:
//!
//! | What is wrong | What becomes of it |
//! | --- | --- |
//! | nobody owns the object | a record in the object's own shard, where it waits for the registry |
//! | the resource label is no UUID, or is given twice | a record under a UUID made from the text, with the text as its part: it waits for ever, in sight |
//! | the value is not finite, negative, beyond 2^53 | a reading that is refused, with its text |
//! | the time is no time, more than five minutes ahead or 400 days back | a reading that is refused, dated when it came: taken at its word, it would be the item's watermark and shut out all that follow, or a step over decades (seconds sent as milliseconds lie in January 1970) |
//! | a label twice, labels in disorder | nothing, unless it is the label of the resource or part |
//! | the same sample twice | both are records; the fold knows a replay and a conflict |
//!
//! Samples that no meter asks for, and those of a metered metric without the resource label (a total over all objects,
//! say), are counted and passed over. A label never says who pays: it names an object, and the registry its owner.

use super::cache::SeriesCache;
use super::meters::{Identity, MeterIndex, SampledMeter};
use super::protocol::{Counts, LabelsKeyMaker, Malformed, Protocol, RawSample, decode};
use calendar::Instant;
use ids::ResourceUid;
use metering::scale::reading_to_base_units;
use metering::{
    MeterName, Part, Reading, ReadingRefused, Record, Sample, SeriesHash, ShardNumber, hash_labels,
};
use std::collections::BTreeSet;
use std::sync::Arc;
use stream::Flush;
use uuid::Uuid;

/// The bits of the NaN by which Prometheus says that a series is no longer scraped.
const STALE_BITS: u64 = 0x7ff0_0000_0000_0002;
/// How far ahead of our clock a sample may be dated.
const AHEAD_MAX_MICROSECONDS: i64 = 5 * 60 * 1_000_000;
/// How long ago a sample may be dated: beyond any retention that a backfill could reach.
const BEHIND_MAX_MICROSECONDS: i64 = 400 * 24 * 3600 * 1_000_000;
/// The longest part, in bytes; longer ones are cut and told apart by a hash.
const PART_BYTES_MAX: usize = 128;
/// Names of objects that no UUID names, as version 5 UUIDs of their texts under this namespace. Never to change.
const NAMELESS: Uuid = Uuid::from_u128(0x5f0d_6b1c_8e3f_4e5b_9a53_6a2c_11f7_90d4);

/// How the intake reads label sets.
#[derive(Debug, Clone)]
pub struct NormaliserSettings {
    /// Labels by which senders of the same series differ.
    pub replica_labels: Vec<String>,
    /// How many label sets are remembered.
    pub series_remembered_max: usize,
}

impl Default for NormaliserSettings {
    fn default() -> Self {
        Self {
            replica_labels: vec!["prometheus_replica".to_owned(), "__replica__".to_owned()],
            series_remembered_max: 1 << 21,
        }
    }
}

/// Records made of samples, and what was seen on the way.
#[derive(Debug, Default)]
pub struct Batch {
    /// The records, by shard.
    pub flush: Flush,
    /// What was seen.
    pub tally: Tally,
}

/// What became of samples.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// What the request held.
    pub counts: Counts,
    /// Records made, stale markers and refused readings included; more than samples where several meters read one.
    pub records: u64,
    /// Among the records: readings that are refused.
    pub refused: u64,
    /// Among the records: stale markers.
    pub stale: u64,
    /// Among the records: those of an object that no UUID names.
    pub nameless: u64,
    /// Samples that no meter asks for.
    pub unwanted: u64,
    /// Samples of a metered metric that name no object.
    pub without_resource: u64,
}

/// What a label set means.
#[derive(Debug, Clone)]
enum Meaning {
    Unwanted,
    WithoutResource,
    Metered(Arc<[Target]>),
}

/// One meter's view of a series.
#[derive(Debug)]
struct Target {
    resource: ResourceUid,
    meter: MeterName,
    part: Part,
    series: SeriesHash,
    replica: SeriesHash,
    base_units_per_unit: i64,
    is_nameless: bool,
}

/// Makes records of series. One for all requests.
pub struct Normaliser {
    identity: Arc<dyn Identity>,
    settings: NormaliserSettings,
    keys: LabelsKeyMaker,
    cache: SeriesCache<Meaning>,
}

impl Normaliser {
    /// A normaliser that remembers nothing yet.
    pub fn new(identity: Arc<dyn Identity>, settings: NormaliserSettings) -> Self {
        let cache = SeriesCache::new(settings.series_remembered_max);
        Self { identity, settings, keys: LabelsKeyMaker::default(), cache }
    }

    /// Who says what is metered.
    pub fn identity(&self) -> &dyn Identity {
        self.identity.as_ref()
    }

    /// All records of an unpacked request. `received_at`: now.
    ///
    /// # Errors
    /// [`Malformed`]: nothing of the request is to be taken.
    pub fn request(
        &self,
        protocol: Protocol,
        message: &[u8],
        received_at: Instant,
    ) -> Result<Batch, Malformed> {
        let mut batch = Batch::default();
        let meters = self.identity.meters();
        let counts = decode(protocol, message, &self.keys, |series| {
            if series.samples.is_empty() {
                return Ok(());
            }
            let meaning = self.cache.get_or_find(&meters, series.key, || {
                Ok::<_, Malformed>(self.meaning(&meters, series.labels()?))
            })?;
            self.take(&meaning, series.samples, received_at, &mut batch);
            Ok(())
        })?;
        batch.tally.counts = counts;
        Ok(batch)
    }

    /// Adds the records of one series that came by another way.
    pub fn series(
        &self,
        labels: Vec<(&str, &str)>,
        samples: &[RawSample],
        received_at: Instant,
        batch: &mut Batch,
    ) {
        let meaning = self.meaning(&self.identity.meters(), labels);
        self.take(&meaning, samples, received_at, batch);
        let counts = &mut batch.tally.counts;
        counts.series = counts.series.saturating_add(1);
        counts.samples = counts.samples.saturating_add(count_of(samples));
    }

    fn meaning(&self, meters: &MeterIndex, mut labels: Vec<(&str, &str)>) -> Meaning {
        // An empty label is an absent one, to Prometheus as to us.
        labels.retain(|(_, value)| !value.is_empty());
        labels.sort_unstable();
        labels.dedup();
        let metrics = labels.iter().filter(|(name, _)| *name == "__name__");
        let wanted: Vec<&SampledMeter> = metrics
            .flat_map(|(_, metric)| meters.of_metric(metric))
            .filter(|meter| meter.matches(&labels))
            .collect();
        if wanted.is_empty() {
            return Meaning::Unwanted;
        }
        let replica_labels: BTreeSet<&str> =
            self.settings.replica_labels.iter().map(String::as_str).collect();
        let (of_replica, of_series): (Vec<_>, Vec<_>) =
            labels.iter().copied().partition(|(name, _)| replica_labels.contains(name));
        let series = hash_labels(of_series, &[]);
        let replica = if of_replica.is_empty() {
            SeriesHash::default()
        } else {
            hash_labels(of_replica, &[])
        };
        let targets: Arc<[Target]> = wanted
            .into_iter()
            .filter_map(|meter| target(meter, &labels, series, replica))
            .collect();
        if targets.is_empty() { Meaning::WithoutResource } else { Meaning::Metered(targets) }
    }

    fn take(
        &self,
        meaning: &Meaning,
        samples: &[RawSample],
        received_at: Instant,
        batch: &mut Batch,
    ) {
        let targets = match meaning {
            Meaning::Unwanted => return add(&mut batch.tally.unwanted, samples),
            Meaning::WithoutResource => return add(&mut batch.tally.without_resource, samples),
            Meaning::Metered(targets) => targets,
        };
        // Within a series the order of time is the order to fold in; of equal times the first sent stays the first.
        let mut sorted = Vec::new();
        let samples = if samples.is_sorted_by_key(|sample| sample.milliseconds) {
            samples
        } else {
            sorted.extend_from_slice(samples);
            sorted.sort_by_key(|sample| sample.milliseconds);
            &sorted
        };
        for target in targets.iter() {
            let shard = match self.identity.account_of(target.resource) {
                Some(account) => ShardNumber::of(account),
                None => ShardNumber::of_unknown(target.resource),
            };
            let records = batch.flush.entry(shard).or_default();
            for sample in samples {
                let record = record(target, sample, received_at);
                let tally = &mut batch.tally;
                match record.reading {
                    Reading::Value(_) => {}
                    Reading::Stale => tally.stale = tally.stale.saturating_add(1),
                    Reading::Refused(_) => tally.refused = tally.refused.saturating_add(1),
                }
                records.push(Record::Sample(record));
            }
            add(&mut batch.tally.records, samples);
            if target.is_nameless {
                add(&mut batch.tally.nameless, samples);
            }
        }
    }
}

fn add(sum: &mut u64, samples: &[RawSample]) {
    *sum = sum.saturating_add(count_of(samples));
}

fn count_of(samples: &[RawSample]) -> u64 {
    u64::try_from(samples.len()).unwrap_or(u64::MAX)
}

/// What a meter makes of a series it matches; `None` where no object is named. `labels`: sorted.
fn target(
    meter: &SampledMeter,
    labels: &[(&str, &str)],
    series: SeriesHash,
    replica: SeriesHash,
) -> Option<Target> {
    let values = |wanted: &str| -> Vec<&str> {
        labels.iter().filter(|(name, _)| *name == wanted).map(|(_, value)| *value).collect()
    };
    let resources = values(&meter.resource_label);
    let parts = meter.part_label.as_deref().map(values).unwrap_or_default();
    let (first, others) = resources.split_first()?;
    let named = first.parse::<ResourceUid>().ok().filter(|_| others.is_empty() && parts.len() < 2);
    let (resource, part) = match named {
        Some(resource) => (resource, parts.first().map_or_else(Part::whole, |text| bounded(text))),
        None => {
            let text = [resources, parts].concat().join("\u{1f}");
            (ResourceUid(Uuid::new_v5(&NAMELESS, text.as_bytes())), bounded(&text))
        }
    };
    Some(Target {
        resource,
        meter: meter.name.clone(),
        part,
        series,
        replica,
        base_units_per_unit: meter.base_units_per_unit,
        is_nameless: named.is_none(),
    })
}

/// A text as a part: as it is where it is short and clean, else cut and cleaned with a hash of the whole behind it.
/// Control characters must not stay: no table holds a NUL, and a shard whose windows cannot be written stands still.
fn bounded(text: &str) -> Part {
    if text.len() <= PART_BYTES_MAX && !text.chars().any(char::is_control) {
        return Part::from(text);
    }
    let hash = hash_labels([("part", text)], &[]);
    let mut cleaned = String::with_capacity(PART_BYTES_MAX);
    for character in text.chars() {
        let character = if character.is_control() { '\u{fffd}' } else { character };
        // Room for `~` and the sixteen digits of the hash.
        if cleaned.len() + character.len_utf8() > PART_BYTES_MAX - 17 {
            break;
        }
        cleaned.push(character);
    }
    Part::from(format!("{cleaned}~{:016x}", hash.0))
}

fn record(target: &Target, sample: &RawSample, received_at: Instant) -> Sample {
    let dated = Instant::from_milliseconds(sample.milliseconds).ok().filter(|at| {
        let ahead = at.microseconds_since(received_at);
        (-BEHIND_MAX_MICROSECONDS..=AHEAD_MAX_MICROSECONDS).contains(&ahead)
    });
    let reading = if sample.value.to_bits() == STALE_BITS {
        Reading::Stale
    } else if dated.is_none() {
        let text = format!("{} at {} ms", sample.value, sample.milliseconds);
        Reading::Refused(ReadingRefused::Untimely { text })
    } else {
        match reading_to_base_units(sample.value, target.base_units_per_unit) {
            Ok(value) => Reading::Value(value),
            Err(refused) => Reading::Refused(refused),
        }
    };
    let started_at = match sample.started_milliseconds {
        0 => None,
        // A start that is no instant says nothing.
        milliseconds => Instant::from_milliseconds(milliseconds).ok(),
    };
    Sample {
        resource: target.resource,
        meter: target.meter.clone(),
        part: target.part.clone(),
        series: target.series,
        replica: target.replica,
        at: dated.unwrap_or(received_at),
        reading,
        started_at,
    }
}

#[cfg(test)]
mod tests;
