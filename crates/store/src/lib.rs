//! PostgreSQL: what must add up.
//!
//! One query per method, its text static and its guard inside the statement; constraints stand behind it from the first
//! migration. Methods take a connection, so that callers put several into one transaction. No rule beyond the guard
//! lives here. Migrations only go forward, one statement each, and may run again.

pub mod catalogue;
pub mod fact;
pub mod invoice;
pub mod ledger;
pub mod line;
pub mod log;
pub mod receiver;
pub mod registry;
pub mod shard;
pub mod time;
pub mod window;

use sqlx::postgres::PgPoolOptions;
use std::time::Duration;

pub use sqlx::PgConnection;
pub use sqlx::postgres::PgPool;
pub use sqlx::types::{JsonValue, Uuid};

/// Why a statement did not do its work.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The server could not be reached, or refused the statement.
    #[error("{act}")]
    Database {
        /// What was to be done.
        act: &'static str,
        /// The driver's words.
        #[source]
        source: sqlx::Error,
    },
    /// The schema could not be brought up to date.
    #[error("migrate the database")]
    Migrate(#[source] sqlx::migrate::MigrateError),
}

impl Error {
    /// Whether the server found fault with what it was given, and would again: a value out of range, a broken
    /// constraint, a row that cannot be read. Anything else may pass by waiting.
    pub fn is_refusal(&self) -> bool {
        let Self::Database { source, .. } = self else { return false };
        match source {
            // Classes of SQLSTATE: data exception, constraint violation, program limit, raised by a trigger.
            sqlx::Error::Database(refusal) => refusal.code().is_some_and(|code| {
                ["22", "23", "54", "P0"].iter().any(|class| code.starts_with(class))
            }),
            sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) | sqlx::Error::Encode(_) => {
                true
            }
            _ => false,
        }
    }

    /// Whether the server is not there, or not ready: waiting may help.
    pub fn may_pass(&self) -> bool {
        let Self::Database { source, .. } = self else { return false };
        match source {
            sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut => true,
            // Starting up or shutting down; all connections taken.
            sqlx::Error::Database(refusal) => {
                refusal.code().is_some_and(|code| code == "57P03" || code == "53300")
            }
            _ => false,
        }
    }

    pub(crate) fn of(act: &'static str) -> impl FnOnce(sqlx::Error) -> Self {
        move |source| Self::Database { act, source }
    }
}

/// The most connections of one program.
const CONNECTIONS_MAX: u32 = 32;
/// How long to wait for a free connection.
const ACQUIRE_LIMIT: Duration = Duration::from_secs(10);

/// Connects to the database at `url`.
///
/// # Errors
/// The server cannot be reached.
pub async fn connect(url: &str) -> Result<PgPool, Error> {
    PgPoolOptions::new()
        .max_connections(CONNECTIONS_MAX)
        .acquire_timeout(ACQUIRE_LIMIT)
        .connect(url)
        .await
        .map_err(Error::of("connect to PostgreSQL"))
}

/// Brings the schema up to date; several programs may do so at once.
///
/// # Errors
/// A migration failed, or the database is newer than this program.
pub async fn migrate(pool: &PgPool) -> Result<(), Error> {
    sqlx::migrate!().run(pool).await.map_err(Error::Migrate)
}
