//! Projects: in the home namespace of a living tenant, each with a namespace nobody else has.

use super::Change;
use crate::finding::Verdict;
use crate::review::Operation;
use crate::world::World;
use crds::Project;
use ids::well_known::{PROJECT_LABEL, ROLE_HOME, TENANT_LABEL, TENANT_UID_LABEL};
use ids::{ProjectName, TenantName};
use kube::ResourceExt;

/// What stands against a change of a project.
pub fn check(change: &Change<Project>, world: &World) -> Verdict {
    let mut verdict = Verdict::default();
    if change.declared().is_none() || change.operation != Operation::Create {
        return verdict;
    }
    let namespace = change.namespace.as_deref().unwrap_or_default();
    let Some(room) = world.room(namespace).filter(|room| room.role == ROLE_HOME) else {
        verdict.invalid(
            "metadata.namespace",
            format!(
                "`{namespace}` is not a tenant's home; create the project in tn-<tenant>, which the operator makes with the tenant"
            ),
        );
        return verdict;
    };
    let closing =
        world.tenant_of(&room).is_none_or(|tenant| tenant.metadata.deletion_timestamp.is_some());
    if closing || room.closing {
        verdict.forbid(
            "metadata.namespace",
            format!("tenant `{}` is closing; nothing new can be made in it", room.tenant),
        );
        return verdict;
    }
    own_namespace(&change.name, &room, world, &mut verdict);
    verdict
}

fn own_namespace(name: &str, room: &crate::world::Room, world: &World, verdict: &mut Verdict) {
    let (Ok(tenant), Ok(project)) =
        (room.tenant.parse::<TenantName>(), name.parse::<ProjectName>())
    else {
        return;
    };
    let wanted = tenant.project_namespace(&project);
    let Some(taken) = World::named(&world.namespaces, &wanted) else { return };
    let labels = taken.labels();
    let own = labels.get(TENANT_UID_LABEL) == Some(&room.tenant_uid)
        && labels.get(PROJECT_LABEL).is_some_and(|project| project == name);
    if !own {
        let holder = labels
            .get(TENANT_LABEL)
            .map_or_else(|| "nobody's tenant".to_owned(), |holder| format!("tenant `{holder}`"));
        verdict.duplicate(
            "metadata.name",
            format!("its namespace {wanted} exists and belongs to {holder}; choose another name"),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::super::scene::{Scene, change_in, refused_fields, tenant};
    use super::*;
    use serde_json::{Value, json};

    fn fields(scene: Scene, namespace: &str, name: &str) -> Vec<String> {
        let new = json!({ "metadata": { "name": name }, "spec": { "displayName": "P" } });
        let change = change_in::<Project>(namespace, "CREATE", Value::Null, new);
        refused_fields(&check(&change, &scene.world()))
    }

    fn scene() -> Scene {
        Scene::default()
            .tenant(tenant("acme"))
            .namespace("tn-acme", "acme", "uid-acme", "home")
            .namespace("tn-acme-web", "acme", "uid-acme", "project")
    }

    #[test]
    fn a_project_lives_in_a_living_tenants_home() {
        assert!(fields(scene(), "tn-acme", "shop").is_empty());
        assert_eq!(fields(scene(), "tn-acme-web", "shop"), ["metadata.namespace"]);
        assert_eq!(fields(scene(), "default", "shop"), ["metadata.namespace"]);
        let gone = Scene::default().namespace("tn-acme", "acme", "uid-acme", "home");
        assert_eq!(fields(gone, "tn-acme", "shop"), ["metadata.namespace"]);
        let mut dying = tenant("acme");
        dying["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        let closing =
            Scene::default().tenant(dying).namespace("tn-acme", "acme", "uid-acme", "home");
        assert_eq!(fields(closing, "tn-acme", "shop"), ["metadata.namespace"]);
    }

    #[test]
    fn a_namespace_of_another_is_not_taken() {
        let taken = scene().namespace("tn-acme-shop", "acme-shop", "uid-other", "home");
        assert_eq!(fields(taken, "tn-acme", "shop"), ["metadata.name"]);
    }
}
