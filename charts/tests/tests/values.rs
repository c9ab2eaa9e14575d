//! What the charts take as values, and what they refuse: by the schema, with the name of the field.

use anyhow::Result;
use chart_tests::{done, helm, repository};

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
    ] {
        let output = template(&[values])?;
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success(), "{values} was taken");
        assert!(message.contains(field), "{values}: the refusal does not name {field}: {message}");
    }
    Ok(())
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
