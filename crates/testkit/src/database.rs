//! A database of its own for every test.

use crate::{DATABASE_URL, setting};
use anyhow::{Context, Result};
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use std::str::FromStr;

/// A fresh, empty database; kept after a failure for inspection, dropped by [`Database::drop_now`].
pub struct Database {
    /// Its name on the server.
    pub name: String,
    /// Connections to it.
    pub pool: PgPool,
    server: PgConnectOptions,
}

/// Creates an empty database on the server that `cargo xtask test` started.
///
/// # Errors
/// The server is not there or refuses.
pub async fn create() -> Result<Database> {
    let server =
        PgConnectOptions::from_str(&setting(DATABASE_URL)?).context("parse the database URL")?;
    let name = format!("test_{}", uuid::Uuid::new_v4().simple());
    let mut connection =
        PgConnection::connect_with(&server).await.context("connect to PostgreSQL")?;
    sqlx::query(AssertSqlSafe(format!("CREATE DATABASE {name}")))
        .execute(&mut connection)
        .await
        .context("create a database")?;
    let pool = PgPoolOptions::new()
        .max_connections(8)
        .connect_with(server.clone().database(&name))
        .await
        .context("connect to the new database")?;
    Ok(Database { name, pool, server })
}

impl Database {
    /// The URL by which a program reaches the database.
    pub fn url(&self) -> String {
        use sqlx::ConnectOptions;
        self.server.clone().database(&self.name).to_url_lossy().to_string()
    }

    /// Drops the database; called at the end of a test that succeeded.
    ///
    /// # Errors
    /// The server is not there or refuses.
    pub async fn drop_now(self) -> Result<()> {
        self.pool.close().await;
        let mut connection = PgConnection::connect_with(&self.server).await?;
        sqlx::query(AssertSqlSafe(format!("DROP DATABASE {} WITH (FORCE)", self.name)))
            .execute(&mut connection)
            .await?;
        Ok(())
    }
}
