//! Many askers, one writer, one compare-and-swap per object: how objects that hold an invariant are changed.
//!
//! What must not be promised twice lives in one object and changes only by replacing it on the version that was read.
//! Askers that come while a write is under way wait, and whoever comes first when it has ended plans for all of them at
//! once and writes each object a single time. The single writer is for speed alone: nothing depends on being the only
//! process, because a writer that works on an old version is refused by the API server, reads again and plans again. A
//! plan must therefore find by UID what an earlier write of it already did.

use crate::apply::{Object, api_of};
use crate::cache::Cache;
use crate::lease::NotLeader;
use crate::{Applier, client};
use futures::StreamExt;
use kube::api::{Api, PostParams};
use kube::core::{ClusterResourceScope, DeserializeGuard};
use kube::{Resource, ResourceExt};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::oneshot;

/// The objects as they are, by name.
pub type Objects<K> = BTreeMap<String, Arc<K>>;

/// What is to be done for all who asked.
pub struct Plan<K, A> {
    /// Objects that change, by name, each on the resource version it was planned on; new ones have none.
    pub next: BTreeMap<String, K>,
    /// One for each request, in their order.
    pub decisions: Vec<Decision<A>>,
}

/// What one asker hears once the objects are written.
pub struct Decision<A> {
    /// The answer.
    pub answer: A,
    /// Names of the changed objects that it rests on; none when nothing had to change for it.
    pub rests_on: BTreeSet<String>,
}

/// The rules of one kind of object that holds an invariant: it decides, the [`GroupCommit`] acts.
pub trait Ledger: Send + Sync + 'static {
    /// The kind, cluster-scoped.
    type Object: Object + Resource<Scope = ClusterResourceScope> + 'static;
    /// What is asked.
    type Request: Send + Sync;
    /// What is answered.
    type Answer: Send;

    /// Counts the changes of the part that this ledger writes.
    fn sequence(object: &Self::Object) -> i64;

    /// Decides all requests. The same request may come again after a write whose answer was lost, or after a crash, and
    /// must then be found done. What a ledger remembers beside the objects is its own; a plan may fail to be written, and
    /// then the next one is asked with the objects as they were read after that.
    fn plan(
        &mut self,
        objects: &Objects<Self::Object>,
        requests: &[&Self::Request],
    ) -> Plan<Self::Object, Self::Answer>;
}

/// Why nothing can be said about what was asked; asking again settles it.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CommitError {
    /// Another process may lead; nothing was sent.
    #[error("write {kind} {object}")]
    NotLeader {
        /// The kind written.
        kind: String,
        /// Its name.
        object: String,
        /// Why not.
        #[source]
        source: NotLeader,
    },
    /// The API server refused, or did not answer.
    #[error("write {kind} {object}")]
    Request {
        /// The kind written.
        kind: String,
        /// Its name; `*` for all of the kind.
        object: String,
        /// The server's answer.
        #[source]
        source: Arc<kube::Error>,
    },
    /// Others changed the objects again and again.
    #[error("write {kind}: changed by others {ATTEMPTS_MAX} times in a row, trying again later")]
    Contended {
        /// The kind written.
        kind: String,
    },
    /// The asker who wrote for all went away before it could answer.
    #[error("write {kind}: interrupted before the answer was known, asking again")]
    Interrupted {
        /// The kind written.
        kind: String,
    },
}

/// The most requests served by one plan.
const BATCH_MAX: usize = 256;
/// How often a batch is planned anew because others changed its objects.
const ATTEMPTS_MAX: usize = 8;
/// Objects written at once.
const WRITES_MAX: usize = 8;

type Answered<L> = Result<<L as Ledger>::Answer, CommitError>;

struct Waiting<L: Ledger> {
    request: L::Request,
    answer: oneshot::Sender<Answered<L>>,
}

/// The writer of one kind.
pub struct GroupCommit<L: Ledger> {
    cache: Arc<Cache<L::Object>>,
    applier: Applier,
    manager: &'static str,
    waiting: Mutex<VecDeque<Waiting<L>>>,
    desk: tokio::sync::Mutex<Desk<L>>,
}

/// What only the one who writes may touch.
struct Desk<L: Ledger> {
    ledger: L,
    view: View<L>,
}

impl<L: Ledger> GroupCommit<L> {
    /// A writer under a field manager of its own: what others say in the status of these objects stays theirs.
    pub fn new(
        ledger: L,
        cache: Arc<Cache<L::Object>>,
        applier: Applier,
        manager: &'static str,
    ) -> Self {
        let desk = tokio::sync::Mutex::new(Desk { ledger, view: View::new() });
        Self { cache, applier, manager, waiting: Mutex::default(), desk }
    }

    /// Asks, and hears the answer when everything it rests on is written.
    ///
    /// # Errors
    /// See [`CommitError`]; what was asked may or may not have been done, and asking again finds out.
    pub async fn ask(&self, request: L::Request) -> Answered<L> {
        let (sender, mut answer) = oneshot::channel();
        self.waiting().push_back(Waiting { request, answer: sender });
        loop {
            let mut desk = tokio::select! {
                biased;
                answered = &mut answer => return answered.unwrap_or_else(|_| Err(interrupted::<L>())),
                desk = self.desk.lock() => desk,
            };
            let batch: Vec<Waiting<L>> = {
                let mut waiting = self.waiting();
                let count = waiting.len().min(BATCH_MAX);
                waiting.drain(..count).collect()
            };
            self.serve(&mut desk, batch).await;
        }
    }

    fn waiting(&self) -> std::sync::MutexGuard<'_, VecDeque<Waiting<L>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn serve(&self, desk: &mut Desk<L>, mut batch: Vec<Waiting<L>>) {
        let Desk { ledger, view } = desk;
        if let Err(error) = self.fill(view).await {
            return refuse(batch, &error);
        }
        for _ in 0..ATTEMPTS_MAX {
            let objects = view.objects(&self.cache);
            let requests: Vec<&L::Request> = batch.iter().map(|waiting| &waiting.request).collect();
            let plan = ledger.plan(&objects, &requests);
            let written = self.write(plan.next, &objects, view).await;
            let mut again = Vec::new();
            for (waiting, decision) in batch.into_iter().zip(plan.decisions) {
                let failed = decision.rests_on.iter().find_map(|name| written.failed.get(name));
                if let Some(error) = failed {
                    drop(waiting.answer.send(Err(error.clone())));
                } else if decision.rests_on.is_disjoint(&written.changed) {
                    drop(waiting.answer.send(Ok(decision.answer)));
                } else {
                    again.push(waiting);
                }
            }
            if again.is_empty() {
                return;
            }
            batch = again;
        }
        refuse(batch, &CommitError::Contended { kind: kind::<L>() });
    }

    /// Before the first plan, and when a write had no answer, what the API server has now: a cache may lag behind what an
    /// earlier leader wrote.
    async fn fill(&self, view: &mut View<L>) -> Result<(), CommitError> {
        if view.is_filled {
            return Ok(());
        }
        // What was newer than the cache and is not listed any more is gone.
        view.newer.clear();
        let api: Api<DeserializeGuard<L::Object>> = Api::all(self.applier.client());
        let take = |object: Result<L::Object, _>| match object {
            Ok(object) => {
                let over = self.cache.get(&object.name_any(), None);
                view.keep(object, over.as_deref());
            }
            Err(invalid) => crate::cache::log_undecodable::<L::Object>(&invalid),
        };
        client::list_all(&api, take).await.map_err(|source| failure::<L>("*", source))?;
        view.is_filled = true;
        Ok(())
    }

    async fn write(
        &self,
        next: BTreeMap<String, L::Object>,
        planned_on: &Objects<L::Object>,
        view: &mut View<L>,
    ) -> Written {
        let mut written = Written::default();
        let mut outcomes = futures::stream::iter(next)
            .map(|(name, object)| async move { (self.replace(&object).await, name, object) })
            .buffer_unordered(WRITES_MAX);
        while let Some((outcome, name, object)) = outcomes.next().await {
            let over = planned_on.get(&name).map(AsRef::as_ref);
            match outcome {
                Outcome::Written(object) => view.keep(*object, over),
                Outcome::Changed(fresh) => {
                    view.keep(*fresh, over);
                    written.changed.insert(name);
                }
                Outcome::Gone => {
                    view.forget(&object);
                    written.changed.insert(name);
                }
                Outcome::Failed(error) => {
                    written.failed.insert(name, error);
                }
                Outcome::Doubtful(error) => {
                    // The write may have happened: everything is read anew before anything is said to be absent.
                    view.is_filled = false;
                    written.failed.insert(name, error);
                }
            }
        }
        written
    }

    /// Writes the status on the version the object carries; after a refusal or without an answer, reads what is there.
    async fn replace(&self, object: &L::Object) -> Outcome<L::Object> {
        let name = object.name_any();
        if let Err(source) = self.applier.fence().check() {
            let (kind, object) = (kind::<L>(), name);
            return Outcome::Failed(CommitError::NotLeader { kind, object, source });
        }
        let api = api_of(self.applier.client(), object);
        match self.send(&api, &name, object).await {
            Ok(written) => return Outcome::Written(Box::new(written)),
            Err(error) if is_final(&error) => return Outcome::Failed(failure::<L>(&name, error)),
            Err(_) => {}
        }
        match api.get_opt(&name).await {
            Ok(Some(fresh)) => Outcome::Changed(Box::new(fresh)),
            Ok(None) => Outcome::Gone,
            Err(error) => Outcome::Doubtful(failure::<L>(&name, error)),
        }
    }

    /// An object that was never stored is created first; of two who create it one is refused.
    async fn send(
        &self,
        api: &Api<L::Object>,
        name: &str,
        object: &L::Object,
    ) -> Result<L::Object, kube::Error> {
        let parameters =
            PostParams { field_manager: Some(self.manager.to_owned()), ..PostParams::default() };
        if object.resource_version().is_some() {
            return api.replace_status(name, &parameters, object).await;
        }
        let made = api.create(&parameters, object).await?;
        let mut whole = object.clone();
        *whole.meta_mut() = made.meta().clone();
        api.replace_status(name, &parameters, &whole).await
    }
}

/// Whether the server has judged the write itself, so that reading again would change nothing.
fn is_final(error: &kube::Error) -> bool {
    client::status_code(error)
        .is_some_and(|code| (400..500).contains(&code) && !matches!(code, 404 | 409 | 429))
}

fn kind<L: Ledger>() -> String {
    L::Object::kind(&()).into_owned()
}

fn failure<L: Ledger>(object: &str, source: kube::Error) -> CommitError {
    CommitError::Request { kind: kind::<L>(), object: object.to_owned(), source: Arc::new(source) }
}

fn interrupted<L: Ledger>() -> CommitError {
    CommitError::Interrupted { kind: kind::<L>() }
}

fn refuse<L: Ledger>(batch: Vec<Waiting<L>>, error: &CommitError) {
    for waiting in batch {
        // Who does not wait any more asks again when it comes back.
        drop(waiting.answer.send(Err(error.clone())));
    }
}

/// How the objects of a plan fared.
#[derive(Default)]
struct Written {
    /// Not as planned: somebody else was first, or nobody knows.
    changed: BTreeSet<String>,
    failed: BTreeMap<String, CommitError>,
}

enum Outcome<K> {
    Written(Box<K>),
    Changed(Box<K>),
    Gone,
    /// Nothing was written.
    Failed(CommitError),
    /// Nobody knows.
    Doubtful(CommitError),
}

/// What is known of the objects beyond the cache, which lags behind our own writes and reads.
struct View<L: Ledger> {
    newer: BTreeMap<String, Newer<L::Object>>,
    /// UIDs that are gone though the cache may still show them.
    gone: BTreeSet<String>,
    is_filled: bool,
}

struct Newer<K> {
    object: Arc<K>,
    /// The version it was newer than.
    over: Option<String>,
}

impl<L: Ledger> View<L> {
    fn new() -> Self {
        Self { newer: BTreeMap::new(), gone: BTreeSet::new(), is_filled: false }
    }

    fn keep(&mut self, mut object: L::Object, over: Option<&L::Object>) {
        object.meta_mut().managed_fields = None;
        let over = over.and_then(ResourceExt::resource_version);
        self.newer.insert(object.name_any(), Newer { object: Arc::new(object), over });
    }

    fn forget(&mut self, object: &L::Object) {
        self.newer.remove(&object.name_any());
        self.gone.extend(object.uid());
    }

    /// The newest of each that we know; what the cache has caught up with is let go.
    fn objects(&mut self, cache: &Cache<L::Object>) -> Objects<L::Object> {
        let mut objects: Objects<L::Object> =
            cache.store().state().into_iter().map(|object| (object.name_any(), object)).collect();
        let seen: BTreeSet<String> = objects.values().filter_map(|object| object.uid()).collect();
        self.gone.retain(|uid| seen.contains(uid));
        objects.retain(|_, object| object.uid().is_none_or(|uid| !self.gone.contains(&uid)));
        self.newer
            .retain(|name, newer| objects.get(name).is_none_or(|seen| newer.is_over::<L>(seen)));
        for (name, newer) in &self.newer {
            objects.insert(name.clone(), Arc::clone(&newer.object));
        }
        objects
    }
}

impl<K: Object> Newer<K> {
    fn is_over<L: Ledger<Object = K>>(&self, seen: &K) -> bool {
        seen.uid() == self.object.uid()
            && (L::sequence(seen) < L::sequence(&self.object)
                || (seen.resource_version() == self.over
                    && seen.resource_version() != self.object.resource_version()))
    }
}

#[cfg(test)]
mod tests;
