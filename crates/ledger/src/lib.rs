//! Double entry: where money is, and how it moved there.
//!
//! A transaction is a set of entries that sum to zero in one currency; it is never changed, and undone by its mirror.
//! This crate builds transactions and refuses the ones that do not balance; the database refuses them once more. An
//! entry's amount is signed, debit positive: one number cannot be put on the wrong side, and a balance is a sum.
//!
//! Accounts of a tenant hang on its account UUID. Operator accounts exist once per shard, because one revenue row that
//! every invoice updates would serialise them all.
#![cfg_attr(
    not(test),
    deny(clippy::float_arithmetic, clippy::as_conversions, clippy::arithmetic_side_effects)
)]
#![deny(clippy::wildcard_enum_match_arm)]

use ids::AccountId;
use money::{Amount, AmountRefused, Currency};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// An account of the books.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Account {
    /// One of a tenant's.
    Tenant(AccountId, TenantAccount),
    /// One of the operator's, by shard (0 to 63).
    Operator(u8, OperatorAccount),
}

/// What a tenant has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum TenantAccount {
    /// Invoiced and not paid.
    Receivable,
    /// Used and not invoiced.
    Accrued,
}

/// What the operator has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum OperatorAccount {
    /// Money received.
    Cash,
    /// Earned.
    Revenue,
    /// Owed to the tax office.
    TaxPayable,
    /// What rounding left over.
    Rounding,
}

impl fmt::Display for Account {
    /// The account's one name, as the database has it: `tenant/{uuid}/receivable`, `operator/07/revenue`.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tenant(tenant, account) => {
                let name = match account {
                    TenantAccount::Receivable => "receivable",
                    TenantAccount::Accrued => "accrued",
                };
                write!(formatter, "tenant/{tenant}/{name}")
            }
            Self::Operator(shard, account) => {
                let name = match account {
                    OperatorAccount::Cash => "cash",
                    OperatorAccount::Revenue => "revenue",
                    OperatorAccount::TaxPayable => "taxPayable",
                    OperatorAccount::Rounding => "rounding",
                };
                write!(formatter, "operator/{shard:02}/{name}")
            }
        }
    }
}

/// A change of one account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The account.
    pub account: Account,
    /// Debit positive, credit negative, never 0.
    pub amount: Amount,
}

/// Entries that sum to zero in one currency: at least two, one per account, ascending by account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Transaction {
    currency: Currency,
    entries: Vec<Entry>,
}

/// A movement that cannot be booked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PostingRefused {
    /// The entries do not cancel out.
    #[error("the entries leave {left} over; a transaction sums to zero")]
    Unbalanced {
        /// What is left.
        left: Amount,
    },
    /// Nothing moves.
    #[error("the entries move nothing")]
    Empty,
    /// Two currencies, or beyond 10^18 minor units.
    #[error(transparent)]
    Amount(#[from] AmountRefused),
}

impl Transaction {
    /// Joins entries into a transaction: several of one account become one, those that cancel out vanish.
    ///
    /// # Errors
    /// [`PostingRefused`] when they do not sum to zero, mix currencies, or move nothing.
    pub fn new(
        currency: Currency,
        entries: impl IntoIterator<Item = Entry>,
    ) -> Result<Self, PostingRefused> {
        let mut sums: BTreeMap<Account, Amount> = BTreeMap::new();
        let mut left = Amount::zero(currency);
        for entry in entries {
            left = left.checked_add(&entry.amount)?;
            let sum = sums.entry(entry.account).or_insert_with(|| Amount::zero(currency));
            *sum = sum.checked_add(&entry.amount)?;
        }
        if left.minor() != 0 {
            return Err(PostingRefused::Unbalanced { left });
        }
        let entries: Vec<Entry> = sums
            .into_iter()
            .filter(|(_, amount)| amount.minor() != 0)
            .map(|(account, amount)| Entry { account, amount })
            .collect();
        if entries.is_empty() {
            return Err(PostingRefused::Empty);
        }
        Ok(Self { currency, entries })
    }

    /// The currency.
    pub const fn currency(&self) -> Currency {
        self.currency
    }

    /// The entries, ascending by account: also the order in which to lock.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The transaction that undoes this one.
    ///
    /// # Errors
    /// Never for a transaction that was built; the type has no other way to say so.
    pub fn mirror(&self) -> Result<Self, PostingRefused> {
        let turned = self.entries.iter().map(|entry| turned(*entry));
        Self::new(self.currency, turned.collect::<Result<Vec<_>, _>>()?)
    }
}

fn turned(entry: Entry) -> Result<Entry, AmountRefused> {
    let minor = i128::from(entry.amount.minor()).saturating_neg();
    Ok(Entry { account: entry.account, amount: Amount::of_minor(minor, entry.amount.currency())? })
}

/// Usage was rated: `delta` more (or, negative, less) than booked before. Accrued → revenue.
///
/// # Errors
/// [`PostingRefused::Empty`] for a delta of 0.
pub fn usage_rated(
    tenant: AccountId,
    shard: u8,
    delta: Amount,
) -> Result<Transaction, PostingRefused> {
    let accrued = Account::Tenant(tenant, TenantAccount::Accrued);
    let revenue = Account::Operator(shard, OperatorAccount::Revenue);
    transfer(accrued, &[(revenue, delta)])
}

/// An invoice was issued: receivable → accrued + taxPayable.
///
/// # Errors
/// [`PostingRefused::Empty`] for an invoice over nothing; [`PostingRefused::Amount`] for mixed currencies.
pub fn invoice_issued(
    tenant: AccountId,
    shard: u8,
    net: Amount,
    tax: Amount,
) -> Result<Transaction, PostingRefused> {
    let receivable = Account::Tenant(tenant, TenantAccount::Receivable);
    let accrued = Account::Tenant(tenant, TenantAccount::Accrued);
    let tax_payable = Account::Operator(shard, OperatorAccount::TaxPayable);
    transfer(receivable, &[(accrued, net), (tax_payable, tax)])
}

/// Debits `debit` with the sum of the credits.
fn transfer(debit: Account, credits: &[(Account, Amount)]) -> Result<Transaction, PostingRefused> {
    let Some((_, first)) = credits.first() else { return Err(PostingRefused::Empty) };
    let currency = first.currency();
    let mut sum = Amount::zero(currency);
    let mut entries = Vec::new();
    for (account, amount) in credits {
        sum = sum.checked_add(amount)?;
        entries.push(turned(Entry { account: *account, amount: *amount })?);
    }
    entries.push(Entry { account: debit, amount: sum });
    Transaction::new(currency, entries)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TENANT: &str = "123e4567-e89b-12d3-a456-426614174000";

    fn euro(minor: i64) -> Amount {
        Amount::of_minor(i128::from(minor), "EUR".parse().unwrap()).unwrap()
    }

    #[test]
    fn names_are_pinned() {
        let tenant = TENANT.parse().unwrap();
        let receivable = Account::Tenant(tenant, TenantAccount::Receivable).to_string();
        assert_eq!(receivable, format!("tenant/{TENANT}/receivable"));
        let tax = Account::Operator(7, OperatorAccount::TaxPayable).to_string();
        assert_eq!(tax, "operator/07/taxPayable");
    }

    #[test]
    fn what_does_not_balance_is_refused() {
        let tenant = TENANT.parse().unwrap();
        let accrued = Account::Tenant(tenant, TenantAccount::Accrued);
        let cash = Account::Operator(0, OperatorAccount::Cash);
        let entry = |account, amount| Entry { account, amount };
        let eur: Currency = "EUR".parse().unwrap();
        let usd = Amount::of_minor(-1, "USD".parse().unwrap()).unwrap();
        let cases = [
            (vec![], "move nothing"),
            (vec![entry(accrued, euro(1))], "0.01 EUR over"),
            (vec![entry(accrued, euro(1)), entry(accrued, euro(-1))], "move nothing"),
            (vec![entry(accrued, euro(1)), entry(cash, usd)], "USD"),
        ];
        for (entries, words) in cases {
            let refusal = Transaction::new(eur, entries).unwrap_err().to_string();
            assert!(refusal.contains(words), "{refusal}");
        }
        assert_eq!(usage_rated(tenant, 0, euro(0)), Err(PostingRefused::Empty));
    }

    proptest! {
        /// The model adds up every account by itself.
        #[test]
        fn money_is_neither_made_nor_lost(moves in prop::collection::vec((-1_000_000_i64..1_000_000, 0_i64..1_000, any::<bool>()), 1..40)) {
            let tenant: AccountId = TENANT.parse().unwrap();
            let mut balances: BTreeMap<Account, i64> = BTreeMap::new();
            let mut book = |transaction: &Transaction| {
                for entry in transaction.entries() {
                    *balances.entry(entry.account).or_default() += entry.amount.minor();
                }
            };
            let (mut rated, mut invoiced) = (0, 0);
            for (net, tax, is_undone) in moves {
                for posted in [usage_rated(tenant, 3, euro(net)), invoice_issued(tenant, 3, euro(net), euro(tax))] {
                    let Ok(transaction) = posted else { continue };
                    book(&transaction);
                    if is_undone {
                        book(&transaction.mirror().unwrap());
                    }
                }
                if !is_undone {
                    rated += net;
                    invoiced += net + tax;
                }
            }
            prop_assert_eq!(balances.values().sum::<i64>(), 0);
            let of = |account| balances.get(&account).copied().unwrap_or(0);
            prop_assert_eq!(of(Account::Operator(3, OperatorAccount::Revenue)), -rated);
            prop_assert_eq!(of(Account::Tenant(tenant, TenantAccount::Receivable)), invoiced);
            prop_assert_eq!(of(Account::Tenant(tenant, TenantAccount::Accrued)), 0);
        }
    }
}
