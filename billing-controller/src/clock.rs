//! The time that bills go by: the database's.
//!
//! The machine's clock may be wrong or jump, and another machine takes over when this one fails; the database is the one
//! clock that all of them share. It is asked now and then, and in between time runs on by this machine's monotonic
//! clock, which nobody sets. How far the machine's own clock is off is watched, because transitions and samples are dated
//! by clocks like it: while the difference is large nothing is closed or invoiced.

use jiff::{SignedDuration, Timestamp};
use operator_kit::metrics::Metrics;
use operator_kit::{Clock, ErrorChain};
use prometheus_client::metrics::gauge::Gauge;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use store::PgPool;
use tokio::time::Instant as Moment;
use tokio_util::sync::CancellationToken;

/// How far the machine's clock may be from the database's while documents are issued.
pub const SKEW_MAX: SignedDuration = SignedDuration::from_secs(2);
/// How often the database is asked.
const ASK_EVERY: Duration = Duration::from_secs(10);
/// An answer that took longer says too little about the time.
const ANSWER_LIMIT: Duration = Duration::from_secs(1);

/// The database's time when it was last asked, and when that was.
#[derive(Debug, Clone, Copy)]
struct Answer {
    told: Timestamp,
    at: Moment,
}

/// The database's clock, as this process knows it.
pub struct DatabaseClock {
    machine: Arc<dyn Clock>,
    last: RwLock<Answer>,
    skew_shown: Gauge<f64, AtomicU64>,
}

impl DatabaseClock {
    /// Asks the database for the time. `machine` is only compared with it.
    ///
    /// # Errors
    /// The database could not be reached.
    pub async fn ask_first(pool: &PgPool, machine: Arc<dyn Clock>) -> Result<Self, store::Error> {
        loop {
            if let Some(answer) = ask(pool).await? {
                let last = RwLock::new(answer);
                return Ok(Self { machine, last, skew_shown: Gauge::default() });
            }
        }
    }

    /// The time, asked for anew: for what cannot be taken back. An answer that took long is passed over, and the last
    /// one goes on.
    ///
    /// # Errors
    /// The database could not be reached.
    pub async fn ask_again(&self, pool: &PgPool) -> Result<Timestamp, store::Error> {
        if let Some(answer) = ask(pool).await? {
            *self.last.write().unwrap_or_else(PoisonError::into_inner) = answer;
            self.skew_shown.set(self.skew().as_secs_f64());
        }
        Ok(self.now())
    }

    /// Shows the skew among the program's figures.
    pub fn register(&self, metrics: &Metrics) {
        metrics.register(|registry| {
            registry.register(
                "freehold_clock_skew_seconds",
                "How far this machine's clock is ahead of the database's",
                self.skew_shown.clone(),
            );
        });
    }

    /// Asks again and again until `stop`.
    pub async fn keep(&self, pool: &PgPool, stop: &CancellationToken) {
        while stop.run_until_cancelled(tokio::time::sleep(ASK_EVERY)).await.is_some() {
            if let Err(error) = self.ask_again(pool).await {
                tracing::warn!(error = %ErrorChain(&error), "the database's time is not known anew, going on by the last");
            }
        }
    }

    /// How far the machine's clock is ahead of the database's; negative when it is behind.
    pub fn skew(&self) -> SignedDuration {
        self.machine.now().duration_since(self.now())
    }

    /// The skew, if it is too large for documents to be issued.
    pub fn skew_too_large(&self) -> Option<SignedDuration> {
        Some(self.skew()).filter(|skew| skew.abs() > SKEW_MAX)
    }
}

impl Clock for DatabaseClock {
    fn now(&self) -> Timestamp {
        let last = *self.last.read().unwrap_or_else(PoisonError::into_inner);
        last.told.saturating_add(last.at.elapsed()).unwrap_or(last.told)
    }
}

/// The database's time; `None` when the answer took too long to be worth anything.
async fn ask(pool: &PgPool) -> Result<Option<Answer>, store::Error> {
    let acquire = |source| store::Error::Database { act: "ask the database for the time", source };
    let mut connection = pool.acquire().await.map_err(acquire)?;
    let asked = Moment::now();
    let told = store::time::now_microseconds(&mut connection).await?;
    let took = asked.elapsed();
    // The server read its clock somewhere between question and answer: the middle is off by half of that at most.
    let at = asked.checked_add(took.div_f64(2.0)).unwrap_or(asked);
    let told = Timestamp::from_microsecond(told).ok();
    Ok(told.filter(|_| took <= ANSWER_LIMIT).map(|told| Answer { told, at }))
}
