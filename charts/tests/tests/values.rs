//! What the charts take as values, and what they refuse: by the schema, with the name of the field.

use anyhow::Result;
use chart_tests::{done, helm, repository};
use std::path::{Path, PathBuf};

fn template(values: &[&str]) -> Result<std::process::Output> {
    let chart = repository("charts/freehold").display().to_string();
    let mut words = vec!["template", "freehold", &chart, "--namespace", "freehold-system"];
    for value in values {
        words.extend(["--set", value]);
    }
    helm(&words)
}

const BUNDLED: &str = "billing.enabled=true,postgresql.bundled.enabled=true,postgresql.bundled.image=registry.example/postgres:17";

#[test]
fn charts_have_no_findings() -> Result<()> {
    for chart in ["charts/freehold", "charts/freehold-crds"] {
        let path = repository(chart).display().to_string();
        done(helm(&["lint", "--strict", &path])?)?;
    }
    Ok(())
}

#[test]
fn good_values_are_taken_and_show() -> Result<()> {
    for (values, shows) in [
        ("operator.replicas=3", "replicas: 3"),
        (
            "image.registry=registry.example.com/freehold",
            "registry.example.com/freehold/freehold-operator:0.1.0",
        ),
        ("image.tag=1.2.3", "freehold.dev/freehold-webhook:1.2.3"),
        ("operator.extraEnv[0].name=A,operator.extraEnv[0].value=b", "name: A"),
        ("webhook.nodeSelector.disk=ssd", "disk: ssd"),
        (
            "billing.enabled=true,database.existingSecret=books,database.key=link",
            "key: link, path: url",
        ),
        ("billing.enabled=true,database.existingSecret=books", "secretName: books"),
        (BUNDLED, "image: registry.example/postgres:17"),
        (BUNDLED, "name: FREEHOLD_DATABASE_SECRET\n              value: freehold-postgresql"),
        (BUNDLED, "value: freehold-postgresql.freehold-system.svc:5432"),
        (
            "billing.enabled=true,database.existingSecret=books,billing.intakeTokenSecret=senders",
            "secretName: senders",
        ),
        ("serviceMonitor.enabled=true", "kind: ServiceMonitor"),
        ("prometheusRule.enabled=true", "alert: FreeholdOperatorDown"),
        ("webhook.replicas=2", "kind: PodDisruptionBudget"),
        ("operator.tolerations[0].key=only,operator.tolerations[0].operator=Exists", "key: only"),
    ] {
        let text = done(template(&[values])?)?;
        assert!(text.contains(shows), "{values}: no `{shows}` in what comes out");
    }
    Ok(())
}

#[test]
fn what_is_switched_off_is_not_there() -> Result<()> {
    for (values, absent) in [
        ("operator.enabled=false", "freehold-operator:0.1.0"),
        ("webhook.enabled=false", "freehold-webhook:0.1.0"),
        ("billing.enabled=false", "freehold-billing-controller:0.1.0"),
        ("networkPolicies.enabled=false", "kind: NetworkPolicy"),
        ("operator.replicas=1,webhook.replicas=1", "kind: PodDisruptionBudget"),
        ("serviceMonitor.enabled=false", "kind: ServiceMonitor"),
        (BUNDLED, "name: FREEHOLD_DATABASE_URL\n"),
        (BUNDLED, "name: POSTGRES_PASSWORD\n"),
        // With a database of one's own the operator makes no Secret, and may not.
        ("billing.enabled=true,database.existingSecret=books", "FREEHOLD_DATABASE_SECRET"),
        ("billing.enabled=true,database.existingSecret=books", "freehold-postgresql"),
    ] {
        let text = done(template(&[values])?)?;
        assert!(!text.contains(absent), "{values}: `{absent}` is in what comes out");
    }
    Ok(())
}

#[test]
fn bad_values_are_refused_with_the_field() -> Result<()> {
    for (values, field) in [
        ("operator.replicas=0", "/operator/replicas"),
        ("operator.replicas=two", "/operator/replicas"),
        ("webhook.replicas=-1", "/webhook/replicas"),
        ("operator.replica=2", "'replica'"),
        ("operater.replicas=2", "'operater'"),
        ("image.tag=a b", "/image/tag"),
        ("image.pullPolicy=Sometimes", "/image/pullPolicy"),
        ("image.registry=", "/image/registry"),
        ("logFormat=xml", "/logFormat"),
        ("operator.resources.limits.memory=lots", "/operator/resources/limits/memory"),
        ("operator.resources.limits.gpu=1", "'gpu'"),
        ("operator.extraEnv[0].value=b", "/operator/extraEnv/0"),
        ("operator.extraEnv[0].name=1A", "/operator/extraEnv/0/name"),
        ("billing.workers=65", "/billing/workers"),
        ("billing.replicas=2", "'replicas'"),
        ("billing.legalEntity=", "/billing/legalEntity"),
        ("billing.tickSeconds=0", "/billing/tickSeconds"),
        ("billing.prometheusUrl=prometheus", "/billing/prometheusUrl"),
        ("database.existingSecret=Books_1", "/database/existingSecret"),
        ("networkPolicies.apiServerPorts[0]=70000", "/networkPolicies/apiServerPorts/0"),
        ("networkPolicies.enabled=maybe", "/networkPolicies/enabled"),
        ("postgresql.bundled.storage.size=big", "/postgresql/bundled/storage/size"),
        ("postgresql.bundled.user=0", "/postgresql/bundled/user"),
        ("serviceMonitor.interval=often", "/serviceMonitor/interval"),
        ("billing.enabled=true", "database.existingSecret"),
        ("billing.enabled=true,postgresql.bundled.enabled=true", "postgresql.bundled.image"),
        (
            "billing.enabled=true,postgresql.bundled.enabled=true,postgresql.bundled.image=a,database.existingSecret=b",
            "postgresql.bundled.enabled",
        ),
        (
            "postgresql.bundled.enabled=true,postgresql.bundled.image=a,operator.enabled=false",
            "set operator.enabled",
        ),
    ] {
        let output = template(&[values])?;
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success(), "{values} was taken");
        assert!(message.contains(field), "{values}: the refusal does not name {field}: {message}");
    }
    Ok(())
}

/// Tools that render without a cluster compare what comes out with what is there, again and again.
#[test]
fn rendering_twice_gives_the_same_bytes() -> Result<()> {
    let more = "serviceMonitor.enabled=true,prometheusRule.enabled=true";
    for values in ["operator.replicas=2", BUNDLED, &format!("{BUNDLED},{more}")] {
        let (first, second) = (done(template(&[values])?)?, done(template(&[values])?)?);
        assert!(first.contains("kind: Deployment"), "{values}: nothing came out");
        assert!(first == second, "{values}: the second rendering differs");
    }
    Ok(())
}

/// No template asks the cluster or chance, so none can come out otherwise where there is no cluster.
#[test]
fn templates_ask_neither_the_cluster_nor_chance() -> Result<()> {
    let mut actions = 0;
    for template in templates(&repository("charts"))? {
        let text = std::fs::read_to_string(&template)?;
        for action in text.split("{{").skip(1).filter_map(|rest| rest.split("}}").next()) {
            actions += 1;
            let found = functions(action).find(|name| depends_on_more_than_values(name));
            assert_eq!(found, None, "{}: `{action}`", template.display());
        }
    }
    assert!(actions > 100, "only {actions} actions were looked at");
    // The test sees what it looks for.
    for action in
        ["- $a := (lookup \"v1\" \"Secret\") ", " randAlphaNum 32 | b64enc ", "now|date \"2006\""]
    {
        assert!(functions(action).any(depends_on_more_than_values), "{action} was passed over");
    }
    assert!(!functions(" fail \"now lookup\" ").any(depends_on_more_than_values));
    assert!(!functions("- /* rand */").any(depends_on_more_than_values));
    Ok(())
}

/// Whether a function of Helm's answers differently each time, or only where there is a cluster.
fn depends_on_more_than_values(function: &str) -> bool {
    let others = [
        "lookup",
        "now",
        "ago",
        "uuidv4",
        "shuffle",
        "bcrypt",
        "htpasswd",
        "encryptAES",
        "getHostByName",
    ];
    // randAlphaNum and its like; genCA, genPrivateKey and their like.
    function.starts_with("rand") || function.starts_with("gen") || others.contains(&function)
}

/// The words of a template's action that are neither a text nor a comment.
fn functions(action: &str) -> impl Iterator<Item = &str> {
    let code = if action.contains("/*") { "" } else { action };
    let outside = code.split('"').step_by(2);
    outside.flat_map(|code| code.split(|letter: char| !letter.is_alphanumeric()))
}

/// All templates of all charts, and the files of folders below.
fn templates(charts: &Path) -> Result<Vec<PathBuf>> {
    let mut folders: Vec<PathBuf> =
        ["freehold", "freehold-crds"].map(|chart| charts.join(chart).join("templates")).to_vec();
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    Ok(files)
}

/// Every pod that comes out satisfies the restricted standard; the real cluster enforces it too.
#[test]
fn no_right_is_wider_than_it_has_to_be() -> Result<()> {
    let text = done(template(&[BUNDLED])?)?;
    for word in
        ["'*'", "\"*\"", "- '*'", "escalate", "impersonate", "cluster-admin", "privileged: true"]
    {
        assert!(!text.contains(word), "`{word}` is in what comes out");
    }
    // A right over Secrets names the one that it is for; a list of names also limits an apply, unlike a plain create.
    let secrets = "    resources: [secrets]\n";
    assert_eq!(text.matches(secrets).count(), 2, "the webhook's and the operator's");
    for after in text.split(secrets).skip(1) {
        assert!(after.starts_with("    resourceNames: [freehold-"), "any Secret: {secrets}{after}");
    }
    for pod in text.split("---").filter(|document| document.contains("containers:")) {
        for word in [
            "runAsNonRoot: true",
            "type: RuntimeDefault",
            "allowPrivilegeEscalation: false",
            "readOnlyRootFilesystem: true",
            "drop: [ALL]",
        ] {
            assert!(pod.contains(word), "no `{word}` in: {pod}");
        }
    }
    Ok(())
}
