//! What the API server itself accepts and refuses of our kinds: every rule with its remedy, through create, update,
//! server-side apply and dry run, with nothing of ours running but the definitions.

mod network;
mod values;

use anyhow::{Context, Result, bail};
use kube::api::{
    Api, DeleteParams, DynamicObject, Patch, PatchParams, PostParams, ValidationDirective,
};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Client, ResourceExt};
use serde_json::{Value, json};
use system_tests::{client, unique};

fn api(client: &Client, group: &str, kind: &str) -> Api<DynamicObject> {
    let gvk = GroupVersionKind::gvk(&format!("{group}.freehold.dev"), "v1alpha1", kind);
    let resource = ApiResource::from_gvk(&gvk);
    if ["Project", "TenantMember", "VirtualMachine", "IPClaim", "VLAN"].contains(&kind) {
        Api::namespaced_with(client.clone(), "default", &resource)
    } else {
        Api::all_with(client.clone(), &resource)
    }
}

fn object(group: &str, kind: &str, name: &str, spec: &Value) -> Result<DynamicObject> {
    let value = json!({
        "apiVersion": format!("{group}.freehold.dev/v1alpha1"), "kind": kind, "metadata": {"name": name}, "spec": spec,
    });
    Ok(serde_json::from_value(value)?)
}

fn tenant() -> Value {
    json!({"type": "Enterprise", "displayName": "A", "currency": "EUR", "paymentMode": "Postpaid",
           "planRef": {"name": "p"}, "creditLimit": "5000.00", "contacts": [{"role": "Owner", "email": "a@b.example"}]})
}

fn instance_type() -> Value {
    json!({"vcpus": 2, "memory": "2Gi", "serviceTier": "standard"})
}

fn cluster() -> Value {
    json!({"provider": {"kind": "Simulator", "simulator": {"hosts": 2, "vcpusPerHost": 8, "memoryMibPerHost": 1024}}})
}

fn meter() -> Value {
    json!({"kind": "Allocation", "unit": "vcpu-second", "baseUnitsPerUnit": 1_000_000,
           "displayUnit": {"name": "vCPU-hour", "units": 3600}, "source": {"lifecycle": {"resource": "compute/vcpu"}}})
}

fn plan() -> Value {
    json!({"currency": "EUR", "effectiveFrom": "2026-01-01T00:00:00Z", "phases": [{"name": "evergreen", "rateCards": [
        {"id": "vcpu", "meterRef": {"name": "vcpu"}, "price": {"perUnit": {"rate": "0.02"}}},
        {"id": "base", "price": {"flat": {"amount": "10"}}},
        {"id": "cpu", "meterRef": {"name": "cpu"}, "price": {"graduated": {"tiers": [
            {"from": "0", "rate": "0.05"}, {"from": "60", "rate": "0.02", "flat": "1"}]}}}]}]})
}

fn member() -> Value {
    json!({"subject": {"kind": "User", "name": "a@b.example"}, "roleRefs": [{"name": "owner"}]})
}

fn machine() -> Value {
    json!({"instanceTypeRef": {"name": "small"}, "image": "tiny"})
}

fn host() -> Value {
    json!({"clusterRef": {"name": "c"}, "providerHost": "h", "inventory": [{"resource": "compute/vcpu", "total": 8}]})
}

/// Each kind's valid specification.
fn valid() -> Vec<(&'static str, &'static str, Value)> {
    vec![
        ("tenancy", "Tenant", tenant()),
        ("tenancy", "Project", json!({"displayName": "P", "labels": {"team": "web"}})),
        ("tenancy", "TenantMember", member()),
        ("compute", "InstanceType", instance_type()),
        ("compute", "ComputeCluster", cluster()),
        ("compute", "PhysicalMachine", host()),
        ("compute", "VirtualMachine", machine()),
        ("billing", "Meter", meter()),
        ("billing", "PricePlan", plan()),
    ]
}

/// A valid specification with one value replaced (or, for null, removed), and what the refusal must say.
type Refused = (&'static str, &'static str, Value, &'static str, Value, &'static str);

#[expect(clippy::too_many_lines, reason = "a table, a case a row")]
fn refused_on_create() -> Vec<Refused> {
    let missing = Value::Null;
    vec![
        ("tenancy", "Tenant", tenant(), "/type", json!("Club"), "spec.type"),
        ("tenancy", "Tenant", tenant(), "/displayName", json!(""), "spec.displayName"),
        ("tenancy", "Tenant", tenant(), "/currency", json!("euro"), "spec.currency"),
        ("tenancy", "Tenant", tenant(), "/currency", missing.clone(), "spec.currency"),
        (
            "tenancy",
            "Tenant",
            tenant(),
            "/paymentMode",
            json!("Prepaid"),
            "applies to paymentMode Postpaid only",
        ),
        ("tenancy", "Tenant", tenant(), "/creditLimit", json!(5000), "spec.creditLimit"),
        ("tenancy", "Tenant", tenant(), "/creditLimit", json!("-1"), "spec.creditLimit"),
        ("tenancy", "Tenant", tenant(), "/creditLimit", json!("1e9"), "spec.creditLimit"),
        ("tenancy", "Tenant", tenant(), "/creditLimit", json!("1.000,00"), "spec.creditLimit"),
        ("tenancy", "Tenant", tenant(), "/accountId", json!("7"), "spec.accountId"),
        ("tenancy", "Tenant", tenant(), "/suspended", json!(true), "say why"),
        ("tenancy", "Tenant", tenant(), "/planRef", json!({"name": ""}), "spec.planRef.name"),
        (
            "tenancy",
            "Tenant",
            tenant(),
            "/contacts/0/email",
            json!("nobody"),
            "spec.contacts[0].email",
        ),
        ("tenancy", "Tenant", tenant(), "/surprise", json!(1), "surprise"),
        (
            "tenancy",
            "Project",
            json!({"displayName": "P"}),
            "/labels",
            json!({"freehold.dev/x": "y"}),
            "are the operator's",
        ),
        (
            "tenancy",
            "Project",
            json!({"displayName": "P"}),
            "/labels",
            json!({"a": "not a label"}),
            "spec.labels",
        ),
        (
            "tenancy",
            "Project",
            json!({"displayName": "P"}),
            "/networkIsolation",
            json!("None"),
            "networkIsolation",
        ),
        (
            "tenancy",
            "TenantMember",
            member(),
            "/subject/name",
            json!("system:masters"),
            "belong to Kubernetes",
        ),
        (
            "tenancy",
            "TenantMember",
            member(),
            "/subject/namespace",
            json!("x"),
            "refused for the others",
        ),
        (
            "tenancy",
            "TenantMember",
            member(),
            "/subject/kind",
            json!("ServiceAccount"),
            "is required for kind ServiceAccount",
        ),
        ("tenancy", "TenantMember", member(), "/roleRefs", json!([]), "spec.roleRefs"),
        (
            "tenancy",
            "TenantMember",
            member(),
            "/roleRefs/0/name",
            json!("root"),
            "spec.roleRefs[0].name",
        ),
        ("tenancy", "TenantMember", member(), "/expiresAt", json!("tomorrow"), "spec.expiresAt"),
        ("compute", "InstanceType", instance_type(), "/vcpus", json!(0), "spec.vcpus"),
        ("compute", "InstanceType", instance_type(), "/vcpus", json!(1.5), "spec.vcpus"),
        ("compute", "InstanceType", instance_type(), "/memory", json!("1KI"), "spec.memory"),
        ("compute", "InstanceType", instance_type(), "/memory", json!("-1Gi"), "spec.memory"),
        (
            "compute",
            "ComputeCluster",
            cluster(),
            "/provider/kind",
            json!("Libvirt"),
            "is required for kind Libvirt",
        ),
        (
            "compute",
            "ComputeCluster",
            cluster(),
            "/provider/libvirt",
            json!({"socket": "/s", "images": [{"name": "a", "kernelPath": "/k"}]}),
            "refused for the others",
        ),
        (
            "compute",
            "ComputeCluster",
            cluster(),
            "/provider/simulator/hosts",
            json!(0),
            "spec.provider.simulator.hosts",
        ),
        (
            "compute",
            "ComputeCluster",
            cluster(),
            "/overcommit",
            json!({"vcpuThousandths": 1}),
            "vcpuThousandths",
        ),
        ("compute", "PhysicalMachine", host(), "/inventory/0/total", json!(-1), "total"),
        (
            "compute",
            "PhysicalMachine",
            host(),
            "/inventory/0/reserved",
            json!(9),
            "must not exceed total",
        ),
        ("compute", "PhysicalMachine", host(), "/maintenance", json!("Broken"), "spec.maintenance"),
        ("compute", "VirtualMachine", machine(), "/image", json!(""), "spec.image"),
        (
            "compute",
            "VirtualMachine",
            machine(),
            "/instanceTypeRef",
            missing.clone(),
            "spec.instanceTypeRef",
        ),
        (
            "billing",
            "Meter",
            meter(),
            "/kind",
            json!("Counter"),
            "kinds Counter and Gauge need prometheus",
        ),
        (
            "billing",
            "Meter",
            meter(),
            "/source",
            json!({}),
            "exactly one of lifecycle and prometheus",
        ),
        ("billing", "Meter", meter(), "/baseUnitsPerUnit", json!(0), "spec.baseUnitsPerUnit"),
        (
            "billing",
            "Meter",
            meter(),
            "/bounds",
            json!({"unitsPerSecondMax": "-1"}),
            "unitsPerSecondMax",
        ),
        ("billing", "PricePlan", plan(), "/currency", json!("EURO"), "spec.currency"),
        ("billing", "PricePlan", plan(), "/phases", json!([]), "spec.phases"),
        (
            "billing",
            "PricePlan",
            plan(),
            "/phases/0/rateCards/0/price",
            json!({}),
            "exactly one of flat, perUnit and graduated",
        ),
        (
            "billing",
            "PricePlan",
            plan(),
            "/phases/0/rateCards/0/price/flat",
            json!({"amount": "1"}),
            "exactly one of flat, perUnit and graduated",
        ),
        (
            "billing",
            "PricePlan",
            plan(),
            "/phases/0/rateCards/0/price/perUnit/rate",
            json!(0.02),
            "rate",
        ),
        (
            "billing",
            "PricePlan",
            plan(),
            "/phases/0/rateCards/0/price/perUnit/rate",
            json!("-0.02"),
            "rate",
        ),
        (
            "billing",
            "PricePlan",
            plan(),
            "/phases/0/rateCards/0/meterRef",
            missing,
            "is required unless the price is flat",
        ),
        ("billing", "PricePlan", plan(), "/phases/0/rateCards/1/id", json!("vcpu"), "uplicate"),
        ("billing", "PricePlan", plan(), "/anchorDay", json!(32), "spec.anchorDay"),
        (
            "billing",
            "PricePlan",
            plan(),
            "/effectiveFrom",
            json!("2026-13-01T00:00:00Z"),
            "effectiveFrom",
        ),
    ]
}

/// Values that may not change once stored.
fn refused_on_update() -> Vec<Refused> {
    vec![
        ("tenancy", "Tenant", tenant(), "/currency", json!("USD"), "is immutable"),
        (
            "tenancy",
            "Tenant",
            tenant(),
            "/accountId",
            json!("123e4567-e89b-12d3-a456-426614174000"),
            "is immutable",
        ),
        ("tenancy", "TenantMember", member(), "/subject/name", json!("other"), "is immutable"),
        ("compute", "InstanceType", instance_type(), "/vcpus", json!(4), "is immutable"),
        ("compute", "PhysicalMachine", host(), "/clusterRef", json!({"name": "d"}), "is immutable"),
        ("compute", "VirtualMachine", machine(), "/image", json!("other"), "is immutable"),
        ("billing", "Meter", meter(), "/unit", json!("second"), "is immutable"),
        ("billing", "Meter", meter(), "/baseUnitsPerUnit", json!(1), "is immutable"),
        ("billing", "PricePlan", plan(), "/currency", json!("USD"), "is immutable"),
    ]
}

fn with(spec: &Value, pointer: &str, value: &Value) -> Result<Value> {
    let mut spec = spec.clone();
    let (parent, last) = pointer.rsplit_once('/').context("a pointer starts with /")?;
    let parent = spec.pointer_mut(parent).with_context(|| format!("{pointer}: no such place"))?;
    match (parent, last.parse::<usize>()) {
        (Value::Array(items), Ok(index)) => {
            *items.get_mut(index).context("no such item")? = value.clone();
        }

        (Value::Object(map), _) if value.is_null() => {
            map.remove(last).context("nothing to remove")?;
        }
        (Value::Object(map), _) => {
            map.insert(last.to_owned(), value.clone());
        }
        _ => bail!("{pointer}: no such place"),
    }
    Ok(spec)
}

fn refusal<T>(result: Result<T, kube::Error>, expected: &str, case: &str) -> Result<()> {
    match result {
        Ok(_) => bail!("{case}: was accepted"),
        // A value of the wrong type never gets as far as validation when it is applied: the API server's own answer
        // to that is a 500 which names the field.
        Err(kube::Error::Api(status))
            if (400..500).contains(&status.code)
                || status.message.contains("typed patch object") =>
        {
            let said = status.message.clone();
            if said.contains(expected) {
                Ok(())
            } else {
                bail!("{case}: the refusal should name `{expected}`: {said}")
            }
        }
        Err(error) => bail!("{case}: not a refusal: {error}"),
    }
}

fn strict_dry_run() -> PostParams {
    PostParams { dry_run: true, field_manager: Some("schema-test".to_owned()) }
}

#[tokio::test]
async fn valid_objects_are_accepted_and_apply_is_idempotent() -> Result<()> {
    let client = client().await?;
    for (group, kind, spec) in valid().into_iter().chain(network::valid()) {
        let (api, name) = (api(&client, group, kind), unique("s"));
        let object = object(group, kind, &name, &spec)?;
        let parameters = PatchParams::apply("schema-test");
        let first = api
            .patch(&name, &parameters, &Patch::Apply(&object))
            .await
            .with_context(|| kind.to_owned())?;
        let second = api.patch(&name, &parameters, &Patch::Apply(&object)).await?;
        assert_eq!(
            first.resource_version(),
            second.resource_version(),
            "{kind}: applying again changed it"
        );
        assert_eq!(first.data["spec"], spec, "{kind}: what is stored is not what was declared");
        api.delete(&name, &DeleteParams::default()).await?;
    }
    Ok(())
}

#[tokio::test]
async fn invalid_objects_are_refused_with_the_field_and_the_remedy() -> Result<()> {
    let client = client().await?;
    let refused = refused_on_create().into_iter().chain(network::refused_on_create());
    for (group, kind, spec, pointer, value, expected) in refused {
        let (api, name) = (api(&client, group, kind), unique("s"));
        let object = object(group, kind, &name, &with(&spec, pointer, &value)?)?;
        let case = format!("{kind} {pointer} = {value}");
        let mut apply = PatchParams::apply("schema-test");
        apply.field_validation = Some(ValidationDirective::Strict);
        refusal(
            api.patch(&name, &apply, &Patch::Apply(&object)).await,
            expected,
            &format!("apply {case}"),
        )?;
        // Create has no strict mode here, so unknown fields are apply's and kubectl's business.
        if pointer != "/surprise" {
            refusal(
                api.create(&PostParams::default(), &object).await,
                expected,
                &format!("create {case}"),
            )?;
            refusal(
                api.create(&strict_dry_run(), &object).await,
                expected,
                &format!("dry run {case}"),
            )?;
        }
        assert!(api.get_opt(&name).await?.is_none(), "{case}: something was stored");
    }
    Ok(())
}

#[tokio::test]
async fn immutable_fields_stay() -> Result<()> {
    let client = client().await?;
    let refused = refused_on_update().into_iter().chain(network::refused_on_update());
    for (group, kind, spec, pointer, value, expected) in refused {
        let (api, name) = (api(&client, group, kind), unique("s"));
        let stored =
            api.create(&PostParams::default(), &object(group, kind, &name, &spec)?).await?;
        let case = format!("{kind} {pointer} = {value}");
        let changed = with(&spec, pointer, &value)?;
        let mut replacement = stored.clone();
        replacement.data["spec"] = changed.clone();
        refusal(
            api.replace(&name, &PostParams::default(), &replacement).await,
            expected,
            &format!("replace {case}"),
        )?;
        let merge = Patch::Merge(json!({"spec": changed}));
        refusal(
            api.patch(&name, &PatchParams::default(), &merge).await,
            expected,
            &format!("merge patch {case}"),
        )?;
        let apply = Patch::Apply(object(group, kind, &name, &changed)?);
        let parameters = PatchParams::apply("schema-test").force();
        refusal(api.patch(&name, &parameters, &apply).await, expected, &format!("apply {case}"))?;
        let after = api.get(&name).await?;
        assert_eq!(
            after.resource_version(),
            stored.resource_version(),
            "{case}: something was stored"
        );
        api.delete(&name, &DeleteParams::default()).await?;
    }
    Ok(())
}

#[tokio::test]
async fn names_that_cannot_carry_a_namespace_are_refused() -> Result<()> {
    let client = client().await?;
    for (kind, spec) in [("Tenant", tenant()), ("Project", json!({"displayName": "P"}))] {
        let api = api(&client, "tenancy", kind);
        for name in ["2a", "a.b", "a123456789012345678901234567890"] {
            let created =
                api.create(&strict_dry_run(), &object("tenancy", kind, name, &spec)?).await;
            refusal(created, "metadata.name", &format!("{kind} {name}"))?;
        }
    }
    Ok(())
}
