//! `kubectl freehold network` against a double of the Kubernetes API.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod import;
mod scene;

use scene::{Double, kubeconfig, run, run_with, scene, serve, uid};
use serde_json::{Value, json};

async fn text(double: &Double, arguments: &[&str]) -> String {
    let output = run(double, arguments).await;
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// What a command prints, beside what is kept of it; `FREEHOLD_GOLDEN=write` keeps it anew.
fn same_as_kept(name: &str, text: &str) {
    let path = format!("{}/tests/network/{name}.txt", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("FREEHOLD_GOLDEN").is_some_and(|value| value == "write") {
        std::fs::write(&path, text).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap();
    assert!(kept == text, "{path} has\n{kept}\nand printed was\n{text}");
}

#[tokio::test]
async fn the_tree_is_drawn_within_a_hundred_columns() {
    let double = serve(scene()).await;
    let drawn = text(&double, &["tree"]).await;
    same_as_kept("tree", &drawn);
    assert!(drawn.is_ascii() && drawn.lines().all(|line| line.len() <= 100), "{drawn}");
    // Lists are read to their end, page by page.
    let asked = double.asked.lock().unwrap();
    assert!(
        asked.iter().any(|uri| uri.contains("/prefixes") && uri.contains("continue=6")),
        "{asked:?}"
    );
}

#[tokio::test]
async fn the_tree_of_one_space_is_data_too() {
    let double = serve(scene()).await;
    let json: Value =
        serde_json::from_str(&text(&double, &["tree", "--space", "hall", "-o", "json"]).await)
            .unwrap();
    let yaml: Value =
        serde_yaml::from_str(&text(&double, &["tree", "--space", "hall", "-o", "yaml"]).await)
            .unwrap();
    assert_eq!(json, yaml);
    assert_eq!(json["spaces"].as_array().unwrap().len(), 1);
    let root = &json["spaces"][0]["prefixes"][0];
    assert_eq!((&root["cidr"], &root["freeBySize"]["/9"]), (&json!("10.0.0.0/8"), &json!("1")));
    let names: Vec<&str> = root["prefixes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["name"].as_str().unwrap())
        .collect();
    // By address, not by name.
    assert_eq!(names, ["hall-inside", "front"]);
    let block = &root["prefixes"][1]["pools"][0]["blocks"][0];
    let expected = json!({"name": "hall-10-30-2-0", "cidr": "10.30.2.0/24", "total": 254, "used": 1,
        "quarantined": 0, "free": 253, "tenant": "acme"});
    assert_eq!(block, &expected);
}

#[tokio::test]
async fn a_claim_is_explained() {
    let double = serve(scene()).await;
    same_as_kept("explain-bound", &text(&double, &["explain", "web", "-n", "tn-acme-shop"]).await);
    for name in ["wish", "patient"] {
        let told = text(&double, &["explain", name, "-n", "tn-acme-shop"]).await;
        same_as_kept(&format!("explain-{name}"), &told);
    }
    same_as_kept(
        "explain-waiting",
        &text(&double, &["explain", "late", "-n", "tn-acme-shop"]).await,
    );
}

#[tokio::test]
async fn a_tenant_is_told_what_a_tenant_may_see() {
    let mut objects = scene();
    for plural in ["ippools", "ipblocks", "tenants", "namespaces"] {
        objects.insert(plural.to_owned(), Value::Null);
    }
    let double = serve(objects).await;
    same_as_kept(
        "explain-tenant",
        &text(&double, &["explain", "late", "-n", "tn-acme-shop"]).await,
    );
    let output = run(&double, &["audit"]).await;
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.ends_with("hint: ask for the right to list ippools.network.freehold.dev\n"),
        "{said}"
    );
}

#[tokio::test]
async fn what_agrees_matches_at_a_generation() {
    let double = serve(scene()).await;
    let expected = "\
vrf hall: matches at generation 7 (3 pools, 3 blocks, 5 addresses held)
vrf lab: matches at generation 0 (0 pools, 0 blocks, 0 addresses held)
VLANPool hall-inside: matches at generation 3 (2 ids held)
VLANPool loose: matches at generation 0 (0 ids held)
";
    assert_eq!(text(&double, &["audit"]).await, expected);
}

#[tokio::test]
async fn what_differs_is_named_with_its_remedy() {
    let mut objects = scene();
    let claims = objects.get_mut("ipclaims").unwrap().as_array_mut().unwrap();
    // One is gone, one says to have another's address, one goes away and says nothing any more.
    claims.retain(|claim| claim["metadata"]["name"] != "edge");
    claims[3]["status"]["addresses"][0]["address"] = json!("10.20.1.10");
    claims[4]["metadata"]["deletionTimestamp"] = json!("2026-11-26T12:00:00Z");
    objects.get_mut("ippools").unwrap()[1]["status"]["free"] = json!("115");
    objects.get_mut("ipblocks").unwrap()[1]["status"]["slots"][0]["uid"] = json!("nobody");
    objects.get_mut("vlans").unwrap()[1]["metadata"]["uid"] = json!(uid(69));
    let double = serve(objects).await;
    let arguments = ["audit", "--confirm-after-seconds", "0"];
    let output = run(&double, &arguments).await;
    assert_eq!(output.status.code(), Some(4), "{output:?}");
    same_as_kept("audit", &String::from_utf8(output.stdout).unwrap());
    // It was read twice.
    let asked = double.asked.lock().unwrap();
    let first_pages =
        asked.iter().filter(|uri| uri.contains("/vlans?") && !uri.contains("continue"));
    assert_eq!(first_pages.count(), 2, "{asked:?}");
}

#[tokio::test]
async fn trunks_are_told_by_fabric_and_zone() {
    let double = serve(scene()).await;
    same_as_kept("vlans", &text(&double, &["vlans"]).await);
    let json: Value = serde_json::from_str(&text(&double, &["vlans", "-o", "json"]).await).unwrap();
    assert_eq!(json["trunks"][0]["allowed"], "100-101");
    assert_eq!(json["trunks"][0]["vlans"][0]["prefixes"], json!(["10.20.1.0/24"]));
}

#[tokio::test]
async fn what_is_not_there_is_said_in_one_line() {
    let double = serve(scene()).await;
    let mut bare = scene();
    bare.remove("ipblocks");
    let bare = serve(bare).await;
    let cases: [(&Double, &[&str], i32, &str); 5] = [
        (
            &double,
            &["tree", "--space", "nowhere"],
            3,
            "error: --space nowhere: there is no such AddressSpace; there is hall, lab\n",
        ),
        (
            &double,
            &["explain", "nothing", "-n", "tn-acme-shop"],
            3,
            "error: IPClaim nothing: there is none in namespace tn-acme-shop; kubectl get ipclaims -A lists them\n",
        ),
        (
            &bare,
            &["audit"],
            1,
            "error: list ipblocks: the cluster does not serve ipblocks.network.freehold.dev\n\
             hint: install the definitions: kubectl apply --server-side -f crds/yaml\n",
        ),
        (&double, &["explain", "web"], 2, "--namespace"),
        (&double, &["tree", "--timeout-seconds", "0"], 2, "--timeout-seconds"),
    ];
    for (double, arguments, code, words) in cases {
        let output = run(double, arguments).await;
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
        assert!(said.contains(words), "{arguments:?}: {said}");
        assert_eq!(output.stdout, b"", "{arguments:?}");
    }
}

#[tokio::test]
async fn a_cluster_that_is_not_there_is_said_in_one_line() {
    // Bound and dropped: nobody listens on it.
    let port = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
    let nobody = kubeconfig(&format!("http://127.0.0.1:{port}"));
    let missing = std::path::Path::new("/nonexistent/kubeconfig");
    let cases = [
        (nobody.path(), "error: list addressspaces: cannot reach the Kubernetes API: "),
        (missing, "error: find a cluster: "),
    ];
    for (path, words) in cases {
        let output = run_with(path, &["tree"]).await;
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.starts_with(words) && said.lines().count() == 2, "{said}");
        assert!(said.lines().last().unwrap().starts_with("hint: "), "{said}");
    }
}
