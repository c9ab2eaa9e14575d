//! A program's own Secret on a real API server: one maker of many, by an account that may touch this name and no other.

use anyhow::{Context, Result};
use futures::future::join_all;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::api::{Api, DeleteParams, PostParams};
use kube::{Client, ResourceExt};
use operator_kit::secret::{Entries, OwnSecret};
use serde_json::json;
use std::collections::BTreeMap;
use system_tests::{SOON, apply, client, client_as, unique};
use testkit::eventually;

const NAMESPACE: &str = "default";
/// How many make the Secret at once.
const MAKERS: usize = 16;

fn entries(password: &str) -> Entries {
    Entries::from([("password".to_owned(), ByteString(password.into()))])
}

/// A client whose account has the rights that the chart gives, for the Secret `name` alone.
async fn account(admin: &Client, name: &str) -> Result<Client> {
    let user = unique("keeper-");
    let rights = json!([{"apiGroups": [""], "resources": ["secrets"], "resourceNames": [name],
        "verbs": ["get", "create", "patch", "update"]}]);
    let roles: Api<Role> = Api::namespaced(admin.clone(), NAMESPACE);
    apply(&roles, json!({"metadata": {"name": user}, "rules": rights})).await?;
    let bindings: Api<RoleBinding> = Api::namespaced(admin.clone(), NAMESPACE);
    let role = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": user});
    let subject = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user});
    let binding = json!({"metadata": {"name": user}, "roleRef": role, "subjects": [subject]});
    apply(&bindings, binding).await?;
    let client = client_as(Some(&user)).await?;
    // The API server learns of a right a moment after it was given.
    let own = OwnSecret::new(client.clone(), NAMESPACE, name, "probe");
    eventually("the account may look", SOON, async || Ok(own.exists().await.map(Some)?)).await?;
    Ok(client)
}

#[tokio::test]
async fn of_many_makers_one_is_first_and_its_entries_stay() -> Result<()> {
    let (admin, name) = (client().await?, unique("books-"));
    let keeper = account(&admin, &name).await?;
    let secrets: Api<Secret> = Api::namespaced(admin.clone(), NAMESPACE);
    for round in 0..5 {
        let makers = (0..MAKERS).map(|number| {
            let own = OwnSecret::new(keeper.clone(), NAMESPACE, &name, "keeper");
            let password = format!("{round}-{number}");
            async move {
                own.create(BTreeMap::new(), entries(&password)).await.map(|made| (made, password))
            }
        });
        let made: Vec<(bool, String)> =
            join_all(makers).await.into_iter().collect::<Result<_, _>>()?;
        let first: Vec<_> = made.iter().filter(|(made, _)| *made).map(|(_, one)| one).collect();
        assert_eq!(first.len(), 1, "round {round}: {made:?}");
        let stored = secrets.get(&name).await?;
        let stays = entries(first.first().context("nobody")?);
        assert_eq!(stored.data.as_ref(), Some(&stays), "round {round}");
        // Who comes later changes nothing either, and a stale copy is not written back.
        let own = OwnSecret::new(keeper.clone(), NAMESPACE, &name, "keeper");
        assert!(!own.create(BTreeMap::new(), entries("later")).await?);
        assert!(own.replace(stored.clone(), entries("renewed")).await?);
        assert!(!own.replace(stored, entries("stale")).await?);
        assert_eq!(secrets.get(&name).await?.data, Some(entries("renewed")));
        secrets.delete(&name, &DeleteParams::default()).await?;
        assert!(!own.exists().await?);
    }
    Ok(())
}

#[tokio::test]
async fn a_secret_of_somebody_else_is_left_as_it_is() -> Result<()> {
    let (admin, name) = (client().await?, unique("books-"));
    let keeper = account(&admin, &name).await?;
    let secrets: Api<Secret> = Api::namespaced(admin, NAMESPACE);
    let theirs: Secret = serde_json::from_value(
        json!({"metadata": {"name": name}, "stringData": {"password": "theirs"}}),
    )?;
    let before = secrets.create(&PostParams::default(), &theirs).await?;
    let own = OwnSecret::new(keeper, NAMESPACE, &name, "keeper");
    assert!(own.exists().await?);
    assert!(!own.create(BTreeMap::new(), entries("ours")).await?);
    let after = secrets.get(&name).await?;
    assert_eq!(after.resource_version(), before.resource_version());
    secrets.delete(&name, &DeleteParams::default()).await?;
    Ok(())
}

#[tokio::test]
async fn no_other_secret_can_be_read_or_made() -> Result<()> {
    let (admin, name) = (client().await?, unique("books-"));
    let keeper = account(&admin, &name).await?;
    let other = OwnSecret::new(keeper.clone(), NAMESPACE, &format!("{name}-not"), "keeper");
    let refused = |error: Option<operator_kit::secret::SecretError>| {
        error
            .is_some_and(|error| operator_kit::ErrorChain(&error).to_string().contains("forbidden"))
    };
    assert!(refused(other.read().await.err()));
    assert!(refused(other.create(BTreeMap::new(), entries("x")).await.err()));
    // A plain create is refused even under the name that may be made: its path has no name.
    let plain: Secret = serde_json::from_value(json!({"metadata": {"name": name}}))?;
    let secrets: Api<Secret> = Api::namespaced(keeper, NAMESPACE);
    let error = secrets.create(&PostParams::default(), &plain).await.err().context("was made")?;
    assert_eq!(operator_kit::client::status_code(&error), Some(403), "{error}");
    Ok(())
}
