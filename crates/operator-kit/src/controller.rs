//! The loop around a reconciler: keys in, passes out, one pass per object at a time.
//!
//! A pass either succeeds and says when it wants to be looked at again, or fails and is repeated with a growing delay
//! whose jitter comes from the object's key, so a thousand failures at once do not return at once. Nothing runs before
//! the caches are full and this process leads.

use crate::ErrorChain;
use crate::cache::{Cache, key_of};
use crate::metrics::PassMetrics;
use futures::StreamExt;
use futures::future::BoxFuture;
use kube::{Resource, ResourceExt};
use kube_runtime::controller::{Action, Config, applier};
use kube_runtime::reflector::{ObjectRef, Store};
use serde::de::DeserializeOwned;
use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::future::Future;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// The keys waiting for a controller; a key waits once, however often it is pushed, so a queue is bounded by the objects.
#[derive(Clone)]
pub struct Queue<K: Resource<DynamicType = ()>> {
    sender: mpsc::UnboundedSender<ObjectRef<K>>,
    waiting: Waiting,
}

/// `(namespace, name)` of the keys between the two ends of a queue.
type Waiting = Arc<Mutex<BTreeSet<(Option<String>, String)>>>;

/// The end of a [`Queue`] that the controller reads.
pub struct Keys<K: Resource<DynamicType = ()>> {
    receiver: mpsc::UnboundedReceiver<ObjectRef<K>>,
    waiting: Waiting,
}

impl<K: Resource<DynamicType = ()> + 'static> Queue<K> {
    /// A queue and the end that the controller reads.
    pub fn new() -> (Self, Keys<K>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        let waiting = Waiting::default();
        (Self { sender, waiting: Arc::clone(&waiting) }, Keys { receiver, waiting })
    }

    /// Asks for a pass over the object; asking twice before it began is one pass.
    pub fn push(&self, key: ObjectRef<K>) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        // A closed queue means that the program is ending.
        if waiting.insert((key.namespace.clone(), key.name.clone()))
            && self.sender.send(key).is_err()
        {
            tracing::debug!(kind = %K::kind(&()), "queue closed");
        }
    }
}

impl<K: Resource<DynamicType = ()> + 'static> Keys<K> {
    /// The next key; none when nobody can push any more.
    async fn next(&mut self) -> Option<ObjectRef<K>> {
        let key = self.receiver.recv().await?;
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.remove(&(key.namespace.clone(), key.name.clone()));
        Some(key)
    }
}

/// How a pass ended well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The world is as declared.
    Converged,
    /// Something named in the status has to happen first; look again after the given time at the latest.
    Waiting(Duration),
    /// The author has to change something; only a change helps.
    Refused,
}

/// How often a converged object is looked at without any event, so that a lost one is found.
const RESYNC: Duration = Duration::from_mins(10);
/// The first delay after a failure.
const RETRY_FIRST: Duration = Duration::from_millis(500);
/// The longest delay after failures.
const RETRY_LAST: Duration = Duration::from_mins(1);
/// How many objects of a kind are worked on at once, where nothing speaks for more.
const AT_ONCE: u16 = 16;

/// Counts failures per object, to space out the repeats.
#[derive(Default)]
struct Failures(Mutex<BTreeMap<String, u32>>);

impl Failures {
    fn forget(&self, key: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }

    fn delay(&self, key: &str) -> Duration {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(key.to_owned()).or_insert(0);
        *count = count.saturating_add(1);
        jittered(backoff(*count), key)
    }
}

fn backoff(failures: u32) -> Duration {
    let doublings = failures.saturating_sub(1).min(16);
    RETRY_FIRST.saturating_mul(1_u32.checked_shl(doublings).unwrap_or(u32::MAX)).min(RETRY_LAST)
}

/// Up to a quarter more, decided by the key.
fn jittered(delay: Duration, key: &str) -> Duration {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    let percent = u32::try_from(hasher.finish() % 26).unwrap_or(0);
    delay.saturating_add(delay.saturating_mul(percent) / 100)
}

/// Whether the API server refused a write because the object had changed since it was read.
fn is_conflict(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        let boxed = error.downcast_ref::<Box<kube::Error>>().map(AsRef::as_ref);
        if error.downcast_ref::<kube::Error>().or(boxed).is_some_and(crate::client::is_conflict) {
            return true;
        }
        next = error.source();
    }
    false
}

/// Runs passes until `stop`; the pass under way is finished first.
async fn run<K, C, E, F, Fut>(
    name: &'static str,
    store: Store<K>,
    queue: Keys<K>,
    wiring: Wiring<C>,
    reconcile: F,
) where
    K: Resource<DynamicType = ()> + Clone + Debug + Send + Sync + 'static,
    C: Send + Sync + 'static,
    E: std::error::Error + Send + 'static,
    F: Fn(Arc<K>, Arc<C>) -> Fut + Send + Sync + Clone + 'static,
    Fut: Future<Output = Result<Outcome, E>> + Send + 'static,
{
    let Wiring { context, passes: metrics, stop, at_once, .. } = wiring;
    let failures = Arc::new(Failures::default());
    let keys = futures::stream::unfold(queue, |mut queue| async move {
        queue.next().await.map(|key| (Ok::<_, std::convert::Infallible>(key), queue))
    })
    .take_until(stop.cancelled_owned());
    let pass = {
        let failures = Arc::clone(&failures);
        move |object: Arc<K>, context: Arc<C>| {
            let (failures, metrics, reconcile) =
                (Arc::clone(&failures), metrics.clone(), reconcile.clone());
            Box::pin(async move {
                let key = key_of(object.as_ref());
                let started = Instant::now();
                let result = reconcile(Arc::clone(&object), context).await;
                metrics.passed(name, result.as_ref().ok().copied(), started.elapsed());
                result.map(|outcome| {
                    failures.forget(&key);
                    Action::requeue(match outcome {
                        Outcome::Waiting(delay) => jittered(delay, &key),
                        Outcome::Converged | Outcome::Refused => jittered(RESYNC, &key),
                    })
                })
            })
        }
    };
    let on_error = move |object: Arc<K>, error: &E, _: Arc<C>| {
        let key = key_of(object.as_ref());
        if is_conflict(error) {
            // Somebody wrote first; that write is an event too, this is only the safety net.
            tracing::debug!(controller = name, object = %key, "changed meanwhile, looking again");
            return Action::requeue(jittered(RETRY_FIRST, &key));
        }
        tracing::warn!(controller = name, object = %key, uid = %object.uid().unwrap_or_default(), error = %ErrorChain(error), "pass failed");
        Action::requeue(failures.delay(&key))
    };
    let config = Config::default().concurrency(at_once);
    let mut passes = std::pin::pin!(applier(pass, on_error, context, store, keys, config));
    while passes.next().await.is_some() {}
}

/// A controller that runs when it is spawned, and ends with its name.
pub type Controller = BoxFuture<'static, &'static str>;

/// Which changes of its own kind bring an object to its controller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Feed {
    EveryChange,
    Declarations,
}

/// What the controllers of a program have in common.
pub struct Wiring<C> {
    context: Arc<C>,
    passes: PassMetrics,
    stop: CancellationToken,
    at_once: u16,
    feed: Feed,
}

impl<C> Clone for Wiring<C> {
    fn clone(&self) -> Self {
        let (context, passes) = (Arc::clone(&self.context), self.passes.clone());
        let Self { at_once, feed, .. } = *self;
        Self { context, passes, stop: self.stop.clone(), at_once, feed }
    }
}

impl<C: Send + Sync + 'static> Wiring<C> {
    /// Controllers whose passes may use `context`, are counted in `passes`, and end with `stop`.
    pub fn new(context: Arc<C>, passes: PassMetrics, stop: CancellationToken) -> Self {
        Self { context, passes, stop, at_once: AT_ONCE, feed: Feed::EveryChange }
    }

    /// The same with more objects of a kind worked on at once: for passes that mostly wait for a group commit, since what
    /// comes while one is being written goes into the next.
    #[must_use]
    pub fn at_once(&self, at_once: u16) -> Self {
        Self { at_once, ..self.clone() }
    }

    /// The same, fed by what is declared and held, not by reports: for passes that look outside of the cluster and count,
    /// whose own reports would call the next one at once.
    #[must_use]
    pub fn fed_by_declarations(&self) -> Self {
        Self { feed: Feed::Declarations, ..self.clone() }
    }

    /// What ends the controllers.
    pub fn stop(&self) -> &CancellationToken {
        &self.stop
    }

    /// A queue fed by the kind's own changes, and the loop that works it off.
    pub fn controller<K, E, F, Fut>(
        &self,
        name: &'static str,
        cache: &Arc<Cache<K>>,
        reconcile: F,
    ) -> (Queue<K>, Controller)
    where
        K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
        E: std::error::Error + Send + 'static,
        F: Fn(Arc<K>, Arc<C>) -> Fut + Send + Sync + Clone + 'static,
        Fut: Future<Output = Result<Outcome, E>> + Send + 'static,
    {
        let (queue, receiver) = Queue::new();
        let own = queue.clone();
        let push = move |object: &K| own.push(ObjectRef::from_obj(object));
        match self.feed {
            Feed::EveryChange => cache.on_change(push),
            Feed::Declarations => {
                let declared = |object: &K| {
                    let meta = object.meta();
                    // A hold is written before anything else, and the pass that wrote it waits for this event.
                    (meta.generation, meta.deletion_timestamp.clone(), meta.finalizers.clone())
                };
                cache.on_change_of(declared, push);
            }
        }
        let (store, wiring) = (cache.store(), self.clone());
        let run = async move {
            run(name, store, receiver, wiring, reconcile).await;
            name
        };
        (queue, Box::pin(run))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::Namespace;

    #[tokio::test]
    async fn a_key_waits_once_and_can_come_again() {
        let (queue, mut keys) = Queue::<Namespace>::new();
        for name in ["a", "b", "a", "a"] {
            queue.push(ObjectRef::new(name));
        }
        assert_eq!(keys.next().await.unwrap().name, "a");
        queue.push(ObjectRef::new("a"));
        assert_eq!(keys.next().await.unwrap().name, "b");
        assert_eq!(keys.next().await.unwrap().name, "a", "what changed after its pass began");
        drop(queue);
        assert!(keys.next().await.is_none());
    }

    #[test]
    fn delays_grow_and_are_bounded() {
        assert_eq!(backoff(1), RETRY_FIRST);
        assert_eq!(backoff(2), RETRY_FIRST * 2);
        assert_eq!(backoff(30), RETRY_LAST);
        for key in ["a", "b", "tn-acme/web-1"] {
            let delay = jittered(RETRY_LAST, key);
            assert!(
                delay >= RETRY_LAST && delay <= RETRY_LAST + RETRY_LAST / 4,
                "{key}: {delay:?}"
            );
        }
    }
}
