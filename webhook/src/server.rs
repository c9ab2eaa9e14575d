//! The HTTP side: one route per question.
//!
//! A question that cannot be read is answered 400, one that cannot be judged in time 503; in both cases the API server
//! follows the failure policy and nothing is stored. No input reaches a panic: bodies are bounded and objects are
//! decoded as untrusted.

use crate::finding::Verdict;
use crate::review::{self, Operation, Request, Review};
use crate::rules::network::holds;
use crate::rules::{self, tenant, tenant_member, virtual_machine};
use crate::world::World;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use crds::{TenantMember, VirtualMachine};
use ids::well_known::{GROUP_SUFFIX, NETWORK_GROUP, TENANCY_GROUP};
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec,
};
use k8s_openapi::api::core::v1::Namespace;
use kube::Client;
use kube::api::{Api, PostParams};
use operator_kit::health::Readiness;
use operator_kit::metrics::Metrics;
use operator_kit::{Clock, ErrorChain};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// An object is at most 1.5 MiB in etcd; a question carries two of them, and JSON is longer than what is stored.
const BODY_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Less than the API server's patience, so that it hears a reason instead of silence.
const JUDGE_LIMIT: Duration = Duration::from_millis(2_500);

/// All that a question needs.
#[derive(Clone)]
pub struct Judge {
    world: World,
    client: Client,
    clock: Arc<dyn Clock>,
    ready: Readiness,
    figures: Figures,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReviewLabels {
    kind: String,
    answer: &'static str,
}

#[derive(Clone)]
struct Figures {
    reviews: Family<ReviewLabels, Counter>,
    durations: Histogram,
}

impl Figures {
    fn new(metrics: &Metrics) -> Self {
        let reviews = Family::default();
        let durations = Histogram::new(exponential_buckets(0.000_05, 2.0, 16));
        metrics.register(|registry| {
            registry.register(
                "freehold_webhook_reviews",
                "Questions of API servers, by kind and answer",
                reviews.clone(),
            );
            registry.register(
                "freehold_webhook_review_duration_seconds",
                "How long judging took, without the network",
                durations.clone(),
            );
        });
        Self { reviews, durations }
    }

    fn note(&self, request: &Request, answer: &'static str, since: Instant) {
        // Only matched kinds arrive, so the label has few values.
        let labels = ReviewLabels { kind: request.kind.kind.clone(), answer };
        self.reviews.get_or_create(&labels).inc();
        self.durations.observe(since.elapsed().as_secs_f64());
    }
}

impl Judge {
    /// A judge over `world`; it says 503 until `ready`.
    pub fn new(
        world: World,
        client: Client,
        clock: Arc<dyn Clock>,
        ready: Readiness,
        metrics: &Metrics,
    ) -> Self {
        Self { world, client, clock, ready, figures: Figures::new(metrics) }
    }

    /// The verdict on a request.
    ///
    /// # Errors
    /// The API server did not answer a question that copies could not.
    pub async fn judge(&self, request: &Request) -> Result<Verdict, kube::Error> {
        let now = self.clock.now();
        let world = self.world_for(request).await?;
        let mut verdict = rules::judge(request, &world, now);
        if request.kind.group == TENANCY_GROUP
            && request.kind.kind == "TenantMember"
            && let Ok(change) = rules::decoded::<TenantMember>(request)
            && let Some(role) = tenant_member::lacks(&change, &world, now)
            && !self.administers_tenants(request).await?
        {
            tenant_member::refuse(role, &mut verdict);
        }
        if verdict.allows()
            && request.kind.kind == "VirtualMachine"
            && let Ok(change) = rules::decoded::<VirtualMachine>(request)
            && let Some(finalizer) = virtual_machine::lets_go(&change)
            && !self.administers_tenants(request).await?
        {
            virtual_machine::refuse_letting_go(finalizer, &mut verdict);
        }
        Ok(verdict)
    }

    /// The copies, and the namespace of a new object where the copies do not know it as a tenant's: it may have been made
    /// a moment ago, and people apply a tenant's objects right after its namespace.
    async fn world_for(&self, request: &Request) -> Result<World, kube::Error> {
        let mut world = self.world.clone();
        if let (Operation::Create, Some(namespace)) = (request.operation, &request.namespace)
            && request.kind.group.ends_with(GROUP_SUFFIX)
            && world.room(namespace).is_none()
        {
            let api: Api<Namespace> = Api::all(self.client.clone());
            world.fetched = api.get_opt(namespace).await?.map(Arc::new);
        }
        Ok(world)
    }

    /// Whether the requester is one of the cloud's operators: somebody who may update Tenants.
    async fn administers_tenants(&self, request: &Request) -> Result<bool, kube::Error> {
        let review = SubjectAccessReview {
            spec: SubjectAccessReviewSpec {
                user: Some(request.user_info.username.clone()),
                groups: Some(request.user_info.groups.clone()),
                resource_attributes: Some(ResourceAttributes {
                    group: Some(TENANCY_GROUP.to_owned()),
                    resource: Some("tenants".to_owned()),
                    verb: Some("update".to_owned()),
                    ..ResourceAttributes::default()
                }),
                ..SubjectAccessReviewSpec::default()
            },
            ..SubjectAccessReview::default()
        };
        let api: Api<SubjectAccessReview> = Api::all(self.client.clone());
        let answer = api.create(&PostParams::default(), &review).await?;
        Ok(answer.status.is_some_and(|status| status.allowed))
    }
}

/// The two routes.
pub fn router(judge: Judge) -> Router {
    Router::new()
        .route("/validate", post(validate))
        .route("/mutate", post(mutate))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(judge)
}

fn question(body: &Bytes) -> Result<Request, String> {
    let review: Review = serde_json::from_slice(body).map_err(|error| {
        format!("the body is not an AdmissionReview of admission.k8s.io/v1: {error}")
    })?;
    review.request.ok_or_else(|| "the AdmissionReview carries no request".to_owned())
}

fn unavailable(what: &str) -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, what.to_owned()).into_response()
}

async fn validate(State(judge): State<Judge>, body: Bytes) -> Response {
    let since = Instant::now();
    let request = match question(&body) {
        Ok(request) => request,
        Err(error) => return (StatusCode::BAD_REQUEST, error).into_response(),
    };
    if !judge.ready.get() {
        judge.figures.note(&request, "not-ready", since);
        return unavailable("the webhook has not seen all objects yet; try again in a moment");
    }
    match tokio::time::timeout(JUDGE_LIMIT, judge.judge(&request)).await {
        Ok(Ok(verdict)) => {
            let answer = if verdict.allows() { "allowed" } else { "refused" };
            judge.figures.note(&request, answer, since);
            Json(review::judged(&request, &verdict)).into_response()
        }
        Ok(Err(error)) => {
            tracing::warn!(error = %ErrorChain(&error), "cannot ask the API server about a requester");
            judge.figures.note(&request, "failed", since);
            unavailable("the API server did not say what the requester may do; try again")
        }
        Err(_) => {
            judge.figures.note(&request, "failed", since);
            unavailable("judging took too long; try again")
        }
    }
}

async fn mutate(State(judge): State<Judge>, body: Bytes) -> Response {
    let since = Instant::now();
    let request = match question(&body) {
        Ok(request) => request,
        Err(error) => return (StatusCode::BAD_REQUEST, error).into_response(),
    };
    let edits = match (request.kind.group.as_str(), request.kind.kind.as_str()) {
        (TENANCY_GROUP, "Tenant") => tenant::defaults(&request),
        (NETWORK_GROUP, _) => holds::missing(&request),
        _ => Vec::new(),
    };
    judge.figures.note(&request, if edits.is_empty() { "unchanged" } else { "filled-in" }, since);
    match review::edited(&request, &edits) {
        Ok(answer) => Json(answer).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}
