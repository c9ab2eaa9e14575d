//! How a question is refused.

use axum::Json;
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use operator_kit::ErrorChain;
use pricing::report::ErrorReport;

/// An answer that is no.
#[derive(Debug)]
pub(super) struct Refusal {
    status: StatusCode,
    error: String,
    hint: String,
}

impl Refusal {
    pub(super) fn not_found(error: String, hint: &str) -> Self {
        Self { status: StatusCode::NOT_FOUND, error, hint: hint.to_owned() }
    }

    pub(super) fn bad_request(error: String, hint: &str) -> Self {
        Self { status: StatusCode::BAD_REQUEST, error, hint: hint.to_owned() }
    }

    pub(super) fn conflict(error: String, hint: &str) -> Self {
        Self { status: StatusCode::CONFLICT, error, hint: hint.to_owned() }
    }

    /// Trouble of ours: it may go better in a moment.
    pub(super) fn unavailable(error: String) -> Self {
        let hint = "try again in a moment; the billing-controller's log has the cause".to_owned();
        Self { status: StatusCode::SERVICE_UNAVAILABLE, error, hint }
    }
}

impl From<store::Error> for Refusal {
    fn from(error: store::Error) -> Self {
        tracing::error!(error = %ErrorChain(&error), "a question could not be answered");
        // The chain may name hosts and users of the database, which are nobody's business outside.
        Self::unavailable(error.to_string())
    }
}

impl From<QueryRejection> for Refusal {
    fn from(rejection: QueryRejection) -> Self {
        Self::bad_request(rejection.body_text(), "docs/query-api.md lists the parameters")
    }
}

impl From<JsonRejection> for Refusal {
    fn from(rejection: JsonRejection) -> Self {
        Self::bad_request(rejection.body_text(), "docs/query-api.md shows the body")
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let body = Json(ErrorReport { error: self.error, hint: self.hint });
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            return (self.status, [(header::RETRY_AFTER, "5")], body).into_response();
        }
        (self.status, body).into_response()
    }
}

pub(super) async fn no_such_route(uri: Uri) -> Refusal {
    Refusal::not_found(
        format!("there is nothing at {}", uri.path()),
        "docs/query-api.md lists what there is",
    )
}
