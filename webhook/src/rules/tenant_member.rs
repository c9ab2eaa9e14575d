//! Members: nobody gives what he lacks, and a tenant keeps an owner.
//!
//! Who may give a role is decided by the giver's own membership. The cloud's operators are no members; they are known by
//! being allowed to update Tenants, which the server asks of the API server, and only when membership does not suffice
//! (see [`lacks`]).

use super::Change;
use crate::finding::Verdict;
use crate::review::{Operation, User};
use crate::world::World;
use crds::TenantMember;
use crds::tenancy::{BuiltInRole, SubjectKind};
use ids::well_known::ROLE_HOME;
use jiff::Timestamp;
use kube::ResourceExt;
use std::sync::Arc;

/// What stands against a change of a member, apart from the giver's own rights.
pub fn check(change: &Change<TenantMember>, world: &World, now: Timestamp) -> Verdict {
    let mut verdict = Verdict::default();
    let namespace = change.namespace.as_deref().unwrap_or_default();
    if let Some(member) = change.declared() {
        let room = world.room(namespace);
        if change.operation == Operation::Create
            && room.as_ref().is_none_or(|room| room.role != ROLE_HOME)
        {
            verdict.invalid(
                "metadata.namespace",
                format!(
                    "`{namespace}` is not a tenant's home; create the member in tn-<tenant>, which the operator makes with the tenant"
                ),
            );
            return verdict;
        }
        subject(change, member, world, &mut verdict);
        expiry(change, member, now, &mut verdict);
        projects(member, namespace, world, &mut verdict);
    }
    last_owner(change, namespace, world, &mut verdict);
    verdict
}

/// The weightiest role that the change gives or takes and that `change.user` could not give by his own membership;
/// `None` when there is nothing to object to.
pub fn lacks(change: &Change<TenantMember>, world: &World, now: Timestamp) -> Option<BuiltInRole> {
    if change.subresource.is_some() {
        return None;
    }
    let touched = |member: &Option<TenantMember>| {
        member.iter().flat_map(|member| &member.spec.role_refs).map(|role| role.name).min()
    };
    // Roles are ordered by weight, the weightiest first. An update that leaves the spec alone touches none.
    if let (Some(old), Some(new)) = (&change.old, &change.new)
        && old.spec == new.spec
    {
        return None;
    }
    let weightiest = touched(&change.new).into_iter().chain(touched(&change.old)).min()?;
    let namespace = change.namespace.as_deref().unwrap_or_default();
    let held = members_of(world, namespace)
        .iter()
        .filter(|member| is_subject(member, &change.user) && in_force(member, now))
        .flat_map(|member| member.spec.role_refs.clone())
        .map(|role| role.name)
        .min();
    let may_give = match held {
        Some(BuiltInRole::Owner) => true,
        Some(BuiltInRole::Admin) => weightiest != BuiltInRole::Owner,
        Some(BuiltInRole::Developer | BuiltInRole::Billing | BuiltInRole::Auditor) | None => false,
    };
    (!may_give).then_some(weightiest)
}

/// The finding about a role that the requester may not give or take.
pub fn refuse(role: BuiltInRole, verdict: &mut Verdict) {
    let name = format!("{role:?}").to_lowercase();
    let who = if role == BuiltInRole::Owner { "an owner" } else { "an owner or admin" };
    verdict.forbid(
        "spec.roleRefs",
        format!(
            "you cannot give, change or take the role {name}; ask {who} of the tenant to do it"
        ),
    );
}

fn members_of(world: &World, namespace: &str) -> Vec<Arc<TenantMember>> {
    let inside = |member: &Arc<TenantMember>| member.namespace().as_deref() == Some(namespace);
    world.members.state().into_iter().filter(inside).collect()
}

fn in_force(member: &TenantMember, now: Timestamp) -> bool {
    member.metadata.deletion_timestamp.is_none()
        && member.spec.expires_at.as_ref().is_none_or(|end| end.0 > now)
}

fn is_subject(member: &TenantMember, user: &User) -> bool {
    let subject = &member.spec.subject;
    match subject.kind {
        SubjectKind::User => subject.name == user.username,
        SubjectKind::Group => user.groups.contains(&subject.name),
        SubjectKind::ServiceAccount => {
            let namespace = subject.namespace.as_deref().unwrap_or_default();
            user.username == format!("system:serviceaccount:{namespace}:{}", subject.name)
        }
    }
}

/// An owner in the full sense: everywhere in the tenant and without an end.
fn is_lasting_owner(member: &TenantMember) -> bool {
    member.spec.role_refs.iter().any(|role| role.name == BuiltInRole::Owner)
        && member.spec.projects.is_empty()
        && member.spec.expires_at.is_none()
        && member.metadata.deletion_timestamp.is_none()
}

fn subject(
    change: &Change<TenantMember>,
    member: &TenantMember,
    world: &World,
    verdict: &mut Verdict,
) {
    let namespace = change.namespace.as_deref().unwrap_or_default();
    let twin = members_of(world, namespace)
        .into_iter()
        .find(|other| other.name_any() != change.name && other.spec.subject == member.spec.subject);
    if let Some(twin) = twin {
        verdict.duplicate(
            "spec.subject",
            format!(
                "member `{}` is about `{}` already; change its roles instead",
                twin.name_any(),
                member.spec.subject.name
            ),
        );
    }
    if let (SubjectKind::ServiceAccount, Some(theirs)) =
        (member.spec.subject.kind, member.spec.subject.namespace.as_deref())
    {
        let own = world.room(namespace).map(|room| room.tenant_uid);
        if world.room(theirs).map(|room| room.tenant_uid) != own {
            verdict.invalid(
                "spec.subject.namespace",
                format!("`{theirs}` is not one of this tenant's namespaces; name a service account of the tenant's own"),
            );
        }
    }
}

fn expiry(
    change: &Change<TenantMember>,
    member: &TenantMember,
    now: Timestamp,
    verdict: &mut Verdict,
) {
    let Some(end) = &member.spec.expires_at else { return };
    if change.operation == Operation::Create && end.0 <= now {
        verdict.invalid(
            "spec.expiresAt",
            format!("{} is past, the member would have no rights; name a later instant", end.0),
        );
    }
}

fn projects(member: &TenantMember, namespace: &str, world: &World, verdict: &mut Verdict) {
    for name in &member.spec.projects {
        let known = world
            .projects
            .get(&kube_runtime::reflector::ObjectRef::new(name).within(namespace))
            .is_some();
        if !known {
            verdict.warn(format!("spec.projects: there is no Project `{name}` in {namespace} yet"));
        }
    }
}

fn last_owner(
    change: &Change<TenantMember>,
    namespace: &str,
    world: &World,
    verdict: &mut Verdict,
) {
    let was = change.old.as_ref().is_some_and(is_lasting_owner);
    let stays = change.new.as_ref().is_some_and(is_lasting_owner);
    if !was || stays || change.subresource.is_some() {
        return;
    }
    // A tenant that closes takes its owners with it.
    let open = world.room(namespace).is_some_and(|room| {
        let lives = |tenant: &crds::Tenant| tenant.metadata.deletion_timestamp.is_none();
        !room.closing && world.tenant_of(&room).is_some_and(|tenant| lives(&tenant))
    });
    let another = members_of(world, namespace)
        .iter()
        .any(|member| member.name_any() != change.name && is_lasting_owner(member));
    if open && !another {
        verdict.forbid(
            "spec.roleRefs",
            "this is the tenant's last owner (of all projects, without an end); make another owner first",
        );
    }
}

#[cfg(test)]
mod tests {
    use super::super::scene::{Scene, change_in, refused_fields, tenant};
    use super::*;
    use serde_json::{Value, json};

    const HOME: &str = "tn-acme";

    fn now() -> Timestamp {
        "2026-06-01T00:00:00Z".parse().unwrap()
    }

    fn member(name: &str, user: &str, roles: &[&str], extra: &Value) -> Value {
        let roles: Vec<Value> = roles.iter().map(|role| json!({ "name": role })).collect();
        let mut spec = json!({ "subject": { "kind": "User", "name": user }, "roleRefs": roles });
        for (key, value) in extra.as_object().unwrap() {
            spec[key] = value.clone();
        }
        json!({ "metadata": { "name": name, "namespace": HOME }, "spec": spec })
    }

    fn scene() -> Scene {
        Scene::default()
            .tenant(tenant("acme"))
            .namespace(HOME, "acme", "uid-acme", "home")
            .namespace("tn-acme-web", "acme", "uid-acme", "project")
            .member(member("ann", "ann", &["owner"], &json!({})))
            .member(member("bob", "bob", &["admin"], &json!({})))
            .member(member("eve", "eve", &["developer"], &json!({})))
    }

    fn fields(scene: Scene, operation: &str, old: Value, new: Value) -> Vec<String> {
        refused_fields(&check(&change_in(HOME, operation, old, new), &scene.world(), now()))
    }

    #[test]
    fn a_subject_is_a_member_once() {
        let twin = member("ann-again", "ann", &["auditor"], &json!({}));
        assert_eq!(fields(scene(), "CREATE", json!(null), twin), ["spec.subject"]);
        let other = member("dan", "dan", &["auditor"], &json!({ "projects": ["later"] }));
        assert!(fields(scene(), "CREATE", json!(null), other).is_empty());
    }

    #[test]
    fn a_service_account_is_the_tenants_own() {
        let account = |namespace: &str| {
            let mut new = member("ci", "ci", &["developer"], &json!({}));
            new["spec"]["subject"] =
                json!({ "kind": "ServiceAccount", "name": "ci", "namespace": namespace });
            fields(scene(), "CREATE", json!(null), new)
        };
        assert!(account("tn-acme-web").is_empty());
        assert_eq!(account("kube-system"), ["spec.subject.namespace"]);
    }

    #[test]
    fn a_new_member_does_not_begin_expired() {
        let ending = |end: &str| member("dan", "dan", &["auditor"], &json!({ "expiresAt": end }));
        assert!(fields(scene(), "CREATE", json!(null), ending("2026-07-01T00:00:00Z")).is_empty());
        let past = fields(scene(), "CREATE", json!(null), ending("2026-05-01T00:00:00Z"));
        assert_eq!(past, ["spec.expiresAt"]);
    }

    #[test]
    fn the_last_lasting_owner_stays() {
        let ann = || member("ann", "ann", &["owner"], &json!({}));
        assert_eq!(fields(scene(), "DELETE", ann(), json!(null)), ["spec.roleRefs"]);
        for weaker in [
            member("ann", "ann", &["admin"], &json!({})),
            member("ann", "ann", &["owner"], &json!({ "projects": ["web"] })),
            member("ann", "ann", &["owner"], &json!({ "expiresAt": "2027-01-01T00:00:00Z" })),
        ] {
            assert_eq!(fields(scene(), "UPDATE", ann(), weaker), ["spec.roleRefs"]);
        }
        let two = || scene().member(member("dan", "dan", &["owner"], &json!({})));
        assert!(fields(two(), "DELETE", ann(), json!(null)).is_empty());
        let brief = json!({ "expiresAt": "2027-01-01T00:00:00Z" });
        let temporary = scene().member(member("dan", "dan", &["owner"], &brief));
        assert_eq!(fields(temporary, "DELETE", ann(), json!(null)), ["spec.roleRefs"]);
        let mut dying = tenant("acme");
        dying["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        assert!(fields(scene().tenant(dying), "DELETE", ann(), json!(null)).is_empty());
    }

    #[test]
    fn nobody_gives_what_he_lacks() {
        let giving = |user: &str, role: &str| {
            let new = member("dan", "dan", &["auditor", role], &json!({}));
            let mut change = change_in::<TenantMember>(HOME, "CREATE", json!(null), new);
            change.user.username = user.to_owned();
            lacks(&change, &scene().world(), now())
        };
        assert_eq!(giving("ann", "owner"), None);
        assert_eq!(giving("bob", "admin"), None);
        assert_eq!(giving("bob", "owner"), Some(BuiltInRole::Owner));
        assert_eq!(giving("eve", "developer"), Some(BuiltInRole::Developer));
        assert_eq!(giving("mallory", "billing"), Some(BuiltInRole::Billing));
    }

    #[test]
    fn an_admin_cannot_take_an_owner_down() {
        let old = member("ann", "ann", &["owner"], &json!({}));
        let mut change = change_in::<TenantMember>(HOME, "DELETE", old, json!(null));
        change.user.username = "bob".to_owned();
        assert_eq!(lacks(&change, &scene().world(), now()), Some(BuiltInRole::Owner));
        change.user.username = "ann".to_owned();
        assert_eq!(lacks(&change, &scene().world(), now()), None);
    }
}
