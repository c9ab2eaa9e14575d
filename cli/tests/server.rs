//! The commands that ask the billing-controller, against a double that answers and refuses like it does.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::process::Output;
use std::sync::{Arc, Mutex};
use tokio::process::Command;

/// What the double was asked: method or path, parameters, and the idempotency key.
type Asked = Arc<Mutex<Vec<String>>>;
type Answer = (StatusCode, Json<Value>);

fn line(key: &str, description: &str, quantity: &str, amount: &str) -> Value {
    json!({
        "key": key, "description": description, "project": "shop", "object": "VirtualMachine/web",
        "part": "", "quantity": quantity, "unit": "vCPU-hour", "amount": amount, "flags": [],
        "aFieldOfALaterVersion": true,
    })
}

fn lines() -> Value {
    json!([
        line("k/1", "=HYPERLINK(\"x\")", "1/3", "-4.17"),
        line("k/2", "Virtual processors", "2.500139", "31.25"),
    ])
}

fn bill() -> Value {
    json!({
        "tenant": "acme", "account": "6f1c4c1e-3f0a-4c56-9b7e-1a2b3c4d5e01", "plan": "standard",
        "currency": "EUR",
        "period": {"name": "2026-11-01", "from": "2026-10-31T23:00:00Z", "to": "2026-11-30T23:00:00Z"},
        "asOf": "2026-11-26T12:00:00Z", "lines": lines(), "total": "27.08",
        "unpriced": [{"meter": "disk", "generation": 1, "quantity": "7"}], "openGaps": 1,
    })
}

fn window(meter: &str, start: &str, quantity: &str) -> Value {
    json!({
        "meter": meter, "resource": "123e4567-e89b-12d3-a456-426614174000",
        "object": "VirtualMachine/web", "start": start, "baseUnits": "1200", "quantity": quantity,
        "unit": "hour", "facts": 3, "generation": 1,
    })
}

fn invoice() -> Value {
    json!({
        "number": "FH-000001", "tenant": "acme", "issuedAt": "2026-11-26T12:00:00Z",
        "through": "2026-11-26T12:00:00Z", "currency": "EUR", "total": "27.08", "lines": lines(),
    })
}

fn explanation() -> Value {
    let sample = |minute: u32| {
        json!({
            "at": format!("2026-11-26T12:{minute:02}:00Z"), "baseUnits": (minute * 1_000).to_string(),
        })
    };
    json!({
        "line": line("k/2", "Processor time", "48.25", "2.41"), "currency": "EUR",
        "explanation": {
            "conversion": {
                "baseUnits": "48250000", "baseUnitsPerDisplayUnit": "1000000",
                "displayUnit": "CPU-second", "quantity": "48.25",
            },
            "free": "0",
            "parts": [{"tierFrom": "0", "quantity": "48.25", "rate": "0.05", "amount": "2.4125"}],
            "exactAmount": "2.4125",
            "rounding": {"mode": "HalfAwayFromZero", "digits": 2, "amount": "2.41"},
        },
        "plan": "standard", "generation": 1, "versionHash": "abc", "effectiveFrom": "2026-01-01T00:00:00Z",
        "resource": "123e4567-e89b-12d3-a456-426614174000",
        "windows": [window("cpu-time", "2026-11-26T12:00:00Z", "48.25")],
        "samples": (0..10).map(sample).collect::<Vec<_>>(),
        "gaps": [{"meter": "cpu-time", "from": "2026-11-26T12:10:00Z", "cause": "noSeries"}],
    })
}

fn refusal(status: StatusCode, error: &str, hint: &str) -> Answer {
    (status, Json(json!({"error": error, "hint": hint})))
}

/// An answer for the tenant `acme`, refusals for others.
fn about(tenant: Option<&String>, answer: Value) -> Answer {
    match tenant.map(String::as_str) {
        Some("acme") => (StatusCode::OK, Json(answer)),
        Some("broken") => refusal(StatusCode::SERVICE_UNAVAILABLE, "the database is away", "wait"),
        Some("strange") => (StatusCode::OK, Json(json!({"tenant": 1}))),
        Some("proxy") => (StatusCode::BAD_GATEWAY, Json(json!({"message": "no endpoints"}))),
        other => {
            let error = format!("tenant {}: there is none", other.map_or("", |name| name));
            refusal(StatusCode::NOT_FOUND, &error, "kubectl get tenants lists them\u{1b}[2J")
        }
    }
}

type Parameters = Query<BTreeMap<String, String>>;

fn note(asked: &Asked, what: &str, parameters: &BTreeMap<String, String>) {
    let parameters: Vec<_> =
        parameters.iter().map(|(name, value)| format!("{name}={value}")).collect();
    asked.lock().unwrap().push(format!("{what} {}", parameters.join(" ")));
}

fn routes(asked: Asked) -> Router {
    Router::new()
        .route(
            "/api/v1/bill",
            get(async |State(asked): State<Asked>, Query(query): Parameters| {
                note(&asked, "bill", &query);
                about(query.get("tenant"), bill())
            }),
        )
        .route(
            "/api/v1/usage",
            get(async |State(asked): State<Asked>, Query(query): Parameters| {
                note(&asked, "usage", &query);
                let windows = [
                    window("vcpu", "2026-11-26T12:00:00Z", "1/3"),
                    window("vcpu", "2026-11-26T13:00:00Z", "2/3"),
                ];
                about(query.get("tenant"), json!({"tenant": "acme", "windows": windows}))
            }),
        )
        .route(
            "/api/v1/lines/explain",
            get(async |State(asked): State<Asked>, Query(query): Parameters| {
                note(&asked, "explain", &query);
                (StatusCode::OK, Json(explanation()))
            }),
        )
        .route(
            "/api/v1/invoices",
            get(async |Query(query): Parameters| {
                about(query.get("tenant"), json!({"invoices": [invoice()]}))
            })
            .post(async |State(asked): State<Asked>, headers: HeaderMap, Json(order): Json<Value>| {
                let key = headers.get("idempotency-key").map(|key| key.to_str().unwrap());
                asked.lock().unwrap().push(format!("order {order} {}", key.unwrap_or("none")));
                let tenant = order.get("tenant").and_then(Value::as_str).map(str::to_owned);
                about(tenant.as_ref(), invoice())
            }),
        )
        .route(
            "/api/v1/invoices/{number}",
            get(async |Path(number): Path<String>| match number.as_str() {
                "FH-000001" => (StatusCode::OK, Json(invoice())),
                other => refusal(StatusCode::NOT_FOUND, &format!("no invoice {other}"), ""),
            }),
        )
        .route(
            "/api/v1/doctor",
            get(async || {
                Json(json!({"checks": [
                    {"name": "database", "ok": true, "message": "answers"},
                    {"name": "gaps", "ok": false, "message": "2 are open", "remedy": "look at Prometheus"},
                ]}))
            }),
        )
        .with_state(asked)
}

struct Double {
    url: String,
    asked: Asked,
}

async fn double() -> Double {
    let asked = Asked::default();
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let routes = routes(Arc::clone(&asked));
    tokio::spawn(async move { axum::serve(listener, routes).await });
    Double { url, asked }
}

async fn run(server: &str, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kubectl-freehold"));
    // Nothing of the machine's own: neither its cluster nor a proxy between us and the double.
    command.env_clear().env("HOME", "/nonexistent").env("FREEHOLD_SERVER", server);
    command.args(arguments).output().await.unwrap()
}

async fn text(server: &Double, arguments: &[&str]) -> String {
    let output = run(&server.url, arguments).await;
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Without the blanks that align a table's columns.
fn rows(text: &str) -> Vec<String> {
    text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

#[tokio::test]
async fn a_bill_is_a_table_with_its_total() {
    let server = double().await;
    let text = text(&server, &["bill", "--tenant", "acme"]).await;
    let expected = [
        "Tenant acme, plan standard, period 2026-11-01 (2026-10-31T23:00:00Z to 2026-11-30T23:00:00Z), \
         usage up to 2026-11-26T12:00:00Z",
        "",
        "ITEM PROJECT OBJECT QUANTITY UNIT AMOUNT",
        "=HYPERLINK(\"x\") shop VirtualMachine/web 0.333333 vCPU-hour -4.17 EUR",
        "Virtual processors shop VirtualMachine/web 2.500139 vCPU-hour 31.25 EUR",
        "Total 27.08 EUR",
        "Not priced: 7 base units of meter disk; generation 1 of the plan has no card for it",
        "1 gap in the usage is open and holds the close",
    ];
    assert_eq!(rows(&text), expected);
    // Amounts end in one column.
    let ends: Vec<_> = text.lines().filter_map(|line| line.find(" EUR")).collect();
    assert!(ends.len() == 3 && ends.windows(2).all(|pair| pair[0] == pair[1]), "{text}");
}

#[tokio::test]
async fn json_and_yaml_are_the_exact_report() {
    let server = double().await;
    let json: Value =
        serde_json::from_str(&text(&server, &["bill", "-t", "acme", "-o", "json"]).await).unwrap();
    let yaml: Value =
        serde_yaml::from_str(&text(&server, &["bill", "-t", "acme", "-o", "yaml"]).await).unwrap();
    assert_eq!(json, yaml);
    assert_eq!(json["lines"][0]["quantity"], "1/3");
    assert_eq!(json["total"], "27.08");
}

#[tokio::test]
async fn parameters_reach_the_server_as_they_are() {
    let server = double().await;
    text(&server, &["bill", "-t", "acme", "--period", "2026-11-01"]).await;
    let usage = ["usage", "-t", "acme", "--from", "2026-11-26T13:00:00+01:00", "--meter", "a&b=c"];
    let table = text(&server, &usage).await;
    assert_eq!(rows(&table).last().unwrap(), "vcpu Total 1 hour");
    text(&server, &["explain", "s/a%2Fb/vcpu/-/p 1"]).await;
    let order = ["invoice", "issue", "-t", "acme", "--through", "now", "--idempotency-key", "once"];
    text(&server, &order).await;
    text(&server, &["invoice", "issue", "-t", "acme", "--through", "now"]).await;
    let asked = server.asked.lock().unwrap().clone();
    let expected = [
        "bill period=2026-11-01 tenant=acme",
        "usage from=2026-11-26T12:00:00Z meter=a&b=c tenant=acme",
        "explain key=s/a%2Fb/vcpu/-/p 1",
        "order {\"tenant\":\"acme\",\"through\":\"now\"} once",
    ];
    assert_eq!(asked[..4], expected);
    assert!(asked[4].starts_with("order ") && !asked[4].ends_with(" none"), "{asked:?}");
}

#[tokio::test]
async fn an_amount_is_explained_down_to_its_samples() {
    let server = double().await;
    let text = text(&server, &["explain", "k/2"]).await;
    let expected = "\
2.41 EUR  Processor time  [k/2]
├─ amount: 2.4125 rounded once, half away from zero, to 2 digits = 2.41
│  └─ 48.25 CPU-second × 0.05 = 2.4125 (tier from 0)
├─ price version: plan standard, generation 1, from 2026-01-01T00:00:00Z
│  └─ hash of the priced fields: abc
├─ quantity: 48250000 base units ÷ 1000000 = 48.25 CPU-second
│  ├─ window 2026-11-26T12:00:00Z: 48.25 hour from 3 facts
│  └─ samples: 10, counter from 0 to 9000 base units
│     ├─ 2026-11-26T12:00:00Z: 0
│     ├─ 2026-11-26T12:01:00Z: 1000
│     ├─ 2026-11-26T12:02:00Z: 2000
│     ├─ … 4 more samples; -o json lists them
│     ├─ 2026-11-26T12:07:00Z: 7000
│     ├─ 2026-11-26T12:08:00Z: 8000
│     └─ 2026-11-26T12:09:00Z: 9000
├─ gap: noSeries from 2026-11-26T12:10:00Z to now, open
└─ object: VirtualMachine/web in project shop, UID 123e4567-e89b-12d3-a456-426614174000
";
    assert_eq!(text, expected);
}

#[tokio::test]
async fn invoices_are_listed_shown_and_exported() {
    let server = double().await;
    let list = text(&server, &["invoice", "list", "-t", "acme"]).await;
    assert!(
        rows(&list)[1].starts_with("FH-000001") && rows(&list)[1].ends_with("27.08 EUR"),
        "{list}"
    );
    let shown = text(&server, &["invoice", "show", "FH-000001"]).await;
    assert_eq!(rows(&shown).last().unwrap(), "Total 27.08 EUR");

    let csv = text(&server, &["invoice", "export", "FH-000001", "--format", "csv"]).await;
    let expected = "\
invoice,tenant,issued_at,through,line,description,project,object,part,quantity,unit,amount,currency
FH-000001,acme,2026-11-26T12:00:00Z,2026-11-26T12:00:00Z,k/1,\"'=HYPERLINK(\"\"x\"\")\",shop,VirtualMachine/web,,1/3,vCPU-hour,-4.17,EUR
FH-000001,acme,2026-11-26T12:00:00Z,2026-11-26T12:00:00Z,k/2,Virtual processors,shop,VirtualMachine/web,,2.500139,vCPU-hour,31.25,EUR
";
    assert_eq!(csv, expected);

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("invoice.json").display().to_string();
    let export = ["invoice", "export", "FH-000001", "--format", "json", "--file", &path];
    assert_eq!(text(&server, &export).await, "");
    let file: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    assert_eq!(file["lines"].as_array().unwrap().len(), 2);
    let nowhere =
        ["invoice", "export", "FH-000001", "--format", "csv", "--file", "/nonexistent/file"];
    assert_eq!(run(&server.url, &nowhere).await.status.code(), Some(1));
}

#[tokio::test]
async fn refusals_say_what_and_what_to_do() {
    let server = double().await;
    let cases: [(&[&str], i32, &str); 8] = [
        (
            &["bill", "-t", "nobody"],
            3,
            "error: tenant nobody: there is none\nhint: kubectl get tenants lists them\u{fffd}[2J\n",
        ),
        (&["usage", "-t", "nobody"], 3, "error: tenant nobody: there is none\n"),
        (&["invoice", "issue", "-t", "nobody", "--through", "now"], 3, "there is none"),
        (&["invoice", "show", "FH-000009"], 3, "error: no invoice FH-000009\n"),
        // A number cannot reach another endpoint.
        (&["invoice", "show", "../doctor"], 3, "error: no invoice ../doctor\n"),
        (&["bill", "-t", "broken"], 1, "error: the database is away\nhint: wait\n"),
        (&["bill", "-t", "strange"], 1, "answered what cannot be read"),
        (&["bill", "-t", "proxy"], 1, "no endpoints"),
    ];
    for (arguments, code, words) in cases {
        let output = run(&server.url, arguments).await;
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
        assert!(said.contains(words), "{arguments:?}: {said}");
        assert_eq!(output.stdout, b"", "{arguments:?}");
    }
}

#[tokio::test]
async fn wrong_arguments_are_refused_before_anybody_is_asked() {
    let server = double().await;
    let cases: [&[&str]; 8] = [
        &["bill"],
        &["usage", "-t", "acme", "--from", "yesterday"],
        &["invoice", "issue", "-t", "acme"],
        &["invoice", "issue", "-t", "acme", "--through", "then"],
        &["invoice", "export", "FH-000001"],
        &["invoice", "export", "FH-000001", "--format", "pdf"],
        &["explain"],
        &["bill", "-t", "acme", "--timeout-seconds", "0"],
    ];
    for arguments in cases {
        assert_eq!(run(&server.url, arguments).await.status.code(), Some(2), "{arguments:?}");
    }
    assert!(server.asked.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_server_that_is_not_there_is_named_in_one_line() {
    // Bound and dropped: nobody listens on it.
    let port = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
    let url = format!("http://127.0.0.1:{port}");
    let output = run(&url, &["bill", "-t", "acme"]).await;
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.starts_with(&format!("error: cannot reach {url}: ")), "{said}");
    assert!(said.lines().count() == 2 && said.contains("hint: "), "{said}");

    for wrong in ["ftp://127.0.0.1", "nonsense", "http://"] {
        let output = run(wrong, &["bill", "-t", "acme"]).await;
        assert_eq!(output.status.code(), Some(2), "{wrong}: {output:?}");
    }
}

#[tokio::test]
async fn doctor_tells_well_from_unwell_also_without_the_server() {
    let server = double().await;
    let output = run(&server.url, &["doctor"]).await;
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(4), "{said}");
    assert!(
        rows(&said).contains(&"gaps FAILED 2 are open look at Prometheus".to_owned()),
        "{said}"
    );

    let output = run("http://127.0.0.1:1", &["doctor", "-o", "json"]).await;
    assert_eq!(output.status.code(), Some(4));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["checks"][0]["ok"], false, "{report}");
    assert!(report["checks"][0]["message"].as_str().unwrap().contains("cannot reach"), "{report}");
}
