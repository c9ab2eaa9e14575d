//! `network import` and `export`: what would be created, what is refused and why, and all or nothing.

use super::scene::{Double, run, scene, serve};
use super::{same_as_kept, text};
use std::path::PathBuf;

fn file(name: &str, text: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, text).unwrap();
    (folder, path)
}

/// What was asked for beside reading.
fn changes(double: &Double) -> Vec<String> {
    let asked = double.asked.lock().unwrap();
    asked.iter().filter(|one| !one.starts_with('/')).cloned().collect()
}

const GOOD: &str = "\
kind,space,namespace,name,cidr,address,id
prefix,hall,,branch-web,10.40.1.0/24,,
prefix,hall,,branch,10.40.0.0/16,,
prefix,hall,,,10.20.1.0/24,,
address,,tn-acme-shop,printer,,10.20.1.77,
address,,tn-acme-shop,,,10.20.1.10,
vlan,,tn-acme-shop,cameras,,,150
";

#[tokio::test]
async fn a_dry_run_tells_and_changes_nothing() {
    let double = serve(scene()).await;
    let (_folder, path) = file("good.csv", GOOD);
    let path = path.display().to_string();
    same_as_kept("import-dry-run", &text(&double, &["import", &path, "--dry-run"]).await);
    assert!(changes(&double).iter().all(|one| one.starts_with("TRY ")), "{:?}", changes(&double));
}

#[tokio::test]
async fn a_file_is_created_parents_first() {
    let double = serve(scene()).await;
    let (_folder, path) = file("good.csv", GOOD);
    let path = path.display().to_string();
    let told = text(&double, &["import", &path]).await;
    assert!(told.ends_with("4 created, 2 were there\n"), "{told}");
    let network = "/apis/network.freehold.dev/v1alpha1";
    let shop = format!("{network}/namespaces/tn-acme-shop");
    let expected = [
        format!(
            "{network}/prefixes branch {{\"cidr\":\"10.40.0.0/16\",\"parentRef\":{{\"name\":\"hall\"}},\"role\":\"Container\"}}"
        ),
        format!(
            "{network}/prefixes branch-web {{\"cidr\":\"10.40.1.0/24\",\"parentRef\":{{\"name\":\"branch\"}},\"role\":\"Pool\"}}"
        ),
        format!(
            "{shop}/ipclaims printer {{\"address\":\"10.20.1.77\",\"poolRef\":{{\"name\":\"web\"}}}}"
        ),
        format!("{shop}/vlans cameras {{\"id\":150,\"poolRef\":{{\"name\":\"hall-inside\"}}}}"),
    ];
    let tried = expected.iter().map(|one| format!("TRY {one}"));
    let created = expected.iter().map(|one| format!("CREATE {one}"));
    assert_eq!(changes(&double), tried.chain(created).collect::<Vec<_>>());
}

#[tokio::test]
async fn what_is_refused_says_field_value_and_remedy() {
    let double = serve(scene()).await;
    let (_folder, path) = file(
        "bad.csv",
        "\
kind,space,namespace,name,cidr,role,address,id,zone
prefix,hall,,x,10.50.0.1/16,,,,
prefix,nowhere,,x,10.50.0.0/16,,,,
prefix,hall,,y,10.51.0.0/16,,,,
prefix,hall,,y,10.52.0.0/16,,,,
prefix,hall,,z,10.51.0.0/16,,,,
prefix,hall,,web,10.53.0.0/16,,,,
prefix,hall,,r,10.54.0.0/16,deprecated,,,
prefix,hall,,unwanted,10.55.0.0/16,,,,
prefix,hall,,between,10.20.0.0/17,,,,
prefix,hall,,inside-a-pool,10.20.1.128/25,,,,
prefix,hall,,wide,10.56.0.0/16,Pool,,,
prefix,hall,,zoned,10.57.0.0/16,,,,inside
prefix,hall,,other-zone,10.57.1.0/24,,,,outside
prefix,hall,,narrow,10.56.1.0/24,,,,
address,,tn-lin-job,a,,,10.20.1.10,,
address,,tn-acme-shop,b,,,10.99.0.1,,
address,,tn-acme-shop,wish,,,10.20.1.80,,
address,,,c,,,10.20.1.79,,
vlan,,tn-acme-shop,v,,,,5000,
vlan,,tn-acme-shop,v,,,,300,
",
    );
    let path = path.display().to_string();
    let output = run(&double, &["import", &path]).await;
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    same_as_kept("import-refused", &String::from_utf8(output.stdout).unwrap());
    assert!(changes(&double).iter().all(|one| one.starts_with("TRY ")), "{:?}", changes(&double));
}

#[tokio::test]
async fn what_was_created_is_taken_back_when_a_later_create_fails() {
    let double = serve(scene()).await;
    let rows = GOOD.replace("cameras", "unlucky");
    let (_folder, path) = file("unlucky.csv", &rows);
    let output = run(&double, &["import", &path.display().to_string()]).await;
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    let expected = "error: create VLAN tn-acme-shop/unlucky 150: create vlans: etcd has no leader; \
                    3 objects that this run had created were deleted again\n";
    assert!(said.starts_with(expected), "{said}");
    let deleted: Vec<String> =
        changes(&double).into_iter().filter(|one| one.starts_with("DELETE ")).collect();
    let ends: Vec<&str> = deleted.iter().map(|one| one.rsplit(' ').next().unwrap()).collect();
    assert_eq!(ends, ["uid-of-printer", "uid-of-branch-web", "uid-of-branch"]);
}

#[tokio::test]
async fn what_was_exported_is_there_when_it_is_imported() {
    let double = serve(scene()).await;
    let csv = text(&double, &["export"]).await;
    same_as_kept("export", &csv);
    let netbox = text(&double, &["export", "--format", "netbox"]).await;
    same_as_kept("export-netbox", &netbox);
    for (format, exported) in [("csv", csv), ("netbox", netbox)] {
        let (_folder, path) = file("exported", &exported);
        let path = path.display().to_string();
        let arguments = ["import", &path, "--format", format, "-n", "tn-acme-shop"];
        let told = text(&double, &arguments).await;
        assert!(told.ends_with("\n0 created, 12 were there\n"), "{format}: {told}");
    }
    assert_eq!(changes(&double), Vec::<String>::new());
}

#[tokio::test]
async fn a_file_that_is_none_is_refused_in_one_line() {
    let double = serve(scene()).await;
    let cases = [
        ("csv", "kind,colour\n", "line 1: column colour is not known; there are kind, space"),
        ("csv", "space\n", "line 1: column kind is missing"),
        (
            "csv",
            "kind,cidr\nhost,10.0.0.0/8\n",
            "line 2: kind: host is none; write prefix, address or vlan",
        ),
        ("csv", "kind,cidr\nprefix\n", "line: 2"),
        ("netbox", "[", "EOF while parsing"),
        ("netbox", "{}", "is neither a list with results"),
        ("netbox", "{\"next\": \"http://x\", \"results\": []}", "is one page of several"),
        ("netbox", "{\"results\": [{}]}", "results[0]: has neither prefix nor address nor vid"),
    ];
    for (format, rows, words) in cases {
        let (_folder, path) = file("file", rows);
        let path = path.display().to_string();
        let output = run(&double, &["import", &path, "--format", format]).await;
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(3), "{rows}: {said}");
        assert!(
            said.starts_with(&format!("error: {path}: ")) && said.contains(words),
            "{rows}: {said}"
        );
        assert_eq!(said.lines().count(), 1, "{said}");
    }
}
