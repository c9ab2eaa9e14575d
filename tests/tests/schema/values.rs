//! Values of addresses and ids that look right and are not: through every door, in the words of the parser.

use super::network::{GROUP, pool, root, vlan_pool};
use super::{api, object, refusal, strict_dry_run, with};
use anyhow::{Context, Result};
use ipam::address::{Address, AddressRange, Cidr};
use ipam::vlan::VlanRange;
use kube::ResourceExt;
use kube::api::{DeleteParams, DynamicObject, Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use std::fmt::Display;
use std::str::FromStr;
use system_tests::{client, unique};

/// What the parser says of a text, up to the value it would write: that the API server cannot always compute.
fn problem<T: FromStr<Err: Display>>(text: &str) -> Result<String> {
    let error = text.parse::<T>().err().with_context(|| format!("`{text}` is taken"))?.to_string();
    Ok(error.split_once("; write ").map_or(error.clone(), |(problem, _)| problem.to_owned()))
}

/// A kind with a valid specification, a place in it, and texts that cannot stand there.
struct Doubtful {
    kind: &'static str,
    spec: Value,
    pointer: &'static str,
    problem: fn(&str) -> Result<String>,
    texts: &'static [&'static str],
}

const NETWORKS: [&str; 27] = [
    "",
    "10.0.0.0",
    "10.0.0.0/",
    "/8",
    "10.0.0.0/33",
    "10.0.0.0/024",
    "10.0.0.0/-1",
    "10.0.0.0/8/8",
    "10.0.0.0/255.0.0.0",
    "10.0.0.1/24",
    "010.0.0.0/8",
    "10.00.0.0/8",
    "10/8",
    "10.0.0.256/32",
    "0x0a.0.0.0/8",
    "167772160/8",
    " 10.0.0.0/8",
    "10.0.0.0/8 ",
    "2001:DB8::/32",
    "2001:db8:0:0::/64",
    "2001:db8::1/64",
    "2001:db8::/129",
    "fe80::1%eth0/64",
    "::ffff:10.0.0.0/104",
    "::ffff:a00:0/104",
    "10.0.0.0-10.0.0.255",
    "example.com/24",
];
const SPECIAL_NETWORKS: [&str; 10] = [
    "0.0.0.0/0",
    "0.0.0.0/8",
    "127.0.0.0/8",
    "126.0.0.0/7",
    "169.254.169.254/32",
    "224.0.0.0/4",
    "255.255.255.255/32",
    "::/0",
    "::1/128",
    "fe80::/64",
];
const ADDRESSES: [&str; 12] = [
    "",
    "10.0.0",
    "010.0.0.1",
    "10.0.0.01",
    "::ffff:10.0.0.1",
    "10.0.0.1/32",
    "fe80::1%eth0",
    "2001:DB8::1",
    "2001:db8::0:1",
    "1e3",
    "10.0.0.1 ",
    "10.0.0.1:80",
];
const RANGES: [&str; 10] = [
    "",
    "10.0.0.1-",
    "-10.0.0.1",
    "10.0.0.1-5",
    "10.0.0.1-2001:db8::1",
    "2001:db8::1-10.0.0.1",
    "10.0.0.5/24",
    "10.0.0.1-10.0.0.2-10.0.0.3",
    "10.0.0.1 - 10.0.0.9",
    "10.0.0.1,10.0.0.2",
];
const IDS: [&str; 12] = [
    "",
    "0",
    "4095",
    "70000",
    "99999999999999999999",
    "10-",
    "-10",
    "20-10",
    "010",
    "+1",
    "1-2-3",
    "1 - 2",
];

fn doubtful() -> [Doubtful; 8] {
    let all =
        |kind, spec, pointer, problem, texts| Doubtful { kind, spec, pointer, problem, texts };
    [
        all("Prefix", root(), "/cidr", problem::<Cidr>, &NETWORKS),
        all("Prefix", root(), "/cidr", problem::<Cidr>, &SPECIAL_NETWORKS),
        all("IPPool", pool(), "/ranges/0", problem::<AddressRange>, &RANGES),
        all("IPPool", pool(), "/exclude/0", problem::<AddressRange>, &RANGES),
        all("IPPool", pool(), "/gateway", problem::<Address>, &ADDRESSES),
        all("IPPool", pool(), "/dns/0", problem::<Address>, &ADDRESSES),
        all(
            "IPClaim",
            json!({"poolRef": {"name": "p"}, "address": "10.0.0.9"}),
            "/address",
            problem::<Address>,
            &ADDRESSES,
        ),
        all("VLANPool", vlan_pool(), "/ranges/0", problem::<VlanRange>, &IDS),
    ]
}

#[tokio::test]
async fn doubtful_addresses_and_ids_are_refused_in_the_words_of_the_parser() -> Result<()> {
    let client = client().await?;
    for Doubtful { kind, spec, pointer, problem, texts } in doubtful() {
        let (api, name) = (api(&client, GROUP, kind), unique("s"));
        let stored: DynamicObject =
            api.create(&PostParams::default(), &object(GROUP, kind, &name, &spec)?).await?;
        for text in texts {
            let expected = problem(text)?;
            let changed = with(&spec, pointer, &json!(text))?;
            let case = format!("{kind} {pointer} = `{text}`");
            let fresh = object(GROUP, kind, &unique("s"), &changed)?;
            refusal(
                api.create(&strict_dry_run(), &fresh).await,
                &expected,
                &format!("dry run {case}"),
            )?;
            refusal(
                api.create(&PostParams::default(), &fresh).await,
                &expected,
                &format!("create {case}"),
            )?;
            let mut replaced = stored.clone();
            replaced.data["spec"] = changed.clone();
            refusal(
                api.replace(&name, &PostParams::default(), &replaced).await,
                &expected,
                &format!("replace {case}"),
            )?;
            let merge = Patch::Merge(json!({"spec": changed}));
            refusal(
                api.patch(&name, &PatchParams::default(), &merge).await,
                &expected,
                &format!("merge patch {case}"),
            )?;
            let place = format!("/spec{pointer}");
            let edit = json!([{"op": "replace", "path": place, "value": text}]);
            let edit = Patch::Json::<()>(serde_json::from_value(edit)?);
            refusal(
                api.patch(&name, &PatchParams::default(), &edit).await,
                &expected,
                &format!("JSON patch {case}"),
            )?;
            let apply = Patch::Apply(object(GROUP, kind, &name, &changed)?);
            let force = PatchParams::apply("schema-test").force();
            refusal(api.patch(&name, &force, &apply).await, &expected, &format!("apply {case}"))?;
        }
        let after = api.get(&name).await?;
        assert_eq!(
            after.resource_version(),
            stored.resource_version(),
            "{kind}: something was stored"
        );
        api.delete(&name, &DeleteParams::default()).await?;
    }
    Ok(())
}
