//! Creates, tried first and taken back when a later one fails.

use super::Verdict;
use super::plan::{Object, Step};
use crate::failure::Failure;
use crate::network::reader::Reader;
use kube::Resource;
use kube::api::{DeleteParams, PostParams, Preconditions};
use kube::core::Request;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::{self, Debug, Display};

/// Lets the API server, and admission with it, judge every create; nothing is stored.
pub async fn try_all(reader: &Reader, steps: &mut [Step]) -> Result<(), Failure> {
    for step in steps {
        let Some(object) = &step.object else { continue };
        match create(reader, object, true).await {
            Ok(_) => {}
            Err(failure @ (Failure::ServerRefused { .. } | Failure::Refused(_))) => {
                step.row.verdict = Verdict::Refused;
                step.row.why = failure.to_string();
            }
            Err(failure) => return Err(failure),
        }
    }
    Ok(())
}

/// Creates everything, or nothing in the end.
pub async fn create_all(reader: &Reader, steps: &[Step]) -> Result<(), Failure> {
    let mut made: Vec<Made> = Vec::new();
    for step in steps {
        let Some(object) = &step.object else { continue };
        match create(reader, object, false).await {
            Ok(one) => made.push(one),
            Err(failure) => return Err(take_back(reader, made, &step.row.object, &failure).await),
        }
    }
    Ok(())
}

/// What a run has created.
struct Made {
    object: Object,
    uid: String,
}

impl Display for Made {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, metadata) = match &self.object {
            Object::Prefix(prefix) => ("Prefix", &prefix.metadata),
            Object::Claim(claim) => ("IPClaim", &claim.metadata),
            Object::Vlan(vlan) => ("VLAN", &vlan.metadata),
        };
        let name = metadata.name.as_deref().unwrap_or_default();
        match &metadata.namespace {
            Some(namespace) => write!(formatter, "{kind} {namespace}/{name}"),
            None => write!(formatter, "{kind} {name}"),
        }
    }
}

async fn create(reader: &Reader, object: &Object, dry_run: bool) -> Result<Made, Failure> {
    let uid = match object {
        Object::Prefix(prefix) => create_one(reader, prefix.as_ref(), dry_run).await,
        Object::Claim(claim) => create_one(reader, claim.as_ref(), dry_run).await,
        Object::Vlan(vlan) => create_one(reader, vlan.as_ref(), dry_run).await,
    }?;
    Ok(Made { object: object.clone(), uid })
}

/// The UID of what was created.
async fn create_one<K>(reader: &Reader, object: &K, dry_run: bool) -> Result<String, Failure>
where
    K: Resource<DynamicType = ()> + Clone + Debug + Serialize + DeserializeOwned,
{
    let asking = async {
        let body = serde_json::to_vec(object).map_err(kube::Error::SerdeError)?;
        let place = K::url_path(&(), object.meta().namespace.as_deref());
        let parameters = PostParams { dry_run, ..PostParams::default() };
        let request = Request::new(place).create(&parameters, body);
        let request = request.map_err(kube::Error::BuildRequest)?;
        match reader.client().request::<K>(request).await {
            // What the API server or admission does not want is an answer; it is said row by row.
            Err(kube::Error::Api(status)) if is_refusal(status.code) => Ok(Err(status.message)),
            Err(error) => Err(error),
            Ok(stored) => Ok(Ok(stored.meta().uid.clone().unwrap_or_default())),
        }
    };
    let answer: Result<String, String> = reader.answer::<K, _>("create", asking).await?;
    answer.map_err(|error| Failure::ServerRefused { error, hint: String::new() })
}

/// Whether asking again cannot help.
const fn is_refusal(code: u16) -> bool {
    matches!(code, 400 | 403 | 404 | 409 | 413 | 422)
}

async fn delete(reader: &Reader, made: &Made) -> Result<(), Failure> {
    match &made.object {
        Object::Prefix(prefix) => delete_one(reader, prefix.as_ref(), &made.uid).await,
        Object::Claim(claim) => delete_one(reader, claim.as_ref(), &made.uid).await,
        Object::Vlan(vlan) => delete_one(reader, vlan.as_ref(), &made.uid).await,
    }
}

async fn delete_one<K>(reader: &Reader, object: &K, uid: &str) -> Result<(), Failure>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
{
    let asking = async {
        let place = K::url_path(&(), object.meta().namespace.as_deref());
        let own = Preconditions { uid: Some(uid.to_owned()), resource_version: None };
        let parameters = DeleteParams { preconditions: Some(own), ..DeleteParams::default() };
        let name = object.meta().name.as_deref().unwrap_or_default();
        let request = Request::new(place).delete(name, &parameters);
        let request = request.map_err(kube::Error::BuildRequest)?;
        reader.client().request_status::<K>(request).await.map(drop)
    };
    reader.answer::<K, _>("delete", asking).await
}

/// Deletes what this run has created, the last first, and by its UID: an object of the same name that is not ours stays.
async fn take_back(reader: &Reader, made: Vec<Made>, which: &str, why: &Failure) -> Failure {
    let (mut gone, mut left) = (0_usize, Vec::new());
    for one in made.into_iter().rev() {
        match delete(reader, &one).await {
            Ok(()) => gone = gone.saturating_add(1),
            Err(failure) => left.push(format!("{one} ({failure})")),
        }
    }
    let left = if left.is_empty() {
        String::new()
    } else {
        format!("; NOT deleted, do it by hand: {}", left.join(", "))
    };
    Failure::trouble(
        format!(
            "create {which}: {why}; {gone} objects that this run had created were deleted again{left}"
        ),
        "repeat with --dry-run to see what changed meanwhile",
    )
}
