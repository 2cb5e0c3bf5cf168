//! Caches of the kinds, filled by watches. Touches the API server: lists and watches.

use std::{collections::BTreeSet, fmt::Debug, sync::Arc};

use futures::{Stream, StreamExt, TryStreamExt, stream};
use kube::{
    Api, Client, Resource, ResourceExt,
    core::DeserializeGuard,
    runtime::{
        WatchStreamExt,
        reflector::{self, ObjectRef, Store, store::Writer},
        watcher::{self, Event, watcher},
    },
};
use serde::de::DeserializeOwned;

use super::watches::{Patience, Pauses, Watch, Watches};

/// What one set of watches covers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// Every namespace.
    Cluster,
    /// One namespace; what a request names is in its own, but for a connection that is shared with it.
    Namespace(String),
}

impl Scope {
    /// These namespaces, each once; all when there is none.
    pub fn of(namespaces: &[String]) -> Vec<Self> {
        match namespaces {
            [] => vec![Self::Cluster],
            namespaces => {
                let each: BTreeSet<&String> = namespaces.iter().collect();
                each.into_iter().cloned().map(Self::Namespace).collect()
            }
        }
    }

    /// The scope of this namespace, where none of these covers it.
    pub fn beside(scopes: &[Self], namespace: &str) -> Option<Self> {
        let own = Self::Namespace(namespace.to_owned());
        let is_covered = scopes.contains(&Self::Cluster) || scopes.contains(&own);
        (!is_covered).then_some(own)
    }

    /// For people.
    pub fn said(&self) -> String {
        match self {
            Self::Cluster => "all namespaces".to_owned(),
            Self::Namespace(namespace) => format!("namespace {namespace}"),
        }
    }

    fn api<K>(&self, client: Client) -> Api<K>
    where
        K: Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>,
    {
        match self {
            Self::Cluster => Api::all(client),
            Self::Namespace(namespace) => Api::namespaced(client, namespace),
        }
    }
}

/// An object as it arrived: one that doesn't decode stops nothing but itself.
pub type Guarded<K> = DeserializeGuard<K>;

/// Everything of one kind.
pub struct Cache<K: Resource<DynamicType = ()> + Clone + 'static>(pub Store<Guarded<K>>);

impl<K> Cache<K>
where
    K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
        + Clone
        + DeserializeOwned
        + Debug
        + Send
        + Sync
        + 'static,
{
    /// The object of that name, if it exists and decodes.
    pub fn get(&self, namespace: &str, name: &str) -> Option<K> {
        let object = self.0.get(&ObjectRef::new(name).within(namespace))?;
        object.0.as_ref().ok().cloned()
    }

    /// Why the object of that name doesn't decode, if it exists and doesn't.
    pub fn problem(&self, namespace: &str, name: &str) -> Option<String> {
        let object = self.0.get(&ObjectRef::new(name).within(namespace))?;
        let invalid = object.0.as_ref().err()?;
        Some(invalid.error.clone())
    }

    /// Every object that `wanted` wants, as references into the cache.
    pub fn filter(&self, wanted: impl Fn(&K) -> bool) -> Vec<Arc<Guarded<K>>> {
        self.0
            .state()
            .into_iter()
            .filter(|object| object.0.as_ref().is_ok_and(&wanted))
            .collect()
    }

    /// Lists and watches: fills the cache and yields what changed or went. What `trim` takes away nobody looks up in a
    /// cache. While it doesn't work it is tried again every few seconds, and `watches` told.
    pub fn start(
        client: Client,
        scope: &Scope,
        watches: &Watches,
        trim: fn(&mut K),
    ) -> (Self, impl Stream<Item = Arc<Guarded<K>>> + Send + use<K>) {
        let (reader, writer) = reflector::store();
        let patience = Patience::default();
        let seen = patience.clone();
        let events = watcher(scope.api::<Guarded<K>>(client), watcher::Config::default())
            .inspect_err(move |error| seen.see(error))
            .backoff(Pauses::new(patience))
            .modify(move |object| {
                object.managed_fields_mut().clear();
                if let Ok(object) = &mut object.0 {
                    object.managed_fields_mut().clear();
                    trim(object);
                }
            });
        let watch = watches.watch(&K::kind(&()), scope.said());
        let changes = changes(events, reader.clone(), writer, watch);
        let changes = changes.inspect(|object| {
            if let Err(invalid) = &object.0 {
                let (namespace, name) = (object.namespace(), object.name_any());
                tracing::warn!(kind = %K::kind(&()), namespace, name, error = %invalid.error, "an object doesn't decode, and is left alone");
            }
        });
        (Self(reader), changes)
    }
}

/// Fills the cache, and yields what changed once the cache has it, what went once it hasn't.
///
/// A list counts as a whole when it is complete: until then the cache holds what was there before, and whoever looked up
/// what is listed would take it for deleted. What went, or was made anew under its name, while nothing was watched is
/// found by comparing.
fn changes<K>(
    events: impl Stream<Item = watcher::Result<Event<K>>> + Send,
    reader: Store<K>,
    writer: Writer<K>,
    mut watch: Watch,
) -> impl Stream<Item = Arc<K>> + Send
where
    K: Resource<DynamicType = ()> + Clone + Debug + Send + Sync + 'static,
{
    let mut before = Vec::new();
    events
        .reflect(writer)
        .map(move |event| match event {
            Ok(Event::Apply(object) | Event::Delete(object)) => {
                watch.well();
                vec![Arc::new(object)]
            }
            Ok(Event::Init) => {
                before = reader.state();
                Vec::new()
            }
            Ok(Event::InitApply(_)) => Vec::new(),
            Ok(Event::InitDone) => {
                watch.well();
                let mut all = std::mem::take(&mut before);
                all.retain(|object| {
                    let now = reader.get(&reference(&**object));
                    now.is_none_or(|now| now.meta().uid != object.meta().uid)
                });
                all.extend(reader.state());
                all
            }
            Err(error) => {
                watch.interrupted(&error);
                Vec::new()
            }
        })
        .flat_map(stream::iter)
}

/// A reference to an object, as queues carry it.
pub fn reference<K: Resource<DynamicType = ()>>(object: &K) -> ObjectRef<K> {
    let meta = object.meta();
    named(
        meta.namespace.as_deref().unwrap_or_default(),
        meta.name.as_deref().unwrap_or_default(),
    )
}

/// A reference by name.
pub fn named<K: Resource<DynamicType = ()>>(namespace: &str, name: &str) -> ObjectRef<K> {
    ObjectRef::new(name).within(namespace)
}

#[cfg(test)]
#[path = "cache_tests.rs"]
mod tests;
