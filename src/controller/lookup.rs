//! Finds connections: the one that a name means in a namespace, and the one that something was sent through. Touches the
//! API server (watches connections, reads namespaces) and the clock.
//!
//! A name is looked up in the namespace itself, then in foredeck's own, which may share its connections by the labels of
//! namespaces. Namespaces aren't watched, since that would take the right to list them: for a start their labels are read
//! at that moment; for a look, or for waiting, they are remembered for some seconds. That they changed is noticed by the
//! looks that are made every few minutes, and at the latest before a start.

use std::{
    collections::HashMap,
    slice,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::{FutureExt, Stream, StreamExt, stream};
use k8s_openapi::{api::core::v1::Namespace, apimachinery::pkg::apis::meta::v1::Time};
use kube::{
    Api, Client, Resource,
    runtime::reflector::{Store, store::WriterDropped},
};
use tokio::time::Instant;

use super::{
    error::ControllerError,
    objects::{self, within},
};
use crate::{
    api::{
        SpinnakerConnection,
        conditions::Reason,
        deploy_request::{Pinned, WaitingFor},
    },
    domain::{
        connection::{self, Meant},
        refusal::Refusal,
        selector::Labels,
    },
    runtime::{
        cache::{Cache, Guarded, Scope},
        telemetry,
        watches::Watches,
    },
};

/// How long a namespace's labels are believed by those who start nothing.
const LABELS_AGE: Duration = Duration::from_secs(5);
/// How long it is believed that they can't be read, counted from the failure: an API server that hangs then takes the time
/// of one call from all who wait, not of one call each.
const FAILURE_AGE: Duration = Duration::from_secs(2);

/// Where connections are found.
pub(super) struct Connected {
    client: Client,
    /// Those of the namespaces that are watched.
    own: Cache<SpinnakerConnection>,
    /// Those of foredeck's own namespace, where that isn't among the watched ones.
    home: Option<Cache<SpinnakerConnection>>,
    home_namespace: String,
    labels: Remembered,
}

/// Labels, or why they could not be read.
pub(super) type Answer = Result<Labels, Arc<ControllerError>>;
type Entry = Arc<tokio::sync::Mutex<Option<(Instant, Answer)>>>;

/// Labels by namespace, or why they could not be read, each asked for by one at a time, with until when that counts.
#[derive(Default)]
struct Remembered(Mutex<HashMap<String, Entry>>);

impl Connected {
    /// Watches them. Nobody waits for those of foredeck's own namespace, where they are watched beside the others: whoever
    /// needs none of them works also where the controller may not read them.
    pub(super) fn start(
        client: &Client,
        scope: &Scope,
        home_namespace: &str,
        watches: &Watches,
    ) -> (
        Self,
        impl Stream<Item = Arc<Guarded<SpinnakerConnection>>> + Send + use<>,
    ) {
        let watch = |scope: &Scope| Cache::start(client.clone(), scope, watches, |_| {});
        let (own, changes) = watch(scope);
        let mut all = vec![changes.boxed()];
        let home = Scope::beside(slice::from_ref(scope), home_namespace).map(|home| {
            let (home, changes) = watch(&home);
            all.push(changes.boxed());
            home
        });
        let connected = Self {
            client: client.clone(),
            own,
            home,
            home_namespace: home_namespace.to_owned(),
            labels: Remembered::default(),
        };
        (connected, stream::select_all(all))
    }

    /// Those of the namespaces that are watched.
    pub(super) fn store(&self) -> Store<Guarded<SpinnakerConnection>> {
        self.own.0.clone()
    }

    /// Those among which this one is, or was.
    pub(super) fn store_of(
        &self,
        object: &Guarded<SpinnakerConnection>,
    ) -> &Store<Guarded<SpinnakerConnection>> {
        match &self.home {
            Some(home) if self.is_home(object.meta().namespace.as_deref()) => &home.0,
            _ => &self.own.0,
        }
    }

    /// Until those of the namespaces that are watched were listed.
    pub(super) async fn wait_until_ready(&self) -> Result<(), WriterDropped> {
        self.own.0.wait_until_ready().await
    }

    /// Whether foredeck's own namespace is this one.
    pub(super) fn is_home(&self, namespace: Option<&str>) -> bool {
        namespace == Some(&self.home_namespace)
    }

    fn own(&self, namespace: &str, name: &str) -> Option<SpinnakerConnection> {
        self.own.get(namespace, name)
    }

    fn home(&self, name: &str) -> Option<SpinnakerConnection> {
        let home = self.home.as_ref().unwrap_or(&self.own);
        home.get(&self.home_namespace, name)
    }

    fn home_is_known(&self) -> bool {
        self.home
            .as_ref()
            .is_none_or(|home| matches!(home.0.wait_until_ready().now_or_never(), Some(Ok(()))))
    }

    /// What the name means in that namespace, as far as the caches know; why it can't be said.
    pub(super) async fn known(
        &self,
        namespace: &str,
        name: &str,
    ) -> Result<Option<SpinnakerConnection>, Refusal> {
        let own = self.own(namespace, name);
        if own.is_none() && !self.home_is_known() {
            return Err(connection::home_unknown(
                &format!(
                    "there is no SpinnakerConnection {name:?} in this namespace, and whether one of that name is shared with it isn't known"
                ),
                &self.home_namespace,
            ));
        }
        let shared = self.home(name);
        match connection::meant(namespace, own, &self.home_namespace, shared) {
            Meant::This(own) => Ok(Some(own)),
            Meant::Nothing => Ok(None),
            selected @ Meant::IfSelected(_) => match self.labels(namespace).await {
                Ok(labels) => Ok(selected.by(&labels)),
                Err(error) => Err(unreadable(name, &error)),
            },
        }
    }

    /// What the name means in that namespace now, by objects and labels that are read for it.
    pub(super) async fn read(
        &self,
        namespace: &str,
        name: &str,
    ) -> Result<Option<SpinnakerConnection>, ControllerError> {
        let own = objects::read(&self.client, namespace, name).await?;
        if own.is_some() || namespace == self.home_namespace {
            return Ok(own);
        }
        let shared = objects::read(&self.client, &self.home_namespace, name).await?;
        match connection::meant(namespace, own, &self.home_namespace, shared) {
            selected @ Meant::IfSelected(_) => Ok(selected.by(&self.labels_now(namespace).await?)),
            certain => Ok(certain.by(&Labels::new())),
        }
    }

    /// The one that this was sent through, whatever its name means now; why that isn't known. Where those of foredeck's own
    /// namespace aren't known, it may be among them: another one that goes by its name is asked for nothing.
    pub(super) fn sent_through(
        &self,
        namespace: &str,
        pinned: &Pinned,
    ) -> Result<Option<SpinnakerConnection>, Refusal> {
        let name = &pinned.connection;
        let (uid, gate_url) = (&pinned.connection_uid, &pinned.gate_url);
        let own = self.own(namespace, name);
        let shared = self.home_is_known().then(|| self.home(name));
        connection::sent_through(own, shared, uid, gate_url).map_err(|connection::HomeUnknown| {
            connection::home_unknown(
                &format!(
                    "the SpinnakerConnection {name:?} that this was sent through may be one of foredeck's own namespace"
                ),
                &self.home_namespace,
            )
        })
    }

    /// Every one that something may have been sent through by this name in that namespace since then, whatever selectors
    /// and labels say now; why that isn't known.
    pub(super) fn may_have_meant(
        &self,
        namespace: &str,
        name: &str,
        since: Option<&Time>,
    ) -> Result<Vec<SpinnakerConnection>, Refusal> {
        let own = self.own(namespace, name);
        // The API server knows no part of a second: of two that were made within one, either may be the younger.
        let always_own = own
            .as_ref()
            .is_some_and(|own| own.metadata.creation_timestamp.as_ref() < since);
        if always_own || self.is_home(Some(namespace)) {
            return Ok(own.into_iter().collect());
        }
        if !self.home_is_known() {
            return Err(connection::home_unknown(
                &format!(
                    "SpinnakerConnection {name:?} may have been one of foredeck's own namespace then"
                ),
                &self.home_namespace,
            ));
        }
        Ok(own.into_iter().chain(self.home(name)).collect())
    }

    /// The namespace's labels, as they were read some seconds ago at most.
    pub(super) async fn labels(&self, namespace: &str) -> Answer {
        let asked = || async {
            let read = read_labels(&self.client, namespace).await;
            if let Err(error) = &read {
                tracing::warn!(namespace, error = %telemetry::chain(error), "can't read a namespace's labels");
            }
            read
        };
        self.labels.labels(namespace, asked).await
    }

    /// The namespace's labels, as they are read for it.
    pub(super) async fn labels_now(&self, namespace: &str) -> Result<Labels, ControllerError> {
        let asked = Instant::now();
        let labels = read_labels(&self.client, namespace).await?;
        // Who holds it asks just now.
        if let Ok(mut remembered) = self.labels.entry(namespace).try_lock() {
            *remembered = Some((asked + LABELS_AGE, Ok(labels.clone())));
        }
        Ok(labels)
    }
}

impl Remembered {
    fn entry(&self, namespace: &str) -> Entry {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(all.entry(namespace.to_owned()).or_default())
    }

    /// What is remembered; else what is asked for now.
    async fn labels<Asked>(&self, namespace: &str, ask: impl FnOnce() -> Asked) -> Answer
    where
        Asked: Future<Output = Result<Labels, ControllerError>>,
    {
        let entry = self.entry(namespace);
        let mut remembered = entry.lock().await;
        if let Some((until, answer)) = &*remembered
            && Instant::now() < *until
        {
            return answer.clone();
        }
        let asked = Instant::now();
        let answer = ask().await.map_err(Arc::new);
        let until = match &answer {
            Ok(_) => asked + LABELS_AGE,
            Err(_) => Instant::now() + FAILURE_AGE,
        };
        *remembered = Some((until, answer.clone()));
        answer
    }
}

async fn read_labels(client: &Client, namespace: &str) -> Result<Labels, ControllerError> {
    let api: Api<Namespace> = Api::all(client.clone());
    let asked = within(
        "read the namespace's labels",
        api.get_metadata_opt(namespace),
    );
    let read = match asked.await {
        Err(ControllerError::Conflict { .. }) => None,
        other => other?,
    };
    // Not as if it had no labels: a selector may match those who have none.
    let read = read.ok_or(ControllerError::NamespaceGone)?;
    Ok(read.metadata.labels.unwrap_or_default())
}

fn unreadable(name: &str, error: &ControllerError) -> Refusal {
    Refusal::passing(
        WaitingFor::Authorization,
        Reason::AccessUnknown,
        format!(
            "whether SpinnakerConnection {name:?} is shared with this namespace can't be known ({error}); nothing starts until it is, and it is tried again."
        ),
    )
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use futures::future::join_all;

    use super::{super::API_DEADLINE, *};

    #[tokio::test(start_paused = true)]
    async fn while_the_api_server_hangs_all_who_wait_for_labels_take_the_time_of_one_call() {
        let (remembered, calls) = (Remembered::default(), Cell::new(0));
        let hangs = || async {
            calls.set(calls.get() + 1);
            tokio::time::sleep(API_DEADLINE).await;
            Err(ControllerError::ApiSilent { doing: "test" })
        };
        let begun = Instant::now();
        let all = join_all((0..20).map(|_| remembered.labels("team", hangs))).await;
        assert!(all.iter().all(Result::is_err));
        assert_eq!((begun.elapsed(), calls.get()), (API_DEADLINE, 1));

        // Not for longer than a moment.
        tokio::time::advance(FAILURE_AGE).await;
        let answers = || async { Ok(Labels::new()) };
        assert!(remembered.labels("team", answers).await.is_ok());
        assert!(remembered.labels("team", hangs).await.is_ok());
        tokio::time::advance(LABELS_AGE).await;
        assert!(remembered.labels("team", hangs).await.is_err());
    }
}
