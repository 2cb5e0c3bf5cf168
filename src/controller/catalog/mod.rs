//! Looks after the configuration: says of each connection, Environment and Application whether it can be used, and
//! describes the pipelines, before anybody deploys. Touches the API server, and Gate (reads).
//!
//! Each is looked at when it changes, when what it refers to changes, and every few minutes; sooner while it is not
//! ready. Secrets are not watched, since that would take the right to list them: a mended one is noticed by the timer.

mod application;
mod connection;
mod environment;

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{
    Resource, ResourceExt,
    runtime::{controller::Action, reflector::ObjectRef},
};
use serde::Serialize;
use tokio::sync::mpsc::UnboundedSender;

use super::{
    context::Context,
    dereference,
    error::ControllerError,
    locks,
    objects::{self, Object},
    record,
};
use crate::{
    api::{
        Application, Environment, SpinnakerConnection,
        conditions::{self, ConditionType, Reason},
        deploy_request::Place,
    },
    domain::{backoff, ids, readiness, refusal::Refusal},
    runtime::{
        cache::{Guarded, named, reference},
        telemetry::chain,
    },
};

/// How often what is in order is looked at again, unless the settings say otherwise.
const REFRESH: Duration = Duration::from_mins(3);
/// How soon what is not in order is looked at again, at first; also the wait after the API server failed.
const SOON: Duration = Duration::from_secs(10);
/// How soon a look that somebody else's write came in between is made again.
const AGAIN: Duration = Duration::from_secs(1);

/// What the looks share.
pub(super) struct Catalog {
    /// Wakes an Application.
    pub wake_application: UnboundedSender<ObjectRef<Guarded<Application>>>,
    /// Wakes an Environment.
    pub wake_environment: UnboundedSender<ObjectRef<Guarded<Environment>>>,
    /// Wakes a connection.
    pub wake_connection: UnboundedSender<ObjectRef<Guarded<SpinnakerConnection>>>,
    /// How often what is in order is looked at again.
    pub refresh: Option<Duration>,
    /// The last look at each, by uid.
    pub looks: Looks,
}

/// When what was looked at, and on what it was judged.
#[derive(Default)]
pub(super) struct Looks(Mutex<HashMap<String, Look>>);

struct Look {
    inputs: String,
    conditions: Vec<Condition>,
    made: Instant,
    wait: Duration,
}

impl Looks {
    /// How long the last look is good for, if nothing that it was judged on has changed since.
    fn good_for(&self, uid: &str, inputs: &str, conditions: &[Condition]) -> Option<Duration> {
        let looks = self.lock();
        let look = looks.get(uid)?;
        let same = look.inputs == inputs && look.conditions == conditions;
        let left = look.wait.checked_sub(look.made.elapsed())?;
        (same && !left.is_zero()).then_some(left)
    }

    fn made(&self, uid: String, inputs: String, conditions: Vec<Condition>, wait: Duration) {
        let look = Look {
            inputs,
            conditions,
            made: Instant::now(),
            wait,
        };
        self.lock().insert(uid, look);
    }

    /// Makes the next wake-up a look, unless the last one was a moment ago.
    fn doubt(&self, uid: &str) -> bool {
        let mut looks = self.lock();
        let old = looks
            .get(uid)
            .is_some_and(|look| look.made.elapsed() > SOON);
        old && looks.remove(uid).is_some()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Look>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a look found.
pub(super) struct Found<S> {
    /// What the status is to be.
    status: S,
    /// How long Gate asked us to stay away.
    retry_after: Option<Duration>,
    /// When it changes by itself, where that is known.
    changes_at: Option<Timestamp>,
}

/// A kind that is looked at.
pub(super) trait Configured: Object {
    /// Its status.
    type Status: Serialize + Send + Sync;
    /// What a look ends in, for errors.
    const DOING: &'static str;

    /// The conditions that it has now.
    fn conditions(&self) -> &[Condition];
    /// The conditions of a status.
    fn conditions_of(status: &Self::Status) -> &[Condition];
    /// Everything else that is known without asking Gate and that its verdict depends on.
    fn depends_on(&self, context: &Context) -> impl Future<Output = String> + Send;
    /// Looks, and says what its status is to be.
    fn look(&self, context: &Context) -> impl Future<Output = Found<Self::Status>> + Send;
}

/// One pass over an object that a watch or a timer brought up.
pub(super) async fn reconcile<K: Configured>(
    object: Arc<Guarded<K>>,
    context: Arc<Context>,
) -> Result<Action, ControllerError> {
    let object = match &object.0 {
        Ok(read) => read,
        Err(invalid) => {
            let note = format!("this object can't be read: {}", invalid.error);
            record::publish(&context, &*object, true, "Invalid", &note).await;
            return Ok(Action::await_change());
        }
    };
    if object.meta().deletion_timestamp.is_some() {
        return Ok(Action::await_change());
    }
    let uid = object.uid().unwrap_or_default();
    let generation = object.meta().generation.unwrap_or_default();
    let inputs = format!("{generation} {}", object.depends_on(&context).await);
    let inputs = ids::sha256(inputs.as_bytes());
    let looks = &context.catalog.looks;
    if let Some(wait) = looks.good_for(&uid, &inputs, object.conditions()) {
        return Ok(Action::requeue(wait));
    }
    match look(object, &context, uid, inputs).await {
        Err(ControllerError::Conflict { .. }) => Ok(Action::requeue(AGAIN)),
        Err(error @ (ControllerError::NotLeading | ControllerError::Stopping)) => Err(error),
        // Not as soon as other passes: Gate would be asked each time.
        Err(error) => {
            context.metrics.failed(error.reason());
            tracing::warn!(reason = error.reason(), error = %chain(&error), "what was found could not be written");
            Ok(Action::requeue(SOON))
        }
        done => done,
    }
}

async fn look<K: Configured>(
    cached: &K,
    context: &Context,
    uid: String,
    inputs: String,
) -> Result<Action, ControllerError> {
    // The caches leave out what is long, and may be behind.
    let namespace = cached.namespace().unwrap_or_default();
    let read = objects::read::<K>(&context.client, &namespace, &cached.name_any()).await?;
    let Some(object) = read.filter(|read| read.uid().as_ref() == Some(&uid)) else {
        return Ok(Action::await_change());
    };
    let Found {
        status,
        retry_after,
        changes_at,
    } = context.unless_stopping(object.look(context)).await?;
    context.may_begin()?;
    objects::write_status(&context.client, &object, &status, K::DOING).await?;
    locks::tell(
        context,
        &object,
        object.conditions(),
        K::conditions_of(&status),
    )
    .await;
    let before = conditions::find(object.conditions(), ConditionType::Ready);
    let after = conditions::find(K::conditions_of(&status), ConditionType::Ready);
    let flipped = after.filter(|after| match before {
        Some(before) => before.status != after.status,
        None => after.status != "True",
    });
    if let Some(after) = flipped {
        let warning = after.status != "True";
        record::publish(context, &object, warning, &after.reason, &after.message).await;
    }
    let unready = after
        .filter(|after| after.status != "True")
        .map(|after| after.last_transition_time.0);
    let longest = context.catalog.refresh.unwrap_or(REFRESH);
    let wait = backoff::refresh(&uid, unready, Timestamp::now(), SOON.min(longest), longest)
        .max(retry_after.unwrap_or_default());
    let left = changes_at.map(|moment| backoff::elapsed(Timestamp::now(), moment));
    let wait = left.map_or(wait, |left| left.min(wait));
    // Judged on an older spec than was read: the change will wake it.
    let conditions = K::conditions_of(&status).to_vec();
    context.catalog.looks.made(uid, inputs, conditions, wait);
    Ok(Action::requeue(wait))
}

// === What the looks have in common ===

/// An Environment with its connection, and what is to be said of it.
struct Judged {
    environment: Environment,
    connection: Option<SpinnakerConnection>,
    verdict: Result<(), Refusal>,
}

async fn judged(context: &Context, environment: Environment) -> Judged {
    let namespace = environment.namespace().unwrap_or_default();
    let connections = &context.caches.connections;
    let found = connections
        .known(&namespace, &environment.spec.connection)
        .await;
    let (connection, unknown) = match found {
        Ok(connection) => (connection, Ok(())),
        Err(refusal) => (None, Err(refusal)),
    };
    let not_shared = match &connection {
        Some(connection) => dereference::not_shared(context, &environment, connection).await,
        None => Ok(()),
    };
    let judged = || readiness::environment(&environment, connection.as_ref(), not_shared);
    let verdict = unknown.and_then(|()| judged());
    Judged {
        environment,
        connection,
        verdict,
    }
}

impl Judged {
    /// Everything that a look makes of it.
    fn digest(&self) -> String {
        fn version<K: Resource>(object: &K) -> (Option<String>, Option<i64>) {
            (object.uid(), object.meta().generation)
        }
        let connection = self.connection.as_ref().map(|connection| {
            let ready = conditions::find(connection.conditions(), ConditionType::Ready);
            (version(connection), ready.cloned())
        });
        let environment = version(&self.environment);
        format!("{environment:?} {connection:?} {:?}", self.verdict)
    }
}

// === Who is woken by what ===

/// An Application changed or went: itself, and the Environments that may now share their place, or no longer.
pub(super) fn application_changed(context: &Context, object: &Guarded<Application>) {
    drop(context.catalog.wake_application.send(reference(object)));
    forget_deleted(context, &context.caches.applications.0, object);
    let namespace = object.namespace();
    let own = context
        .caches
        .environments
        .filter(|environment| environment.namespace() == namespace);
    wake_places(
        context,
        own.iter().filter_map(|object| object.0.as_ref().ok()),
    );
}

/// An Environment changed or went: itself, those in the same place, and its namespace's Applications.
pub(super) fn environment_changed(context: &Context, object: &Guarded<Environment>) {
    drop(context.catalog.wake_environment.send(reference(object)));
    forget_deleted(context, &context.caches.environments.0, object);
    wake_places(context, object.0.as_ref().ok());
    wake_ordered(context, object.namespace().as_deref());
    wake_applications(context, object.namespace().as_deref());
}

/// A connection changed or went: itself, its Environments, and their Applications.
pub(super) fn connection_changed(context: &Context, object: &Guarded<SpinnakerConnection>) {
    drop(context.catalog.wake_connection.send(reference(object)));
    if forget_deleted(context, context.caches.connections.store_of(object), object) {
        let uid = object.meta().uid.as_deref().unwrap_or_default();
        context.connections.forget(uid);
    }
    let (namespace, name) = (object.namespace(), object.name_any());
    // Whether a namespace may use a shared one is for its own Environments' look to say.
    let shared = context.caches.connections.is_home(namespace.as_deref());
    let users = context.caches.environments.filter(|environment| {
        (shared || environment.namespace() == namespace) && environment.spec.connection == name
    });
    let users: Vec<&Environment> = users
        .iter()
        .filter_map(|object| object.0.as_ref().ok())
        .collect();
    wake_places(context, users.iter().copied());
    let namespaces: BTreeSet<Option<String>> = users
        .iter()
        .map(|environment| environment.namespace())
        .chain([namespace])
        .collect();
    for namespace in namespaces {
        wake_applications(context, namespace.as_deref());
    }
}

/// These Environments, all that reach the same places, and those that shared one so far.
fn wake_places<'a>(context: &Context, changed: impl IntoIterator<Item = &'a Environment>) {
    let places: Vec<&Place> = changed
        .into_iter()
        .map(|environment| &environment.spec.target)
        .collect();
    let shared = Reason::TargetShared.to_string();
    for neighbour in context.neighbours.all() {
        let near = neighbour.environments.filter(|environment| {
            places.contains(&&environment.spec.target)
                || conditions::find(environment.conditions(), ConditionType::Ready)
                    .is_some_and(|ready| ready.reason == shared)
        });
        for environment in near {
            drop(neighbour.wake_environment.send(reference(&*environment)));
        }
    }
}

/// The Environments of a namespace that come after others: what is wrong with that hangs on the others.
fn wake_ordered(context: &Context, namespace: Option<&str>) {
    let all = context.caches.environments.filter(|environment| {
        environment.namespace().as_deref() == namespace
            && !environment.spec.protection.after.is_empty()
    });
    for environment in all {
        let woken = reference(&*environment);
        drop(context.catalog.wake_environment.send(woken));
    }
}

fn wake_applications(context: &Context, namespace: Option<&str>) {
    let all = context
        .caches
        .applications
        .filter(|application| application.namespace().as_deref() == namespace);
    for application in all {
        drop(
            context
                .catalog
                .wake_application
                .send(reference(&*application)),
        );
    }
}

/// Gate did not do for an Application what it should: the connection is looked at again, once for all who use it.
fn doubt(context: &Context, connection: &SpinnakerConnection) {
    let uid = connection.uid().unwrap_or_default();
    if context.catalog.looks.doubt(&uid) {
        let (namespace, name) = (connection.namespace(), connection.name_any());
        let woken = named(namespace.as_deref().unwrap_or_default(), &name);
        drop(context.catalog.wake_connection.send(woken));
    }
}

/// Whether it was deleted, or made anew under its name.
fn forget_deleted<K: Object>(
    context: &Context,
    store: &kube::runtime::reflector::Store<Guarded<K>>,
    object: &Guarded<K>,
) -> bool {
    let stored = store.get(&reference(object));
    let deleted = stored.is_none_or(|stored| stored.meta().uid != object.meta().uid);
    if deleted {
        let uid = object.meta().uid.clone().unwrap_or_default();
        context.catalog.looks.lock().remove(&uid);
    }
    deleted
}
