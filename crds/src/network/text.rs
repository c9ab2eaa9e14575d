//! Networks, addresses, ranges and ids as people write them, each with one spelling.
//!
//! Types here carry text. What the API server can judge of it stands in the schema as CEL, so it holds with the webhook
//! away; whoever acts on an object parses the text once with the crate `ipam`. Both doors refuse with the same words: the
//! message is chosen in CEL, branch by branch as `ipam` does, and a suite compares the two on a real API server. They
//! differ in one thing: where `ipam` spells out the right value, CEL says how to find it, because the API server bounds
//! the cost of a message by the length of its parts, and knows none for the text of an address that it computed. What
//! needs arithmetic on addresses (a range that runs backwards or over a special network) is left to the parser.
//!
//! Lengths are bounded because the API server estimates the cost of a rule from them. Texts in a status have no rules:
//! one program writes them, and tables are long.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// What is longer is no address, network or range; `ipam` does not look at it either.
const ADDRESS_TEXT_LENGTH_MAX: u32 = 128;
/// `4093-4094` has nine characters; a few more are read to say what is wrong with them.
const ID_TEXT_LENGTH_MAX: u32 = 32;
/// A tenant's name.
const TENANT_LENGTH_MAX: u32 = 30;

/// The networks that nobody is given an address of, and what they are called. `ipam` knows one more, `::ffff:0:0/96`, which
/// the API server's library does not take for a network at all.
const SPECIAL: [(&str, &str); 8] = [
    ("0.0.0.0/8", "the \"this network\" addresses"),
    ("127.0.0.0/8", "the loopback addresses"),
    ("169.254.0.0/16", "the link-local addresses"),
    ("224.0.0.0/4", "the multicast addresses"),
    ("240.0.0.0/4", "class E"),
    ("::/127", "the loopback addresses"),
    ("fe80::/10", "the link-local addresses"),
    ("ff00::/8", "the multicast addresses"),
];

const EMPTY: &str = "'the value is empty; write an address like 10.0.0.1 or 2001:db8::1'";

/// A text with what has to hold of it. The message is an expression; where that cannot be computed, `fallback` is said.
fn text_schema(length_max: u32, rule: &str, message: &str, fallback: &str) -> Schema {
    json_schema!({
        "type": "string",
        "maxLength": length_max,
        "x-kubernetes-validations": [
            { "rule": rule, "message": fallback, "messageExpression": message },
        ],
    })
}

macro_rules! text {
    ($(#[$doc:meta])* $name:ident, $schema:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub String);

        impl $name {
            /// The text as it was written.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(text.to_owned())
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str(&self.0)
            }
        }

        impl JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                $schema
            }
        }
    };
}

text!(
    /// A network in canonical form, such as `10.0.0.0/8`.
    Cidr,
    network_schema()
);
text!(
    /// An address in canonical form, such as `10.0.0.1`.
    IpAddress,
    address_schema()
);
text!(
    /// Addresses: one, a network, or `first-last`.
    AddressRange,
    range_schema()
);
text!(
    /// VLAN ids: one, or `first-last`.
    VlanRange,
    id_range_schema()
);
text!(
    /// A tenant by name, or `*` for all.
    TenantPattern,
    tenant_schema()
);

/// The part of `text` before the first `mark`, and the part after it.
fn halves(text: &str, mark: char) -> (String, String) {
    let at = format!("{text}.indexOf('{mark}')");
    (format!("{text}.substring(0, {at})"), format!("{text}.substring({at} + 1)"))
}

/// Whether `text`, an expression, is an address in its one spelling.
fn is_address(text: &str) -> String {
    format!("(isIP({text}) && ip.isCanonical({text}))")
}

/// Why `text`, an expression, is no address; it is known to be none.
fn address_refusal(text: &str) -> String {
    let zone = halves(text, '%').0;
    [
        format!("{text} == '' ? {EMPTY}"),
        format!("{text}.contains('/') ? '`' + {text} + '` has a prefix length; write one address without it'"),
        format!("{text}.contains('%') ? '`' + {text} + '` names a zone, which means something on one machine only; write ' + {zone}"),
        format!("isIP({text}) ? '`' + {text} + '` is not the canonical spelling; write it shortened and in lower case'"),
        format!("{text}.startsWith('::ffff:') && isIP({text}.substring(7)) ? '`' + {text} + '` is an IPv4 address in IPv6 notation; write ' + {text}.substring(7)"),
        format!("{text}.matches('^[0-9]{{1,9}}([.][0-9]{{1,9}}){{3}}$') && {text}.matches('(^|[.])0[0-9]') ? '`' + {text} + '` has leading zeros, which some programs read as octal; write it without them'"),
        format!("'`' + {text} + '` is not an IP address; write it like 10.0.0.1 or 2001:db8::1'"),
    ]
    .join(" : ")
}

fn overlaps(network: &str) -> String {
    format!("(cidr('{network}').containsCIDR(self) || cidr(self).containsCIDR('{network}'))")
}

fn is_network() -> String {
    let special: Vec<String> =
        SPECIAL.iter().map(|(network, _)| format!("!{}", overlaps(network))).collect();
    format!("(isCIDR(self) && string(cidr(self).masked()) == self && {})", special.join(" && "))
}

fn network_refusal() -> String {
    let (address, length) = halves("self", '/');
    let is_four = format!("ip({address}).family() == 4");
    let (alone, alone_refused) = (is_address("self"), address_refusal("self"));
    let (is_address, address_refused) = (is_address(&address), address_refusal(&address));
    let mut branches = vec![
        format!("self == '' ? {EMPTY}"),
        format!("!self.contains('/') ? ({alone} ? '`' + self + '` has no prefix length; write ' + self + (ip(self).family() == 4 ? '/32' : '/128') + ' for one address' : {alone_refused})"),
        format!("{address}.startsWith('::ffff:') ? '`' + self + '` is an IPv4 address in IPv6 notation; write it in IPv4 notation'"),
        format!("!{is_address} ? ({address_refused})"),
        format!("!{length}.matches('^(0|[1-9][0-9]*)$') ? 'prefix length `' + {length} + '` is not a plain number; write 0 to ' + ({is_four} ? '32' : '128')"),
        format!("!isCIDR(self) ? 'prefix length ' + {length} + ' is too long for ' + ({is_four} ? 'IPv4; the longest is 32' : 'IPv6; the longest is 128')"),
        "string(cidr(self).masked()) != self ? '`' + self + '` has host bits set; write its first address'".to_owned(),
    ];
    branches.extend(SPECIAL.iter().map(|(network, name)| {
        let overlaps = overlaps(network);
        format!("{overlaps} ? self + ' overlaps {name} ({network}), which is never handed out; write a unicast prefix outside of {network}'")
    }));
    branches.push("'is not a network'".to_owned());
    branches.join(" : ")
}

fn network_schema() -> Schema {
    text_schema(
        ADDRESS_TEXT_LENGTH_MAX,
        &is_network(),
        &network_refusal(),
        "is not a network; write it like 10.0.0.0/8 or 2001:db8::/32",
    )
}

fn address_schema() -> Schema {
    text_schema(
        ADDRESS_TEXT_LENGTH_MAX,
        &is_address("self"),
        &address_refusal("self"),
        "is not an IP address; write it like 10.0.0.1 or 2001:db8::1",
    )
}

fn range_schema() -> Schema {
    let (first, last) = halves("self", '-');
    let (is_first, is_last) = (is_address(&first), is_address(&last));
    let is_four = format!("ip({first}).family() == 4");
    let rule = format!(
        "self.contains('/') ? {network} : self.contains('-') ? {is_first} && {is_last} && ip({first}).family() == ip({last}).family() : {alone}",
        network = is_network(),
        alone = is_address("self"),
    );
    let message = [
        format!("self == '' ? {EMPTY}"),
        format!("self.contains('/') ? ({})", network_refusal()),
        format!("!self.contains('-') ? ({})", address_refusal("self")),
        format!("{first} == '' || {last} == '' ? 'range `' + self + '` has only one end; write first-last, or one address alone'"),
        format!("!{is_first} ? ({})", address_refusal(&first)),
        format!("!{is_last} ? ({})", address_refusal(&last)),
        format!("'range ' + self + ' mixes ' + ({is_four} ? 'IPv4 and IPv6' : 'IPv6 and IPv4') + '; write both ends in one family'"),
    ]
    .join(" : ");
    text_schema(
        ADDRESS_TEXT_LENGTH_MAX,
        &rule,
        &message,
        "is not a range; write it like 10.0.0.1, 10.0.0.0/28 or 10.0.0.1-10.0.0.9",
    )
}

/// Whether `text`, an expression, is a VLAN id.
fn is_id(text: &str) -> String {
    format!("({text}.matches('^[1-9][0-9]{{0,3}}$') && int({text}) <= 4094)")
}

fn id_refusal(text: &str) -> String {
    format!(
        "{text}.matches('^(0|[1-9][0-9]*)$') ? 'VLAN id ' + {text} + ' is outside of 1 to 4094' : '`' + {text} + '` is not a plain VLAN id; write 1 to 4094 without sign or leading zeros'"
    )
}

fn id_range_schema() -> Schema {
    let (first, last) = halves("self", '-');
    let (is_first, is_last) = (is_id(&first), is_id(&last));
    let rule = format!(
        "self.contains('-') ? {is_first} && {is_last} && int({first}) <= int({last}) : {alone}",
        alone = is_id("self"),
    );
    let message = [
        "self == '' ? 'the value is empty; write a VLAN id like 100, or a range like 100-199'".to_owned(),
        format!("!self.contains('-') ? ({})", id_refusal("self")),
        format!("{first} == '' || {last} == '' ? 'range `' + self + '` has only one end; write first-last, or one id alone'"),
        format!("!{is_first} ? ({})", id_refusal(&first)),
        format!("!{is_last} ? ({})", id_refusal(&last)),
        format!("'range ' + self + ' is reversed; write ' + {last} + '-' + {first}"),
    ]
    .join(" : ");
    text_schema(
        ID_TEXT_LENGTH_MAX,
        &rule,
        &message,
        "is not a range of VLAN ids; write an id like 100, or a range like 100-199",
    )
}

fn tenant_schema() -> Schema {
    text_schema(
        TENANT_LENGTH_MAX,
        "self == '*' || self.matches('^[a-z]([a-z0-9-]{0,28}[a-z0-9])?$')",
        "'`' + self + '` is not a tenant; write the name of a Tenant, or * for all'",
        "is not a tenant; write the name of a Tenant, or * for all",
    )
}
