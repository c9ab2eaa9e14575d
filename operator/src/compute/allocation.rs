//! Booking shares of hosts, by compare-and-swap of the host's allocation table.
//!
//! The table is the one truth about what is promised. A booking is made before the provider is asked for anything, and
//! given back after the provider has nothing left, so a crash in between leaves too much booked, never too little; the
//! machine's UID in the table is how the next pass finds it again. All machines that wait for a host while one is being
//! written are placed together and cost one write per host.

pub mod room;
pub mod table;

use crds::{PhysicalMachine, VirtualMachine};
use ids::well_known;
use jiff::Timestamp;
use kube::ResourceExt;
use operator_kit::Applier;
use operator_kit::cache::Cache;
use operator_kit::group_commit::{CommitError, Decision, GroupCommit, Ledger, Objects, Plan};
use placement::{Host, Policy, Refusals, Request};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Why a booking did not happen.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No host fits.
    #[error("no host fits")]
    NoRoom(Refusals),
    /// The tables could not be written; the next pass finds out by the UID what was.
    #[error("book a share of a host")]
    Commit(#[from] CommitError),
}

/// The one who writes allocation tables.
pub struct Bookings(GroupCommit<Tables>);

impl Bookings {
    /// Books on the hosts of `cache`.
    pub fn new(cache: Arc<Cache<PhysicalMachine>>, applier: Applier) -> Self {
        Self(GroupCommit::new(Tables, cache, applier, well_known::PLACEMENT_MANAGER))
    }

    /// Chooses a host and books the request there, or finds it booked already.
    ///
    /// Clusters are tried in order of their names, each by its own policy.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn book(
        &self,
        machine: &VirtualMachine,
        request: &Request,
        policies: BTreeMap<String, Policy>,
    ) -> Result<Place, Error> {
        let what = What::Book { request: request.clone(), policies };
        match self.0.ask(Ask { who: Who::of(machine), what }).await? {
            Answer::Booked(place) => Ok(place),
            Answer::NoRoom(refusals) => Err(Error::NoRoom(refusals)),
            Answer::Released => Err(Error::NoRoom(Refusals::new())),
        }
    }

    /// Changes a booked machine's amounts; false when the host has no room for that.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn resize(
        &self,
        machine: &VirtualMachine,
        host: &str,
        request: &Request,
    ) -> Result<bool, Error> {
        let what = What::Resize { request: request.clone(), host: host.to_owned() };
        let answer = self.0.ask(Ask { who: Who::of(machine), what }).await?;
        Ok(matches!(answer, Answer::Booked(_)))
    }

    /// Gives a machine's share back, wherever it is booked; nothing booked is done.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn release(&self, machine: &VirtualMachine) -> Result<(), Error> {
        self.0.ask(Ask { who: Who::of(machine), what: What::Release }).await?;
        Ok(())
    }
}

/// Where a machine is booked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The host's name.
    pub host: String,
    /// Its cluster's name.
    pub cluster: String,
}

/// The machine that asks. Older ones are served first.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Who {
    created: Option<Timestamp>,
    uid: String,
    key: String,
}

impl Who {
    fn of(machine: &VirtualMachine) -> Self {
        Self {
            created: machine.creation_timestamp().map(|time| time.0),
            uid: machine.uid().unwrap_or_default(),
            key: operator_kit::cache::key_of(machine),
        }
    }

    /// Settles ties between hosts, in a way of its own for each machine.
    fn seed(&self) -> u64 {
        let mut bytes = [0; 8];
        for (slot, byte) in bytes.iter_mut().zip(self.uid.bytes()) {
            *slot = byte;
        }
        u64::from_be_bytes(bytes)
    }
}

/// In the order in which they are served, so that what is given back can be booked by others at once.
#[derive(Debug)]
enum What {
    Release,
    Resize { request: Request, host: String },
    Book { request: Request, policies: BTreeMap<String, Policy> },
}

impl What {
    fn rank(&self) -> u8 {
        match self {
            Self::Release => 0,
            Self::Resize { .. } => 1,
            Self::Book { .. } => 2,
        }
    }
}

#[derive(Debug)]
struct Ask {
    who: Who,
    what: What,
}

#[derive(Debug, PartialEq, Eq)]
enum Answer {
    Booked(Place),
    NoRoom(Refusals),
    Released,
}

/// The rules of allocation tables.
struct Tables;

impl Ledger for Tables {
    type Object = PhysicalMachine;
    type Request = Ask;
    type Answer = Answer;

    fn sequence(object: &PhysicalMachine) -> i64 {
        table::generation(object)
    }

    fn plan(
        &mut self,
        objects: &Objects<PhysicalMachine>,
        requests: &[&Ask],
    ) -> Plan<PhysicalMachine, Answer> {
        let mut sheet = Sheet::of(objects);
        let mut order: Vec<(usize, &&Ask)> = requests.iter().enumerate().collect();
        order.sort_by_key(|(_, ask)| (ask.what.rank(), &ask.who));
        let mut decisions: BTreeMap<usize, Decision<Answer>> = BTreeMap::new();
        for (index, ask) in order {
            decisions.insert(index, sheet.decide(ask));
        }
        Plan { next: sheet.next, decisions: decisions.into_values().collect() }
    }
}

/// The planner's own copy of all tables.
struct Sheet<'a> {
    objects: &'a Objects<PhysicalMachine>,
    views: BTreeMap<String, Host>,
    next: BTreeMap<String, PhysicalMachine>,
}

impl<'a> Sheet<'a> {
    fn of(objects: &'a Objects<PhysicalMachine>) -> Self {
        let views = objects.iter().map(|(name, host)| (name.clone(), table::view(host))).collect();
        Self { objects, views, next: BTreeMap::new() }
    }

    fn decide(&mut self, ask: &Ask) -> Decision<Answer> {
        match &ask.what {
            What::Release => {
                let rests_on: BTreeSet<String> = self.holders(&ask.who.uid).into_iter().collect();
                for name in &rests_on {
                    self.change(name, |host| table::take(host, &ask.who.uid));
                }
                Decision { answer: Answer::Released, rests_on }
            }
            What::Resize { request, host } => self.resize(&ask.who, host, request),
            What::Book { request, policies } => self.book(&ask.who, request, policies),
        }
    }

    fn book(
        &mut self,
        who: &Who,
        request: &Request,
        policies: &BTreeMap<String, Policy>,
    ) -> Decision<Answer> {
        // Booked by a pass that did not live to say so; one that is still being written is rested on.
        if let Some(name) = self.holders(&who.uid).into_iter().next() {
            return self.booked(name);
        }
        let chosen = match self.choose(request, policies, who.seed()) {
            Ok(name) => name,
            Err(refusals) => {
                return Decision { answer: Answer::NoRoom(refusals), rests_on: BTreeSet::new() };
            }
        };
        self.change(&chosen, |host| table::put(host, &who.uid, &who.key, &request.amounts));
        self.booked(chosen)
    }

    fn resize(&mut self, who: &Who, name: &str, request: &Request) -> Decision<Answer> {
        let refused =
            |refusals| Decision { answer: Answer::NoRoom(refusals), rests_on: BTreeSet::new() };
        let Some(host) = self.host(name) else { return refused(Refusals::new()) };
        if table::share_of(host, &who.uid).is_some_and(|share| share.amounts == request.amounts) {
            return self.booked(name.to_owned());
        }
        let mut without = host.clone();
        table::take(&mut without, &who.uid);
        // A cordon keeps new machines away; one that is there already may change.
        without.spec.maintenance = None;
        if let Some(refusal) = table::view(&without).refuses(request) {
            return refused([(refusal, vec![name.to_owned()])].into());
        }
        self.change(name, |host| table::put(host, &who.uid, &who.key, &request.amounts));
        self.booked(name.to_owned())
    }

    fn booked(&self, host: String) -> Decision<Answer> {
        let cluster = self.views.get(&host).map(|view| view.cluster.clone()).unwrap_or_default();
        let rests_on = BTreeSet::from([host.clone()]);
        Decision { answer: Answer::Booked(Place { host, cluster }), rests_on }
    }

    /// The host as it will be.
    fn host(&self, name: &str) -> Option<&PhysicalMachine> {
        self.next.get(name).or_else(|| self.objects.get(name).map(AsRef::as_ref))
    }

    /// Every host on which the machine of this UID has a share.
    fn holders(&self, uid: &str) -> Vec<String> {
        let holds = |name: &&String| {
            self.host(name).is_some_and(|host| table::share_of(host, uid).is_some())
        };
        self.objects.keys().filter(holds).cloned().collect()
    }

    fn change(&mut self, name: &str, change: impl FnOnce(&mut PhysicalMachine)) {
        let known = || self.objects.get(name).map(|host| PhysicalMachine::clone(host));
        let Some(mut host) = self.next.remove(name).or_else(known) else { return };
        change(&mut host);
        let view = table::view(&host);
        if let Some(status) = host.status.as_mut() {
            // Said here too, so that one booking is one write.
            status.summary = table::summary(&view);
        }
        self.views.insert(name.to_owned(), view);
        self.next.insert(name.to_owned(), host);
    }

    fn choose(
        &self,
        request: &Request,
        policies: &BTreeMap<String, Policy>,
        seed: u64,
    ) -> Result<String, Refusals> {
        let mut refusals = Refusals::new();
        for (cluster, policy) in policies {
            let own = self.views.values().filter(|host| host.cluster == *cluster);
            match placement::choose(own, request, *policy, seed) {
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
}

#[cfg(test)]
mod tests;
