//! What is asked of the billing-controller over HTTP: bills, usage, explanations, invoices, and whether all is well.
//!
//! Answers are read from PostgreSQL alone. The types are those of [`pricing::report`]; the
//! endpoints are described in docs/query-api.md.

mod bill;
mod doctor;
mod explain;
mod invoice;
mod refusal;
mod usage;

use crate::clock::DatabaseClock;
use axum::Router;
use axum::routing::get;
use refusal::Refusal;
use std::sync::Arc;
use store::registry::AccountRow;
use store::{PgConnection, PgPool};
use stream::PostgresLog;

/// What answers are made from.
#[derive(Clone)]
pub struct QueryState {
    /// Connections.
    pub pool: PgPool,
    /// The usage log, for samples and to wait for what was just used.
    pub log: PostgresLog,
    /// The time.
    pub clock: Arc<DatabaseClock>,
    /// The legal entity that issues invoices.
    pub entity: Arc<str>,
}

/// The routes.
pub fn router(state: QueryState) -> Router {
    Router::new()
        .route("/api/v1/bill", get(bill::show))
        .route("/api/v1/usage", get(usage::show))
        .route("/api/v1/lines/explain", get(explain::show))
        .route("/api/v1/invoices", get(invoice::list).post(invoice::issue))
        .route("/api/v1/invoices/{number}", get(invoice::show))
        .route("/api/v1/doctor", get(doctor::show))
        .fallback(refusal::no_such_route)
        .with_state(state)
}

impl QueryState {
    async fn connection(&self) -> Result<sqlx::pool::PoolConnection<sqlx::Postgres>, Refusal> {
        let acquire = |source| store::Error::Database { act: "answer a question", source };
        Ok(self.pool.acquire().await.map_err(acquire)?)
    }
}

/// The account of the tenant called `name`, or with that id: a name may have been used again, an id never is.
async fn account(connection: &mut PgConnection, name: &str) -> Result<AccountRow, Refusal> {
    let found = match name.parse::<store::Uuid>() {
        Ok(id) => store::registry::account_by_id(connection, id).await?,
        Err(_) => store::registry::account_by_name(connection, name).await?,
    };
    found.ok_or_else(|| {
        Refusal::not_found(
            format!("tenant: there is no account of a tenant `{name}`"),
            "kubectl get tenants lists them; one that was just declared takes a moment",
        )
    })
}
