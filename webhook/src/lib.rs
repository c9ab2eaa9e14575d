//! Admission: the early word on a mistake, and the guard of what belongs to tenants.
//!
//! Three doors are kept. Rules that cross objects ([`rules`]) are judged before an object is stored. An account id is
//! filled into a new tenant. And a namespace that belongs to a tenant cannot be relabelled, stolen or deleted by
//! anybody but the operator. The program looks after its own TLS ([`certificates`], [`keeper`]) and registers itself
//! ([`registration`]) with rules so narrow that requests about anything else never reach it.
//!
//! It decides from copies that watches keep and writes nothing but its own Secret and its own two configurations. It
//! is the early word, never the last one: schemas hold without it, and controllers judge again.

pub mod certificates;
pub mod finding;
pub mod keeper;
pub mod registration;
pub mod review;
pub mod rules;
pub mod server;
pub mod world;
