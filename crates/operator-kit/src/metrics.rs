//! Figures about passes, for Prometheus to scrape.

use crate::controller::Outcome;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// The registry that a program's parts put their figures into.
#[derive(Clone, Default)]
pub struct Metrics(Arc<Mutex<Registry>>);

impl Metrics {
    /// Lets `register` add to the registry.
    pub fn register(&self, register: impl FnOnce(&mut Registry)) {
        register(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// All figures in the `OpenMetrics` text format.
    ///
    /// # Errors
    /// A figure that cannot be written as text.
    pub fn encode(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(
            &mut text,
            &self.0.lock().unwrap_or_else(PoisonError::into_inner),
        )?;
        Ok(text)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PassLabels {
    controller: &'static str,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ControllerLabel {
    controller: &'static str,
}

/// Counts and times passes of controllers.
#[derive(Clone)]
pub struct PassMetrics {
    passes: Family<PassLabels, Counter>,
    durations: Family<ControllerLabel, Histogram>,
}

impl PassMetrics {
    /// Registers the figures.
    pub fn new(metrics: &Metrics) -> Self {
        let passes = Family::<PassLabels, Counter>::default();
        let durations = Family::<ControllerLabel, Histogram>::new_with_constructor(|| {
            Histogram::new(exponential_buckets(0.001, 2.0, 16))
        });
        metrics.register(|registry| {
            registry.register(
                "freehold_operator_passes",
                "Passes over objects, by controller and outcome",
                passes.clone(),
            );
            registry.register(
                "freehold_operator_pass_duration_seconds",
                "How long passes took",
                durations.clone(),
            );
        });
        Self { passes, durations }
    }

    /// Notes a pass; `None` is a failure.
    pub fn passed(&self, controller: &'static str, outcome: Option<Outcome>, took: Duration) {
        let outcome = match outcome {
            Some(Outcome::Converged) => "converged",
            Some(Outcome::Waiting(_)) => "waiting",
            Some(Outcome::Refused) => "refused",
            None => "failed",
        };
        self.passes.get_or_create(&PassLabels { controller, outcome }).inc();
        self.durations.get_or_create(&ControllerLabel { controller }).observe(took.as_secs_f64());
    }
}
