//! One set of watches and reconciles: the caches, who is told of what they bring, and what is worked on. Touches the API server
//! through its watches, and all else through the reconciles.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use futures::{
    Stream, StreamExt,
    stream::{self, BoxStream},
};
use kube::runtime::events::{Recorder, Reporter};
use tokio::sync::mpsc::unbounded_channel;
use tokio_util::sync::CancellationToken;

use super::{
    API_DEADLINE, Shared,
    absences::Absences,
    announcing, approvals, audit,
    catalog::{self, Catalog, Looks},
    context::{Caches, Context, Neighbour, Persons},
    dereference, driver,
    error::ControllerError,
    freezes::{self, Freezing},
    lookup::Connected,
    passes::{drive, drive_as, received},
    targets,
    upkeep::{self, Upkeep},
    wake,
};
use crate::{
    access::holders::Holders,
    api::{
        Application, CONTROLLER, DeployApproval, DeployRequest, DeployTarget, Environment, Person,
    },
    domain::people::Limits,
    runtime::{
        cache::{Cache, Scope},
        chance,
        filling::Filling,
    },
};

/// One set of watches and reconciles.
pub(super) async fn engine(
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
