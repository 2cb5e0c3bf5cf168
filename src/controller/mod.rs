//! The controller: wires watches to reconciles. Touches the API server and Gate through its steps.
//!
//! A pass over a request is `dereference` → `domain::decide` → `act` → `record`; see `driver`.

mod absences;
mod act;
mod announcing;
#[cfg(test)]
mod any_answer_tests;
mod approvals;
mod audit;
mod body;
mod catalog;
mod connections;
mod context;
mod dereference;
mod driver;
mod error;
mod freezes;
mod judge;
mod locks;
mod lookup;
mod metrics;
mod objects;
mod rebuild;
mod record;
mod send;
mod sighting;
mod survey;
mod targets;
mod upkeep;
mod wake;

use std::{
    borrow::Cow,
    convert::Infallible,
    hash::{DefaultHasher, Hash, Hasher},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures::{
    FutureExt, Stream, StreamExt,
    stream::{self, BoxStream},
};
use k8s_openapi::api::core::v1::Namespace;
use kube::{
    Api, Client, Resource, ResourceExt,
    runtime::{
        applier,
        controller::{self, Action, Config},
        events::{Recorder, Reporter},
        reflector::{ObjectRef, Store},
    },
};
use tokio::{
    sync::mpsc::{UnboundedReceiver, unbounded_channel},
    time::sleep,
};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use self::{
    absences::Absences,
    catalog::{Catalog, Looks},
    connections::Connections,
    context::{Caches, Context, Neighbour, Neighbours, Persons},
    freezes::Freezing,
    lookup::Connected,
    metrics::ControllerMetrics,
    upkeep::Upkeep,
};
pub use self::{
    audit::{AuditServer, AuditSettings, NoFile, NoServer},
    context::ControllerSettings,
    error::ControllerError,
};
use crate::{
    access::{Access, holders::Holders},
    api::{
        Application, CONTROLLER, DeployApproval, DeployRequest, DeployTarget, Environment, Person,
    },
    domain::people::Limits,
    git::Hosts,
    runtime::{
        admin::{Gate, Readiness},
        cache::{Cache, Guarded, Scope},
        chance,
        filling::Filling,
        lease::Claim,
        metrics::Metrics,
        telemetry,
    },
};

/// The deadline of one call to the API server.
pub(crate) const API_DEADLINE: Duration = Duration::from_secs(10);
/// Until something is asked for again that nothing goes without.
const AGAIN: Duration = Duration::from_secs(3);
/// Passes under way at once. Gate has its own, tighter limit per connection; a pass that waits for it costs little.
const CONCURRENCY: u16 = 512;

/// Works until `shutdown`, then until every pass under way has ended.
pub async fn run(
    settings: ControllerSettings,
    client: Client,
    claim: Claim,
    readiness: Readiness,
    metrics: Metrics,
    shutdown: CancellationToken,
) -> Result<(), ControllerError> {
    let gate = readiness.gate("caches");
    let registry = metrics;
    let metrics = ControllerMetrics::register(&registry);
    let known = shutdown.run_until_cancelled(installation(&client, &gate));
    let Some(installation) = known.await else {
        return Ok(());
    };
    let scopes = Scope::of(&settings.namespaces);
    let filling = Filling::of(scopes.len());
    let connections = Arc::new(Connections::new(client.clone(), &settings, metrics.clone()));
    let sinks = audit::open(&settings.audit);
    connections.measure(&registry);
    let git = Hosts::new(
        client.clone(),
        settings.git.clone(),
        settings.git_metrics.clone(),
    );
    let shared = Shared {
        git: Arc::new(git),
        access: Access::new(client.clone()),
        connections: Arc::clone(&connections),
        settings: Arc::new(settings),
        client,
        claim,
        installation,
        metrics,
        sinks,
        audit_metrics: audit::AuditMetrics::register(&registry),
        announcing_metrics: announcing::AnnouncingMetrics::register(&registry),
        neighbours: Neighbours::default(),
        registry,
        shutdown,
    };
    let _ending = EndOfKeepers(connections);
    let engines = scopes
        .into_iter()
        .enumerate()
        .map(|(number, scope)| engine((number, scope), shared.clone(), filling.clone()));
    let opening = async {
        filling.enough().await;
        gate.ready();
    };
    let working = futures::future::try_join_all(engines);
    let opening = opening.then(|()| std::future::pending::<Infallible>());
    tokio::select! {
        outcome = working => outcome.map(|_| ()),
        never = opening => match never {},
    }
}

/// What the engines of a process share.
#[derive(Clone)]
struct Shared {
    settings: Arc<ControllerSettings>,
    client: Client,
    access: Access,
    git: Arc<Hosts>,
    connections: Arc<Connections>,
    claim: Claim,
    installation: String,
    metrics: ControllerMetrics,
    sinks: audit::Sinks,
    audit_metrics: audit::AuditMetrics,
    announcing_metrics: announcing::AnnouncingMetrics,
    neighbours: Neighbours,
    registry: Metrics,
    shutdown: CancellationToken,
}

/// Logins are kept no longer than we work, whoever still holds the connections.
struct EndOfKeepers(Arc<Connections>);

impl Drop for EndOfKeepers {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// The cluster's identity, as the field has agreed on: the uid of `kube-system`. Asked for until the API server gives it.
async fn installation(client: &Client, gate: &Gate) -> String {
    let api: Api<Namespace> = Api::all(client.clone());
    let mut told = String::new();
    loop {
        let read = objects::within("read namespace kube-system", api.get("kube-system")).await;
        let error = match read {
            Ok(namespace) => {
                gate.not_ready("being filled");
                return namespace.uid().unwrap_or_default();
            }
            Err(error) => telemetry::chain(&error),
        };
        if told != error {
            tracing::warn!(%error, "which cluster this is can't be read, and is asked again until it is");
            gate.not_ready(format!("which cluster this is can't be read: {error}"));
            told = error;
        }
        sleep(AGAIN).await;
    }
}

/// One set of watches and reconciles.
async fn engine(
    (number, scope): (usize, Scope),
    shared: Shared,
    filling: Filling,
) -> Result<(), ControllerError> {
    let Shared {
        settings,
        client,
        access,
        git,
        connections: gates,
        claim,
        installation,
        metrics,
        sinks,
        audit_metrics,
        announcing_metrics,
        neighbours,
        registry,
        shutdown,
    } = shared;
    let watches = &registry.watches().apart();
    let (requests, request_changes) =
        Cache::<DeployRequest>::start(client.clone(), &scope, watches, drop_nothing);
    let (deploy_targets, target_changes) =
        Cache::<DeployTarget>::start(client.clone(), &scope, watches, drop_nothing);
    metrics.look_at(&requests.0, &deploy_targets.0);
    let (applications, application_changes) =
        Cache::<Application>::start(client.clone(), &scope, watches, drop_pipelines);
    let (environments, environment_changes) =
        Cache::<Environment>::start(client.clone(), &scope, watches, drop_nothing);
    let (connections, connection_changes) =
        Connected::start(&client, &scope, &settings.home_namespace, watches);
    let connections = Arc::new(connections);
    let (approvals, approval_changes) =
        Cache::<DeployApproval>::start(client.clone(), &scope, watches, drop_nothing);
    let (freezes, freeze_changes) =
        Freezing::start(&client, &scope, &settings.home_namespace, watches);
    let people = Scope::Namespace(settings.home_namespace.clone());
    let (persons, person_changes) =
        Cache::<Person>::start(client.clone(), &people, registry.watches(), drop_nothing);
    let (wake_request, woken_requests) = unbounded_channel();
    let (wake_announcement, woken_announcements) = unbounded_channel();
    let (wake_approval, woken_approvals) = unbounded_channel();
    let (wake_freeze, woken_freezes) = unbounded_channel();
    let (wake_home_freeze, woken_home_freezes) = unbounded_channel();
    let (wake_target, woken_targets) = unbounded_channel();
    let (wake_upkeep, woken_upkeep) = unbounded_channel();
    let (wake_application, woken_applications) = unbounded_channel();
    let (wake_environment, woken_environments) = unbounded_channel();
    let (wake_connection, woken_connections) = unbounded_channel();
    let (request_store, target_store, approval_store) = (
        requests.0.clone(),
        deploy_targets.0.clone(),
        approvals.0.clone(),
    );
    let (application_store, environment_store, connection_store) = (
        applications.0.clone(),
        environments.0.clone(),
        connections.store(),
    );
    let freeze_store = freezes.store();
    let elsewhere = freezes.home_store().is_some();
    let home_freezes = freezes
        .home_store()
        .filter(|_| number == 0)
        .map(|store| (store, woken_home_freezes));
    let looked_after = home_freezes.as_ref().map(|(store, _)| store);
    metrics.look_at_freezes(
        &settings.home_namespace,
        [Some(&freeze_store), looked_after].into_iter().flatten(),
    );
    gates.look_at(connection_store.clone());
    gates.wake(wake_connection.clone());
    let new_logins = gates.new_logins();
    neighbours.add(Neighbour {
        environments: Cache(environment_store.clone()),
        applications: Cache(application_store.clone()),
        connections: connections.clone(),
        wake_environment: wake_environment.clone(),
    });
    let context = Arc::new(Context {
        holder: holder(),
        installation,
        connections: gates,
        absences: Absences::default(),
        behind: dereference::Behind::default(),
        behind_ground: dereference::BehindGround::default(),
        behind_guards: dereference::BehindGuards::default(),
        plans: dereference::Plans::default(),
        commits: dereference::Commits::default(),
        audit: audit::Audit::new(&sinks, audit_metrics),
        announcing: announcing::Announcing::new(announcing_metrics),
        policies: settings.policies.clone(),
        holders: Holders::new(client.clone()),
        limits: Limits {
            groups: settings.groups_max_age,
            stamped: settings.stamped_groups_max_age,
        },
        access,
        git,
        recorder: Recorder::new(
            client.clone(),
            Reporter {
                controller: CONTROLLER.to_owned(),
                instance: None,
            },
        ),
        metrics,
        registry,
        caches: Caches {
            requests,
            targets: deploy_targets,
            applications,
            environments,
            connections,
            approvals,
            persons: Persons {
                cache: persons,
                known: AtomicBool::new(false),
                namespace: settings.home_namespace.clone(),
                people: std::sync::Mutex::default(),
                copies: std::sync::Mutex::default(),
            },
            freezes,
        },
        neighbours,
        wake_request,
        wake_announcement,
        wake_approval,
        wake_freeze,
        wake_home_freeze: elsewhere.then_some(wake_home_freeze),
        seen_targets: wake::SeenTargets::default(),
        wake_target,
        wake_upkeep,
        upkeep: Upkeep::new(settings.upkeep),
        catalog: Catalog {
            wake_application,
            wake_environment,
            wake_connection,
            refresh: settings.refresh,
            looks: Looks::default(),
        },
        claim,
        shutdown: shutdown.clone(),
        client,
    });
    let watching = stream::select_all([
        told(&context, request_changes, wake::request_changed),
        told(&context, target_changes, |context, object| {
            wake::target_changed(context, object);
            upkeep::target_changed(context, object);
        }),
        told(&context, application_changes, |context, object| {
            catalog::application_changed(context, object);
            wake::configuration_changed(context, object, |request, name| {
                request.spec.application == name
            });
        }),
        told(&context, environment_changes, |context, object| {
            catalog::environment_changed(context, object);
            wake::environment_changed(context, object);
            wake::configuration_changed(context, object, |request, name| {
                request.spec.environment == name
            });
        }),
        told(&context, connection_changes, |context, object| {
            catalog::connection_changed(context, object);
            wake::login_changed(context, object);
        }),
        told(&context, received(new_logins), wake::login_changed),
        told(&context, approval_changes, approvals::approval_changed),
        told(&context, person_changes, approvals::person_changed),
        told(&context, freeze_changes, freezes::freeze_changed),
    ]);
    let watching = watching.for_each(|()| async {});
    let caches_ready = {
        let context = context.clone();
        async move {
            let caches = &context.caches;
            let all = tokio::try_join!(
                caches.requests.0.wait_until_ready(),
                caches.targets.0.wait_until_ready(),
                caches.applications.0.wait_until_ready(),
                caches.environments.0.wait_until_ready(),
                caches.connections.wait_until_ready(),
                caches.approvals.0.wait_until_ready(),
            );
            all.map_err(|_| ControllerError::WatchEnded)?;
            // Where they may not be read, nothing starts; and nobody who follows what runs waits for that to change.
            drop(tokio::time::timeout(API_DEADLINE, caches.freezes.listed()).await);
            Ok(())
        }
    };
    let freezes_known = async {
        context.caches.freezes.listed().await;
        freezes::all_known(&context);
        std::future::pending::<()>().await;
    };
    let persons_known = async {
        let persons = &context.caches.persons;
        if persons.cache.0.wait_until_ready().await.is_ok() {
            persons.known.store(true, Ordering::Release);
        }
        std::future::pending::<()>().await;
    };
    let work = async {
        tokio::select! {
            ready = filling.scope(number, watches, caches_ready) => ready?,
            // What was never seen can't have begun.
            () = shutdown.cancelled() => return Ok(()),
        }
        tracing::info!(?scope, "caches are filled; working");
        let requests = drive(
            driver::reconcile,
            &context,
            request_store.clone(),
            woken_requests,
            shutdown.clone(),
        );
        let announcements = drive_as(
            "Announcement",
            announcing::reconcile,
            &context,
            request_store,
            woken_announcements,
            shutdown.clone(),
        );
        let targets = drive(
            targets::reconcile,
            &context,
            target_store,
            woken_targets,
            shutdown.clone(),
        );
        let approvals = drive(
            approvals::reconcile,
            &context,
            approval_store,
            woken_approvals,
            shutdown.clone(),
        );
        let freezes = drive(
            freezes::reconcile,
            &context,
            freeze_store,
            woken_freezes,
            shutdown.clone(),
        );
        let home_freezes = async {
            if let Some((store, woken)) = home_freezes {
                drive_as(
                    "DeployFreeze",
                    freezes::reconcile,
                    &context,
                    store,
                    woken,
                    shutdown.clone(),
                )
                .await;
            }
        };
        let applications = drive(
            catalog::reconcile,
            &context,
            application_store,
            woken_applications,
            shutdown.clone(),
        );
        let environments = drive(
            catalog::reconcile,
            &context,
            environment_store,
            woken_environments,
            shutdown.clone(),
        );
        let connections = drive(
            catalog::reconcile,
            &context,
            connection_store,
            woken_connections,
            shutdown.clone(),
        );
        // What is decided or deleted while passes end is told, too.
        let drained = CancellationToken::new();
        let audit = audit::deliver(&context, &drained);
        let upkeep = upkeep::keep(context.clone(), woken_upkeep);
        let passes = async {
            tokio::join!(
                requests,
                announcements,
                targets,
                upkeep,
                approvals,
                freezes,
                home_freezes,
                applications,
                environments,
                connections
            );
            drained.cancel();
        };
        tokio::join!(audit, announcing::follow(&context, &shutdown), passes);
        Ok(())
    };
    tokio::select! {
        outcome = work => outcome,
        () = watching => Err(ControllerError::WatchEnded),
        () = persons_known => Err(ControllerError::WatchEnded),
        () = freezes_known => Err(ControllerError::WatchEnded),
    }
}

/// Tells of each change that a watch brings.
fn told<K: Send + Sync + 'static>(
    context: &Arc<Context>,
    changes: impl Stream<Item = Arc<K>> + Send + 'static,
    tell: impl Fn(&Context, &K) + Send + 'static,
) -> BoxStream<'static, ()> {
    let context = Arc::clone(context);
    changes.map(move |object| tell(&context, &object)).boxed()
}

/// Runs a reconcile for whatever is woken, until shutdown; then lets those under way end.
async fn drive<K, Work>(
    reconcile: impl Fn(Arc<Guarded<K>>, Arc<Context>) -> Work + Clone + Send + 'static,
    context: &Arc<Context>,
    store: Store<Guarded<K>>,
    woken: UnboundedReceiver<ObjectRef<Guarded<K>>>,
    shutdown: CancellationToken,
) where
    K: objects::Object,
    Work: Future<Output = Result<Action, ControllerError>> + Send + 'static,
{
    drive_as(kind::<K>(), reconcile, context, store, woken, shutdown).await;
}

/// As [`drive`], with a word of its own for the depth of the queue.
async fn drive_as<K, Work>(
    word: &'static str,
    reconcile: impl Fn(Arc<Guarded<K>>, Arc<Context>) -> Work + Clone + Send + 'static,
    context: &Arc<Context>,
    store: Store<Guarded<K>>,
    woken: UnboundedReceiver<ObjectRef<Guarded<K>>>,
    shutdown: CancellationToken,
) where
    K: objects::Object,
    Work: Future<Output = Result<Action, ControllerError>> + Send + 'static,
{
    let depth = context.registry.queue(word);
    let (waiting, gone) = (depth.clone(), depth.clone());
    let queue = received(woken)
        .inspect(move |object| {
            waiting.woken(
                object.namespace.as_deref().unwrap_or_default(),
                &object.name,
            );
        })
        .take_until(shutdown.cancelled_owned())
        .map(Ok::<_, Infallible>);
    applier(
        // A task of its own: a panic in one pass ends that pass, not the controller.
        move |object: Arc<Guarded<K>>, context: Arc<Context>| {
            let about = telemetry::about(&*object);
            let name = object.meta().name.as_deref().unwrap_or_default();
            let namespace = object.meta().namespace.as_deref().unwrap_or_default();
            let underway = depth.begun(namespace, name);
            let pass = reconcile(object, Arc::clone(&context));
            let pass = async move {
                let _underway = underway;
                context.unless_stopping(context.claim.renewed()).await?;
                context.may_begin()?;
                pass.await
            };
            tokio::spawn(pass.instrument(about.clone()))
                .map(move |outcome| match outcome {
                    // Whoever works next looks at it.
                    Ok(Err(ControllerError::Stopping)) => Ok(Action::await_change()),
                    Ok(outcome) => outcome,
                    Err(broken) => {
                        about.in_scope(|| tracing::error!(error = %broken, "a pass broke down"));
                        Ok(Action::requeue(Duration::from_mins(1)))
                    }
                })
                .boxed()
        },
        |object, error, context: Arc<Context>| {
            context.metrics.failed(error.reason());
            telemetry::about(&*object).in_scope(|| {
                tracing::warn!(reason = error.reason(), error = %telemetry::chain(error), "a pass failed and is made again");
            });
            Action::requeue(Duration::from_millis(1_000 + u64::from(spread(object.meta().uid.as_ref())) % 1_000))
        },
        context.clone(),
        store,
        queue,
        Config::default().concurrency(CONCURRENCY),
    )
    .for_each(|outcome| {
        if let Err(controller::Error::ObjectNotFound(object)) = &outcome {
            gone.gone(object.namespace.as_deref().unwrap_or_default(), &object.name);
        }
        if let Err(error) = outcome {
            // Gone since it was woken, or already reported by the policy above.
            tracing::debug!(error = %telemetry::chain(&error), "pass");
        }
        std::future::ready(())
    })
    .await;
}

/// A kind's name, as metrics and logs have it.
fn kind<K: Resource<DynamicType = ()>>() -> &'static str {
    match K::kind(&()) {
        Cow::Borrowed(kind) => kind,
        Cow::Owned(_) => "other",
    }
}

fn received<T: Send + 'static>(receiver: UnboundedReceiver<T>) -> impl Stream<Item = T> + Send {
    stream::unfold(receiver, |mut receiver| async {
        receiver.recv().await.map(|item| (item, receiver))
    })
}

fn drop_nothing<K>(_object: &mut K) {}

/// Descriptions of pipelines are long, and every pass over a request copies its Application.
fn drop_pipelines(application: &mut Application) {
    if let Some(status) = &mut application.status {
        status.pipelines = Vec::new();
    }
}

/// A name for this process's claims, which no other process shares.
fn holder() -> String {
    format!("{}-{:016x}", std::process::id(), chance::bits())
}

fn spread(uid: Option<&String>) -> u32 {
    let mut hasher = DefaultHasher::new();
    uid.hash(&mut hasher);
    u32::try_from(hasher.finish() % 1_000_000).unwrap_or_default()
}
