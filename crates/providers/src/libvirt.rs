//! QEMU guests through a libvirt daemon.
//!
//! The daemon's wire protocol is spoken directly over its unix socket: a dozen procedures in XDR. The C library would
//! have to be linked dynamically, which a static image cannot, and the command line client would have to be shipped and
//! parsed (decision 0005).

mod adapter;
mod client;
mod domain;
mod probe;
mod wire;

pub use adapter::{Acceleration, Libvirt};
pub use client::{ClientError, LibvirtClient};
