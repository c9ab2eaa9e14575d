//! The billing-controller: from what machines hold and use to bill lines, invoices and the ledger.
//!
//! A library beside its program, so that benchmarks and whole-system tests reach the same parts that run.

pub mod clock;
pub mod intake;
pub mod invoices;
pub mod query;
pub mod rating;
pub mod registry;
pub mod stream;
