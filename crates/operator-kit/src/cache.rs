//! One watch per kind for the whole program, and queues fed from it.
//!
//! Controllers share a kind's cache instead of watching it each for themselves, and what nobody reads (managed fields)
//! is dropped before it is stored: that is what bounds memory. An object that cannot be decoded is reported and left
//! out; it waits for its author and harms no other.

use crate::client::PAGE_SIZE;
use crate::controller::Queue;
use crate::error_chain::one_line;
use futures::StreamExt;
use futures::future::{BoxFuture, join_all};
use kube::api::Api;
use kube::core::DeserializeGuard;
use kube::core::error_boundary::InvalidObject;
use kube::{Client, Resource, ResourceExt};
use kube_runtime::WatchStreamExt;
use kube_runtime::reflector::{self, ObjectRef, Store};
use kube_runtime::watcher::{self, Event};
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex, PoisonError};
use tokio_util::sync::CancellationToken;

/// What has become of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    There,
    Gone,
}

type Listener<K> = Box<dyn Fn(&K, Fate) + Send + Sync>;

/// A kind's objects as last seen, and who wants to hear of changes.
pub struct Cache<K: Resource<DynamicType = ()> + Clone + 'static> {
    client: Client,
    store: Store<K>,
    writer: Mutex<Option<reflector::store::Writer<K>>>,
    listeners: Arc<Mutex<Vec<Listener<K>>>>,
}

/// After so many seconds without any event the server ends a watch, so a dead one is noticed soon.
const WATCH_TIMEOUT_SECONDS: u32 = 60;

impl<K> Cache<K>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
{
    /// A cache over all objects of the kind; nothing happens until [`Cache::run`].
    pub fn new(client: Client) -> Self {
        let (store, writer) = reflector::store();
        Self { client, store, writer: Mutex::new(Some(writer)), listeners: Arc::default() }
    }

    /// The objects as last seen.
    pub fn store(&self) -> Store<K> {
        self.store.clone()
    }

    /// The object as last seen.
    pub fn get(&self, name: &str, namespace: Option<&str>) -> Option<Arc<K>> {
        let mut key = ObjectRef::new(name);
        key.namespace = namespace.map(str::to_owned);
        self.store.get(&key)
    }

    /// Calls `listener` with every object that appears, changes or goes; it must be quick and not block. Who comes when
    /// the watch runs already is first told all there is: what the first list said is said only once.
    pub fn on_change(&self, listener: impl Fn(&K) + Send + Sync + 'static) {
        self.listen(Box::new(move |object, _| listener(object)));
    }

    /// The same for a listener that minds one aspect of the objects: it is called when an object appears, goes, is replaced
    /// by another of its name, or when the aspect is not what it was.
    pub fn on_change_of<T: PartialEq + Send + 'static>(
        &self,
        aspect: impl Fn(&K) -> T + Send + Sync + 'static,
        listener: impl Fn(&K) + Send + Sync + 'static,
    ) {
        let seen: Mutex<BTreeMap<String, (Option<String>, T)>> = Mutex::default();
        self.listen(Box::new(move |object, fate| {
            let key = key_of(object);
            let is_new = {
                let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
                match fate {
                    Fate::Gone => seen.remove(&key).is_some(),
                    Fate::There => {
                        let now = (object.uid(), aspect(object));
                        seen.get(&key) != Some(&now) && {
                            seen.insert(key, now);
                            true
                        }
                    }
                }
            };
            if is_new {
                listener(object);
            }
        }));
    }

    fn listen(&self, listener: Listener<K>) {
        let mut listeners = self.listeners.lock().unwrap_or_else(PoisonError::into_inner);
        self.store.state().iter().for_each(|object| listener(object, Fate::There));
        listeners.push(listener);
    }

    /// Watches until the program ends; trouble is retried with growing delays.
    pub async fn run(self: Arc<Self>) {
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut writer) = writer else { return };
        let config = watcher::Config::default().timeout(WATCH_TIMEOUT_SECONDS).page_size(PAGE_SIZE);
        let api: Api<DeserializeGuard<K>> = Api::all(self.client.clone());
        let events = watcher::watcher(api, config).default_backoff();
        let mut events = std::pin::pin!(events);
        while let Some(event) = events.next().await {
            match event {
                Ok(event) => self.take(event, &mut writer),
                Err(error) => tracing::warn!(
                    kind = %K::kind(&()),
                    error = %crate::ErrorChain(&error),
                    "watch interrupted, trying again"
                ),
            }
        }
    }

    /// Waits until the cache has been filled once.
    pub async fn wait_until_full(&self) {
        if self.store.wait_until_ready().await.is_err() {
            tracing::error!(kind = %K::kind(&()), "the watch ended before the first list");
        }
    }

    /// Asks for a pass over every object that is meant.
    pub fn push_where(&self, queue: &Queue<K>, is_meant: impl Fn(&K) -> bool) {
        for object in self.store.state_filter(is_meant) {
            queue.push(ObjectRef::from_obj(object.as_ref()));
        }
    }

    /// The same, the oldest first: for those that wait for the same thing.
    pub fn push_oldest_first(&self, queue: &Queue<K>, is_meant: impl Fn(&K) -> bool) {
        let mut meant = self.store.state_filter(is_meant);
        meant.sort_by_cached_key(|object| (object.creation_timestamp(), object.uid()));
        for object in meant {
            queue.push(ObjectRef::from_obj(object.as_ref()));
        }
    }

    /// Asks for a pass over every object in `namespace`.
    pub fn push_in(&self, namespace: &str, queue: &Queue<K>) {
        self.push_where(queue, |object| object.meta().namespace.as_deref() == Some(namespace));
    }

    /// Asks for a pass over every object.
    pub fn push_all(&self, queue: &Queue<K>) {
        self.push_where(queue, |_| true);
    }

    fn take(&self, event: Event<DeserializeGuard<K>>, writer: &mut reflector::store::Writer<K>) {
        let Some(event) = decoded(event) else { return };
        writer.apply_watcher_event(&event);
        match &event {
            Event::Apply(object) => self.tell(object, Fate::There),
            Event::Delete(object) => self.tell(object, Fate::Gone),
            // Events may have been missed before a new list, so everything is looked at again.
            Event::InitDone => {
                self.store.state().iter().for_each(|object| self.tell(object, Fate::There));
            }
            Event::Init | Event::InitApply(_) => {}
        }
    }

    fn tell(&self, object: &K, fate: Fate) {
        for listener in self.listeners.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            listener(object, fate);
        }
    }
}

/// Says which object is left out, and why.
pub(crate) fn log_undecodable<K: Resource<DynamicType = ()>>(invalid: &InvalidObject) {
    tracing::error!(
        kind = %K::kind(&()),
        object = %invalid.metadata.name.as_deref().unwrap_or("?"),
        namespace = %invalid.metadata.namespace.as_deref().unwrap_or(""),
        error = %one_line(&invalid.error),
        "object cannot be decoded and is left alone; correct or delete it"
    );
}

fn decoded<K>(event: Event<DeserializeGuard<K>>) -> Option<Event<K>>
where
    K: Resource<DynamicType = ()>,
{
    let object = |guard: DeserializeGuard<K>| match guard.0 {
        Ok(mut object) => {
            object.meta_mut().managed_fields = None;
            Some(object)
        }
        Err(invalid) => {
            log_undecodable::<K>(&invalid);
            None
        }
    };
    Some(match event {
        Event::Apply(guard) => Event::Apply(object(guard)?),
        Event::Delete(guard) => Event::Delete(object(guard)?),
        Event::InitApply(guard) => Event::InitApply(object(guard)?),
        Event::Init => Event::Init,
        Event::InitDone => Event::InitDone,
    })
}

/// A cache of whatever kind, to be run and waited for with others.
trait Watched: Send + Sync {
    fn watch(self: Arc<Self>) -> BoxFuture<'static, ()>;
    fn full(&self) -> BoxFuture<'_, ()>;
}

impl<K> Watched for Cache<K>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
{
    fn watch(self: Arc<Self>) -> BoxFuture<'static, ()> {
        Box::pin(self.run())
    }

    fn full(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.wait_until_full())
    }
}

/// All caches of a program: a kind that was asked for here is also run and waited for.
pub struct Watches {
    client: Client,
    caches: Vec<Arc<dyn Watched>>,
}

impl Watches {
    /// None yet.
    pub fn new(client: Client) -> Self {
        Self { client, caches: Vec::new() }
    }

    /// A cache over all objects of one more kind.
    pub fn cache<K>(&mut self) -> Arc<Cache<K>>
    where
        K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
    {
        let cache = Arc::new(Cache::new(self.client.clone()));
        self.caches.push(Arc::<Cache<K>>::clone(&cache));
        cache
    }

    /// Runs every watch as one of a program's tasks, until `stop`; `ended` makes what such a task ends with of its name.
    pub fn spawn<T: Send + 'static>(
        &self,
        tasks: &mut tokio::task::JoinSet<T>,
        stop: &CancellationToken,
        ended: fn(&'static str) -> T,
    ) {
        for cache in &self.caches {
            let (watch, stop) = (Arc::clone(cache).watch(), stop.clone());
            tasks.spawn(async move {
                stop.run_until_cancelled(watch).await;
                ended("a watch")
            });
        }
    }

    /// Waits until every cache has been filled once.
    pub async fn wait_until_full(&self) {
        join_all(self.caches.iter().map(|cache| cache.full())).await;
    }
}

/// `namespace/name`, or the name alone where there is no namespace.
pub fn key_of<K: ResourceExt>(object: &K) -> String {
    match object.namespace() {
        Some(namespace) => format!("{namespace}/{}", object.name_any()),
        None => object.name_any(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::Namespace;
    use kube::client::Body;
    use std::sync::atomic::{AtomicUsize, Ordering};

    fn event(name: &str) -> DeserializeGuard<Namespace> {
        let mut namespace = Namespace::default();
        namespace.metadata.name = Some(name.to_owned());
        DeserializeGuard(Ok(namespace))
    }

    fn cache() -> Cache<Namespace> {
        let (service, _server) =
            tower_test::mock::pair::<http::Request<Body>, http::Response<Body>>();
        Cache::new(Client::new(service, "default"))
    }

    #[tokio::test]
    async fn who_minds_one_aspect_hears_of_nothing_else_and_of_the_end() {
        let cache = cache();
        let mut writer = cache.writer.lock().unwrap().take().unwrap();
        let told = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&told);
        cache.on_change_of(
            |namespace: &Namespace| namespace.labels().clone(),
            move |_| {
                count.fetch_add(1, Ordering::SeqCst);
            },
        );
        let labelled = |label: &str| {
            let DeserializeGuard(Ok(mut namespace)) = event("a") else { unreachable!() };
            namespace.labels_mut().insert("tier".to_owned(), label.to_owned());
            namespace.metadata.resource_version = Some(label.len().to_string());
            DeserializeGuard(Ok(namespace))
        };
        let mut heard = Vec::new();
        for event in [
            Event::Apply(labelled("gold")),
            Event::Apply(labelled("gold")),
            Event::Apply(labelled("silver")),
            Event::Delete(labelled("silver")),
            Event::Apply(labelled("silver")),
        ] {
            cache.take(event, &mut writer);
            heard.push(told.load(Ordering::SeqCst));
        }
        assert_eq!(heard, [1, 1, 2, 3, 4], "new, the same, changed, gone, new again");
    }

    #[tokio::test]
    async fn a_late_listener_misses_nothing() {
        let cache = cache();
        let mut writer = cache.writer.lock().unwrap().take().unwrap();
        let told = Arc::new(AtomicUsize::new(0));
        let listen = || {
            let told = Arc::clone(&told);
            cache.on_change(move |_| {
                told.fetch_add(1, Ordering::SeqCst);
            });
        };
        listen();
        for event in [Event::Init, Event::InitApply(event("a")), Event::InitDone] {
            cache.take(event, &mut writer);
        }
        assert_eq!(told.load(Ordering::SeqCst), 1, "who was there is told by the first list");
        listen();
        assert_eq!(told.load(Ordering::SeqCst), 2, "who comes later is told what there is");
        cache.take(Event::Apply(event("b")), &mut writer);
        assert_eq!(told.load(Ordering::SeqCst), 4, "both hear of what changes");
    }
}
