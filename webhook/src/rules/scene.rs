//! Small worlds for the rules' tests, built from the same JSON that people write.

use super::Change;
use crate::finding::Verdict;
use crate::review::Request;
use crate::world::World;
use ids::well_known::{ROLE_LABEL, TENANT_LABEL, TENANT_UID_LABEL};
use kube::Resource;
use kube_runtime::reflector::{self, Store};
use kube_runtime::watcher::Event;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Debug;

/// Objects by kind; a later one of the same name replaces an earlier one.
#[derive(Default)]
pub struct Scene(BTreeMap<&'static str, Vec<Value>>);

impl Scene {
    fn with(mut self, kind: &'static str, object: Value) -> Self {
        self.0.entry(kind).or_default().push(object);
        self
    }

    pub fn tenant(self, object: Value) -> Self {
        self.with("tenants", object)
    }

    pub fn member(self, object: Value) -> Self {
        self.with("members", object)
    }

    pub fn cluster(self, object: Value) -> Self {
        self.with("clusters", object)
    }

    pub fn host(self, object: Value) -> Self {
        self.with("hosts", object)
    }

    /// An object of the network: `spaces`, `prefixes`, `pools`, `blocks`, `vlan-pools`, `vlans` or `zones`.
    pub fn network(self, kind: &'static str, object: Value) -> Self {
        self.with(kind, object)
    }

    pub fn namespace(self, name: &str, tenant: &str, uid: &str, role: &str) -> Self {
        let labels = json!({ TENANT_LABEL: tenant, TENANT_UID_LABEL: uid, ROLE_LABEL: role });
        self.with("namespaces", json!({ "metadata": { "name": name, "labels": labels } }))
    }

    pub fn machine(self, namespace: &str, name: &str, size: &str) -> Self {
        self.with(
            "machines",
            json!({ "metadata": { "name": name, "namespace": namespace },
                "spec": { "instanceTypeRef": { "name": size }, "image": "linux" } }),
        )
    }

    pub fn placed_machine(self, namespace: &str, name: &str, cluster: &str, image: &str) -> Self {
        self.with(
            "machines",
            json!({ "metadata": { "name": name, "namespace": namespace },
                "spec": { "instanceTypeRef": { "name": "small" }, "image": image },
                "status": { "cluster": cluster } }),
        )
    }

    pub fn plan(self, name: &str, currency: &str) -> Self {
        self.with("plans", plan(name, currency, "vcpu"))
    }

    pub fn plan_for(self, name: &str, meter: &str) -> Self {
        self.with("plans", plan(name, "EUR", meter))
    }

    pub fn world(self) -> World {
        World {
            tenants: self.store("tenants"),
            projects: self.store("projects"),
            members: self.store("members"),
            instance_types: self.store("types"),
            clusters: self.store("clusters"),
            hosts: self.store("hosts"),
            machines: self.store("machines"),
            meters: self.store("meters"),
            plans: self.store("plans"),
            spaces: self.store("spaces"),
            prefixes: self.store("prefixes"),
            pools: self.store("pools"),
            blocks: self.store("blocks"),
            vlan_pools: self.store("vlan-pools"),
            vlans: self.store("vlans"),
            zones: self.store("zones"),
            namespaces: self.store("namespaces"),
            fetched: None,
        }
    }

    fn store<K>(&self, kind: &str) -> Store<K>
    where
        K: Resource<DynamicType = ()> + DeserializeOwned + Clone + Debug + 'static,
    {
        let (store, mut writer) = reflector::store();
        for object in self.0.get(kind).into_iter().flatten() {
            writer.apply_watcher_event(&Event::Apply(
                serde_json::from_value(object.clone()).unwrap(),
            ));
        }
        store
    }
}

fn plan(name: &str, currency: &str, meter: &str) -> Value {
    json!({ "metadata": { "name": name }, "spec": {
        "currency": currency, "effectiveFrom": "2026-01-01T00:00:00Z",
        "phases": [{ "name": "evergreen", "rateCards": [
            { "id": "a", "meterRef": { "name": meter }, "price": { "perUnit": { "rate": "1" } } }] }] } })
}

/// A plain tenant whose UID is `uid-<name>`.
pub fn tenant(name: &str) -> Value {
    json!({ "metadata": { "name": name, "uid": format!("uid-{name}") }, "spec": {
        "type": "Enterprise", "displayName": name, "currency": "EUR",
        "paymentMode": "Postpaid", "planRef": { "name": "standard" } } })
}

/// A change of a cluster-scoped object, with the objects read as the server reads them.
pub fn change<K: DeserializeOwned>(operation: &str, old: Value, new: Value) -> Change<K> {
    change_in("", operation, old, new)
}

/// A change in a namespace.
pub fn change_in<K: DeserializeOwned>(
    namespace: &str,
    operation: &str,
    old: Value,
    new: Value,
) -> Change<K> {
    let present = if new.is_null() { &old } else { &new };
    let name = present["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    let request: Request = serde_json::from_value(json!({
        "uid": "review", "operation": operation, "name": name, "namespace": namespace,
        "kind": { "group": "", "kind": "" }, "userInfo": { "username": "somebody" },
        "object": new, "oldObject": old,
    }))
    .unwrap();
    super::decoded(&request).unwrap_or_else(|verdict| panic!("{verdict:?}"))
}

/// The fields of the findings, in order and each once.
pub fn refused_fields(verdict: &Verdict) -> Vec<String> {
    let mut fields: Vec<String> = Vec::new();
    for finding in &verdict.findings {
        if !fields.contains(&finding.field) {
            fields.push(finding.field.clone());
        }
    }
    fields
}
