//! What came out: waiting until every machine's usage is on its tenant's bill, showing it, writing down the facts.

use super::{Demo, Hypervisor};
use crate::parts::programs_folder;
use crate::run::{self, News, Run};
use crate::{interrupt, paths};
use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// Two scrapes and a tick take ten seconds; an allocation has to be held a while before it is worth a cent.
const USAGE_LIMIT: Duration = Duration::from_mins(3);
const ASK_EVERY: Duration = Duration::from_secs(1);
/// What Prometheus reads of a guest; examples/quickstart/1-catalogue.yaml meters it.
const METRIC: &str = "libvirt_domain_info_cpu_time_seconds_total";

/// A machine of the quickstart.
struct Machine {
    uid: String,
    name: String,
}

/// What was shown, and what it rests on.
pub struct Facts {
    machines: Value,
    tenants: Vec<Account>,
}

struct Account {
    name: String,
    shown: String,
    bill: Value,
    usage: Value,
}

/// Waits until every machine has usage of every meter, and a line for it.
pub fn wait(demo: &Demo, run: &Run) -> Result<Facts> {
    run::progress("waiting until the usage of every machine is on its tenant's bill");
    let (document, machines) = machines(demo)?;
    let tenants = names(&objects(demo, "2-tenants.yaml")?);
    let deadline = Instant::now() + USAGE_LIMIT;
    let mut news = News::new();
    loop {
        interrupt::check()?;
        run.check_alive("usage of every machine was billed")?;
        // The whole list is said when time runs out.
        let missing = match ask(demo, &tenants) {
            Ok(accounts) => {
                let missing = missing(demo, &machines, &accounts);
                if missing.is_empty() {
                    return Ok(Facts { machines: document, tenants: accounts });
                }
                missing.join("; ")
            }
            Err(error) => format!("{error:#}"),
        };
        if Instant::now() >= deadline {
            bail!(
                "not within {USAGE_LIMIT:?}: {missing}; `kubectl freehold doctor --server {}` looks for the cause",
                demo.addresses.server()
            );
        }
        news.tell(|| missing);
        std::thread::sleep(ASK_EVERY);
    }
}

fn objects(demo: &Demo, file: &str) -> Result<Value> {
    let path = paths::repository()?.join("examples/quickstart").join(file).display().to_string();
    let text = demo.cluster.output(&["get", "--filename", &path, "-o", "json"])?;
    serde_json::from_str(&text).with_context(|| format!("read the objects of {file}"))
}

fn list<'a>(value: &'a Value, pointer: &str) -> impl Iterator<Item = &'a Value> {
    value.pointer(pointer).and_then(Value::as_array).into_iter().flatten()
}

fn text(value: &Value, pointer: &str) -> String {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn names(document: &Value) -> Vec<String> {
    list(document, "/items").map(|item| text(item, "/metadata/name")).collect()
}

fn machines(demo: &Demo) -> Result<(Value, Vec<Machine>)> {
    let document = objects(demo, "4-machines.yaml")?;
    let machines = list(&document, "/items").map(|item| Machine {
        uid: text(item, "/metadata/uid"),
        name: format!("{}/{}", text(item, "/metadata/namespace"), text(item, "/metadata/name")),
    });
    let machines: Vec<Machine> = machines.collect();
    let summary: Vec<Value> =
        machines.iter().map(|machine| json!({"uid": machine.uid, "name": machine.name})).collect();
    Ok((Value::Array(summary), machines))
}

fn ask(demo: &Demo, tenants: &[String]) -> Result<Vec<Account>> {
    let account = |name: &String| {
        Ok(Account {
            name: name.clone(),
            shown: freehold(demo, &["bill", "--tenant", name])?,
            bill: freehold_json(demo, &["bill", "--tenant", name])?,
            usage: freehold_json(demo, &["usage", "--tenant", name])?,
        })
    };
    tenants.iter().map(account).collect()
}

/// Whether an amount is zero, or not there.
fn is_nothing(amount: &str) -> bool {
    amount.bytes().all(|byte| b"0.-".contains(&byte))
}

/// Every machine has to have usage of every meter, and as many lines that cost something.
fn missing(demo: &Demo, machines: &[Machine], accounts: &[Account]) -> Vec<String> {
    let mut meters = vec!["vcpu", "memory"];
    if matches!(demo.hypervisor, Hypervisor::Libvirt { .. }) {
        meters.push("cpu-time");
    }
    let mut missing = Vec::new();
    for machine in machines {
        let used: BTreeSet<String> = accounts
            .iter()
            .flat_map(|account| list(&account.usage, "/windows"))
            .filter(|window| text(window, "/resource") == machine.uid)
            .filter(|window| !["", "0"].contains(&text(window, "/baseUnits").as_str()))
            .map(|window| text(window, "/meter"))
            .collect();
        for meter in meters.iter().filter(|meter| !used.contains(**meter)) {
            missing.push(format!("no usage of {meter} by {}", machine.name));
        }
        let lines = accounts
            .iter()
            .flat_map(|account| list(&account.bill, "/lines"))
            .filter(|line| text(line, "/key").contains(&machine.uid))
            .filter(|line| !is_nothing(&text(line, "/amount")))
            .count();
        if lines < meters.len() {
            missing.push(format!(
                "{lines} of {} lines are worth a cent for {}",
                meters.len(),
                machine.name
            ));
        }
    }
    missing
}

fn freehold(demo: &Demo, arguments: &[&str]) -> Result<String> {
    let mut command = Command::new(programs_folder()?.join("kubectl-freehold"));
    let output = command
        .args(arguments)
        .args(["--server", &demo.addresses.server()])
        .output()
        .context("start kubectl-freehold")?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).trim().replace('\n', "; ");
        bail!("kubectl freehold {}: {said}", arguments.join(" "));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn freehold_json(demo: &Demo, arguments: &[&str]) -> Result<Value> {
    let arguments = [arguments, &["-o", "json"]].concat();
    let text = freehold(demo, &arguments)?;
    serde_json::from_str(&text).with_context(|| format!("read {}", arguments.join(" ")))
}

/// Writes to the terminal, which may be gone.
fn say(text: &str) -> Result<()> {
    let mut output = std::io::stdout();
    writeln!(output, "{text}").and_then(|()| output.flush()).context("write to standard output")
}

/// The bills.
pub fn show(demo: &Demo, facts: &Facts) -> Result<()> {
    let nodes = demo.cluster.output(&["get", "virtualmachines", "--all-namespaces"])?;
    let shown: Vec<&str> = facts.tenants.iter().map(|account| account.shown.as_str()).collect();
    say(&format!("\nMachines\n\n{nodes}\n{}", shown.join("\n")))
}

/// What was shown and the facts behind it, as one JSON document.
pub fn write(demo: &Demo, facts: &Facts, path: &Path) -> Result<()> {
    run::progress(&format!("writing {}", path.display()));
    let mut tenants = Vec::new();
    for account in &facts.tenants {
        let keys = list(&account.bill, "/lines").map(|line| text(line, "/key"));
        let explanations: Vec<Value> =
            keys.map(|key| freehold_json(demo, &["explain", &key])).collect::<Result<_>>()?;
        tenants.push(json!({
            "name": account.name, "shown": account.shown, "bill": account.bill,
            "usage": account.usage, "explanations": explanations,
        }));
    }
    let samples = ends(&demo.prometheus.samples(METRIC)?);
    let document = json!({
        "machinesAreReal": matches!(demo.hypervisor, Hypervisor::Libvirt { .. }),
        "machines": facts.machines, "tenants": tenants, "metric": METRIC, "samples": samples,
    });
    fs::write(path, serde_json::to_string_pretty(&document)? + "\n")
        .with_context(|| format!("write {}", path.display()))
}

/// First, last and number of each series' samples: `[seconds, value]` as Prometheus has them.
fn ends(series: &Value) -> Vec<Value> {
    list(series, "")
        .map(|one| {
            let values: Vec<&Value> = list(one, "/values").collect();
            json!({
                "labels": one.get("metric"), "first": values.first(), "last": values.last(),
                "count": values.len(),
            })
        })
        .collect()
}

/// Where to go from here.
pub fn look_next(demo: &Demo, run: &Run) -> Result<()> {
    let kubectl = &demo.cluster.kubectl;
    let mut folders = vec![programs_folder()?];
    folders.extend(kubectl.parent().filter(|folder| folder.is_absolute()).map(Path::to_owned));
    let folders: Vec<String> = folders.iter().map(|folder| folder.display().to_string()).collect();
    let expression = match demo.hypervisor {
        Hypervisor::Libvirt { .. } => METRIC,
        Hypervisor::Simulator => "up",
    };
    say(&format!(
        "Look around (everything runs until Ctrl-C):

  export KUBECONFIG={}
  export FREEHOLD_SERVER={}
  export PATH={}:$PATH
  kubectl get freehold --all-namespaces
  kubectl freehold bill --tenant acme
  kubectl freehold explain LINE        # a key of `bill -o json`
  kubectl freehold invoice issue --tenant acme --through now
  kubectl freehold doctor

  Prometheus: http://127.0.0.1:{}/graph?g0.expr={expression}
  logs:       {}",
        demo.cluster.kubeconfig.display(),
        demo.addresses.server(),
        folders.join(":"),
        demo.prometheus.port,
        run.folder().join("logs").display()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_is_nothing_in_every_currency() {
        assert!(["", "0", "0.00", "-0.00"].into_iter().all(is_nothing));
        assert!(!["0.01", "10", "-0.10"].into_iter().any(is_nothing));
    }

    #[test]
    fn a_series_is_told_by_its_ends() {
        let series =
            json!([{"metric": {"uuid": "a"}, "values": [[1, "0.5"], [2, "0.7"], [3, "1"]]}]);
        let expected =
            json!({"labels": {"uuid": "a"}, "first": [1, "0.5"], "last": [3, "1"], "count": 3});
        assert_eq!(ends(&series), [expected]);
        assert!(ends(&Value::Null).is_empty());
    }
}
