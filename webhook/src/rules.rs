//! The rules that cross objects, one module per kind, and the way from a request to the rules of its kind.
//!
//! What one object shows by itself (patterns, ranges, immutability, one-of) is in the schema and its CEL rules, where it
//! holds even with this program away. Here is what needs a second look: at other objects, at the clock, at who asks.
//! Every rule is a pure function of a [`Change`], the [`World`] and the present instant.

pub mod compute_cluster;
pub mod instance_type;
pub mod meter;
pub mod namespace;
pub mod network;
pub mod physical_machine;
pub mod price_plan;
pub mod project;
pub mod tenant;
pub mod tenant_member;
pub mod virtual_machine;

#[cfg(test)]
pub(crate) mod scene;

use crate::finding::Verdict;
use crate::review::{Operation, Request, User};
use crate::world::World;
use ids::well_known::{BILLING_GROUP, COMPUTE_GROUP, NETWORK_GROUP, TENANCY_GROUP};
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// What somebody wants to do to an object of one kind.
#[derive(Debug, Clone)]
pub struct Change<K> {
    /// What is to be done.
    pub operation: Operation,
    /// `status` and the like; `None` for the object itself.
    pub subresource: Option<String>,
    /// The object's name; empty where it is not generated yet.
    pub name: String,
    /// The object's namespace.
    pub namespace: Option<String>,
    /// Who asks.
    pub user: User,
    /// The object as it would be; `None` on delete.
    pub new: Option<K>,
    /// The object as it is; `None` on create.
    pub old: Option<K>,
    /// Whether the spec differs from the one that is stored.
    pub respecified: bool,
}

impl<K> Change<K> {
    /// The new object, when its spec is new or changed. What was accepted once is not judged again with every label or
    /// finalizer: the world may have moved on, and the object still has to be kept, mended and removed.
    pub fn declared(&self) -> Option<&K> {
        self.new.as_ref().filter(|_| {
            self.subresource.is_none()
                && self.respecified
                && matches!(self.operation, Operation::Create | Operation::Update)
        })
    }

    /// The old object, when it is to be deleted.
    pub fn deleted(&self) -> Option<&K> {
        self.old.as_ref().filter(|_| self.operation == Operation::Delete)
    }
}

/// What the rules of the object's kind say. Kinds without rules are allowed.
pub fn judge(request: &Request, world: &World, now: Timestamp) -> Verdict {
    let key = (request.kind.group.as_str(), request.kind.kind.as_str());
    match key {
        ("", "Namespace") => with(request, namespace::check),
        (TENANCY_GROUP, "Tenant") => with(request, |change| tenant::check(change, world)),
        (TENANCY_GROUP, "Project") => with(request, |change| project::check(change, world)),
        (TENANCY_GROUP, "TenantMember") => {
            with(request, |change| tenant_member::check(change, world, now))
        }
        (COMPUTE_GROUP, "InstanceType") => {
            with(request, |change| instance_type::check(change, world))
        }
        (COMPUTE_GROUP, "ComputeCluster") => {
            with(request, |change| compute_cluster::check(change, world))
        }
        (COMPUTE_GROUP, "PhysicalMachine") => {
            with(request, |change| physical_machine::check(change, world))
        }
        (COMPUTE_GROUP, "VirtualMachine") => {
            with(request, |change| virtual_machine::check(change, world))
        }
        (BILLING_GROUP, "Meter") => with(request, |change| meter::check(change, world)),
        (BILLING_GROUP, "PricePlan") => {
            with(request, |change| price_plan::check(change, world, now))
        }
        (NETWORK_GROUP, _) => network::judge(request, world),
        _ => Verdict::default(),
    }
}

fn with<K: DeserializeOwned>(request: &Request, rules: impl Fn(&Change<K>) -> Verdict) -> Verdict {
    match decoded(request) {
        Ok(change) => rules(&change),
        Err(verdict) => verdict,
    }
}

/// The request with its objects decoded.
///
/// # Errors
/// The verdict on a new object that cannot be decoded. An old one that cannot is left out: nobody could otherwise mend
/// or delete it.
pub fn decoded<K: DeserializeOwned>(request: &Request) -> Result<Change<K>, Verdict> {
    let new = match &request.object {
        Value::Null => None,
        object => match serde_json::from_value(object.clone()) {
            Ok(object) => Some(object),
            Err(error) => {
                let mut verdict = Verdict::default();
                verdict.invalid(
                    "object",
                    format!("cannot be read: {error}; compare it with `kubectl explain`"),
                );
                return Err(verdict);
            }
        },
    };
    let old = serde_json::from_value(request.old_object.clone()).ok();
    Ok(Change {
        operation: request.operation,
        subresource: request.sub_resource.clone().filter(|name| !name.is_empty()),
        name: request.name.clone(),
        namespace: request.namespace.clone(),
        user: request.user_info.clone(),
        new,
        old,
        respecified: request.object.get("spec") != request.old_object.get("spec"),
    })
}
