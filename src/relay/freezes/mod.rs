//! Tells in Slack when a freeze begins and when it is over, in the channels that it names. Touches the API server and Slack
//! through its parts.
//!
//! Level-based like all that the relay does: whether a freeze holds stands in its status, where the controller wrote it; what
//! was told stands beside it, each message written down before it is posted.

mod desk;
mod gone;
mod message;
mod notice;
mod pass;
mod plan;
mod refusal;

use std::{convert::Infallible, sync::Arc, time::Duration};

use futures::{FutureExt, StreamExt, stream};
use kube::runtime::{
    applier,
    controller::{Action, Config},
    reflector::ObjectRef,
};
use tokio::{
    sync::mpsc::{UnboundedSender, unbounded_channel},
    task::JoinSet,
};
use tracing::Instrument;

use self::desk::Desk;
use super::{API_DEADLINE, RelayError, RelaySettings, ledger::Ledger, means::Means};
use crate::{
    api::{DeployFreeze, deploy_request::SlackStatus},
    runtime::{
        cache::{Cache, Guarded, Scope, reference},
        metrics::Metrics,
        telemetry,
    },
};

/// Passes under way at once. Most of them wait for Slack's budget.
const CONCURRENCY: u16 = 64;

/// Where freezes are looked for: where requests are, and in foredeck's own namespace.
pub(super) fn scopes(settings: &RelaySettings) -> Vec<Scope> {
    let mut namespaces = settings.namespaces.clone();
    if !namespaces.is_empty() {
        namespaces.extend(settings.home.clone());
    }
    Scope::of(&namespaces)
}

/// A freeze that was deleted, and what was told of it.
type Gone = (DeployFreeze, SlackStatus);

/// One watch, and the passes that it wakes, until shutdown. Nobody waits for it: one that may not be watched holds up no
/// request.
pub(super) async fn engine(
    scope: Scope,
    means: Means,
    registry: Metrics,
) -> Result<(), RelayError> {
    let shutdown = means.shutdown.clone();
    let (freezes, changes) =
        Cache::<DeployFreeze>::start(means.client.clone(), &scope, registry.watches(), |_| {});
    let store = freezes.0.clone();
    let desk = Arc::new(Desk::new(means, freezes));
    let (wake, mut woken) = unbounded_channel::<ObjectRef<Guarded<DeployFreeze>>>();
    let (gone, mut went) = unbounded_channel::<Gone>();
    let watching = changes.for_each(|object| {
        changed(&desk, &gone, &object);
        drop(wake.send(reference(&*object)));
        async {}
    });
    let queue = stream::poll_fn(|context| woken.poll_recv(context))
        .take_until(shutdown.clone().cancelled_owned())
        .map(Ok::<_, Infallible>);
    let passes = applier(
        // A task of its own: a panic in one pass ends that pass, not the relay.
        |object: Arc<Guarded<DeployFreeze>>, desk: Arc<Desk>| {
            let about = telemetry::about(&*object);
            let pass = async move { pass::reconcile(&desk, &object).await };
            tokio::spawn(pass.instrument(about.clone()))
                .map(move |outcome| {
                    outcome.unwrap_or_else(|broken| {
                        about.in_scope(|| tracing::error!(error = %broken, "a pass broke down"));
                        Ok(Action::requeue(Duration::from_mins(1)))
                    })
                })
                .boxed()
        },
        |object: Arc<Guarded<DeployFreeze>>, error: &RelayError, desk: Arc<Desk>| {
            desk.means.metrics.error(error.reason());
            telemetry::about(&*object).in_scope(|| {
                tracing::warn!(reason = error.reason(), error = %telemetry::chain(error), "a pass failed and is made again");
            });
            let failed = object.0.as_ref().map(|freeze| desk.pass_failed(freeze));
            Action::requeue(failed.unwrap_or(Duration::from_mins(1)))
        },
        desk.clone(),
        store,
        queue,
        Config::default().concurrency(CONCURRENCY),
    )
    .for_each(|outcome| {
        if let Err(error) = outcome {
            // Gone since it was woken, or already reported by the policy above.
            tracing::debug!(error = %telemetry::chain(&error), "pass");
        }
        std::future::ready(())
    });
    let farewells = async {
        let mut telling = JoinSet::new();
        loop {
            tokio::select! {
                Some((freeze, told)) = went.recv() => {
                    let desk = desk.clone();
                    let about = telemetry::about(&freeze);
                    telling.spawn(async move { gone::tell(&desk, &freeze, &told).await }.instrument(about));
                }
                Some(_) = telling.join_next() => {}
                () = shutdown.cancelled() => break,
            }
        }
        // Slack's budget may be spent for long; nobody waits for that.
        let all = async { while telling.join_next().await.is_some() {} };
        drop(tokio::time::timeout(API_DEADLINE, all).await);
    };
    let work = async { tokio::join!(passes, farewells) };
    tokio::select! {
        ((), ()) = work => Ok(()),
        () = watching => Err(RelayError::WatchEnded),
    }
}

/// One that went: what was told of it is to say so.
fn changed(desk: &Desk, gone: &UnboundedSender<Gone>, object: &Guarded<DeployFreeze>) {
    let Ok(freeze) = &object.0 else { return };
    if desk.cached(freeze).is_some() {
        return;
    }
    let known = desk.forget(freeze).ledger;
    let told = known.unwrap_or_else(|| Ledger::of(freeze)).told;
    drop(gone.send((freeze.clone(), told)));
}
