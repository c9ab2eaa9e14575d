//! A deterministic model of hosts and machines, with faults on demand.
//!
//! For tests and for scale, never the only proof. Faults are queued by a handle: the next call of an operation meets the
//! first one queued for it, so a test says exactly what goes wrong when.

use crate::{Capabilities, HostInventory, Instance, Machine, Power, Provider, ProviderError, Size};
use async_trait::async_trait;
use ids::ResourceUid;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What is simulated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Configuration {
    /// How many hosts, named `host-0000` onwards.
    pub hosts: u32,
    /// The size of each.
    pub host_size: Size,
}

/// Something that goes wrong once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// The call does nothing and says so.
    FailBefore,
    /// The call works, and its answer is lost.
    LoseAnswer,
    /// The call is refused with this reason.
    Refuse(String),
}

#[derive(Default)]
struct World {
    machines: BTreeMap<ResourceUid, Machine>,
    /// Memory given away per host in MiB, kept beside the machines so that a create costs the same with ten thousand.
    memory_used: BTreeMap<String, i64>,
    faults: BTreeMap<&'static str, VecDeque<Fault>>,
}

impl World {
    fn account(&mut self, host: &str, memory_mib: i64) {
        let used = self.memory_used.entry(host.to_owned()).or_default();
        *used = used.saturating_add(memory_mib);
    }
}

/// The provider; clones share one world.
#[derive(Clone)]
pub struct Simulator {
    configuration: Configuration,
    world: Arc<Mutex<World>>,
}

impl Simulator {
    /// A world with hosts and no machines.
    pub fn new(configuration: Configuration) -> Self {
        Self { configuration, world: Arc::default() }
    }

    /// Lets the next call of `operation` (`create`, `start`, …) meet `fault`.
    pub fn inject(&self, operation: &'static str, fault: Fault) {
        self.world().faults.entry(operation).or_default().push_back(fault);
    }

    /// Lets a machine stop by itself.
    pub fn crash(&self, uid: ResourceUid) {
        if let Some(machine) = self.world().machines.get_mut(&uid) {
            machine.power = Power::Crashed;
        }
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `effect` under the fault queued for `operation`, if any.
    fn call<T>(
        &self,
        operation: &'static str,
        effect: impl FnOnce(&mut World) -> Result<T, ProviderError>,
    ) -> Result<T, ProviderError> {
        let mut world = self.world();
        let fault = world.faults.get_mut(operation).and_then(VecDeque::pop_front);
        match fault {
            None => effect(&mut world),
            Some(Fault::FailBefore) => {
                Err(ProviderError::Unavailable(format!("simulated failure of {operation}")))
            }
            Some(Fault::Refuse(reason)) => Err(ProviderError::Refused(reason)),
            Some(Fault::LoseAnswer) => {
                effect(&mut world)?;
                Err(ProviderError::Unknown(format!("simulated loss of the answer to {operation}")))
            }
        }
    }

    fn host_name(index: u32) -> String {
        format!("host-{index:04}")
    }

    fn has_host(&self, name: &str) -> bool {
        let index = name.strip_prefix("host-").and_then(|digits| digits.parse::<u32>().ok());
        index
            .is_some_and(|index| index < self.configuration.hosts && Self::host_name(index) == name)
    }

    /// Refuses what the host does not have: real amounts, without overcommitment of memory.
    fn check_room(
        &self,
        world: &World,
        uid: ResourceUid,
        host: &str,
        size: Size,
    ) -> Result<(), ProviderError> {
        let own = world.machines.get(&uid).map_or(0, |machine| machine.size.memory_mib);
        let used = world.memory_used.get(host).copied().unwrap_or(0).saturating_sub(own);
        let free = self.configuration.host_size.memory_mib.saturating_sub(used);
        if size.memory_mib > free {
            return Err(ProviderError::Refused(format!(
                "host {host} has {free} MiB of memory left, {} are needed",
                size.memory_mib
            )));
        }
        Ok(())
    }
}

fn known(world: &mut World, uid: ResourceUid) -> Result<&mut Machine, ProviderError> {
    world.machines.get_mut(&uid).ok_or(ProviderError::NotFound(uid))
}

#[async_trait]
impl Provider for Simulator {
    fn capabilities(&self) -> Capabilities {
        Capabilities { live_resize: false }
    }

    async fn hosts(&self) -> Result<Vec<HostInventory>, ProviderError> {
        self.call("hosts", |_| {
            Ok((0..self.configuration.hosts)
                .map(|index| HostInventory {
                    name: Self::host_name(index),
                    vcpus: self.configuration.host_size.vcpus,
                    memory_mib: self.configuration.host_size.memory_mib,
                })
                .collect())
        })
    }

    async fn machines(&self) -> Result<Vec<Machine>, ProviderError> {
        self.call("machines", |world| Ok(world.machines.values().cloned().collect()))
    }

    async fn machine(&self, uid: ResourceUid) -> Result<Option<Machine>, ProviderError> {
        self.call("machine", |world| Ok(world.machines.get(&uid).cloned()))
    }

    async fn create(&self, instance: &Instance) -> Result<Machine, ProviderError> {
        self.call("create", |world| {
            if let Some(machine) = world.machines.get(&instance.uid) {
                return Ok(machine.clone());
            }
            if !self.has_host(&instance.host) {
                return Err(ProviderError::Refused(format!("there is no host {}", instance.host)));
            }
            self.check_room(world, instance.uid, &instance.host, instance.size)?;
            let machine = Machine {
                uid: instance.uid,
                provider_id: format!("sim-{}", instance.uid),
                host: instance.host.clone(),
                power: Power::Off,
                size: instance.size,
            };
            world.account(&instance.host, instance.size.memory_mib);
            world.machines.insert(instance.uid, machine.clone());
            Ok(machine)
        })
    }

    async fn start(&self, uid: ResourceUid) -> Result<(), ProviderError> {
        self.call("start", |world| {
            known(world, uid)?.power = Power::On;
            Ok(())
        })
    }

    async fn stop(&self, uid: ResourceUid) -> Result<(), ProviderError> {
        self.call("stop", |world| {
            known(world, uid)?.power = Power::Off;
            Ok(())
        })
    }

    async fn resize(&self, uid: ResourceUid, size: Size) -> Result<(), ProviderError> {
        self.call("resize", |world| {
            let machine = known(world, uid)?.clone();
            if machine.size == size {
                return Ok(());
            }
            if machine.power == Power::On {
                return Err(ProviderError::Refused(
                    "the machine is on; switch it off to resize it".to_owned(),
                ));
            }
            self.check_room(world, uid, &machine.host, size)?;
            let grown = size.memory_mib.saturating_sub(machine.size.memory_mib);
            world.account(&machine.host, grown);
            known(world, uid)?.size = size;
            Ok(())
        })
    }

    async fn delete(&self, uid: ResourceUid) -> Result<(), ProviderError> {
        self.call("delete", |world| {
            if let Some(machine) = world.machines.remove(&uid) {
                world.account(&machine.host, machine.size.memory_mib.saturating_neg());
            }
            Ok(())
        })
    }
}
