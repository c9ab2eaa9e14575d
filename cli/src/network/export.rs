//! `network export`: prefixes, addresses and VLANs as `network import` reads them.

use super::import::{FileForm, columns};
use super::reader::Reader;
use crate::failure::Failure;
use crds::network::{IPClaim, IPPool, Prefix, VLAN};
use kube::ResourceExt;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// What to export.
#[derive(Debug, clap::Args)]
pub struct Export {
    /// csv: a row per object; netbox: JSON in the shape of `NetBox`' REST lists.
    #[arg(long, value_enum, default_value_t = FileForm::Csv)]
    format: FileForm,
    #[command(flatten)]
    cluster: crate::server::ClusterArguments,
}

type Record = BTreeMap<&'static str, String>;

/// Reads everything and writes it to standard output.
pub async fn export(arguments: &Export) -> Result<String, Failure> {
    let reader = Reader::find(&arguments.cluster).await?;
    let prefixes: Vec<Prefix> = reader.list().await?;
    let pools: Vec<IPPool> = reader.list().await?;
    let claims: Vec<IPClaim> = reader.list().await?;
    let vlans: Vec<VLAN> = reader.list().await?;
    let mut records: Vec<Record> = prefixes.iter().filter_map(prefix).collect();
    records.extend(claims.iter().flat_map(|claim| addresses(claim, &pools)));
    records.extend(vlans.iter().filter_map(vlan));
    match arguments.format {
        FileForm::Csv => csv(&records),
        FileForm::Netbox => serde_json::to_string_pretty(&netbox(&records))
            .map(|text| text + "\n")
            .map_err(|error| Failure::Write(error.to_string())),
    }
}

fn prefix(prefix: &Prefix) -> Option<Record> {
    let status = prefix.status.as_ref()?;
    let mut record = Record::from([
        ("kind", "prefix".to_owned()),
        ("name", prefix.name_any()),
        ("space", status.space.clone()?),
        ("cidr", status.cidr.clone()?),
        ("role", format!("{:?}", prefix.role())),
    ]);
    record.extend(prefix.spec.zone_ref.as_ref().map(|zone| ("zone", zone.name.clone())));
    record.extend(prefix.spec.tenant_ref.as_ref().map(|tenant| ("tenant", tenant.name.clone())));
    Some(record)
}

fn addresses(claim: &IPClaim, pools: &[IPPool]) -> Vec<Record> {
    let told: Vec<_> = claim.status.iter().flat_map(|status| &status.addresses).collect();
    let is_one = told.len() == 1;
    let record = |(index, told): (usize, &&crds::network::ClaimedAddress)| {
        let name = claim.name_any();
        let pool = pools.iter().find(|pool| pool.name_any() == told.pool);
        let space = pool.and_then(|pool| pool.status.as_ref()?.space.clone());
        Record::from([
            ("kind", "address".to_owned()),
            ("name", if is_one { name } else { format!("{name}-{index}") }),
            ("namespace", claim.namespace().unwrap_or_default()),
            ("space", space.unwrap_or_default()),
            ("address", told.address.clone()),
            ("pool", told.pool.clone()),
            ("length", told.prefix_length.to_string()),
        ])
    };
    told.iter().enumerate().map(record).collect()
}

fn vlan(vlan: &VLAN) -> Option<Record> {
    let status = vlan.status.as_ref()?;
    let mut record = Record::from([
        ("kind", "vlan".to_owned()),
        ("name", vlan.name_any()),
        ("namespace", vlan.namespace()?),
        ("id", status.id?.to_string()),
        ("pool", status.pool.clone()?),
    ]);
    record.extend(vlan.spec.prefix_ref.as_ref().map(|prefix| ("prefix", prefix.name.clone())));
    Some(record)
}

fn csv(records: &[Record]) -> Result<String, Failure> {
    let failed = |error: csv::Error| Failure::Write(error.to_string());
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(columns()).map_err(failed)?;
    for record in records {
        let cells = columns().iter().map(|column| record.get(column).map_or("", String::as_str));
        writer.write_record(cells).map_err(failed)?;
    }
    let bytes = writer.into_inner().map_err(|error| Failure::Write(error.to_string()))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// One list answer for each of `NetBox`' endpoints.
fn netbox(records: &[Record]) -> Value {
    let list = |kind: &str, object: &dyn Fn(&Record) -> Value| {
        let of_kind =
            records.iter().filter(|record| record.get("kind").is_some_and(|one| one == kind));
        let results: Vec<Value> = of_kind.map(object).collect();
        json!({"count": results.len(), "next": null, "previous": null, "results": results})
    };
    let text = |record: &Record, field: &str| record.get(field).cloned();
    let named = |record: &Record, field: &str, key: &str| {
        text(record, field).map(|name| json!({ key: name }))
    };
    let status = |record: &Record| match record.get("role").map(String::as_str) {
        Some("Container") => "container",
        Some("Reserved") => "reserved",
        _ => "active",
    };
    json!({
        "prefixes": list("prefix", &|record| json!({
            "prefix": text(record, "cidr"), "description": text(record, "name"),
            "vrf": named(record, "space", "name"), "tenant": named(record, "tenant", "slug"),
            "status": {"value": status(record)},
        })),
        "ip-addresses": list("address", &|record| json!({
            "address": format!(
                "{}/{}",
                text(record, "address").unwrap_or_default(),
                text(record, "length").unwrap_or_default()
            ),
            "dns_name": text(record, "name"), "description": text(record, "namespace"),
            "vrf": named(record, "space", "name"), "status": {"value": "active"},
        })),
        "vlans": list("vlan", &|record| json!({
            "vid": text(record, "id").and_then(|id| id.parse::<u16>().ok()), "name": text(record, "name"),
            "description": text(record, "namespace"), "status": {"value": "active"},
        })),
    })
}
