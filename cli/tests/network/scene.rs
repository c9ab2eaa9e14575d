//! A network of a few objects, and a double of the Kubernetes API that serves it in pages.
#![expect(clippy::indexing_slicing, reason = "a test fails by panicking")]

use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, Uri};
use axum::{Json, Router};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::process::Output;
use std::sync::{Arc, Mutex};
use tokio::process::Command;

/// Objects by plural; a plural that is not here is not served, and `null` is refused.
pub type Objects = BTreeMap<String, Value>;

/// A UID that ends with this number.
pub fn uid(number: u32) -> String {
    format!("00000000-0000-4000-8000-{number:012}")
}

const EARLIER: &str = "2026-11-26T10:00:00Z";

fn ready(status: &str, reason: &str, message: &str) -> Value {
    json!([{"type": "Ready", "status": status, "reason": reason, "message": message,
        "lastTransitionTime": "2026-11-26T12:00:00Z"}])
}

/// Adds the fields of `more` to an object.
fn with(mut object: Value, more: Value) -> Value {
    let (Value::Object(fields), Value::Object(more)) = (&mut object, more) else { return object };
    fields.extend(more);
    object
}

fn object(number: u32, name: &str, spec: Value, status: Value) -> Value {
    json!({
        "metadata": {"name": name, "uid": uid(number), "creationTimestamp": EARLIER},
        "spec": spec, "status": status,
    })
}

fn in_namespace(namespace: &str, created: &str, mut object: Value) -> Value {
    object["metadata"]["namespace"] = json!(namespace);
    object["metadata"]["creationTimestamp"] = json!(created);
    object
}

fn prefix(number: u32, name: &str, cidr: &str, parent: Option<&str>, more: Value) -> Value {
    let spec = match parent {
        None => json!({"spaceRef": {"name": "hall"}, "cidr": cidr}),
        Some(parent) => json!({"parentRef": {"name": parent}, "cidr": cidr}),
    };
    let role = more.get("role").cloned().unwrap_or(json!("Container"));
    let conditions = ready("True", "Booked", "the parent holds it");
    let status = json!({"space": "hall", "cidr": cidr, "conditions": conditions});
    object(number, name, with(spec, json!({"role": role})), with(status, more))
}

fn slot(index: u32, state: &str, pool: u32, owner: u32, reference: &str) -> Value {
    let slot = json!({"index": index, "state": state, "pool": uid(pool), "uid": uid(owner),
        "ref": reference, "tenant": uid(90), "since": EARLIER, "seq": 7});
    if state == "Quarantined" {
        return with(slot, json!({"until": "2026-11-26T12:05:00Z"}));
    }
    slot
}

fn block(number: u32, name: &str, cidr: &str, slots: Value, more: Value) -> Value {
    let spec = json!({"spaceRef": {"name": "hall"}, "cidr": cidr});
    object(number, name, spec, with(json!({"sequence": 7, "slots": slots}), more))
}

fn bound(address: &str, pool: &str, block: &str, index: u32) -> Value {
    json!({
        "phase": "Bound", "conditions": ready("True", "Bound", "the address is the claim's until it is deleted"),
        "addresses": [{"address": address, "prefixLength": 24, "family": "IPv4", "pool": pool,
            "gateway": "10.20.1.1", "block": block, "index": index, "seq": 7}],
        "explanation": {"strategy": "Dispersed: probed from slot 10, without a foreign neighbour",
            "passedOver": [{"candidate": "2 addresses", "reason": "NotHandedOut"}]},
    })
}

fn waits(free: u32, count: u32) -> Value {
    let message = format!(
        "pool tiny has {free} free IPv4 addresses for this tenant, and the claim needs {count}"
    );
    json!({"phase": "Pending", "conditions": ready("False", "PoolExhausted", &message)})
}

fn prefixes() -> Value {
    json!([
        prefix(
            21,
            "front",
            "10.30.2.0/23",
            Some("hall"),
            json!({
            "role": "Pool", "zone": "outside", "tenant": "acme", "total": "512", "free": "0", "used": "1",
            "fragmentation": "0", "utilisation": "1"})
        ),
        prefix(
            20,
            "hall",
            "10.0.0.0/8",
            None,
            json!({
            "class": "A", "total": "16777216", "free": "16711168", "used": "5",
            "fragmentation": "0.498", "utilisation": "0.003",
            "freeBySize": {"/9": "1", "/10": "1", "/11": "1", "/12": "1", "/14": "1", "/16": "1", "/17": "1"}})
        ),
        prefix(
            22,
            "hall-inside",
            "10.20.0.0/16",
            Some("hall"),
            json!({
            "class": "B", "zone": "inside", "total": "65536", "free": "65276", "used": "4",
            "fragmentation": "0", "utilisation": "0.003", "freeBySize": {"/17": "1", "/24": "1", "/18": "1"}})
        ),
        prefix(
            23,
            "web",
            "10.20.1.0/24",
            Some("hall-inside"),
            json!({
            "role": "Pool", "class": "C", "zone": "inside", "total": "256", "free": "128", "used": "3",
            "fragmentation": "0", "utilisation": "0.5", "freeBySize": {"/25": "1"}})
        ),
        prefix(
            24,
            "tiny",
            "10.20.2.0/30",
            Some("hall-inside"),
            json!({
            "role": "Pool", "zone": "inside", "total": "4", "free": "0", "used": "1",
            "fragmentation": "0", "utilisation": "1"})
        ),
        object(
            25,
            "batch",
            json!({"parentRef": {"name": "hall-inside"}, "length": 15}),
            json!({"conditions": ready("False", "NotBooked",
                "spec.length: /15 is not longer than its parent 10.20.0.0/16; ask for /17 or longer")})
        ),
        object(
            26,
            "orphan",
            json!({"parentRef": {"name": "nowhere"}, "cidr": "10.99.0.0/24"}),
            Value::Null
        ),
    ])
}

fn pools() -> Value {
    let out = ready("True", "HandsOut", "takes claims");
    json!([
        object(
            31,
            "front",
            json!({"prefixRef": {"name": "front"}, "gateway": "10.30.2.1",
            "strategy": "ExclusiveBlock", "allowedTenants": ["acme"]}),
            json!({"space": "hall", "zone": "outside", "family": "IPv4", "conditions": out, "generation": 7,
                "total": "512", "free": "508", "used": "1", "quarantined": "0", "excluded": "3",
                "scores": {"fragmentation": "0", "freeBySize": {"/24": "1"}}})
        ),
        object(
            30,
            "web",
            json!({"prefixRef": {"name": "web"}, "ranges": ["10.20.1.0/25"],
            "exclude": ["10.20.1.2-10.20.1.9"], "gateway": "10.20.1.1", "strategy": "Dispersed",
            "allowedTenants": ["*"]}),
            json!({"space": "hall", "zone": "inside", "family": "IPv4", "conditions": out, "generation": 7,
                "total": "128", "free": "114", "used": "3", "quarantined": "1", "excluded": "10",
                "scores": {"fragmentation": "0.25", "freeBySize": {"/26": "1", "/27": "1", "/29": "2"}}})
        ),
        object(
            32,
            "tiny",
            json!({"prefixRef": {"name": "tiny"}, "allowedTenants": ["acme", "lin"]}),
            json!({"space": "hall", "zone": "inside", "family": "IPv4", "generation": 7, "waiting": 2,
                "conditions": ready("True", "Exhausted", "every address is taken; claims wait"),
                "total": "4", "free": "0", "used": "1", "quarantined": "1", "excluded": "2"})
        ),
    ])
}

fn claims() -> Value {
    let claim = |number, namespace, name, created, pool: &str, count: u32, status| {
        let spec = json!({"poolRef": {"name": pool}, "count": count});
        in_namespace(namespace, created, object(number, name, spec, status))
    };
    let web = |number, name, address, index| {
        let status = bound(address, "web", "hall-10-20-1-0", index);
        claim(number, "tn-acme-shop", name, EARLIER, "web", 1, status)
    };
    let wish = |number, name, address: &str, reason| {
        let spec = json!({"poolRef": {"name": "web"}, "address": address});
        let message = format!("spec.address: {address} is not to be had");
        let status = json!({"phase": "Pending", "conditions": ready("False", reason, &message)});
        in_namespace("tn-acme-shop", EARLIER, object(number, name, spec, status))
    };
    json!([
        wish(70, "wish", "10.20.1.10", "InUse"),
        wish(71, "patient", "10.20.1.16", "Quarantined"),
        web(40, "web", "10.20.1.10", 10),
        web(41, "web-2", "10.20.1.12", 12),
        web(42, "web-3", "10.20.1.14", 14),
        claim(
            43,
            "tn-acme-shop",
            "edge",
            EARLIER,
            "front",
            1,
            bound("10.30.2.2", "front", "hall-10-30-2-0", 2)
        ),
        claim(
            44,
            "tn-acme-shop",
            "first",
            EARLIER,
            "tiny",
            1,
            bound("10.20.2.1", "tiny", "hall-10-20-2-0", 1)
        ),
        claim(45, "tn-lin-job", "early", "2026-11-26T11:00:00Z", "tiny", 2, waits(0, 2)),
        claim(46, "tn-acme-shop", "late", "2026-11-26T11:30:00Z", "tiny", 1, waits(0, 1)),
    ])
}

fn blocks() -> Value {
    let web = json!([
        slot(10, "Allocated", 30, 40, "tn-acme-shop/web"),
        slot(12, "Allocated", 30, 41, "tn-acme-shop/web-2"),
        slot(14, "Allocated", 30, 42, "tn-acme-shop/web-3"),
        slot(16, "Quarantined", 30, 49, "tn-acme-shop/gone"),
    ]);
    let tiny = json!([
        slot(1, "Allocated", 32, 44, "tn-acme-shop/first"),
        slot(2, "Quarantined", 32, 48, "tn-lin-job/gone"),
    ]);
    let front = json!([slot(2, "Allocated", 31, 43, "tn-acme-shop/edge")]);
    json!([
        block(50, "hall-10-20-1-0", "10.20.1.0/24", web, json!({})),
        block(51, "hall-10-20-2-0", "10.20.2.0/24", tiny, json!({})),
        block(52, "hall-10-30-2-0", "10.30.2.0/24", front, json!({"tenant": uid(90)})),
    ])
}

fn vlan_pools() -> Value {
    let owner = |id: u32, state: &str, number: u32, name: &str| {
        let owner = json!({"id": id, "state": state, "uid": uid(number), "ref": name, "tenant": uid(90),
            "since": EARLIER, "seq": 3});
        if state == "Quarantined" { with(owner, json!({"until": EARLIER})) } else { owner }
    };
    json!([
        object(
            60,
            "hall-inside",
            json!({"fabric": "hall-1", "zoneRef": {"name": "inside"}, "ranges": ["100-199"]}),
            json!({"sequence": 3, "owners": [
                owner(100, "Allocated", 61, "tn-acme-shop/web"),
                owner(101, "Allocated", 62, "tn-acme-shop/spare"),
                owner(102, "Quarantined", 63, "tn-acme-shop/gone"),
            ]})
        ),
        object(64, "loose", json!({"fabric": "hall-2", "ranges": ["7"]}), json!({"sequence": 0})),
    ])
}

fn vlans() -> Value {
    let vlan = |number, name, id: u32, more| {
        let spec = with(json!({"poolRef": {"name": "hall-inside"}}), more);
        let status = json!({"phase": "Bound", "id": id, "pool": "hall-inside", "fabric": "hall-1", "seq": 3});
        in_namespace("tn-acme-shop", EARLIER, object(number, name, spec, status))
    };
    json!([
        vlan(61, "web", 100, json!({"prefixRef": {"name": "web"}, "purpose": "front ends"})),
        vlan(62, "spare", 101, json!({})),
    ])
}

/// Everything as it should be.
pub fn scene() -> Objects {
    let totals = json!({"prefixes": "6", "pools": "3", "ipv4": {
        "total": "644", "free": "622", "used": "5", "quarantined": "2", "excluded": "15"}});
    let tenant = object(
        90,
        "acme",
        json!({"type": "Enterprise", "displayName": "Acme", "currency": "EUR",
        "paymentMode": "Postpaid", "planRef": {"name": "standard"}}),
        json!({}),
    );
    let space = |number, name: &str, more| {
        let status = json!({"conditions": ready("True", "Ready", "holds its roots")});
        object(number, name, json!({}), with(status, more))
    };
    let namespace = json!({"metadata": {"name": "tn-acme-shop",
        "labels": {"tenancy.freehold.dev/tenant": "acme"}}});
    [
        (
            "addressspaces",
            json!([space(11, "lab", json!({})), space(10, "hall", json!({"totals": totals}))]),
        ),
        ("prefixes", prefixes()),
        ("ippools", pools()),
        ("ipclaims", claims()),
        ("ipblocks", blocks()),
        ("vlanpools", vlan_pools()),
        ("vlans", vlans()),
        ("tenants", json!([tenant])),
        ("namespaces", json!([namespace])),
    ]
    .into_iter()
    .map(|(plural, objects)| (plural.to_owned(), objects))
    .collect()
}

/// The double.
pub struct Double {
    pub asked: Arc<Mutex<Vec<String>>>,
    kubeconfig: tempfile::NamedTempFile,
}

#[derive(Clone)]
struct Served {
    objects: Arc<Objects>,
    asked: Arc<Mutex<Vec<String>>>,
}

type Answer = (StatusCode, Json<Value>);

fn status(code: StatusCode, message: &str) -> Answer {
    let body = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": message,
        "reason": code.canonical_reason().unwrap_or_default().replace(' ', ""), "code": code.as_u16()});
    (code, Json(body))
}

async fn answer(
    State(served): State<Served>,
    uri: Uri,
    Path(path): Path<String>,
    Query(query): Query<BTreeMap<String, String>>,
) -> Answer {
    served.asked.lock().unwrap().push(uri.to_string());
    let parts: Vec<&str> = path.split('/').collect();
    let rest = if parts[0] == "api" { &parts[2..] } else { &parts[3..] };
    let (plural, namespace, name) = match rest {
        ["namespaces", name] => ("namespaces", None, Some(*name)),
        ["namespaces", namespace, plural, name] => (*plural, Some(*namespace), Some(*name)),
        [plural] => (*plural, None, None),
        _ => return status(StatusCode::NOT_FOUND, "no such path"),
    };
    let objects = match served.objects.get(plural) {
        // As an API server answers for a path that it does not know: in plain text.
        None => return (StatusCode::NOT_FOUND, Json(json!("404 page not found"))),
        Some(Value::Null) => {
            return status(
                StatusCode::FORBIDDEN,
                &format!("{plural} is forbidden: User \"lin\" cannot list it"),
            );
        }
        Some(objects) => objects.as_array().unwrap(),
    };
    if let Some(name) = name {
        let is_it = |object: &&Value| {
            let metadata = &object["metadata"];
            metadata["name"] == name && namespace.is_none_or(|space| metadata["namespace"] == space)
        };
        return match objects.iter().find(is_it) {
            Some(object) => (StatusCode::OK, Json(object.clone())),
            None => status(StatusCode::NOT_FOUND, "not found"),
        };
    }
    // Pages of two, whatever is asked for: an API server may give fewer.
    let from: usize = query.get("continue").map_or(0, |token| token.parse().unwrap());
    let page: Vec<&Value> = objects.iter().skip(from).take(2).collect();
    let next = if from + 2 < objects.len() { (from + 2).to_string() } else { String::new() };
    let list =
        json!({"kind": "List", "apiVersion": "v1", "metadata": {"continue": next}, "items": page});
    (StatusCode::OK, Json(list))
}

/// Notes a create and says that it was done, unless the name is one that admission or chance does not like.
async fn create(
    State(served): State<Served>,
    uri: Uri,
    Query(query): Query<BTreeMap<String, String>>,
    Json(mut object): Json<Value>,
) -> Answer {
    let name = object["metadata"]["name"].as_str().unwrap().to_owned();
    let is_dry = query.get("dryRun").is_some_and(|value| value == "All");
    let verb = if is_dry { "TRY" } else { "CREATE" };
    served.asked.lock().unwrap().push(format!("{verb} {} {name} {}", uri.path(), object["spec"]));
    match (name.as_str(), is_dry) {
        ("unwanted", _) => {
            status(StatusCode::FORBIDDEN, "admission webhook denied it: spec.cidr: is not wanted")
        }
        ("unlucky", false) => status(StatusCode::INTERNAL_SERVER_ERROR, "etcd has no leader"),
        _ => {
            object["metadata"]["uid"] = json!(format!("uid-of-{name}"));
            (StatusCode::CREATED, Json(object))
        }
    }
}

/// Notes a delete with its preconditions.
async fn remove(State(served): State<Served>, uri: Uri, Json(options): Json<Value>) -> Answer {
    let uid = options["preconditions"]["uid"].as_str().unwrap().to_owned();
    served.asked.lock().unwrap().push(format!("DELETE {} {uid}", uri.path()));
    (StatusCode::OK, Json(json!({"kind": "Status", "apiVersion": "v1", "status": "Success"})))
}

/// Serves these objects.
pub async fn serve(objects: Objects) -> Double {
    let asked = Arc::default();
    let served = Served { objects: Arc::new(objects), asked: Arc::clone(&asked) };
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let routes = Router::new()
        .route("/{*path}", axum::routing::get(answer).post(create).delete(remove))
        .with_state(served);
    tokio::spawn(async move { axum::serve(listener, routes).await });
    Double { asked, kubeconfig: kubeconfig(&url) }
}

/// A kubeconfig of one cluster.
pub fn kubeconfig(url: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    let text = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "double",
        "clusters": [{"name": "double", "cluster": {"server": url}}],
        "contexts": [{"name": "double", "context": {"cluster": "double", "user": "nobody"}}],
        "users": [{"name": "nobody", "user": {}}],
    });
    std::fs::write(file.path(), text.to_string()).unwrap();
    file
}

/// Runs the command with a kubeconfig.
pub async fn run_with(kubeconfig: &std::path::Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kubectl-freehold"));
    // Nothing of the machine's own: neither its cluster nor a proxy between us and the double.
    command.env_clear().env("HOME", "/nonexistent").env("KUBECONFIG", kubeconfig);
    command.arg("network").args(arguments).output().await.unwrap()
}

/// Runs the command against the double.
pub async fn run(double: &Double, arguments: &[&str]) -> Output {
    run_with(double.kubeconfig.path(), arguments).await
}
