//! The seam between Freehold and whatever really runs machines.
//!
//! A provider is idempotent by the machine's UID: a repeated create is one guest, a repeated delete is done. An answer
//! that was lost is resolved by asking ([`Provider::machine`]), never by acting again blindly. All adapters pass one
//! contract suite (`tests/contract.rs`), the libvirt one against a real daemon with real guests.

pub mod libvirt;
pub mod recorded;
pub mod simulator;

use async_trait::async_trait;
use ids::ResourceUid;

/// Something that runs machines on hosts.
#[async_trait]
pub trait Provider: Send + Sync + 'static {
    /// What this provider can do beyond the life cycle.
    fn capabilities(&self) -> Capabilities;

    /// All hosts with their real capacity, sorted by name.
    ///
    /// # Errors
    /// See [`ProviderError`].
    async fn hosts(&self) -> Result<Vec<HostInventory>, ProviderError>;

    /// All machines that carry a UID of ours, sorted by UID; complete or an error.
    ///
    /// # Errors
    /// See [`ProviderError`].
    async fn machines(&self) -> Result<Vec<Machine>, ProviderError>;

    /// The machine of this UID as it is now; `None` when there is none.
    ///
    /// # Errors
    /// See [`ProviderError`].
    async fn machine(&self, uid: ResourceUid) -> Result<Option<Machine>, ProviderError>;

    /// Makes the machine, switched off; when it exists already, it is returned as it is.
    ///
    /// # Errors
    /// See [`ProviderError`].
    async fn create(&self, instance: &Instance) -> Result<Machine, ProviderError>;

    /// Switches the machine on; running already is done.
    ///
    /// # Errors
    /// [`ProviderError::NotFound`], and see [`ProviderError`].
    async fn start(&self, uid: ResourceUid) -> Result<(), ProviderError>;

    /// Switches the machine off at once; off already is done.
    ///
    /// # Errors
    /// [`ProviderError::NotFound`], and see [`ProviderError`].
    async fn stop(&self, uid: ResourceUid) -> Result<(), ProviderError>;

    /// Gives the machine another size; the present size already is done.
    ///
    /// # Errors
    /// [`ProviderError::Refused`] while it is on and [`Capabilities::live_resize`] is false; see [`ProviderError`].
    async fn resize(&self, uid: ResourceUid, size: Size) -> Result<(), ProviderError>;

    /// Removes the machine, on or off; absent is done.
    ///
    /// # Errors
    /// See [`ProviderError`].
    async fn delete(&self, uid: ResourceUid) -> Result<(), ProviderError>;
}

/// What a provider can do beyond the life cycle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capabilities {
    /// Whether a machine may be resized while it is on.
    pub live_resize: bool,
}

/// A host and what it really has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostInventory {
    /// The provider's name of the host.
    pub name: String,
    /// Virtual CPUs (hardware threads).
    pub vcpus: i64,
    /// Memory in MiB.
    pub memory_mib: i64,
}

/// The amounts a machine gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Virtual CPUs, ≥ 1.
    pub vcpus: i64,
    /// Memory in MiB, ≥ 1.
    pub memory_mib: i64,
}

/// A machine to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    /// The machine's identity, and the idempotency key of every act on it.
    pub uid: ResourceUid,
    /// A name for people; identity is the UID.
    pub name: String,
    /// The provider's name of the host it was placed on.
    pub host: String,
    /// Its size.
    pub size: Size,
    /// What it boots.
    pub image: Image,
}

/// What a machine boots: a kernel with an initial RAM disk, a disk image, or both.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Image {
    /// Path of a kernel on the host.
    pub kernel_path: Option<String>,
    /// Path of an initial RAM disk on the host.
    pub initrd_path: Option<String>,
    /// Arguments for the kernel.
    pub kernel_arguments: Option<String>,
    /// Path of a disk image on the host, opened read-only.
    pub disk_path: Option<String>,
}

/// A machine as the provider has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    /// Its identity.
    pub uid: ResourceUid,
    /// The provider's own name of it.
    pub provider_id: String,
    /// The host it is on.
    pub host: String,
    /// On, off, or broken.
    pub power: Power,
    /// Its size.
    pub size: Size,
}

/// Whether a machine is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Power {
    /// It runs.
    On,
    /// It does not.
    Off,
    /// It stopped by itself and cannot be trusted.
    Crashed,
}

/// What went wrong, by who has to act.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProviderError {
    /// The request cannot be granted as it is; its author has to change it.
    #[error("refused: {0}")]
    Refused(String),
    /// No machine of that UID.
    #[error("no machine {0} at the provider")]
    NotFound(ResourceUid),
    /// Nothing was done; trying again later is safe and may help.
    #[error("unavailable: {0}")]
    Unavailable(String),
    /// It may have been done or not; ask before acting again.
    #[error("outcome unknown: {0}")]
    Unknown(String),
}
