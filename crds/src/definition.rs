//! From the Rust types to the definitions the API server takes.
//!
//! What the derive macros emit is nearly right; the rest is mended here, once for all kinds: integer formats that
//! Kubernetes does not know are dropped, `nullable` goes (an absent field is absent, never null), and lists with an
//! identity say so, which makes server-side apply merge them instead of replacing them.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;
use serde_json::{Map, Value};

/// Every definition, in the order of the file names they are generated into.
///
/// # Errors
/// A definition that cannot be turned into JSON and back; that is a fault of this crate.
pub fn all() -> Result<Vec<(String, Value)>, serde_json::Error> {
    vec![
        crate::Tenant::crd(),
        crate::Project::crd(),
        crate::TenantMember::crd(),
        crate::InstanceType::crd(),
        crate::ComputeCluster::crd(),
        crate::PhysicalMachine::crd(),
        crate::VirtualMachine::crd(),
        crate::Meter::crd(),
        crate::PricePlan::crd(),
        crate::AddressSpace::crd(),
        crate::Prefix::crd(),
        crate::IPPool::crd(),
        crate::IPBlock::crd(),
        crate::IPClaim::crd(),
        crate::VLANPool::crd(),
        crate::VLAN::crd(),
        crate::VLANFabric::crd(),
        crate::SecurityZone::crd(),
    ]
    .into_iter()
    .map(|definition| {
        let name = definition.metadata.name.clone().unwrap_or_default();
        Ok((name, mended(&definition)?))
    })
    .collect()
}

fn mended(definition: &CustomResourceDefinition) -> Result<Value, serde_json::Error> {
    let mut value = serde_json::to_value(definition)?;
    mend_schema(&mut value);
    Ok(value)
}

/// The formats that the API server's own validation knows for numbers.
const KNOWN_FORMATS: [&str; 4] = ["int32", "int64", "float", "double"];

fn mend_schema(value: &mut Value) {
    match value {
        Value::Object(map) => {
            mend_node(map);
            for (name, child) in map.iter_mut() {
                mend_schema(child);
                mark_list_identity(name, child);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(mend_schema),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn mend_node(map: &mut Map<String, Value>) {
    if map.get("nullable") == Some(&Value::Bool(true)) {
        map.remove("nullable");
    }
    let is_number = matches!(map.get("type").and_then(Value::as_str), Some("integer" | "number"));
    let is_unknown = map
        .get("format")
        .and_then(Value::as_str)
        .is_some_and(|format| !KNOWN_FORMATS.contains(&format));
    if is_number && is_unknown {
        map.remove("format");
    }
}

/// Lists whose entries have an identity, and the fields that make it.
const KEYED_LISTS: [(&str, &[&str]); 7] = [
    ("inventory", &["resource"]),
    ("conditions", &["type"]),
    ("roleRefs", &["name"]),
    ("rateCards", &["id"]),
    ("images", &["name"]),
    ("peers", &["name"]),
    ("networks", &["name"]),
];

/// Tables that one writer replaces as a whole. Were they keyed, `managedFields` would outgrow the data: it holds a path
/// for every entry and every field of it.
const ATOMIC_LISTS: [&str; 7] =
    ["slots", "owners", "children", "roots", "pools", "addresses", "cidrs"];

/// Lists in which a value stands once and the order says nothing. Who is let in is none of them: sets merge what several
/// managers say, and one that is applied empty vanishes together with a spec that holds nothing else.
const SETS: [&str; 1] = ["families"];

fn mark_list_identity(name: &str, schema: &mut Value) {
    let Some(map) = schema.as_object_mut() else { return };
    if map.get("type").and_then(Value::as_str) != Some("array") {
        return;
    }
    let list_type = "x-kubernetes-list-type".to_owned();
    if let Some((_, keys)) = KEYED_LISTS.iter().find(|(list, _)| *list == name) {
        map.insert(list_type, Value::from("map"));
        map.insert("x-kubernetes-list-map-keys".to_owned(), Value::from(keys.to_vec()));
    } else if ATOMIC_LISTS.contains(&name) {
        map.insert(list_type, Value::from("atomic"));
    } else if SETS.contains(&name) {
        map.insert(list_type, Value::from("set"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn walk(path: &str, schema: &Value, visit: &mut dyn FnMut(&str, &Value)) {
        visit(path, schema);
        if let Some(properties) = schema.get("properties").and_then(Value::as_object) {
            for (name, child) in properties {
                walk(&format!("{path}.{name}"), child, visit);
            }
        }
        for member in ["items", "additionalProperties"] {
            if let Some(child) = schema.get(member).filter(|child| child.is_object()) {
                walk(&format!("{path}[]"), child, visit);
            }
        }
    }

    fn each_schema(visit: &mut dyn FnMut(&str, &Value)) {
        for (name, definition) in all().unwrap() {
            let schema = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
            assert!(schema.is_object(), "{name} has no schema");
            walk(&name, schema, visit);
        }
    }

    #[test]
    fn every_field_is_described() {
        let mut missing = Vec::new();
        each_schema(&mut |path, schema| {
            if !path.ends_with("[]")
                && schema.get("description").is_none()
                && !path.ends_with(".metadata")
            {
                missing.push(path.to_owned());
            }
        });
        assert!(missing.is_empty(), "fields without a description: {missing:#?}");
    }

    #[test]
    fn schemas_are_structural_and_have_no_null() {
        each_schema(&mut |path, schema| {
            assert!(schema.get("nullable").is_none(), "{path} is nullable");
            let any = schema.get("x-kubernetes-int-or-string").is_some()
                || schema.get("x-kubernetes-preserve-unknown-fields").is_some();
            assert!(any || schema.get("type").is_some(), "{path} has no type: {schema}");
        });
    }

    #[test]
    fn every_kind_is_listed_with_the_category_and_reports_a_status() {
        let definitions = all().unwrap();
        assert_eq!(definitions.len(), 18);
        for (name, definition) in definitions {
            let spec = &definition["spec"];
            assert!(name.ends_with(ids::well_known::GROUP_SUFFIX), "{name}");
            assert_eq!(spec["names"]["categories"][0], ids::well_known::CATEGORY, "{name}");
            assert!(spec["names"]["shortNames"][0].is_string(), "{name} has no short name");
            assert!(
                spec["versions"][0]["subresources"]["status"].is_object(),
                "{name} has no status"
            );
            let columns: Vec<&str> = spec["versions"][0]["additionalPrinterColumns"]
                .as_array()
                .unwrap()
                .iter()
                .map(|column| column["name"].as_str().unwrap())
                .collect();
            let every = ["Ready", "Reason", "Age"];
            for column in every.iter().filter(|_| name.contains(ids::well_known::NETWORK_GROUP)) {
                assert!(columns.contains(column), "{name} does not show {column}: {columns:?}");
            }
            let conditions = &spec["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"]
                ["properties"]["conditions"];
            assert_eq!(
                conditions["x-kubernetes-list-map-keys"][0], "type",
                "{name}: conditions are not keyed"
            );
        }
    }

    #[test]
    fn tables_of_one_writer_are_replaced_as_a_whole() {
        let mut found = std::collections::BTreeSet::new();
        each_schema(&mut |path, schema| {
            for (name, child) in
                schema.get("properties").and_then(Value::as_object).into_iter().flatten()
            {
                if child.get("x-kubernetes-list-type") == Some(&Value::from("atomic")) {
                    found.insert(format!("{}.{name}", path.split('.').next().unwrap()));
                }
            }
        });
        for table in
            ["ipblocks.slots", "vlanpools.owners", "prefixes.children", "addressspaces.roots"]
        {
            assert!(found.contains(table), "{table} is not atomic: {found:?}");
        }
    }

    #[test]
    fn prefixes_are_listed_as_a_tree() {
        let definitions = all().unwrap();
        let (_, prefix) =
            definitions.iter().find(|(name, _)| name.starts_with("prefixes.")).unwrap();
        let columns: Vec<&str> = prefix["spec"]["versions"][0]["additionalPrinterColumns"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|column| column.get("priority").is_none())
            .map(|column| column["name"].as_str().unwrap())
            .collect();
        assert_eq!(
            columns,
            [
                "Parent",
                "CIDR",
                "Class",
                "Free",
                "Fragmentation",
                "Utilisation",
                "Ready",
                "Reason",
                "Age"
            ]
        );
    }
}
