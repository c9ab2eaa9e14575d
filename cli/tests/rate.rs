//! `kubectl freehold rate` as a program: its answers, its refusals, its exit codes.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples").join(name)
}

fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_kubectl-freehold")).args(arguments).output().unwrap()
}

fn rate(plan: &Path, usage: &Path, format: &str) -> Output {
    run(&[
        "rate",
        "--plan",
        &plan.display().to_string(),
        "--usage",
        &usage.display().to_string(),
        "-o",
        format,
    ])
}

fn file(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, text).unwrap();
    path
}

#[test]
fn a_day_is_rated_to_the_cent() {
    let output =
        rate(&example("quickstart/1-catalogue.yaml"), &example("usage/one-day.csv"), "json");
    assert!(output.status.success(), "{output:?}");
    let rated: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let lines: Vec<(String, String, i64)> = rated["lines"]
        .as_array()
        .unwrap()
        .iter()
        .map(|line| {
            let text = |name: &str| line[name].as_str().unwrap().to_owned();
            (text("rateCard"), text("item"), line["amount"]["minor"].as_i64().unwrap())
        })
        .collect();
    let line =
        |card: &str, item: &str, minor| (card.to_owned(), format!("tn-acme-shop/{item}"), minor);
    // vCPU: 1 h × 12.50; 9000.5 s ÷ 3600 × 12.50 = 31.2517. Memory: 460 800 and 921 600 of 3 686 400 × 8.00.
    // CPU time: 48.25 × 0.05; then 11.75 × 0.05 up to the bound at 60, and 19.250001 × 0.02 beyond it.
    let expected = [
        line("cpu-time", "web", 241),
        line("memory", "web", 100),
        line("vcpu", "web", 1250),
        line("cpu-time", "worker", 97),
        line("memory", "worker", 200),
        line("vcpu", "worker", 3125),
    ];
    assert_eq!(lines, expected);
    assert_eq!(rated["total"]["minor"], 5013);
    assert_eq!(rated["period"]["name"], "2026-01-01");
}

#[test]
fn the_table_ends_with_the_total_and_yaml_is_the_same_document() {
    let (plan, usage) = (example("quickstart/1-catalogue.yaml"), example("usage/one-day.csv"));
    let table = String::from_utf8(rate(&plan, &usage, "table").stdout).unwrap();
    let last: Vec<&str> = table.lines().last().unwrap().split_whitespace().collect();
    assert_eq!(last, ["Total", "50.13", "EUR"], "{table}");
    let yaml: serde_json::Value =
        serde_yaml::from_slice(&rate(&plan, &usage, "yaml").stdout).unwrap();
    let json: serde_json::Value =
        serde_json::from_slice(&rate(&plan, &usage, "json").stdout).unwrap();
    assert_eq!(yaml, json);
}

#[test]
fn wrong_usage_is_refused_with_every_line_and_reason() {
    let folder = tempfile::tempdir().unwrap();
    let heading = "meter,resource,window_start,quantity\n";
    let cases = [
        ("vcpu,a,2026-01-15T10:00:00Z,-1", "line 2: quantity: `-1` is not a decimal"),
        ("vcpu,a,2026-01-15T10:00:00Z,1e3", "line 2: quantity: `1e3` is not a decimal"),
        ("vcpu,a,2026-01-15T10:00:00Z,0.0000001", "finer than the meter counts"),
        ("vcpu,a,yesterday,1", "line 2: window_start: `yesterday` is not an instant"),
        ("disk,a,2026-01-15T10:00:00Z,1", "there is no Meter `disk`"),
        ("vcpu,,2026-01-15T10:00:00Z,1", "line 2: resource: is empty"),
        ("vcpu,a,2026-01-15T10:00:00Z", "line 2:"),
        ("vcpu,a,2026-01-15T10:00:00Z,1\nvcpu,a,x,1\nvcpu,a,y,1", "line 4: window_start: `y`"),
    ];
    for (rows, expected) in cases {
        let usage = file(folder.path(), "usage.csv", &format!("{heading}{rows}\n"));
        let output = rate(&example("quickstart/1-catalogue.yaml"), &usage, "table");
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(3), "{rows}: {said}");
        assert!(said.contains(expected), "{rows}: {said}");
        assert_eq!(output.stdout, b"", "{rows}: a refusal prints no amounts");
    }
}

#[test]
fn wrong_plans_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let good = std::fs::read_to_string(example("quickstart/1-catalogue.yaml")).unwrap();
    let cases = [
        ("", "holds 0 objects of kind PricePlan"),
        (": not yaml: [", "plan file, document 1"),
        (&good.replace("rate: \"12.50\"", "rate: \"0\""), "rateCards[0].price.perUnit.rate: is 0"),
        (
            &good.replace("    rateCards:", "    surprise: 1\n    rateCards:"),
            "unknown field `surprise`",
        ),
        (&good.replace("currency: EUR", "currency: XAU"), "spec.currency: `XAU`"),
        (
            &good.replace("from: \"60\"", "from: \"0\""),
            "tiers[1].from: is 0; tiers begin at 0 and rise",
        ),
        (
            &good.replace("name: cpu-time\nspec", "name: other\nspec"),
            "meter `cpu-time` does not exist",
        ),
    ];
    for (text, expected) in cases {
        let plan = file(folder.path(), "plan.yaml", text);
        let output = rate(&plan, &example("usage/one-day.csv"), "table");
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(3), "{expected}: {said}");
        assert!(said.contains(expected), "{expected}: {said}");
    }
}

#[test]
fn exit_codes_tell_who_has_to_act() {
    let missing = rate(Path::new("/nonexistent"), &example("usage/one-day.csv"), "table");
    assert_eq!(missing.status.code(), Some(1), "{missing:?}");
    for arguments in
        [&["rate"][..], &["rate", "--plan", "x", "--usage", "y", "-o", "pdf"], &["unknown"], &[]]
    {
        assert_eq!(run(arguments).status.code(), Some(2), "{arguments:?}");
    }
    for shell in ["bash", "zsh", "fish"] {
        let script = run(&["completion", shell]);
        assert!(script.status.success() && !script.stdout.is_empty(), "{shell}");
    }
}
