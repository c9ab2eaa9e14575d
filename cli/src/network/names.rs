//! What people call things: tenants by account, states by condition, large numbers in short.

use crate::output::plain;
use crds::{Condition, Tenant};
use kube::ResourceExt;
use serde::Serialize;
use std::collections::BTreeMap;

/// Whether the operator is done with an object, and why not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct State {
    /// Whether the condition Ready is True.
    pub ready: bool,
    /// Its reason.
    pub reason: String,
    /// Its message.
    pub message: String,
}

impl State {
    /// As the conditions of an object say it.
    pub fn of(conditions: Option<&Vec<Condition>>) -> Self {
        let ready = conditions.into_iter().flatten().find(|condition| condition.type_ == "Ready");
        match ready {
            Some(ready) => Self {
                ready: ready.status == "True",
                reason: ready.reason.clone(),
                message: ready.message.clone(),
            },
            None => Self {
                ready: false,
                reason: "NotSeen".to_owned(),
                message: "the operator has not looked at it; is it running?".to_owned(),
            },
        }
    }

    /// One line while something is to be done.
    pub fn trouble(&self) -> Option<String> {
        (!self.ready).then(|| format!("{}: {}", plain(&self.reason), plain(&self.message)))
    }
}

/// Names of tenants by account; without the right to list tenants it knows none.
#[derive(Debug, Default)]
pub struct Accounts(BTreeMap<String, String>);

impl Accounts {
    /// The tenants that may be listed.
    pub fn of(tenants: Result<Vec<Tenant>, String>) -> Self {
        let pairs = tenants
            .into_iter()
            .flatten()
            .filter_map(|tenant| Some((tenant.account_id()?.to_owned(), tenant.name_any())));
        Self(pairs.collect())
    }

    /// The tenant's name, else the account.
    pub fn name(&self, account: &str) -> String {
        self.0.get(account).map_or_else(|| format!("account {account}"), String::clone)
    }
}

/// A count that fits seven columns; exact up to 999999.
pub fn short(count: u128) -> String {
    let tenths = |unit: u128, letter: &str| {
        let scaled = count.saturating_mul(10).checked_div(unit).unwrap_or(0);
        let (whole, part) =
            (scaled.checked_div(10).unwrap_or(0), scaled.checked_rem(10).unwrap_or(0));
        format!("{whole}.{part}{letter}")
    };
    match count {
        0..1_000_000 => count.to_string(),
        1_000_000..1_000_000_000 => tenths(1_000_000, "M"),
        1_000_000_000..1_000_000_000_000 => tenths(1_000_000_000, "G"),
        _ if count.is_power_of_two() => format!("2^{}", count.ilog2()),
        _ => {
            // The nearer power: what lacks a few addresses is not half of it.
            let power = count.ilog2();
            let half = 1_u128.checked_shl(power.saturating_sub(1)).unwrap_or(0);
            let is_nearer_above = (count ^ half.saturating_mul(2)) >= half;
            format!("~2^{}", power.saturating_add(u32::from(is_nearer_above)))
        }
    }
}

/// A decimal of a status.
pub fn number(text: Option<&String>) -> Option<u128> {
    text?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_fit_their_column() {
        let cases = [
            (0, "0"),
            (65_536, "65536"),
            (999_999, "999999"),
            (16_777_216, "16.7M"),
            (4_294_967_296, "4.2G"),
            (1 << 64, "2^64"),
            ((1 << 96) - 1, "~2^96"),
            ((1 << 64) + 1, "~2^64"),
            (u128::MAX, "~2^128"),
        ];
        for (count, expected) in cases {
            assert_eq!(short(count), expected);
            assert!(expected.len() <= 7);
        }
    }
}
