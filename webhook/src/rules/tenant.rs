//! Tenants: a tree without cycles, one currency, and no deletion by accident.

use super::Change;
use crate::finding::{Verdict, named};
use crate::review::{Edit, Operation, Request};
use crate::world::World;
use crds::Tenant;
use ids::TenantName;
use ids::well_known::{TENANT_LABEL, TENANT_UID_LABEL};
use kube::ResourceExt;
use serde_json::Value;
use std::collections::BTreeSet;

/// Tenants may be nested this deep, the topmost counted: departments and resellers need three or four.
pub const DEPTH_MAX: usize = 8;

/// What stands against a change of a tenant.
pub fn check(change: &Change<Tenant>, world: &World) -> Verdict {
    let mut verdict = Verdict::default();
    if let Some(tenant) = change.declared() {
        parents(&change.name, tenant, world, &mut verdict);
        plan(tenant, world, &mut verdict);
        currency(tenant, &mut verdict);
        time_zone(tenant, &mut verdict);
        locale(tenant, &mut verdict);
        if change.operation == Operation::Create {
            home(&change.name, world, &mut verdict);
        }
    }
    if let Some(tenant) = change.deleted() {
        deletion(&change.name, tenant, world, &mut verdict);
    }
    verdict
}

/// The account id, where it is absent: new tenants get the request's own UID, later ones keep what they had.
pub fn defaults(request: &Request) -> Vec<Edit> {
    let pointer = "/spec/accountId";
    if request.object.pointer(pointer).is_some_and(|value| !value.is_null())
        || request.object.get("spec").is_none_or(|spec| !spec.is_object())
    {
        return Vec::new();
    }
    let value = match request.operation {
        Operation::Create => Some(Value::from(request.uid.clone())),
        Operation::Update => request.old_object.pointer(pointer).cloned(),
        Operation::Delete | Operation::Connect => None,
    };
    let edit = |value| Edit { op: "add", path: pointer.to_owned(), value };
    value.map(edit).into_iter().collect()
}

fn parents(name: &str, tenant: &Tenant, world: &World, verdict: &mut Verdict) {
    let field = "spec.parentRef.name";
    let mut seen = BTreeSet::from([name.to_owned()]);
    let mut next = tenant.spec.parent_ref.clone();
    while let Some(parent) = next.take() {
        if !seen.insert(parent.name.clone()) {
            verdict.invalid(
                field,
                format!(
                    "`{}` would make a circle of tenants; name a parent that is not below this tenant",
                    tenant.spec.parent_ref.as_ref().map_or("", |parent| &parent.name)
                ),
            );
            return;
        }
        if seen.len() > DEPTH_MAX {
            verdict.invalid(
                field,
                format!("would nest tenants more than {DEPTH_MAX} deep; name a parent further up"),
            );
            return;
        }
        let Some(found) = World::named(&world.tenants, &parent.name) else {
            verdict.warn(format!("{field}: there is no Tenant `{}` yet", parent.name));
            return;
        };
        next.clone_from(&found.spec.parent_ref);
    }
}

fn plan(tenant: &Tenant, world: &World, verdict: &mut Verdict) {
    let name = &tenant.spec.plan_ref.name;
    let Some(plan) = World::named(&world.plans, name) else {
        verdict.warn(format!("spec.planRef.name: there is no PricePlan `{name}` yet"));
        return;
    };
    if plan.spec.currency != tenant.spec.currency {
        verdict.invalid(
            "spec.planRef.name",
            format!(
                "plan `{name}` is in {} and the account in {}; choose a plan in the account's currency",
                plan.spec.currency, tenant.spec.currency
            ),
        );
    }
}

fn currency(tenant: &Tenant, verdict: &mut Verdict) {
    if let Err(refusal) = tenant.spec.currency.parse::<money::Currency>() {
        verdict.invalid("spec.currency", refusal.to_string());
    }
}

fn time_zone(tenant: &Tenant, verdict: &mut Verdict) {
    let Some(name) = &tenant.spec.time_zone else { return };
    let zones = jiff::tz::db();
    // Without any zone data nothing can be said; the billing-controller judges again.
    if !zones.is_definitively_empty() && zones.get(name).is_err() {
        verdict.invalid(
            "spec.timeZone",
            format!("`{name}` is not a time zone; write an IANA name like Europe/Berlin, or UTC"),
        );
    }
}

fn locale(tenant: &Tenant, verdict: &mut Verdict) {
    let Some(locale) = &tenant.spec.locale else { return };
    let well_formed = locale.split('-').enumerate().all(|(index, part)| {
        let fits = if index == 0 { 2..=8 } else { 1..=8 };
        let letters = part.bytes().all(|byte| byte.is_ascii_alphabetic());
        let digits_too = index > 0 && part.bytes().all(|byte| byte.is_ascii_alphanumeric());
        fits.contains(&part.len()) && (letters || digits_too)
    });
    if !well_formed {
        verdict.invalid(
            "spec.locale",
            format!("`{locale}` is not a language tag; write it like en, de-AT or zh-Hans"),
        );
    }
}

/// Two names can spell one namespace (`a` with project `b`, and `a-b`); the first to be made keeps it.
fn home(name: &str, world: &World, verdict: &mut Verdict) {
    let Ok(parsed) = name.parse::<TenantName>() else { return };
    let home = parsed.home_namespace();
    let Some(namespace) = World::named(&world.namespaces, &home) else { return };
    let holder = namespace.labels().get(TENANT_LABEL);
    if namespace.labels().contains_key(TENANT_UID_LABEL) && holder.is_some_and(|held| held != name)
    {
        let holder = holder.map_or("?", String::as_str);
        verdict.duplicate(
            "metadata.name",
            format!("its home namespace {home} belongs to tenant `{holder}`; choose another name"),
        );
    }
}

fn deletion(name: &str, tenant: &Tenant, world: &World, verdict: &mut Verdict) {
    if tenant.spec.protected == Some(true) {
        verdict.forbid(
            "spec.protected",
            "this tenant is protected from deletion; set spec.protected to false first",
        );
    }
    let children: Vec<String> = world
        .tenants
        .state()
        .iter()
        .filter(|child| child.spec.parent_ref.as_ref().is_some_and(|parent| parent.name == name))
        .filter(|child| child.metadata.deletion_timestamp.is_none())
        .map(|child| child.name_any())
        .collect();
    if !children.is_empty() {
        verdict.forbid(
            "metadata.name",
            format!(
                "tenants below this one still live: {}; delete them or give them another parent first",
                named(children)
            ),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::super::scene::{Scene, change, refused_fields};
    use super::*;
    use serde_json::json;

    fn tenant(name: &str, spec: &Value) -> Value {
        let mut full = json!({
            "type": "Enterprise", "displayName": "T", "currency": "EUR",
            "paymentMode": "Postpaid", "planRef": { "name": "standard" },
        });
        for (key, value) in spec.as_object().unwrap() {
            full[key] = value.clone();
        }
        json!({ "metadata": { "name": name, "uid": format!("uid-{name}") }, "spec": full })
    }

    fn scene() -> Scene {
        Scene::default()
            .tenant(tenant("root", &json!({})))
            .tenant(tenant("middle", &json!({ "parentRef": { "name": "root" } })))
            .plan("standard", "EUR")
            .plan("dollars", "USD")
    }

    fn fields(operation: &str, name: &str, spec: &Value) -> Vec<String> {
        let new = tenant(name, spec);
        refused_fields(&check(&change::<Tenant>(operation, json!(null), new), &scene().world()))
    }

    #[test]
    fn parents_form_a_tree() {
        let parent = |name: &str| json!({ "parentRef": { "name": name } });
        assert!(fields("CREATE", "leaf", &parent("middle")).is_empty());
        assert_eq!(fields("CREATE", "self", &parent("self")), ["spec.parentRef.name"]);
        assert_eq!(fields("UPDATE", "root", &parent("middle")), ["spec.parentRef.name"]);
        let mut deep = Scene::default();
        for level in 1..=8 {
            let above = json!({ "parentRef": { "name": format!("t{}", level - 1) } });
            deep = deep.tenant(tenant(&format!("t{level}"), &above));
        }
        let deep = deep.tenant(tenant("t0", &json!({}))).world();
        let below = |parent: &str| {
            let new = tenant("new", &json!({ "parentRef": { "name": parent } }));
            check(&change::<Tenant>("CREATE", json!(null), new), &deep).allows()
        };
        assert!(below("t6") && !below("t7"));
    }

    #[test]
    fn a_parent_or_plan_to_come_is_a_warning() {
        let spec = json!({ "parentRef": { "name": "later" }, "planRef": { "name": "later" } });
        let new = tenant("new", &spec);
        let verdict = check(&change::<Tenant>("CREATE", json!(null), new), &scene().world());
        assert!(verdict.allows());
        assert_eq!(verdict.warnings.len(), 2, "{verdict:?}");
    }

    #[test]
    fn plan_zone_and_locale_have_to_fit() {
        for (good, bad, field) in [
            (
                json!({ "planRef": { "name": "standard" } }),
                json!({ "planRef": { "name": "dollars" } }),
                "spec.planRef.name",
            ),
            (
                json!({ "timeZone": "Europe/Berlin" }),
                json!({ "timeZone": "Mars/Olympus" }),
                "spec.timeZone",
            ),
            (
                json!({ "planRef": { "name": "later" } }),
                json!({ "planRef": { "name": "later" }, "currency": "XXX" }),
                "spec.currency",
            ),
            (json!({ "locale": "zh-Hans-CN" }), json!({ "locale": "e" }), "spec.locale"),
            (json!({ "locale": "de-AT" }), json!({ "locale": "de_AT" }), "spec.locale"),
        ] {
            assert!(fields("CREATE", "new", &good).is_empty(), "{good}");
            assert_eq!(fields("UPDATE", "new", &bad), [field], "{bad}");
        }
    }

    #[test]
    fn what_was_accepted_is_not_judged_with_every_label() {
        let stored = tenant("old", &json!({ "planRef": { "name": "dollars" } }));
        let mut labelled = stored.clone();
        labelled["metadata"]["labels"] = json!({ "team": "a" });
        let update = |new: Value| {
            check(&change::<Tenant>("UPDATE", stored.clone(), new), &scene().world()).allows()
        };
        assert!(update(labelled.clone()));
        labelled["spec"]["displayName"] = json!("Other");
        assert!(!update(labelled));
    }

    #[test]
    fn a_name_whose_home_is_taken_is_refused() {
        let world = scene().namespace("tn-a-b", "a", "uid-a", "project").world();
        let verdict =
            check(&change::<Tenant>("CREATE", json!(null), tenant("a-b", &json!({}))), &world);
        assert_eq!(refused_fields(&verdict), ["metadata.name"]);
        let own = scene().namespace("tn-a-b", "a-b", "old-uid", "home").world();
        assert!(
            check(&change::<Tenant>("CREATE", json!(null), tenant("a-b", &json!({}))), &own)
                .allows()
        );
    }

    #[test]
    fn protected_tenants_and_parents_stay() {
        let of = |name: &str, spec: Value| {
            refused_fields(&check(
                &change::<Tenant>("DELETE", tenant(name, &spec), json!(null)),
                &scene().world(),
            ))
        };
        assert!(of("middle", json!({})).is_empty());
        assert_eq!(of("middle", json!({ "protected": true })), ["spec.protected"]);
        assert_eq!(of("root", json!({})), ["metadata.name"]);
    }

    #[test]
    fn the_account_id_is_filled_in_once_and_kept() {
        let request = |operation: &str, new: Value, old: Value| -> Request {
            serde_json::from_value(json!({
                "uid": "9f9b5a0e-0000-4000-8000-000000000001", "operation": operation, "userInfo": {},
                "kind": { "group": "tenancy.freehold.dev", "kind": "Tenant" },
                "object": new, "oldObject": old,
            }))
            .unwrap()
        };
        let bare = tenant("t", &json!({}));
        let kept = tenant("t", &json!({ "accountId": "kept" }));
        let edits = defaults(&request("CREATE", bare.clone(), json!(null)));
        assert_eq!(edits[0].value, "9f9b5a0e-0000-4000-8000-000000000001");
        assert_eq!(defaults(&request("UPDATE", bare.clone(), kept.clone()))[0].value, "kept");
        assert!(defaults(&request("UPDATE", bare.clone(), bare)).is_empty());
        assert!(defaults(&request("CREATE", kept, json!(null))).is_empty());
    }
}
