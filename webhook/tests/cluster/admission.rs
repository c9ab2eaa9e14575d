//! Every rule, accepted and refused, through every door of a real API server, also as a dry run.
//!
//! Objects are written by an impersonated operator (who is let through) where a rule needs them to be there, and tried as
//! an ordinary administrator, whom no rule knows. A refusal has to name the right field, leave nothing behind and change
//! nothing.

use crate::hook::{
    CHANGING, Door, Hook, LIMIT, MAKING, TURN, api_of, client_as, client_of, comes_to,
};
use crate::hook::{refusal, through};
use anyhow::{Context, Result};
use kube::api::ListParams;
use kube::{Client, ResourceExt};
use serde_json::{Value, json};

const TENANCY: &str = "tenancy.freehold.dev/v1alpha1";
pub const COMPUTE: &str = "compute.freehold.dev/v1alpha1";
const BILLING: &str = "billing.freehold.dev/v1alpha1";
pub const NETWORK: &str = "network.freehold.dev/v1alpha1";

pub fn object(
    version: &str,
    kind: &str,
    namespace: Option<&str>,
    name: &str,
    spec: Value,
) -> Value {
    let mut metadata = json!({ "name": name });
    if let Some(namespace) = namespace {
        metadata["namespace"] = json!(namespace);
    }
    json!({ "apiVersion": version, "kind": kind, "metadata": metadata, "spec": spec })
}

pub fn tenant(name: &str, extra: &Value) -> Value {
    let mut spec = json!({ "type": "Enterprise", "displayName": "T", "currency": "EUR",
        "paymentMode": "Postpaid", "planRef": { "name": "to-come" } });
    merge(&mut spec, extra);
    object(TENANCY, "Tenant", None, name, spec)
}

fn merge(into: &mut Value, extra: &Value) {
    for (key, value) in extra.as_object().into_iter().flatten() {
        into[key] = value.clone();
    }
}

fn machine(namespace: &str, name: &str, extra: &Value) -> Value {
    let mut spec = json!({ "instanceTypeRef": { "name": "to-come" }, "image": "linux" });
    merge(&mut spec, extra);
    object(COMPUTE, "VirtualMachine", Some(namespace), name, spec)
}

fn member(namespace: &str, name: &str, user: &str, role: &str) -> Value {
    let spec =
        json!({ "subject": { "kind": "User", "name": user }, "roleRefs": [{ "name": role }] });
    object(TENANCY, "TenantMember", Some(namespace), name, spec)
}

fn project(namespace: &str, name: &str) -> Value {
    object(TENANCY, "Project", Some(namespace), name, json!({ "displayName": "P" }))
}

fn plan(name: &str, from: &str, currency: &str, meter: &str, rate: &str) -> Value {
    let card = json!({ "id": "a", "meterRef": { "name": meter }, "price": { "perUnit": { "rate": rate } } });
    let spec = json!({ "currency": currency, "effectiveFrom": from,
        "phases": [{ "name": "evergreen", "rateCards": [card] }] });
    object(BILLING, "PricePlan", None, name, spec)
}

fn meter(name: &str, units: i64) -> Value {
    let spec = json!({ "kind": "Allocation", "unit": "vcpu-second", "baseUnitsPerUnit": 1_000_000,
        "displayUnit": { "name": "vCPU-hour", "units": units },
        "source": { "lifecycle": { "resource": "compute/vcpu" } } });
    object(BILLING, "Meter", None, name, spec)
}

fn cluster(name: &str, socket: &str) -> Value {
    let images = json!([{ "name": "linux", "kernelPath": "/k" }]);
    let provider = json!({ "kind": "Libvirt", "libvirt": { "socket": socket, "images": images } });
    object(COMPUTE, "ComputeCluster", None, name, json!({ "provider": provider }))
}

fn host(name: &str, cluster: &str, node: &str) -> Value {
    let spec = json!({ "clusterRef": { "name": cluster }, "providerHost": node,
        "inventory": [{ "resource": "compute/vcpu", "total": 8 }] });
    object(COMPUTE, "PhysicalMachine", None, name, spec)
}

pub fn namespace(name: &str, tenant: &str, uid: &str, role: &str) -> Value {
    json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name, "labels": {
        "tenancy.freehold.dev/tenant": tenant, "tenancy.freehold.dev/tenant-uid": uid,
        "tenancy.freehold.dev/role": role } } })
}

/// Two tenants as the operator leaves them; `name` differs from test to test.
pub struct Estate {
    pub name: String,
    pub operator: Client,
    pub admin: Client,
    pub uid: String,
}

impl Estate {
    pub async fn found() -> Result<Self> {
        let unique = uuid_of(&json!(std::process::id()), 6);
        let name = format!("a{unique}");
        let operator = client_as(Some(crate::hook::OPERATOR)).await?;
        let admin = client_as(Some("somebody")).await?;
        let own = tenant(&name, &json!({}));
        through(&operator, Door::Apply, false, &own).await?;
        let uid = api_of(&operator, &own)?.get(&name).await?.metadata.uid.context("uid")?;
        let estate = Self { name, operator, admin, uid };
        estate.put(&namespace(&estate.home(), &estate.name, &estate.uid, "home")).await?;
        estate.put(&namespace(&estate.room(), &estate.name, &estate.uid, "project")).await?;
        Ok(estate)
    }

    pub fn home(&self) -> String {
        format!("tn-{}", self.name)
    }

    pub fn room(&self) -> String {
        format!("tn-{}-web", self.name)
    }

    pub fn named(&self, name: &str) -> String {
        format!("{}-{name}", self.name)
    }

    /// Puts an object there, as the operator.
    pub async fn put(&self, object: &Value) -> Result<()> {
        Ok(through(&self.operator, Door::Apply, false, object).await?)
    }

    /// Making `object` comes to `expected` by every door, and a refusal leaves nothing.
    pub async fn making(&self, object: &Value, expected: Option<&str>) -> Result<()> {
        for door in MAKING {
            comes_to(&self.admin, door, object, expected).await?;
            if let Some(field) = expected {
                let result = through(&self.admin, door, false, object).await;
                let fields = refusal(&result).with_context(|| format!("{door:?}: {result:?}"))?;
                assert!(fields.iter().any(|found| found == field), "{door:?}: {fields:?}");
                let name = object["metadata"]["name"].as_str().context("name")?;
                let left = api_of(&self.admin, object)?.get_opt(name).await?;
                assert!(left.is_none(), "{door:?} left something behind");
            }
        }
        Ok(())
    }

    /// Changing an object that is there comes to `expected` by every door, and a refusal changes nothing.
    pub async fn changing(
        &self,
        doors: &[Door],
        object: &Value,
        expected: Option<&str>,
    ) -> Result<()> {
        let name = object["metadata"]["name"].as_str().context("name")?;
        let api = api_of(&self.admin, object)?;
        for door in doors {
            comes_to(&self.admin, *door, object, expected).await?;
            if expected.is_some() {
                let before = api.get(name).await?.metadata;
                let result = through(&self.admin, *door, false, object).await;
                assert!(refusal(&result).is_some(), "{door:?}: {result:?}");
                let after = api.get(name).await?.metadata;
                assert_eq!(before.generation, after.generation, "{door:?} changed it");
                assert_eq!(before.deletion_timestamp, after.deletion_timestamp, "{door:?}");
                assert_eq!(before.labels, after.labels, "{door:?} changed labels");
            }
        }
        Ok(())
    }
}

/// Everything that tests here make, what uses something before what it uses.
const KINDS: [(&str, &str); 19] = [
    (COMPUTE, "VirtualMachine"),
    (NETWORK, "IPClaim"),
    (NETWORK, "VLAN"),
    (NETWORK, "IPBlock"),
    (NETWORK, "IPPool"),
    (NETWORK, "VLANPool"),
    (NETWORK, "VLANFabric"),
    (NETWORK, "Prefix"),
    (NETWORK, "AddressSpace"),
    (NETWORK, "SecurityZone"),
    (TENANCY, "TenantMember"),
    (TENANCY, "Project"),
    (COMPUTE, "PhysicalMachine"),
    (COMPUTE, "ComputeCluster"),
    (COMPUTE, "InstanceType"),
    (TENANCY, "Tenant"),
    (BILLING, "PricePlan"),
    (BILLING, "Meter"),
    ("v1", "Namespace"),
];

impl Estate {
    /// Takes everything away again, as the operator: other suites use the same cluster.
    pub async fn clear(self) -> Result<()> {
        for (version, kind) in KINDS {
            let every = api_of(&self.operator, &json!({ "apiVersion": version, "kind": kind }))?;
            for found in every.list(&ListParams::default()).await? {
                let (name, namespace) = (found.name_any(), found.namespace());
                let ours = [Some(&name), namespace.as_ref()];
                if ours.into_iter().flatten().any(|text| text.contains(&self.name)) {
                    let object = json!({ "apiVersion": version, "kind": kind,
                        "metadata": { "name": name, "namespace": namespace } });
                    if found.metadata.finalizers.is_some() && kind != "Namespace" {
                        // As the programs do that hold it.
                        let mut free = object.clone();
                        free["metadata"]["finalizers"] = Value::Null;
                        through(&self.operator, Door::MergePatch, false, &free).await?;
                    }
                    through(&self.operator, Door::Delete, false, &object).await?;
                }
            }
        }
        Ok(())
    }
}

/// A few letters that differ from run to run.
fn uuid_of(seed: &Value, length: usize) -> String {
    let stamp = std::time::Instant::now();
    let text = format!("{seed}{stamp:?}");
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for byte in text.bytes() {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    format!("{hash:016x}").chars().take(length).collect()
}

#[tokio::test]
async fn tenants_and_what_they_hold() -> Result<()> {
    let _turn = TURN.lock().await;
    let _hook = Hook::start(&[]).await?;
    let estate = Estate::found().await?;
    tenancy(&estate).await?;
    members(&estate).await?;
    projects(&estate).await?;
    machines(&estate).await?;
    the_record(&estate).await?;
    estate.clear().await
}

async fn tenancy(estate: &Estate) -> Result<()> {
    let child = estate.named("child");
    let below = |parent: &str| tenant(&child, &json!({ "parentRef": { "name": parent } }));
    estate.making(&below(&estate.name), None).await?;
    estate.making(&below(&child), Some("spec.parentRef.name")).await?;
    let zone = |zone: &str| tenant(&child, &json!({ "timeZone": zone }));
    estate.making(&zone("Asia/Kathmandu"), None).await?;
    estate.making(&zone("Mars/Olympus"), Some("spec.timeZone")).await?;

    // The account id is filled in, differs from object to object, and is kept by a replace without it.
    through(&estate.admin, Door::Create, false, &below(&estate.name)).await?;
    let api = api_of(&estate.admin, &below(&estate.name))?;
    let account = api.get(&child).await?.data["spec"]["accountId"].clone();
    assert!(account.as_str().is_some_and(|id| id.len() == 36), "{account}");
    through(&estate.admin, Door::Replace, false, &below(&estate.name)).await?;
    assert_eq!(api.get(&child).await?.data["spec"]["accountId"], account);

    let circle = tenant(&estate.name, &json!({ "parentRef": { "name": child } }));
    estate.changing(&CHANGING, &circle, Some("spec.parentRef.name")).await?;
    estate
        .changing(&[Door::Delete], &tenant(&estate.name, &json!({})), Some("metadata.name"))
        .await?;
    let guarded = tenant(&child, &json!({ "protected": true, "parentRef": null }));
    through(&estate.admin, Door::MergePatch, false, &guarded).await?;
    estate.changing(&[Door::Delete], &guarded, Some("spec.protected")).await?;
    let freed = tenant(&child, &json!({ "protected": false }));
    through(&estate.admin, Door::MergePatch, false, &freed).await?;
    estate.changing(&[Door::Delete], &freed, None).await?;
    through(&estate.admin, Door::Delete, false, &freed).await?;
    Ok(())
}

async fn members(estate: &Estate) -> Result<()> {
    let home = estate.home();
    estate.making(&member(&home, "ann", "ann", "owner"), None).await?;
    estate.making(&member("default", "ann", "ann", "owner"), Some("metadata.namespace")).await?;
    // Applied, because a list with keys merges what different managers put in.
    through(&estate.admin, Door::Apply, false, &member(&home, "ann", "ann", "owner")).await?;
    estate.making(&member(&home, "twin", "ann", "auditor"), Some("spec.subject")).await?;
    let demoted = member(&home, "ann", "ann", "auditor");
    estate.changing(&CHANGING, &demoted, Some("spec.roleRefs")).await?;
    estate.changing(&[Door::Delete], &demoted, Some("spec.roleRefs")).await?;
    estate.put(&member(&home, "dan", "dan", "owner")).await?;
    estate.changing(&[Door::Delete], &demoted, None).await?;

    // A person with rights on members in the namespace still gives no role that he lacks.
    let rights = [
        json!({ "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role",
            "metadata": { "name": "members", "namespace": home }, "rules": [{
            "apiGroups": ["tenancy.freehold.dev"], "resources": ["tenantmembers"], "verbs": ["*"] }] }),
        json!({ "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
            "metadata": { "name": "members", "namespace": home },
            "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "members" },
            "subjects": [{ "apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "people" }] }),
    ];
    for right in rights {
        through(&estate.operator, Door::Apply, false, &right).await?;
    }
    estate.put(&member(&home, "bob", "bob", "admin")).await?;
    for (user, role, expected) in [
        ("ann", "owner", None),
        ("bob", "admin", None),
        ("bob", "owner", Some("spec.roleRefs")),
        ("mallory", "auditor", Some("spec.roleRefs")),
    ] {
        let person = client_of(Some(user), &["people", "system:authenticated"]).await?;
        comes_to(&person, Door::Create, &member(&home, "new", "new", role), expected).await?;
    }
    Ok(())
}

async fn projects(estate: &Estate) -> Result<()> {
    estate.making(&project(&estate.home(), "shop"), None).await?;
    estate.making(&project("default", "shop"), Some("metadata.namespace")).await?;
    let taken = namespace(&format!("{}-mail", estate.home()), "other", "other-uid", "home");
    estate.put(&taken).await?;
    estate.making(&project(&estate.home(), "mail"), Some("metadata.name")).await?;
    let stolen = tenant(&format!("{}-mail", estate.name), &json!({}));
    estate.making(&stolen, Some("metadata.name")).await
}

async fn machines(estate: &Estate) -> Result<()> {
    let room = estate.room();
    let plain = machine(&room, "m", &json!({}));
    estate.making(&plain, None).await?;
    estate.making(&machine("default", "m", &json!({})), Some("metadata.namespace")).await?;
    let lab = estate.named("lab");
    estate.put(&cluster(&lab, &format!("/run/{lab}"))).await?;
    let at = |image: &str| {
        let place = json!({ "placement": { "clusterRef": { "name": lab } }, "image": image });
        machine(&room, "m", &place)
    };
    estate.making(&at("linux"), None).await?;
    estate.making(&at("beos"), Some("spec.image")).await?;

    let off = machine(&room, "m", &json!({ "running": false }));
    through(&estate.admin, Door::Create, false, &off).await?;
    let stop = json!({ "suspended": true, "suspendReason": "arrears" });
    estate.put(&tenant(&estate.name, &stop)).await?;
    let on = machine(&room, "m", &json!({ "running": true }));
    estate.changing(&CHANGING, &on, Some("spec.running")).await?;
    estate.making(&machine(&room, "n", &json!({})), Some("spec.running")).await?;
    estate.put(&tenant(&estate.name, &json!({ "suspended": false }))).await?;
    estate.changing(&CHANGING, &on, None).await
}

async fn the_record(estate: &Estate) -> Result<()> {
    let mut machine = machine(&estate.room(), "m", &json!({ "running": false }));
    let entry = |number: i64| {
        json!({ "number": number, "at": "2026-06-01T00:00:00.000000Z", "reason": "Started",
            "holds": { "compute/vcpu": "1" }, "final": false })
    };
    let status = |numbers: &[i64], acknowledged: i64| {
        let entries: Vec<Value> = numbers.iter().map(|number| entry(*number)).collect();
        json!({ "transitions": entries, "lastTransitionNumber": 3,
            "metering": { "acknowledgedNumber": acknowledged } })
    };
    machine["status"] = status(&[1, 2, 3], 1);
    through(&estate.operator, Door::PatchStatus, false, &machine).await?;
    let doors = [Door::ReplaceStatus, Door::PatchStatus];
    machine["status"] = status(&[2, 3], 2);
    estate.changing(&doors, &machine, None).await?;
    machine["status"] = status(&[3], 1);
    estate.changing(&doors, &machine, Some("status.transitions")).await?;
    machine["status"] = status(&[1, 2, 3], 0);
    estate.changing(&doors, &machine, Some("status.metering.acknowledgedNumber")).await?;
    // Deleting asks nobody.
    through(&estate.admin, Door::Delete, false, &machine).await?;
    Ok(())
}

#[tokio::test]
async fn clusters_sizes_meters_and_plans() -> Result<()> {
    let _turn = TURN.lock().await;
    let _hook = Hook::start(&[]).await?;
    let estate = Estate::found().await?;
    let (lab, twin) = (estate.named("lab"), estate.named("twin"));
    let socket = format!("/run/{lab}");
    estate.making(&cluster(&lab, &socket), None).await?;
    estate.put(&cluster(&lab, &socket)).await?;
    let field = "spec.provider.libvirt.socket";
    estate.making(&cluster(&twin, &socket), Some(field)).await?;
    estate.put(&cluster(&twin, "/run/other")).await?;
    estate.changing(&CHANGING, &cluster(&twin, &socket), Some(field)).await?;

    let (one, two) = (estate.named("one"), estate.named("two"));
    estate.put(&host(&one, &lab, "node-1")).await?;
    estate.making(&host(&two, &lab, "node-2"), None).await?;
    estate.making(&host(&two, &lab, "node-1"), Some("spec.providerHost")).await?;
    let mut busy = host(&one, &lab, "node-1");
    busy["status"] = json!({ "allocations": [
        { "uid": "u", "machine": "n/m", "amounts": {}, "sequence": 1 }] });
    estate.changing(&[Door::Delete], &busy, None).await?;
    through(&estate.operator, Door::PatchStatus, false, &busy).await?;
    estate.changing(&[Door::Delete], &busy, Some("status.allocations")).await?;

    let small = object(
        COMPUTE,
        "InstanceType",
        None,
        &estate.named("small"),
        json!({ "vcpus": 1, "memory": "1Gi" }),
    );
    estate.put(&small).await?;
    estate.changing(&[Door::Delete], &small, None).await?;
    let of = json!({ "instanceTypeRef": { "name": estate.named("small") } });
    estate.put(&machine(&estate.room(), "sized", &of)).await?;
    estate.changing(&[Door::Delete], &small, Some("metadata.name")).await?;
    prices(&estate).await?;
    estate.clear().await
}

async fn prices(estate: &Estate) -> Result<()> {
    let (cpu, basic) = (estate.named("cpu"), estate.named("basic"));
    let (june, july) = ("2030-06-01T00:00:00Z", "2030-07-01T00:00:00Z");
    estate.put(&meter(&cpu, 3600)).await?;
    estate.changing(&CHANGING, &meter(&cpu, 60), None).await?;
    let of = |from: &str, rate: &str| plan(&basic, from, "EUR", &cpu, rate);
    estate.making(&of(june, "0.05"), None).await?;
    let field = "spec.phases[0].rateCards[0].price.perUnit.rate";
    estate.making(&of(june, "0.00"), Some(field)).await?;
    estate.put(&of(june, "0.05")).await?;
    estate.changing(&CHANGING, &of(july, "0.06"), None).await?;
    estate.changing(&CHANGING, &of(june, "0.06"), Some("spec.effectiveFrom")).await?;
    estate.changing(&CHANGING, &meter(&cpu, 60), Some("spec.displayUnit.units")).await?;
    estate.changing(&[Door::Delete], &meter(&cpu, 3600), Some("metadata.name")).await?;
    estate.changing(&[Door::Delete], &of(june, "0.05"), None).await?;
    estate.put(&tenant(&estate.name, &json!({ "planRef": { "name": basic } }))).await?;
    estate.changing(&[Door::Delete], &of(june, "0.05"), Some("metadata.name")).await?;
    let dollars = estate.named("dollars");
    estate.put(&plan(&dollars, june, "USD", &cpu, "0.05")).await?;
    let other = tenant(&estate.name, &json!({ "planRef": { "name": dollars } }));
    estate.changing(&CHANGING, &other, Some("spec.planRef.name")).await
}

#[tokio::test]
async fn namespaces_of_tenants_are_out_of_reach() -> Result<()> {
    let _turn = TURN.lock().await;
    let _hook = Hook::start(&[]).await?;
    let estate = Estate::found().await?;
    let free = |name: &str| json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name } });
    estate.making(&free(&estate.named("free")), None).await?;
    estate.making(&free(&format!("tn-{}", estate.named("x"))), Some("metadata.name")).await?;
    let label = "metadata.labels[tenancy.freehold.dev/tenant-uid]";
    let claimed = namespace(&estate.named("claimed"), &estate.name, &estate.uid, "project");
    estate.making(&claimed, Some(label)).await?;

    let whole = |uid: &str| {
        let mut whole = namespace(&estate.room(), &estate.name, uid, "project");
        whole["spec"] = json!({ "finalizers": ["kubernetes"] });
        whole
    };
    let doors =
        [Door::Replace, Door::MergePatch, Door::Apply, Door::ReplaceStatus, Door::PatchStatus];
    estate.changing(&doors, &whole("stolen"), Some(label)).await?;
    estate.changing(&[Door::Finalize], &whole("stolen"), Some(label)).await?;
    let mut bare = whole(&estate.uid);
    bare["metadata"]["labels"] = json!({});
    estate.changing(&[Door::Replace, Door::Finalize], &bare, Some(label)).await?;
    let mut eased = whole(&estate.uid);
    eased["spec"]["finalizers"] = json!([]);
    estate.changing(&[Door::Finalize], &eased, Some("spec.finalizers")).await?;
    let mut owned = whole(&estate.uid);
    owned["metadata"]["ownerReferences"] =
        json!([{ "apiVersion": "v1", "kind": "Node", "name": "n", "uid": "u" }]);
    estate.changing(&CHANGING, &owned, Some("metadata.ownerReferences")).await?;
    let mut noted = whole(&estate.uid);
    noted["metadata"]["annotations"] = json!({ "note": "mine" });
    estate.changing(&doors, &noted, None).await?;
    estate.changing(&[Door::Delete], &whole(&estate.uid), Some("metadata")).await?;

    // The operator deletes, and the namespace controller finishes.
    through(&estate.operator, Door::Delete, false, &whole(&estate.uid)).await?;
    let api = api_of(&estate.admin, &whole(&estate.uid))?;
    testkit::eventually("the namespace is gone", LIMIT * 2, || async {
        Ok(api.get_opt(&estate.room()).await?.is_none().then_some(()))
    })
    .await?;
    estate.clear().await
}

#[tokio::test]
async fn away_it_stops_growth_and_nothing_else() -> Result<()> {
    let _turn = TURN.lock().await;
    let mut hook = Hook::start(&[]).await?;
    let estate = Estate::found().await?;
    let running = machine(&estate.room(), "m", &json!({}));
    estate.put(&running).await?;
    hook.crash()?;
    let grown =
        through(&estate.admin, Door::Create, true, &machine(&estate.room(), "n", &json!({}))).await;
    assert!(matches!(&grown, Err(kube::Error::Api(status)) if status.code == 500), "{grown:?}");
    through(&estate.admin, Door::Delete, false, &running).await?;
    let foreign = json!({ "apiVersion": "v1", "kind": "Namespace",
        "metadata": { "name": estate.named("foreign"), "labels": { "team": "a" } } });
    through(&estate.admin, Door::Create, false, &foreign).await?;
    through(&estate.admin, Door::Delete, false, &foreign).await?;
    let repaired = namespace(&estate.room(), &estate.name, "repaired", "project");
    through(&estate.operator, Door::Apply, false, &repaired).await?;
    estate.clear().await
}
