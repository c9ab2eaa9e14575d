//! The messages of remote write as their schemas define them, to write requests with in tests and measurements.
//!
//! The intake reads them by hand; these come from the derive of a Protocol Buffers library, so that what one writes and
//! the other reads has two authors.

/// `prometheus.WriteRequest`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct WriteRequest {
    /// Series.
    #[prost(message, repeated, tag = "1")]
    pub timeseries: Vec<TimeSeries>,
    /// Metadata; only that there is some matters here.
    #[prost(bytes = "vec", repeated, tag = "3")]
    pub metadata: Vec<Vec<u8>>,
}

/// A series of 1.0.
#[derive(Clone, PartialEq, prost::Message)]
pub struct TimeSeries {
    /// Labels.
    #[prost(message, repeated, tag = "1")]
    pub labels: Vec<Label>,
    /// Samples.
    #[prost(message, repeated, tag = "2")]
    pub samples: Vec<Sample>,
    /// Exemplars.
    #[prost(bytes = "vec", repeated, tag = "3")]
    pub exemplars: Vec<Vec<u8>>,
    /// Histograms.
    #[prost(bytes = "vec", repeated, tag = "4")]
    pub histograms: Vec<Vec<u8>>,
}

/// A label of 1.0.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Label {
    /// Name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Value.
    #[prost(string, tag = "2")]
    pub value: String,
}

/// A sample; 1.0 has no start.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct Sample {
    /// Value.
    #[prost(double, tag = "1")]
    pub value: f64,
    /// Milliseconds since 1970.
    #[prost(int64, tag = "2")]
    pub timestamp: i64,
    /// `start_timestamp` of 2.0 from release candidate 4 on.
    #[prost(int64, tag = "3")]
    pub start_timestamp: i64,
}

/// `io.prometheus.write.v2.Request`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Request {
    /// Texts.
    #[prost(string, repeated, tag = "4")]
    pub symbols: Vec<String>,
    /// Series.
    #[prost(message, repeated, tag = "5")]
    pub timeseries: Vec<TimeSeries2>,
}

/// A series of 2.0.
#[derive(Clone, PartialEq, prost::Message)]
pub struct TimeSeries2 {
    /// Names and values in turn, as numbers of texts.
    #[prost(uint32, repeated, tag = "1")]
    pub labels_refs: Vec<u32>,
    /// Samples.
    #[prost(message, repeated, tag = "2")]
    pub samples: Vec<Sample>,
    /// Histograms.
    #[prost(bytes = "vec", repeated, tag = "3")]
    pub histograms: Vec<Vec<u8>>,
    /// Exemplars.
    #[prost(bytes = "vec", repeated, tag = "4")]
    pub exemplars: Vec<Vec<u8>>,
    /// Metadata.
    #[prost(bytes = "vec", optional, tag = "5")]
    pub metadata: Option<Vec<u8>>,
    /// `created_timestamp` of 2.0 up to release candidate 3.
    #[prost(int64, tag = "6")]
    pub created_timestamp: i64,
}

/// The same series as a 2.0 request.
pub fn as_v2(request: &WriteRequest) -> Request {
    let mut symbols = vec![String::new()];
    let mut places = std::collections::BTreeMap::from([(String::new(), 0_u32)]);
    let mut place = |text: &String| {
        *places.entry(text.clone()).or_insert_with(|| {
            symbols.push(text.clone());
            u32::try_from(symbols.len() - 1).unwrap_or(u32::MAX)
        })
    };
    let timeseries = request
        .timeseries
        .iter()
        .map(|series| TimeSeries2 {
            labels_refs: series
                .labels
                .iter()
                .flat_map(|label| [place(&label.name), place(&label.value)])
                .collect(),
            samples: series.samples.clone(),
            histograms: series.histograms.clone(),
            exemplars: series.exemplars.clone(),
            metadata: None,
            created_timestamp: 0,
        })
        .collect();
    Request { symbols, timeseries }
}
