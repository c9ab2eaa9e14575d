//! The provider trait over a libvirt daemon.

use super::client::{
    ClientError, Domain, ERROR_OPERATION_INVALID, ERRORS_OF_THE_DEFINITION, LibvirtClient,
};
use super::{domain, probe};
use crate::{
    Capabilities, HostInventory, Image, Instance, Machine, Power, Provider, ProviderError, Size,
};
use async_trait::async_trait;
use ids::ResourceUid;
use std::path::PathBuf;
use tokio::sync::OnceCell;

/// How guests execute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acceleration {
    /// By the processor's virtualisation.
    Kvm,
    /// In software, where there is none.
    Emulation,
}

impl Acceleration {
    pub(super) fn domain_type(self) -> &'static str {
        match self {
            Self::Kvm => "kvm",
            Self::Emulation => "qemu",
        }
    }
}

/// The provider of one daemon and its one host.
pub struct Libvirt {
    client: LibvirtClient,
    acceleration: OnceCell<Acceleration>,
}

/// States of a guest, as the daemon numbers them, in which it executes or will go on by itself.
const STATES_ON: [u32; 5] = [1, 2, 3, 4, 7];
/// The guest ended by itself.
const STATE_CRASHED: u32 = 6;

impl Libvirt {
    /// A provider of the daemon at `socket`. Without an acceleration, what really runs guests is tried at the first
    /// create, and kept.
    pub fn new(socket: PathBuf, acceleration: impl Into<Option<Acceleration>>) -> Self {
        let acceleration = OnceCell::new_with(acceleration.into());
        Self { client: LibvirtClient::new(socket), acceleration }
    }

    /// How guests execute here.
    async fn acceleration(&self, image: &Image) -> Result<Acceleration, ProviderError> {
        self.acceleration.get_or_try_init(|| probe::tried(&self.client, image)).await.copied()
    }

    async fn known(&self, uid: ResourceUid) -> Result<Domain, ProviderError> {
        let domain = self.client.domain_by_uuid(uid.0).await.map_err(classified)?;
        domain.ok_or(ProviderError::NotFound(uid))
    }

    async fn described(&self, of: &Domain, host: &str) -> Result<Machine, ProviderError> {
        let information = self.client.information(of).await.map_err(classified)?;
        let power = match information.state {
            STATE_CRASHED => Power::Crashed,
            state if STATES_ON.contains(&state) => Power::On,
            _ => Power::Off,
        };
        Ok(Machine {
            uid: ResourceUid(of.uuid),
            provider_id: of.name.clone(),
            host: host.to_owned(),
            power,
            size: Size {
                vcpus: i64::from(information.vcpus),
                memory_mib: i64::try_from(information.memory_kib_max / 1024).unwrap_or(i64::MAX),
            },
        })
    }
}

/// The daemon's answer by who has to act.
pub(super) fn classified(error: ClientError) -> ProviderError {
    match error {
        ClientError::Interrupted { .. } => ProviderError::Unknown(error.to_string()),
        ClientError::Refused { code, ref message }
            if code == ERROR_OPERATION_INVALID || ERRORS_OF_THE_DEFINITION.contains(&code) =>
        {
            ProviderError::Refused(message.clone())
        }
        ClientError::Connect { .. } | ClientError::Refused { .. } => {
            ProviderError::Unavailable(error.to_string())
        }
    }
}

#[async_trait]
impl Provider for Libvirt {
    fn capabilities(&self) -> Capabilities {
        Capabilities { live_resize: false }
    }

    async fn hosts(&self) -> Result<Vec<HostInventory>, ProviderError> {
        let name = self.client.host_name().await.map_err(classified)?;
        let node = self.client.node_information().await.map_err(classified)?;
        Ok(vec![HostInventory {
            name,
            vcpus: i64::from(node.cpus),
            memory_mib: i64::try_from(node.memory_kib / 1024).unwrap_or(i64::MAX),
        }])
    }

    async fn machines(&self) -> Result<Vec<Machine>, ProviderError> {
        let host = self.client.host_name().await.map_err(classified)?;
        let mut machines = Vec::new();
        let domains = self.client.domains().await.map_err(classified)?;
        // The host may have guests of other owners, which are nobody's business here.
        for domain in domains.into_iter().filter(|guest| domain::is_ours(&guest.name, guest.uuid)) {
            // A guest may go between the list and the question about it.
            match self.described(&domain, &host).await {
                Ok(machine) => machines.push(machine),
                Err(error) => {
                    if self.client.domain_by_uuid(domain.uuid).await.map_err(classified)?.is_some()
                    {
                        return Err(error);
                    }
                }
            }
        }
        machines.sort_by_key(|machine| machine.uid);
        Ok(machines)
    }

    async fn machine(&self, uid: ResourceUid) -> Result<Option<Machine>, ProviderError> {
        let host = self.client.host_name().await.map_err(classified)?;
        match self.client.domain_by_uuid(uid.0).await.map_err(classified)? {
            Some(domain) => self.described(&domain, &host).await.map(Some),
            None => Ok(None),
        }
    }

    async fn create(&self, instance: &Instance) -> Result<Machine, ProviderError> {
        let host = self.client.host_name().await.map_err(classified)?;
        if instance.host != host {
            return Err(ProviderError::Refused(format!(
                "this daemon runs on host {host}, not on {}",
                instance.host
            )));
        }
        let domain = match self.client.domain_by_uuid(instance.uid.0).await.map_err(classified)? {
            Some(domain) => domain,
            None => {
                let acceleration = self.acceleration(&instance.image).await?;
                let xml = domain::definition(instance, acceleration);
                self.client.define(&xml).await.map_err(classified)?
            }
        };
        self.described(&domain, &host).await
    }

    async fn start(&self, uid: ResourceUid) -> Result<(), ProviderError> {
        let domain = self.known(uid).await?;
        let result = self.client.start(&domain).await;
        match result {
            Err(ClientError::Refused { code: ERROR_OPERATION_INVALID, .. }) => {
                // "Already running" has no number of its own; the state says whether it is that.
                let host = String::new();
                match self.described(&domain, &host).await?.power {
                    Power::On => Ok(()),
                    Power::Off | Power::Crashed => result.map_err(classified),
                }
            }
            other => other.map_err(classified),
        }
    }

    async fn stop(&self, uid: ResourceUid) -> Result<(), ProviderError> {
        let domain = self.known(uid).await?;
        match self.client.destroy(&domain).await {
            // Not running is what was wanted.
            Err(ClientError::Refused { code: ERROR_OPERATION_INVALID, .. }) | Ok(()) => Ok(()),
            Err(error) => Err(classified(error)),
        }
    }

    async fn resize(&self, uid: ResourceUid, size: Size) -> Result<(), ProviderError> {
        let domain = self.known(uid).await?;
        let machine = self.described(&domain, "").await?;
        if machine.size == size {
            return Ok(());
        }
        if machine.power == Power::On {
            return Err(ProviderError::Refused(
                "the machine is on; switch it off to resize it".to_owned(),
            ));
        }
        let xml = self.client.xml(&domain).await.map_err(classified)?;
        let xml = domain::resized(&xml, size).ok_or_else(|| {
            ProviderError::Refused("the guest's definition was changed by another hand".to_owned())
        })?;
        self.client.define(&xml).await.map(|_| ()).map_err(classified)
    }

    async fn delete(&self, uid: ResourceUid) -> Result<(), ProviderError> {
        let Some(domain) = self.client.domain_by_uuid(uid.0).await.map_err(classified)? else {
            return Ok(());
        };
        match self.client.destroy(&domain).await {
            Err(ClientError::Refused { code: ERROR_OPERATION_INVALID, .. }) | Ok(()) => {}
            Err(error) => return Err(classified(error)),
        }
        match self.client.undefine(&domain).await {
            Ok(()) => Ok(()),
            // Gone in the meantime is what was wanted.
            Err(_) if self.client.domain_by_uuid(uid.0).await.map_err(classified)?.is_none() => {
                Ok(())
            }
            Err(error) => Err(classified(error)),
        }
    }
}
