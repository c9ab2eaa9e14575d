//! Which series are metered, and whose resources they are about.

use ids::{AccountId, ResourceUid};
use metering::MeterName;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What the intake asks of those who watch the objects. Answers come from memory: they are asked for every series of
/// every request.
pub trait Identity: Send + Sync {
    /// Who owns a resource now, so that its facts go to that account's shard. Where this says `None`, or says what has
    /// changed since, nothing is lost: the fold keeps or forwards the fact.
    fn account_of(&self, resource: ResourceUid) -> Option<AccountId>;

    /// The meters of now; the same `Arc` as long as they are the same.
    fn meters(&self) -> Arc<MeterIndex>;
}

/// A meter that reads samples.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SampledMeter {
    /// `metadata.name` of the Meter.
    pub name: MeterName,
    /// The metric it reads.
    pub metric: String,
    /// Labels a series must carry with exactly these values; an empty value means that the label is absent.
    pub match_labels: BTreeMap<String, String>,
    /// The label that holds the UID of the metered object.
    pub resource_label: String,
    /// The label that tells parts of one object apart.
    pub part_label: Option<String>,
    /// Base units in one unit, 1 to 10^12.
    pub base_units_per_unit: i64,
}

impl SampledMeter {
    /// Whether a series with these labels is the meter's, its metric aside. Where a label is given twice, either of
    /// its values will do.
    pub fn matches(&self, labels: &[(&str, &str)]) -> bool {
        self.match_labels.iter().all(|(name, wanted)| {
            let mut given = labels.iter().filter(|(label, _)| label == name).peekable();
            if given.peek().is_none() {
                wanted.is_empty()
            } else {
                given.any(|one| one.1 == wanted)
            }
        })
    }

    /// The meter's series as a query selects them. Every part is quoted, so no declared text can be anything but a value.
    pub fn selector(&self) -> String {
        let metric = format!("__name__={}", quoted(&self.metric));
        let present = format!("{}!=\"\"", self.resource_label);
        let labels =
            self.match_labels.iter().map(|(name, value)| format!("{name}={}", quoted(value)));
        let matchers: Vec<String> = [metric, present].into_iter().chain(labels).collect();
        format!("{{{}}}", matchers.join(","))
    }
}

fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len().saturating_add(2));
    quoted.push('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            '\n' => quoted.push_str("\\n"),
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}

/// All sampled meters, by metric.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MeterIndex {
    by_metric: BTreeMap<String, Vec<SampledMeter>>,
}

impl MeterIndex {
    /// An index of `meters`.
    pub fn new(meters: impl IntoIterator<Item = SampledMeter>) -> Self {
        let mut by_metric = BTreeMap::<String, Vec<SampledMeter>>::new();
        for meter in meters {
            by_metric.entry(meter.metric.clone()).or_default().push(meter);
        }
        for meters in by_metric.values_mut() {
            meters.sort_by(|one, other| one.name.cmp(&other.name));
        }
        Self { by_metric }
    }

    /// The meters that read a metric, by name.
    pub fn of_metric(&self, metric: &str) -> &[SampledMeter] {
        self.by_metric.get(metric).map_or(&[], Vec::as_slice)
    }

    /// What to ask Prometheus for to see every sample that any meter reads; each once.
    pub fn selectors(&self) -> BTreeSet<String> {
        self.by_metric.values().flatten().map(SampledMeter::selector).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meter(matches: &[(&str, &str)]) -> SampledMeter {
        SampledMeter {
            name: "cpu".into(),
            metric: "cpu_seconds_total".to_owned(),
            match_labels: matches.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect(),
            resource_label: "uuid".to_owned(),
            part_label: None,
            base_units_per_unit: 1,
        }
    }

    #[test]
    fn labels_match_exactly() {
        let mode = meter(&[("mode", "user"), ("phase", "")]);
        for (labels, wanted) in [
            (&[("mode", "user")][..], true),
            (&[("mode", "user"), ("other", "x")], true),
            (&[("mode", "user"), ("phase", "")], true),
            (&[("mode", "User")], false),
            (&[("mode", "user"), ("phase", "1")], false),
            (&[("phase", "")], false),
            (&[("mode", "system"), ("mode", "user")], true),
        ] {
            assert_eq!(mode.matches(labels), wanted, "{labels:?}");
        }
    }

    #[test]
    fn a_selector_quotes_what_was_declared() {
        assert_eq!(
            meter(&[("mode", "a\"} or up{x=\"\\\n")]).selector(),
            r#"{__name__="cpu_seconds_total",uuid!="",mode="a\"} or up{x=\"\\\n"}"#
        );
        let index = MeterIndex::new([meter(&[]), meter(&[])]);
        assert_eq!(index.selectors().len(), 1);
        assert_eq!(index.of_metric("cpu_seconds_total").len(), 2);
        assert_eq!(index.of_metric("other"), &[]);
    }
}
