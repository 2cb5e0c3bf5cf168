//! Finds connections: the one that a name means in a namespace, and the one that something was sent through. Touches the
//! API server (watches connections, reads namespaces) and the clock.
//!
//! A name is looked up in the namespace itself, then in foredeck's own, which may share its connections by the labels of
//! namespaces. Namespaces aren't watched, since that would take the right to list them: for a start their labels are read
//! at that moment; for a look, or for waiting, they are remembered for some seconds. That they changed is noticed by the
//! looks that are made every few minutes, and at the latest before a start.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use futures::{FutureExt, Stream, StreamExt, stream};
use k8s_openapi::api::core::v1::Namespace;
use kube::{
    Api, Client, Resource,
    runtime::reflector::{Store, store::WriterDropped},
};

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
        connection::{self, Labels, Meant},
        refusal::Refusal,
    },
    runtime::{
        cache::{Cache, Guarded, Scope},
        telemetry,
    },
};

/// How long a namespace's labels are believed by those who start nothing.
const LABELS_AGE: Duration = Duration::from_secs(5);

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

type Entry = Arc<tokio::sync::Mutex<Option<(Instant, Labels)>>>;

/// Labels by namespace, each asked for by one at a time.
#[derive(Default)]
struct Remembered(Mutex<HashMap<String, Entry>>);

impl Connected {
    /// Watches them. Nobody waits for those of foredeck's own namespace, where they are watched beside the others: whoever
    /// needs none of them works also where the controller may not read them.
    pub(super) fn start(
        client: &Client,
        scope: &Scope,
        home_namespace: &str,
    ) -> (
        Self,
        impl Stream<Item = Arc<Guarded<SpinnakerConnection>>> + Send + use<>,
    ) {
        let watch = |scope: &Scope| Cache::start(client.clone(), scope, |_| {});
        let (own, changes) = watch(scope);
        let mut all = vec![changes.boxed()];
        let home = Scope::Namespace(home_namespace.to_owned());
        let home = (*scope != Scope::Cluster && *scope != home).then(|| {
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
            return Err(Refusal::passing(
                WaitingFor::Configuration,
                Reason::ConnectionNotFound,
                format!(
                    "there is no SpinnakerConnection {name:?} in this namespace, and whether one of that name is shared with it isn't known: the controller can't read those of namespace {:?} yet, which whoever runs foredeck can allow it. It is tried again.",
                    self.home_namespace
                ),
            ));
        }
        self.shared_unless(own, namespace, name).await
    }

    /// What the name would mean in that namespace if it had none of its own.
    pub(super) async fn shared(
        &self,
        namespace: &str,
        name: &str,
    ) -> Result<Option<SpinnakerConnection>, Refusal> {
        self.shared_unless(None, namespace, name).await
    }

    async fn shared_unless(
        &self,
        own: Option<SpinnakerConnection>,
        namespace: &str,
        name: &str,
    ) -> Result<Option<SpinnakerConnection>, Refusal> {
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

    /// The one that this was sent through, whatever its name means now.
    pub(super) fn sent_through(
        &self,
        namespace: &str,
        pinned: &Pinned,
    ) -> Option<SpinnakerConnection> {
        let name = &pinned.connection;
        let (uid, gate_url) = (&pinned.connection_uid, &pinned.gate_url);
        connection::sent_through(self.own(namespace, name), self.home(name), uid, gate_url)
    }

    /// Labels that were read some seconds ago at most.
    async fn labels(&self, namespace: &str) -> Result<Labels, ControllerError> {
        let entry = self.labels.entry(namespace);
        let mut remembered = entry.lock().await;
        if let Some((read, labels)) = &*remembered
            && read.elapsed() < LABELS_AGE
        {
            return Ok(labels.clone());
        }
        let asked = Instant::now();
        let labels = read_labels(&self.client, namespace).await?;
        *remembered = Some((asked, labels.clone()));
        Ok(labels)
    }

    async fn labels_now(&self, namespace: &str) -> Result<Labels, ControllerError> {
        let asked = Instant::now();
        let labels = read_labels(&self.client, namespace).await?;
        // Who holds it asks just now.
        if let Ok(mut remembered) = self.labels.entry(namespace).try_lock() {
            *remembered = Some((asked, labels.clone()));
        }
        Ok(labels)
    }
}

impl Remembered {
    fn entry(&self, namespace: &str) -> Entry {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(all.entry(namespace.to_owned()).or_default())
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
    tracing::warn!(error = %telemetry::chain(error), "can't read a namespace's labels");
    Refusal::passing(
        WaitingFor::Authorization,
        Reason::AccessUnknown,
        format!(
            "whether SpinnakerConnection {name:?} is shared with this namespace can't be known ({error}); nothing starts until it is, and it is tried again."
        ),
    )
}
