//! Reading raw samples back from Prometheus.
//!
//! A range selector gives the samples themselves, as scraped; every function over them interpolates or guesses, which is
//! no basis for a bill. The client is the Kubernetes client's HTTP half, already part of the program: it speaks plain
//! HTTP and TLS, and pools connections.

use super::protocol::RawSample;
use calendar::{Instant, Interval};
use futures::StreamExt;
use http::{Request, Uri};
use kube::client::Body;
use kube::{Client, Config};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::time::Duration;

/// The most bytes of one answer; a piece of time that answers with more is asked for in halves.
const ANSWER_BYTES_MAX: usize = 64 << 20;
/// The longest wait for one answer; Prometheus itself gives up after two minutes.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(150);

/// Why samples could not be read back.
#[derive(Debug, thiserror::Error)]
pub enum PrometheusError {
    /// The URL is none.
    #[error("`{url}` is no URL of a Prometheus; write it like http://prometheus:9090")]
    Url {
        /// As given.
        url: String,
    },
    /// No client could be made.
    #[error("set up the client for Prometheus")]
    Setup(#[source] Box<kube::Error>),
    /// No answer.
    #[error("ask Prometheus")]
    Send(#[source] Box<kube::Error>),
    /// No whole answer in time.
    #[error("ask Prometheus: no answer within {0:?}")]
    Slow(Duration),
    /// The answer broke off.
    #[error("ask Prometheus: the answer broke off")]
    BrokeOff,
    /// More than is taken at once; ask for less time.
    #[error("ask Prometheus: too much for one answer ({0})")]
    TooMuch(String),
    /// Prometheus refused.
    #[error("ask Prometheus: {status}, {reason}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// What it says.
        reason: String,
    },
    /// Not what the API is documented to answer.
    #[error("ask Prometheus: the answer is not understood: {0}")]
    Answer(String),
}

/// A Prometheus, or what speaks its API.
#[derive(Clone)]
pub struct PrometheusClient {
    client: Client,
    path: String,
}

/// What one question was answered.
#[derive(Debug, Default, PartialEq)]
pub struct RawSeries {
    /// The series.
    pub series: Vec<LabelledSamples>,
    /// What the server warns of. The answer is then not known to be whole.
    pub warnings: Vec<String>,
}

/// One series of an answer.
#[derive(Debug, PartialEq)]
pub struct LabelledSamples {
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its samples, ascending.
    pub samples: Vec<RawSample>,
}

impl PrometheusClient {
    /// A client for a Prometheus at `url`; a path in it is a prefix.
    ///
    /// # Errors
    /// See [`PrometheusError`].
    pub fn new(url: &str) -> Result<Self, PrometheusError> {
        let refused = || PrometheusError::Url { url: without_password(url) };
        let uri: Uri = url.parse().map_err(|_| refused())?;
        if !matches!(uri.scheme_str(), Some("http" | "https")) || uri.host().is_none() {
            return Err(refused());
        }
        let path = uri.path().trim_end_matches('/').to_owned();
        let mut parts = uri.into_parts();
        parts.path_and_query = Some(http::uri::PathAndQuery::from_static("/"));
        let mut config = Config::new(Uri::from_parts(parts).map_err(|_| refused())?);
        // Pieces are asked for again as a whole, later.
        config.default_retry = false;
        config.connect_timeout = Some(Duration::from_secs(5));
        config.read_timeout = Some(ANSWER_TIMEOUT);
        let client =
            Client::try_from(config).map_err(|error| PrometheusError::Setup(Box::new(error)))?;
        Ok(Self { client, path })
    }

    /// All samples of `selector` in an interval, its end included (a counter step ends with a sample).
    ///
    /// # Errors
    /// See [`PrometheusError`].
    pub async fn raw_samples(
        &self,
        selector: &str,
        interval: Interval,
    ) -> Result<RawSeries, PrometheusError> {
        let asked = self.ask(selector, interval);
        tokio::time::timeout(ANSWER_TIMEOUT, asked)
            .await
            .map_err(|_| PrometheusError::Slow(ANSWER_TIMEOUT))?
    }

    async fn ask(&self, selector: &str, interval: Interval) -> Result<RawSeries, PrometheusError> {
        // Ranges are open at their start in newer servers: a millisecond more includes it in all.
        let range = interval.microseconds().div_euclid(1000).saturating_add(1);
        let to = interval.to.microseconds().div_euclid(1000);
        let time = format!("{}.{:03}", to.div_euclid(1000), to.rem_euclid(1000));
        let query = percent_encoded(&format!("{selector}[{range}ms]"));
        let uri = format!("{}/api/v1/query?query={query}&time={time}&timeout=120s", self.path);
        let request = Request::get(uri)
            .body(Body::empty())
            .map_err(|error| PrometheusError::Answer(error.to_string()))?;
        let answer = self.client.send(request).await;
        let answer = answer.map_err(|error| PrometheusError::Send(Box::new(error)))?;
        let status = answer.status().as_u16();
        let body = collect(answer.into_body()).await?;
        understand(status, &body)
    }
}

/// A URL as it may be printed.
fn without_password(url: &str) -> String {
    match (url.find("://"), url.rfind('@')) {
        (Some(scheme), Some(at)) if scheme < at => {
            let kept = (url.get(..scheme), url.get(at..));
            format!("{}://***{}", kept.0.unwrap_or_default(), kept.1.unwrap_or_default())
        }
        _ => url.to_owned(),
    }
}

fn percent_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len().saturating_mul(2));
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            let digit = |value: u8| char::from_digit(u32::from(value), 16).unwrap_or('0');
            encoded.push('%');
            encoded.extend([byte >> 4, byte & 15].map(|half| digit(half).to_ascii_uppercase()));
        }
    }
    encoded
}

async fn collect(body: Body) -> Result<Vec<u8>, PrometheusError> {
    let mut chunks = axum::body::Body::new(body).into_data_stream();
    let mut whole = Vec::new();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|_| PrometheusError::BrokeOff)?;
        if chunk.len() > ANSWER_BYTES_MAX.saturating_sub(whole.len()) {
            return Err(PrometheusError::TooMuch(format!("over {ANSWER_BYTES_MAX} bytes")));
        }
        whole.extend_from_slice(&chunk);
    }
    Ok(whole)
}

#[derive(Deserialize)]
struct Answer {
    status: String,
    data: Option<Data>,
    error: Option<String>,
    #[serde(default)]
    warnings: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Data {
    result_type: String,
    #[serde(default)]
    result: Vec<Found>,
}

#[derive(Deserialize)]
struct Found {
    metric: BTreeMap<String, String>,
    #[serde(default)]
    values: Vec<(Seconds, String)>,
}

/// Seconds with up to three places, read as milliseconds.
struct Seconds(i64);

impl<'de> Deserialize<'de> for Seconds {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = serde_json::Number::deserialize(deserializer)?;
        let refused = || serde::de::Error::custom(format!("{number} is no time"));
        if let Some(seconds) = number.as_i64() {
            return seconds.checked_mul(1000).map(Self).ok_or_else(refused);
        }
        // The server writes milliseconds with three places; rounded to those, the float between is out of the way.
        let text = format!("{:.3}", number.as_f64().ok_or_else(refused)?);
        text.replace('.', "").parse().map(Self).map_err(|_| refused())
    }
}

fn understand(status: u16, body: &[u8]) -> Result<RawSeries, PrometheusError> {
    let answer: Answer = match serde_json::from_slice(body) {
        Ok(answer) => answer,
        // What stands before a Prometheus answers in its own words.
        Err(_) if status != 200 => {
            let reason: String = String::from_utf8_lossy(body).chars().take(200).collect();
            return Err(PrometheusError::Refused { status, reason });
        }
        Err(error) => return Err(PrometheusError::Answer(error.to_string())),
    };
    if status != 200 || answer.status != "success" {
        let reason = answer.error.unwrap_or_default();
        return Err(if reason.contains("too many samples") {
            PrometheusError::TooMuch(reason)
        } else {
            PrometheusError::Refused { status, reason }
        });
    }
    let data = answer.data.ok_or_else(|| PrometheusError::Answer("it has no data".to_owned()))?;
    if data.result_type != "matrix" {
        let text = format!("it is a {}, not a matrix", data.result_type);
        return Err(PrometheusError::Answer(text));
    }
    let series = data.result.into_iter().map(labelled).collect::<Result<_, _>>()?;
    Ok(RawSeries { series, warnings: answer.warnings })
}

fn labelled(found: Found) -> Result<LabelledSamples, PrometheusError> {
    let sample = |(Seconds(milliseconds), text): (Seconds, String)| {
        // Written with as many digits as tell the float apart, so reading gives the float that was scraped.
        let value = text.parse::<f64>();
        let value = value.map_err(|_| PrometheusError::Answer(format!("`{text}` is no value")))?;
        Ok(RawSample { value, milliseconds, started_milliseconds: 0 })
    };
    let samples = found.values.into_iter().map(sample).collect::<Result<_, PrometheusError>>()?;
    Ok(LabelledSamples { labels: found.metric, samples })
}

/// The instant of a sample, where it is one.
pub(super) fn instant_of(sample: &RawSample) -> Option<Instant> {
    Instant::from_milliseconds(sample.milliseconds).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_to_the_last_digit() {
        let body = br#"{"status":"success","data":{"resultType":"matrix","result":[
            {"metric":{"__name__":"m","uuid":"u"},"values":[[1793491200,"0.1"],[1793491215.007,"9007199254740993"],
            [1793491230.5,"NaN"],[1793491245.001,"+Inf"],[-0.001,"1e-7"]]}]},"infos":["PromQL info"]}"#;
        let found = understand(200, body).unwrap();
        assert!(found.warnings.is_empty(), "an info is no warning");
        let samples = &found.series[0].samples;
        let times: Vec<i64> = samples.iter().map(|sample| sample.milliseconds).collect();
        let wanted =
            [1_793_491_200_000, 1_793_491_215_007, 1_793_491_230_500, 1_793_491_245_001, -1];
        assert_eq!(times, wanted);
        assert_eq!(samples[0].value.to_bits(), 0.1_f64.to_bits());
        assert_eq!(samples[1].value.to_bits(), 9_007_199_254_740_992_f64.to_bits());
        assert!(samples[2].value.is_nan() && samples[3].value.is_infinite());
    }

    #[test]
    fn what_is_no_whole_answer_is_an_error() {
        let wrong =
            |status, body: &str| understand(status, body.as_bytes()).unwrap_err().to_string();
        for (status, body, wanted) in [
            (200, "{", "not understood"),
            (502, "<html>Bad gateway", "502, <html>Bad gateway"),
            (
                422,
                r#"{"status":"error","errorType":"execution","error":"query processing would load too many samples into memory in query execution"}"#,
                "too much for one answer",
            ),
            (400, r#"{"status":"error","error":"parse error"}"#, "400, parse error"),
            (200, r#"{"status":"error","error":"lied"}"#, "200, lied"),
            (200, r#"{"status":"success"}"#, "no data"),
            (200, r#"{"status":"success","data":{"resultType":"vector","result":[]}}"#, "vector"),
            (
                200,
                r#"{"status":"success","data":{"resultType":"matrix","result":[{"metric":{},"values":[[1,"x"]]}]}}"#,
                "`x` is no value",
            ),
            (
                200,
                r#"{"status":"success","data":{"resultType":"matrix","result":[{"metric":{},"values":[[1e300,"1"]]}]}}"#,
                "no time",
            ),
        ] {
            let text = wrong(status, body);
            assert!(text.contains(wanted), "{text}");
        }
    }

    #[test]
    fn urls_are_judged_and_passwords_kept() {
        for url in ["", "prometheus:9090", "ftp://x", "http://", "http://a b"] {
            assert!(
                matches!(PrometheusClient::new(url), Err(PrometheusError::Url { .. })),
                "{url}"
            );
        }
        let refused = PrometheusError::Url { url: without_password("http://a:secret@b c") };
        assert!(!refused.to_string().contains("secret"), "{refused}");
        assert_eq!(percent_encoded("{a=\"ü\"}"), "%7Ba%3D%22%C3%BC%22%7D");
    }
}
