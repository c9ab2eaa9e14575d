//! Booking shares of hosts, by compare-and-swap of the host's allocation table.
//!
//! The table is the one truth about what is promised. A booking is made before the provider is asked for anything, and
//! given back after the provider has nothing left, so a crash in between leaves too much booked, never too little; the
//! machine's UID in the table is how the next pass finds it again.

use crate::world::World;
use crds::compute::{Allocation, Maintenance};
use crds::{PhysicalMachine, VirtualMachine};
use kube::ResourceExt;
use kube::api::{Api, ListParams, PostParams};
use operator_kit::client;
use operator_kit::lease::NotLeader;
use placement::{Amounts, Host, InventoryLine, Policy, Refusals, Request};
use std::collections::BTreeMap;

/// Why a booking did not happen.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No host fits.
    #[error("no host fits")]
    NoRoom(Refusals),
    /// Another process may lead.
    #[error("book a share of a host")]
    NotLeader(#[from] NotLeader),
    /// The API server refused, or did not answer; the next pass finds out by the UID.
    #[error("book a share of host {host}")]
    Request {
        /// The host.
        host: String,
        /// The server's answer.
        #[source]
        source: Box<kube::Error>,
    },
    /// The hosts could not be listed.
    #[error("list PhysicalMachines")]
    List(#[source] Box<kube::Error>),
    /// Others changed the table again and again.
    #[error("book a share of host {0}: it changed too often, trying again later")]
    Contended(String),
}

/// How often a table that somebody else changed first is read again within a pass.
const ATTEMPTS_MAX: usize = 8;

/// A host as placement sees it.
pub fn view(host: &PhysicalMachine) -> Host {
    let line = |entry: &crds::compute::InventoryEntry| InventoryLine {
        total: entry.total,
        reserved: entry.reserved.unwrap_or(0),
        ratio_thousandths: entry.ratio_thousandths.unwrap_or(1000),
        min_unit: entry.min_unit.unwrap_or(1),
        max_unit: entry.max_unit,
        step: entry.step.unwrap_or(1),
    };
    let mut allocated = Amounts::new();
    for (resource, amount) in table(host).iter().flat_map(|allocation| &allocation.amounts) {
        let sum = allocated.entry(resource.clone()).or_insert(0);
        *sum = sum.saturating_add(*amount);
    }
    Host {
        name: host.name_any(),
        cluster: host.spec.cluster_ref.name.clone(),
        healthy: host.metadata.deletion_timestamp.is_none(),
        cordoned: host.spec.maintenance.unwrap_or_default() != Maintenance::Active,
        inventory: host
            .spec
            .inventory
            .iter()
            .map(|entry| (entry.resource.clone(), line(entry)))
            .collect(),
        allocated,
    }
}

fn table(host: &PhysicalMachine) -> &[Allocation] {
    host.status.as_ref().map_or(&[], |status| status.allocations.as_slice())
}

/// The host on which the machine of this UID is booked.
fn booked_on(hosts: &[PhysicalMachine], uid: &str) -> Option<String> {
    let has = |host: &&PhysicalMachine| table(host).iter().any(|allocation| allocation.uid == uid);
    hosts.iter().find(has).map(ResourceExt::name_any)
}

/// All hosts as the API server has them now. A cache may lag behind a booking that this very process made.
async fn hosts_now(world: &World) -> Result<Vec<PhysicalMachine>, Error> {
    let api: Api<PhysicalMachine> = Api::all(world.applier.client());
    let listed = api.list(&ListParams::default()).await;
    listed.map(|list| list.items).map_err(|source| Error::List(Box::new(source)))
}

/// Chooses a host and books the request there, or finds it booked already; the host's name and cluster.
///
/// Clusters are tried in order of their names, each by its own policy.
///
/// # Errors
/// See [`Error`].
pub async fn book(
    world: &World,
    machine: &VirtualMachine,
    request: &Request,
    policies: &BTreeMap<String, Policy>,
) -> Result<(String, String), Error> {
    let uid = machine.uid().unwrap_or_default();
    let seed = u64::from_be_bytes(first_bytes(&uid));
    let hosts = hosts_now(world).await?;
    let cluster_of = |name: &str| {
        let host = hosts.iter().find(|host| host.name_any() == name);
        host.map(|host| host.spec.cluster_ref.name.clone()).unwrap_or_default()
    };
    if let Some(host) = booked_on(&hosts, &uid) {
        let cluster = cluster_of(&host);
        return Ok((host, cluster));
    }
    let mut views: Vec<Host> = hosts.iter().map(view).collect();
    for _ in 0..ATTEMPTS_MAX {
        let chosen = choose(&views, request, policies, seed).map_err(Error::NoRoom)?;
        match change(world, &chosen, |table| add(table, machine, request)).await? {
            Changed::Done => {
                let cluster = cluster_of(&chosen);
                return Ok((chosen, cluster));
            }
            // The list was behind: look at the host as it is now, and choose again.
            Changed::Refused(fresh) => {
                views.retain(|view| view.name != chosen);
                views.push(view(&fresh));
            }
        }
    }
    Err(Error::Contended("any".to_owned()))
}

fn choose(
    hosts: &[Host],
    request: &Request,
    policies: &BTreeMap<String, Policy>,
    seed: u64,
) -> Result<String, Refusals> {
    let mut refusals = Refusals::new();
    for (cluster, policy) in policies {
        let own: Vec<Host> =
            hosts.iter().filter(|host| host.cluster == *cluster).cloned().collect();
        match placement::choose(&own, request, *policy, seed) {
            Ok(host) => return Ok(host.name.clone()),
            Err(more) => more.into_iter().for_each(|(reason, names)| {
                refusals.entry(reason).or_default().extend(names);
            }),
        }
    }
    for names in refusals.values_mut() {
        names.sort();
    }
    Err(refusals)
}

/// Changes a booked machine's amounts; false when the host has no room for that.
///
/// # Errors
/// See [`Error`].
pub async fn resize(
    world: &World,
    machine: &VirtualMachine,
    host: &str,
    request: &Request,
) -> Result<bool, Error> {
    let changed = change(world, host, |fresh| {
        let is_booked_so = |allocation: &Allocation| {
            Some(&allocation.uid) == machine.uid().as_ref() && allocation.amounts == request.amounts
        };
        if table(fresh).iter().any(is_booked_so) {
            return Some(table(fresh).to_vec());
        }
        let mut others = fresh.clone();
        if let Some(status) = others.status.as_mut() {
            status.allocations.retain(|allocation| Some(&allocation.uid) != machine.uid().as_ref());
        }
        // A cordon keeps new machines away; one that is there already may change.
        others.spec.maintenance = None;
        add(&others, machine, request)
    });
    Ok(matches!(changed.await?, Changed::Done))
}

/// Gives a machine's share back, wherever it is booked; nothing booked is done.
///
/// # Errors
/// See [`Error`].
pub async fn release(world: &World, uid: &str) -> Result<(), Error> {
    let Some(host) = booked_on(&hosts_now(world).await?, uid) else { return Ok(()) };
    change(world, &host, |fresh| {
        let kept = table(fresh).iter().filter(|allocation| allocation.uid != uid).cloned();
        Some(kept.collect())
    })
    .await
    .map(|_| ())
}

fn first_bytes(uid: &str) -> [u8; 8] {
    let mut bytes = [0; 8];
    for (slot, byte) in bytes.iter_mut().zip(uid.bytes()) {
        *slot = byte;
    }
    bytes
}

/// The table with the machine in it; `None` when it does not fit.
fn add(
    fresh: &PhysicalMachine,
    machine: &VirtualMachine,
    request: &Request,
) -> Option<Vec<Allocation>> {
    let uid = machine.uid()?;
    if table(fresh).iter().any(|allocation| allocation.uid == uid) {
        return Some(table(fresh).to_vec());
    }
    if view(fresh).refuses(request).is_some() {
        return None;
    }
    let mut next = table(fresh).to_vec();
    next.push(Allocation {
        uid,
        machine: operator_kit::cache::key_of(machine),
        amounts: request.amounts.clone(),
        sequence: sequence(fresh).saturating_add(1),
    });
    next.sort_by(|a, b| a.uid.cmp(&b.uid));
    Some(next)
}

fn sequence(host: &PhysicalMachine) -> i64 {
    host.status.as_ref().and_then(|status| status.allocation_generation).unwrap_or(0)
}

enum Changed {
    Done,
    Refused(Box<PhysicalMachine>),
}

/// Reads the host at quorum, lets `next` decide the new table, and swaps it in.
async fn change(
    world: &World,
    name: &str,
    next: impl Fn(&PhysicalMachine) -> Option<Vec<Allocation>>,
) -> Result<Changed, Error> {
    let api: Api<PhysicalMachine> = Api::all(world.applier.client());
    let failed =
        |source: kube::Error| Error::Request { host: name.to_owned(), source: Box::new(source) };
    for _ in 0..ATTEMPTS_MAX {
        let mut fresh = api.get(name).await.map_err(failed)?;
        let Some(allocations) = next(&fresh) else { return Ok(Changed::Refused(Box::new(fresh))) };
        if table(&fresh) == allocations {
            return Ok(Changed::Done);
        }
        let generation = sequence(&fresh).saturating_add(1);
        let status = fresh.status.get_or_insert_default();
        status.allocations = allocations;
        status.allocation_generation = Some(generation);
        world.applier.fence().check()?;
        match api.replace_status(name, &parameters(), &fresh).await {
            Ok(_) => return Ok(Changed::Done),
            Err(error) if client::is_conflict(&error) => {}
            Err(error) => return Err(failed(error)),
        }
    }
    Err(Error::Contended(name.to_owned()))
}

/// A field manager of its own: the words in the status are another's.
fn parameters() -> PostParams {
    PostParams { field_manager: Some("freehold-placement".to_owned()), ..PostParams::default() }
}
