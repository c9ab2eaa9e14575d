//! What every program that talks to Kubernetes needs, written once.
//!
//! A controller here is a queue of keys over shared caches ([`cache`]), run one object at a time per key
//! ([`controller`]), with three narrow capabilities: it reads from caches, writes declared objects through
//! [`apply::Applier`] and its own status through [`status::Reporter`]. Both writers ask the [`lease::Fence`] first, so a
//! leader that was paused past its lease writes nothing when it wakes; what a lease cannot fence is protected by
//! compare-and-swap on the object itself.

pub mod apply;
pub mod cache;
pub mod client;
pub mod clock;
pub mod controller;
pub mod error_chain;
pub mod group_commit;
pub mod health;
pub mod lease;
pub mod metrics;
pub mod ownership;
pub mod program;
pub mod random;
pub mod secret;
pub mod status;
pub mod words;

pub use apply::Applier;
pub use clock::{Clock, SystemClock};
pub use error_chain::ErrorChain;
pub use lease::Fence;
pub use status::Reporter;
