//! Finds freezes: those that may concern what is asked for in a namespace. Touches the API server (watches and lists
//! freezes).
//!
//! What holds in a namespace are its own freezes and those of foredeck's own. While something waits, caches do; right before a
//! start, or before something that runs is cancelled for one, they are listed at that moment. Whatever can't be read, or doesn't
//! decode, holds everything that it might concern, and says so; it cancels nothing.

use std::{
    collections::HashMap,
    slice,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use futures::{Stream, StreamExt, stream};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{Client, Resource, ResourceExt, runtime::reflector::Store};

use crate::{
    api::DeployFreeze,
    controller::{error::ControllerError, objects},
    domain::guards::freeze::Freezes,
    runtime::{
        cache::{Cache, Guarded, Scope, reference},
        telemetry,
        watches::Watches,
    },
};

/// Where freezes are found.
pub(in crate::controller) struct Freezing {
    client: Client,
    own: Watched,
    /// Those of foredeck's own namespace, where that isn't among the watched ones.
    home: Option<Watched>,
    home_namespace: String,
    /// By namespace, until one changes.
    known: Mutex<HashMap<String, Freezes>>,
    /// The version of each that was seen last, by namespace and name.
    seen: Mutex<HashMap<(String, String), Version>>,
}

/// What makes a freeze another one than before: whatever is said of it in its status doesn't.
type Version = (Option<String>, Option<i64>);

struct Watched {
    cache: Cache<DeployFreeze>,
    /// Whether they were listed once.
    listed: AtomicBool,
}

impl Freezing {
    /// Watches them. Nobody waits for them for long: what runs is followed also where they may not be read, and nothing
    /// starts until they can.
    pub(in crate::controller) fn start(
        client: &Client,
        scope: &Scope,
        home_namespace: &str,
        watches: &Watches,
    ) -> (
        Self,
        impl Stream<Item = Arc<Guarded<DeployFreeze>>> + Send + use<>,
    ) {
        let mut all = Vec::new();
        let mut watch = |scope: &Scope, watches: &Watches| {
            let (cache, changes) = Cache::start(client.clone(), scope, watches, |_| {});
            all.push(changes.boxed());
            Watched {
                cache,
                listed: AtomicBool::new(false),
            }
        };
        let own = watch(scope, watches);
        let home = Scope::beside(slice::from_ref(scope), home_namespace);
        let home = home.map(|home| watch(&home, watches));
        let freezing = Self {
            client: client.clone(),
            own,
            home,
            home_namespace: home_namespace.to_owned(),
            known: Mutex::default(),
            seen: Mutex::default(),
        };
        (freezing, stream::select_all(all))
    }

    /// Those of the namespaces that are watched.
    pub(in crate::controller) fn store(&self) -> Store<Guarded<DeployFreeze>> {
        self.own.cache.0.clone()
    }

    /// Those of foredeck's own namespace, where that isn't among the watched ones.
    pub(in crate::controller) fn home_store(&self) -> Option<Store<Guarded<DeployFreeze>>> {
        self.home.as_ref().map(|home| home.cache.0.clone())
    }

    /// Whether foredeck's own namespace is this one.
    pub(in crate::controller) fn is_home(&self, namespace: Option<&str>) -> bool {
        namespace == Some(&self.home_namespace)
    }

    /// foredeck's own namespace.
    pub(in crate::controller) fn home_namespace(&self) -> &str {
        &self.home_namespace
    }

    /// Until all of them were listed.
    pub(in crate::controller) async fn listed(&self) {
        for watched in [Some(&self.own), self.home.as_ref()].into_iter().flatten() {
            match watched.cache.0.wait_until_ready().await {
                Ok(()) => watched.listed.store(true, Ordering::Release),
                // Nobody watches any more: whoever waits is ended with the watch.
                Err(_) => std::future::pending().await,
            }
            self.changed();
        }
    }

    /// Whether what came is another freeze than before, or one less: not where only its status is new.
    pub(in crate::controller) fn differs(&self, object: &Guarded<DeployFreeze>) -> bool {
        let meta = object.meta();
        let home = self.home.as_ref();
        let watched = home.filter(|_| self.is_home(meta.namespace.as_deref()));
        let store = &watched.unwrap_or(&self.own).cache.0;
        let version = |meta: &ObjectMeta| (meta.uid.clone(), meta.generation);
        let now = store
            .get(&reference(object))
            .map(|stored| version(stored.meta()));
        let key = (
            meta.namespace.clone().unwrap_or_default(),
            meta.name.clone().unwrap_or_default(),
        );
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        match now {
            Some(now) => seen.insert(key, now.clone()) != Some(now),
            None => {
                seen.remove(&key);
                true
            }
        }
    }

    /// One of them changed.
    pub(in crate::controller) fn changed(&self) {
        self.lock().clear();
    }

    /// What may hold in that namespace, as far as the caches know.
    pub(in crate::controller) fn known(&self, namespace: &str) -> Freezes {
        // Locked until it is made: what changes meanwhile clears it afterwards.
        let mut known = self.lock();
        if let Some(known) = known.get(namespace) {
            return known.clone();
        }
        let made = self.cached(namespace);
        known.insert(namespace.to_owned(), made.clone());
        made
    }

    fn cached(&self, namespace: &str) -> Freezes {
        let mut found = Found::default();
        let own = [(namespace, &self.own)];
        let home = self.home.as_ref().unwrap_or(&self.own);
        let home =
            (namespace != self.home_namespace).then_some((self.home_namespace.as_str(), home));
        for (namespace, watched) in own.into_iter().chain(home) {
            if !watched.listed.load(Ordering::Acquire) {
                found.unread(namespace, "they have not been listed yet");
            }
            let all = watched.cache.0.state();
            let here = all
                .iter()
                .filter(|object| object.meta().namespace.as_deref() == Some(namespace));
            here.for_each(|object| found.add(object));
        }
        found.all(&self.home_namespace)
    }

    /// What holds in that namespace now, by lists that are asked for here.
    pub(in crate::controller) async fn read(&self, namespace: &str) -> Freezes {
        let mut namespaces = vec![namespace];
        if namespace != self.home_namespace {
            namespaces.push(&self.home_namespace);
        }
        let lists = namespaces
            .iter()
            .map(|namespace| objects::list_all::<DeployFreeze>(&self.client, namespace, ""));
        let lists: Vec<Result<Vec<Guarded<DeployFreeze>>, ControllerError>> =
            futures::future::join_all(lists).await;
        let mut found = Found::default();
        for (namespace, listed) in namespaces.into_iter().zip(lists) {
            match listed {
                Ok(all) => all.iter().for_each(|object| found.add(object)),
                Err(error) => {
                    tracing::warn!(namespace, error = %telemetry::chain(&error), "can't list freezes");
                    found.unread(namespace, &error.to_string());
                }
            }
        }
        found.all(&self.home_namespace)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Freezes>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Default)]
struct Found {
    all: Vec<Arc<DeployFreeze>>,
    unreadable: Option<String>,
}

impl Found {
    fn add(&mut self, object: &Guarded<DeployFreeze>) {
        match &object.0 {
            Ok(freeze) => self.all.push(Arc::new(freeze.clone())),
            Err(invalid) => {
                let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
                self.unreadable.get_or_insert_with(|| {
                    format!(
                        "DeployFreeze {name:?} in {namespace:?} can't be read ({}), so it holds everything there that it might be about; who owns it can mend or delete it.",
                        invalid.error
                    )
                });
            }
        }
    }

    fn unread(&mut self, namespace: &str, why: &str) {
        self.unreadable.get_or_insert_with(|| {
            format!(
                "the DeployFreezes of namespace {namespace:?} can't be read ({why}), so nothing starts until they can; it is tried again."
            )
        });
    }

    /// Oldest first, so that what is told doesn't hang on the order of a cache.
    fn all(mut self, home: &str) -> Freezes {
        self.all.sort_by_cached_key(|freeze| {
            (freeze.creation_timestamp().map(|time| time.0), freeze.uid())
        });
        Freezes {
            all: self.all,
            home: home.to_owned(),
            unreadable: self.unreadable,
        }
    }
}
