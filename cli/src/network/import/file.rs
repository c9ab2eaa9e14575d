//! Rows of a file, before anything is judged: which object, with which texts.

use serde_json::Value;
use std::collections::BTreeMap;

/// The columns of CSV; `kind` is required, the others as the kind needs them.
pub const COLUMNS: [&str; 12] = [
    "kind",
    "space",
    "namespace",
    "name",
    "cidr",
    "role",
    "zone",
    "tenant",
    "address",
    "id",
    "pool",
    "prefix",
];

/// What rows that do not say it are taken to say.
#[derive(Debug, Default)]
pub struct Defaults {
    /// The address space.
    pub space: Option<String>,
    /// The namespace of claims.
    pub namespace: Option<String>,
}

/// What a row wishes for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A Prefix.
    Prefix,
    /// An IPClaim of one address.
    Address,
    /// A VLAN with an id.
    Vlan,
}

/// A row.
#[derive(Debug, Clone)]
pub struct Wish {
    pub place: String,
    pub kind: Kind,
    fields: BTreeMap<&'static str, String>,
}

impl Wish {
    /// A field, unless it is empty.
    pub fn get(&self, field: &str) -> Option<&str> {
        self.fields.get(field).map(String::as_str).filter(|text| !text.is_empty())
    }

    fn set(&mut self, field: &'static str, text: Option<impl Into<String>>) {
        if let Some(text) = text {
            self.fields.entry(field).or_insert_with(|| text.into());
        }
    }

    fn complete(&mut self, defaults: &Defaults) {
        self.fields.retain(|_, text| !text.is_empty());
        self.set("space", defaults.space.clone());
        self.set("namespace", defaults.namespace.clone());
    }
}

/// The rows of a CSV file.
pub fn csv(text: &str, defaults: &Defaults) -> Result<Vec<Wish>, String> {
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(text.as_bytes());
    let headings = reader.headers().map_err(|error| error.to_string())?.clone();
    let mut columns = Vec::new();
    for heading in &headings {
        let known = COLUMNS.iter().find(|column| **column == heading);
        columns.push(*known.ok_or_else(|| {
            format!("line 1: column {heading} is not known; there are {}", COLUMNS.join(", "))
        })?);
    }
    if !columns.contains(&"kind") {
        return Err("line 1: column kind is missing; it is prefix, address or vlan".to_owned());
    }
    let mut wishes = Vec::new();
    for record in reader.records() {
        let record = record.map_err(|error| error.to_string())?;
        let line = record.position().map_or(0, csv::Position::line);
        let fields: BTreeMap<&'static str, String> =
            columns.iter().copied().zip(record.iter().map(str::to_owned)).collect();
        let kind = match fields.get("kind").map(String::as_str) {
            Some("prefix") => Kind::Prefix,
            Some("address") => Kind::Address,
            Some("vlan") => Kind::Vlan,
            other => {
                let other = other.unwrap_or_default();
                return Err(format!(
                    "line {line}: kind: {other} is none; write prefix, address or vlan"
                ));
            }
        };
        let mut wish = Wish { place: format!("line {line}"), kind, fields };
        wish.complete(defaults);
        wishes.push(wish);
    }
    Ok(wishes)
}

/// The objects of a list as `NetBox` answers it, or of several under `prefixes`, `ip-addresses` and `vlans`.
pub fn netbox(text: &str, defaults: &Defaults) -> Result<Vec<Wish>, String> {
    let value: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let mut wishes = Vec::new();
    let names = ["prefixes", "ip-addresses", "vlans"];
    let lists: Vec<(&str, &Value)> = if value.get("results").is_some() {
        vec![("results", &value)]
    } else {
        names.iter().filter_map(|name| Some((*name, value.get(name)?))).collect()
    };
    if lists.is_empty() {
        let wanted = names.join(", ");
        return Err(format!("is neither a list with results, nor has it one of {wanted}"));
    }
    for (name, list) in lists {
        if list.get("next").is_some_and(|next| !next.is_null()) {
            return Err(format!("{name}: is one page of several; ask NetBox with ?limit=0"));
        }
        let results = list.get("results").and_then(Value::as_array);
        let results = results.ok_or_else(|| format!("{name}: has no results"))?;
        for (index, result) in results.iter().enumerate() {
            let place = format!("{name}[{index}]");
            let mut wish = of_netbox(result, place)?;
            wish.complete(defaults);
            wishes.push(wish);
        }
    }
    Ok(wishes)
}

fn of_netbox(result: &Value, place: String) -> Result<Wish, String> {
    let text = |pointer: &str| result.pointer(pointer).and_then(Value::as_str);
    let slug = |text: Option<&str>| text.map(slug).filter(|text| !text.is_empty());
    let kind = if text("/prefix").is_some() {
        Kind::Prefix
    } else if text("/address").is_some() {
        Kind::Address
    } else if result.get("vid").is_some() {
        Kind::Vlan
    } else {
        return Err(format!("{place}: has neither prefix nor address nor vid"));
    };
    let mut wish = Wish { place, kind, fields: BTreeMap::new() };
    wish.set("space", slug(text("/vrf/name")));
    wish.set("tenant", text("/tenant/slug"));
    match kind {
        Kind::Prefix => {
            wish.set("cidr", text("/prefix"));
            wish.set(
                "role",
                match text("/status/value") {
                    Some("container") => Some("Container"),
                    Some("reserved") => Some("Reserved"),
                    Some("active") => None,
                    other => other,
                },
            );
        }
        Kind::Address => {
            // NetBox writes an address with the length of its network.
            wish.set("address", text("/address").and_then(|text| text.split('/').next()));
            wish.set("name", slug(text("/dns_name")));
        }
        Kind::Vlan => {
            wish.set("id", result.get("vid").map(Value::to_string));
            wish.set("name", slug(text("/name")));
        }
    }
    Ok(wish)
}

/// Lower-case letters, digits and single hyphens.
pub fn slug(text: &str) -> String {
    let mut slug = String::new();
    for one in text.chars() {
        if one.is_ascii_alphanumeric() {
            slug.push(one.to_ascii_lowercase());
        } else if !slug.is_empty() && !slug.ends_with('-') {
            slug.push('-');
        }
    }
    slug.truncate(63);
    slug.trim_end_matches('-').to_owned()
}
