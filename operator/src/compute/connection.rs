//! Connections to providers: one per cluster, made anew when its declaration changes.

use crds::compute::{Acceleration, MachineImage, ProviderKind, ProviderSpec};
use crds::{ComputeCluster, VirtualMachine};
use ids::ResourceUid;
use kube::ResourceExt;
use kube_runtime::reflector::ObjectRef;
use operator_kit::metrics::Metrics;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use providers::libvirt::{self, Libvirt};
use providers::recorded::{Observer, Recorded};
use providers::simulator::{Configuration, Simulator};
use providers::{Image, Provider, Size};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

type Listener = Box<dyn Fn(ObjectRef<VirtualMachine>) + Send + Sync>;
type Connections = BTreeMap<String, (ProviderSpec, Arc<dyn Provider>)>;

/// All connections, by the cluster's UID.
pub struct Providers {
    connections: Mutex<Connections>,
    observer: Observer,
    drift: Mutex<Vec<Listener>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CallLabels {
    operation: &'static str,
    answer: &'static str,
}

impl Providers {
    /// No connections yet; calls are counted in `metrics`.
    pub fn new(metrics: &Metrics) -> Self {
        let calls = Family::<CallLabels, Counter>::default();
        metrics.register(|registry| {
            registry.register(
                "freehold_provider_calls",
                "Calls to providers, by operation and answer",
                calls.clone(),
            );
        });
        let observer: Observer = Arc::new(move |operation, answer| {
            calls.get_or_create(&CallLabels { operation, answer }).inc();
        });
        Self { connections: Mutex::default(), observer, drift: Mutex::default() }
    }

    /// Calls `listener` with machines whose provider no longer has them as reported.
    pub fn on_drift(&self, listener: impl Fn(ObjectRef<VirtualMachine>) + Send + Sync + 'static) {
        self.drift.lock().unwrap_or_else(PoisonError::into_inner).push(Box::new(listener));
    }

    /// Says that a machine has to be looked at.
    pub fn drifted(&self, machine: &ObjectRef<VirtualMachine>) {
        for listener in self.drift.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            listener(machine.clone());
        }
    }

    /// The connection of a cluster; `None` when its declaration lacks what its kind needs.
    pub fn of(&self, cluster: &ComputeCluster) -> Option<Arc<dyn Provider>> {
        let key = cluster.uid()?;
        let mut connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((spec, provider)) = connections.get(&key)
            && is_same_place(spec, &cluster.spec.provider)
        {
            return Some(Arc::clone(provider));
        }
        let provider = self.connect(&cluster.spec.provider)?;
        connections.insert(key, (cluster.spec.provider.clone(), Arc::clone(&provider)));
        Some(provider)
    }

    fn connect(&self, spec: &ProviderSpec) -> Option<Arc<dyn Provider>> {
        let observer = Arc::clone(&self.observer);
        Some(match spec.kind {
            ProviderKind::Libvirt => {
                let libvirt = spec.libvirt.as_ref()?;
                let acceleration = libvirt.acceleration.map(|acceleration| match acceleration {
                    Acceleration::Emulation => libvirt::Acceleration::Emulation,
                    Acceleration::Kvm => libvirt::Acceleration::Kvm,
                });
                Arc::new(Recorded::new(
                    Libvirt::new(libvirt.socket.clone().into(), acceleration),
                    observer,
                ))
            }
            ProviderKind::Simulator => {
                let simulator = spec.simulator.as_ref()?;
                let configuration = Configuration {
                    hosts: u32::try_from(simulator.hosts).ok()?,
                    host_size: Size {
                        vcpus: simulator.vcpus_per_host,
                        memory_mib: simulator.memory_mib_per_host,
                    },
                };
                Arc::new(Recorded::new(Simulator::new(configuration), observer))
            }
        })
    }
}

/// A changed list of images is no reason to connect anew.
fn is_same_place(one: &ProviderSpec, other: &ProviderSpec) -> bool {
    let place = |spec: &ProviderSpec| {
        let libvirt =
            spec.libvirt.as_ref().map(|libvirt| (libvirt.socket.clone(), libvirt.acceleration));
        (spec.kind, libvirt, spec.simulator.clone())
    };
    place(one) == place(other)
}

/// What a machine of the cluster boots when it asks for `name`; the simulator boots anything.
pub fn image(cluster: &ComputeCluster, name: &str) -> Option<Image> {
    match &cluster.spec.provider.libvirt {
        None => Some(Image::default()),
        Some(libvirt) => libvirt.images.iter().find(|image| image.name == name).map(boots),
    }
}

fn boots(image: &MachineImage) -> Image {
    Image {
        kernel_path: image.kernel_path.clone(),
        initrd_path: image.initrd_path.clone(),
        kernel_arguments: image.kernel_arguments.clone(),
        disk_path: image.disk_path.clone(),
    }
}

/// The UID of an object as providers know it.
pub fn uid_of(machine: &VirtualMachine) -> Option<ResourceUid> {
    machine.metadata.uid.as_deref()?.parse().ok()
}
