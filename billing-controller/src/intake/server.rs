//! The door for remote write: `POST /api/v1/write`.
//!
//! Senders throw away what is answered with any 4xx and repeat what is answered with 5xx, so the answer decides whether
//! usage is lost: 204 only when the log has everything; 400 only for bytes that cannot be decoded; 401, 413 and 415 for
//! what a person has to put right at the sender; 503 with `Retry-After` for every trouble of ours, a full house included.
//! Never 429, which some senders drop on. Whatever is wrong with a sample that can be decoded is the fold's business.
//!
//! Rules are asked in the order of their cost: token, content type, encoding, a free place, length, bytes.

use super::figures::IntakeFigures;
use super::meters::Identity;
use super::normalise::{Batch, Normaliser, NormaliserSettings, Tally};
use super::protocol::{Protocol, UnpackError, unpack};
use super::received::LastReceived;
use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::header::{
    AUTHORIZATION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use calendar::Instant;
use futures::StreamExt;
use operator_kit::metrics::Metrics;
use operator_kit::{Clock, ErrorChain};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use stream::{LogError, UsageLog};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What a sender has to know; never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// A token as read from its file; `None` when that is empty, which would let everybody in.
    pub fn new(text: &str) -> Option<Self> {
        let text = text.trim();
        (!text.is_empty()).then(|| Self(text.to_owned()))
    }

    /// Compares every byte, so that the time taken says nothing about where a guess went wrong.
    fn is(&self, guess: &str) -> bool {
        let differences = self.0.bytes().zip(guess.bytes()).fold(0, |sum, (a, b)| sum | (a ^ b));
        self.0.len() == guess.len() && differences == 0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("***")
    }
}

/// Limits of the door.
#[derive(Debug, Clone)]
pub struct IntakeSettings {
    /// The bearer token that senders must show; anybody who reaches the port may send where there is none.
    pub token: Option<Token>,
    /// The most bytes of a request, packed, and unpacked too.
    pub bytes_max: usize,
    /// How many requests are under way at once; with `bytes_max` this bounds memory.
    pub requests_max: usize,
    /// How long a sender may take over its request.
    pub receive_timeout: Duration,
    /// How long the log may take; senders give up after thirty seconds as a rule.
    pub append_timeout: Duration,
    /// When a sender is asked to come again.
    pub retry_after_seconds: u32,
    /// How label sets are read.
    pub normaliser: NormaliserSettings,
}

impl Default for IntakeSettings {
    fn default() -> Self {
        Self {
            token: None,
            bytes_max: 32 << 20,
            requests_max: 64,
            receive_timeout: Duration::from_secs(20),
            append_timeout: Duration::from_secs(20),
            retry_after_seconds: 5,
            normaliser: NormaliserSettings::default(),
        }
    }
}

/// What requests share.
#[derive(Clone)]
pub struct IntakeState(Arc<Inner>);

struct Inner {
    normaliser: Arc<Normaliser>,
    log: Arc<dyn UsageLog>,
    clock: Arc<dyn Clock>,
    received: Arc<LastReceived>,
    figures: IntakeFigures,
    settings: IntakeSettings,
    places: Arc<Semaphore>,
}

impl IntakeState {
    /// Registers the figures; call it once.
    pub fn new(
        identity: Arc<dyn Identity>,
        log: Arc<dyn UsageLog>,
        clock: Arc<dyn Clock>,
        received: Arc<LastReceived>,
        metrics: &Metrics,
        settings: IntakeSettings,
    ) -> Self {
        Self(Arc::new(Inner {
            normaliser: Arc::new(Normaliser::new(identity, settings.normaliser.clone())),
            log,
            clock,
            received,
            figures: IntakeFigures::new(metrics),
            places: Arc::new(Semaphore::new(settings.requests_max)),
            settings,
        }))
    }

    /// The normaliser, for backfills: both ways must read labels alike.
    pub fn normaliser(&self) -> &Arc<Normaliser> {
        &self.0.normaliser
    }

    /// The figures.
    pub fn figures(&self) -> &IntakeFigures {
        &self.0.figures
    }
}

/// The one route, to be served alone or beside others.
pub fn router(state: IntakeState) -> Router {
    Router::new().route("/api/v1/write", post(write)).with_state(state)
}

/// Why a request was not taken.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error("a bearer token is needed, and this is not the one")]
    Unauthorized,
    #[error(
        "content type `{0}` is not taken; send application/x-protobuf, with proto=prometheus.WriteRequest or proto=io.prometheus.write.v2.Request"
    )]
    ContentType(String),
    #[error("content encoding `{0}` is not taken; send snappy")]
    ContentEncoding(String),
    #[error("{requests_max} requests are under way, which is all there is room for")]
    Busy { requests_max: usize },
    #[error("the request is longer than {bytes_max} bytes, the most that is taken")]
    TooLong { bytes_max: usize },
    #[error("the request did not come within {0:?}")]
    Slow(Duration),
    #[error("the request broke off")]
    BrokeOff,
    #[error(transparent)]
    Unpack(#[from] UnpackError),
    #[error("the usage log did not answer within {0:?}")]
    LogSlow(Duration),
    #[error(transparent)]
    Log(#[from] LogError),
    #[error("the clock says a year that cannot be written down")]
    Clock,
    #[error("the request's work was lost")]
    Lost,
}

impl Refused {
    /// The status, and the name of the outcome in figures.
    fn status(&self) -> (StatusCode, &'static str) {
        match self {
            Self::Unauthorized => (StatusCode::UNAUTHORIZED, "unauthorized"),
            Self::ContentType(_) => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "content_type"),
            Self::ContentEncoding(_) => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "content_encoding"),
            Self::Busy { .. } => (StatusCode::SERVICE_UNAVAILABLE, "busy"),
            Self::TooLong { .. } | Self::Unpack(UnpackError::TooLarge { .. }) => {
                (StatusCode::PAYLOAD_TOO_LARGE, "too_large")
            }
            // Not 408: a sender would drop what a slow network held up.
            Self::Slow(_) => (StatusCode::SERVICE_UNAVAILABLE, "slow"),
            Self::BrokeOff => (StatusCode::SERVICE_UNAVAILABLE, "broke_off"),
            Self::Unpack(UnpackError::Malformed(_)) => (StatusCode::BAD_REQUEST, "malformed"),
            Self::LogSlow(_) | Self::Log(_) | Self::Clock | Self::Lost => {
                (StatusCode::SERVICE_UNAVAILABLE, "unavailable")
            }
        }
    }
}

async fn write(State(state): State<IntakeState>, request: Request<Body>) -> Response {
    let inner = &state.0;
    let mut protocol = None;
    match take(inner, request, &mut protocol).await {
        Ok(tally) => {
            inner.figures.answered(protocol, "written");
            written(protocol, &tally)
        }
        Err(refused) => {
            let (status, outcome) = refused.status();
            inner.figures.answered(protocol, outcome);
            // Whatever is answered with 4xx is lost at the sender: somebody should see it.
            tracing::warn!(%status, reason = %ErrorChain(&refused), "remote write refused");
            let mut response = (status, ErrorChain(&refused).to_string()).into_response();
            if status == StatusCode::SERVICE_UNAVAILABLE {
                let seconds = HeaderValue::from(inner.settings.retry_after_seconds);
                response.headers_mut().insert(RETRY_AFTER, seconds);
            } else if status == StatusCode::UNAUTHORIZED {
                let scheme = HeaderValue::from_static("Bearer");
                response.headers_mut().insert(WWW_AUTHENTICATE, scheme);
            }
            response
        }
    }
}

/// 204; in 2.0 with how much was written. Samples that no meter asks for have been dealt with for good and count;
/// histograms and exemplars are never kept, and the sender hears so.
fn written(protocol: Option<Protocol>, tally: &Tally) -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    if protocol == Some(Protocol::V2) {
        for (name, number) in [
            ("x-prometheus-remote-write-samples-written", tally.counts.samples),
            ("x-prometheus-remote-write-histograms-written", 0),
            ("x-prometheus-remote-write-exemplars-written", 0),
        ] {
            let name = HeaderName::from_static(name);
            response.headers_mut().insert(name, HeaderValue::from(number));
        }
    }
    response
}

async fn take(
    inner: &Arc<Inner>,
    request: Request<Body>,
    protocol: &mut Option<Protocol>,
) -> Result<Tally, Refused> {
    let settings = &inner.settings;
    authorize(settings.token.as_ref(), request.headers())?;
    let message = protocol_of(request.headers())?;
    *protocol = Some(message);
    encoding_of(request.headers())?;
    let busy = Refused::Busy { requests_max: settings.requests_max };
    let place = inner.places.clone().try_acquire_owned().map_err(|_| busy)?;
    let body = receive(settings, request).await?;
    let now = Instant::from_timestamp(inner.clock.now());
    let received_at = Instant::from_microseconds(now.microseconds()).map_err(|_| Refused::Clock)?;
    let (batch, _place) = normalise(inner, message, (body, place), received_at).await?;
    append(inner, batch.flush).await?;
    inner.figures.took(&batch.tally);
    if batch.tally.counts.samples > 0 {
        inner.received.note(received_at);
        inner.figures.received(received_at);
    }
    Ok(batch.tally)
}

fn authorize(token: Option<&Token>, headers: &HeaderMap) -> Result<(), Refused> {
    let Some(token) = token else { return Ok(()) };
    let shown = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let guess = shown.and_then(|text| {
        let (scheme, guess) = text.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| guess.trim())
    });
    if guess.is_some_and(|guess| token.is(guess)) { Ok(()) } else { Err(Refused::Unauthorized) }
}

/// The protocol by content type. Without one it is 1.0, which is older than the rule that names it: bytes of another
/// kind are found out by decoding.
fn protocol_of(headers: &HeaderMap) -> Result<Protocol, Refused> {
    let Some(text) = text_of(headers, &CONTENT_TYPE) else { return Ok(Protocol::V1) };
    Protocol::from_content_type(&text).ok_or(Refused::ContentType(text))
}

/// Snappy is the only encoding, and the one meant where none is named.
fn encoding_of(headers: &HeaderMap) -> Result<(), Refused> {
    match text_of(headers, &CONTENT_ENCODING) {
        Some(text) if !text.trim().eq_ignore_ascii_case("snappy") => {
            Err(Refused::ContentEncoding(text))
        }
        _ => Ok(()),
    }
}

/// A header as text, bounded, for comparing and for telling.
fn text_of(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    let value = headers.get(name)?;
    Some(String::from_utf8_lossy(value.as_bytes()).chars().take(200).collect())
}

async fn receive(settings: &IntakeSettings, request: Request<Body>) -> Result<Vec<u8>, Refused> {
    let bytes_max = settings.bytes_max;
    let announced = request.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    if announced.and_then(|text| text.parse().ok()).is_some_and(|bytes: usize| bytes > bytes_max) {
        return Err(Refused::TooLong { bytes_max });
    }
    let received =
        tokio::time::timeout(settings.receive_timeout, collect(request, bytes_max)).await;
    received.map_err(|_| Refused::Slow(settings.receive_timeout))?
}

async fn collect(request: Request<Body>, bytes_max: usize) -> Result<Vec<u8>, Refused> {
    let mut chunks = request.into_body().into_data_stream();
    let mut body = Vec::new();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|_| Refused::BrokeOff)?;
        if chunk.len() > bytes_max.saturating_sub(body.len()) {
            return Err(Refused::TooLong { bytes_max });
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// Unpacking and decoding are all computing, for milliseconds: not on the threads that answer everybody. The place goes
/// with the work, which goes on when the sender has hung up.
async fn normalise(
    inner: &Arc<Inner>,
    protocol: Protocol,
    (body, place): (Vec<u8>, OwnedSemaphorePermit),
    received_at: Instant,
) -> Result<(Batch, OwnedSemaphorePermit), Refused> {
    let own = inner.clone();
    let work = move || {
        let message = unpack(&body, own.settings.bytes_max)?;
        own.figures.unpacked(body.len(), message.len());
        let batch = own.normaliser.request(protocol, &message, received_at);
        batch.map(|batch| (batch, place)).map_err(UnpackError::Malformed)
    };
    Ok(tokio::task::spawn_blocking(work).await.map_err(|_| Refused::Lost)??)
}

async fn append(inner: &Inner, flush: stream::Flush) -> Result<(), Refused> {
    if flush.is_empty() {
        return Ok(());
    }
    let limit = inner.settings.append_timeout;
    let began = tokio::time::Instant::now();
    tokio::time::timeout(limit, inner.log.append(flush))
        .await
        .map_err(|_| Refused::LogSlow(limit))??;
    inner.figures.appended(began.elapsed());
    Ok(())
}

#[cfg(test)]
mod tests;
