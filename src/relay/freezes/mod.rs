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
use kube::{
    Resource,
    runtime::{
        applier,
        controller::{Action, Config},
        reflector::ObjectRef,
    },
};
use tokio::{sync::mpsc::unbounded_channel, task::JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use self::desk::{Desk, Gone};
use super::{API_DEADLINE, RelayError, RelaySettings, means::Means, telling::Telling};
use crate::{
    api::DeployFreeze,
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
    let (gone, mut went) = unbounded_channel::<Gone>();
    let desk = Arc::new(Desk::new(means, freezes, gone));
    let (wake, mut woken) = unbounded_channel::<ObjectRef<Guarded<DeployFreeze>>>();
    let watching = changes.for_each(|object| {
        desk.went(&object);
        drop(wake.send(reference(&*object)));
        async {}
    });
    let queue = stream::poll_fn(|context| woken.poll_recv(context))
        .take_until(shutdown.cancelled_owned())
        .map(Ok::<_, Infallible>);
    let passes = applier(
        // A task of its own: a panic in one pass ends that pass, not the relay.
        |object: Arc<Guarded<DeployFreeze>>, desk: Arc<Desk>| {
            let about = telemetry::about(&*object);
            let uid = object.meta().uid.clone().unwrap_or_default();
            let ended = desk.clone();
            let pass = async move { pass::reconcile(&desk, &object).await };
            tokio::spawn(pass.instrument(about.clone()))
                .map(move |outcome| {
                    let outcome = outcome.unwrap_or_else(|broken| {
                        about.in_scope(|| tracing::error!(error = %broken, "a pass broke down"));
                        Ok(Action::requeue(Duration::from_mins(1)))
                    });
                    if outcome.is_ok() {
                        ended.memories().pass_ended(&uid);
                    }
                    outcome
                })
                .boxed()
        },
        |object: Arc<Guarded<DeployFreeze>>, error: &RelayError, desk: Arc<Desk>| {
            desk.metrics.error(error.reason());
            telemetry::about(&*object).in_scope(|| {
                tracing::warn!(reason = error.reason(), error = %telemetry::chain(error), "a pass failed and is made again");
            });
            let uid = object.meta().uid.as_deref().unwrap_or_default();
            Action::requeue(desk.memories().pass_failed(uid))
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
    // A pass that was under way at the signal may still find that its freeze went.
    let ended = CancellationToken::new();
    let farewells = async {
        let mut telling = JoinSet::new();
        loop {
            tokio::select! {
                Some(gone) = went.recv() => say_gone(&desk, &mut telling, gone),
                Some(_) = telling.join_next() => {}
                () = ended.cancelled() => break,
            }
        }
        // What went just before is told too, as far as there is time: no later relay knows of it. Slack's budget may be spent
        // for long; nobody waits for that.
        while let Ok(gone) = went.try_recv() {
            say_gone(&desk, &mut telling, gone);
        }
        let all = async { while telling.join_next().await.is_some() {} };
        drop(tokio::time::timeout(API_DEADLINE, all).await);
    };
    let work = async { tokio::join!(passes.map(|()| ended.cancel()), farewells) };
    tokio::select! {
        ((), ()) = work => Ok(()),
        () = watching => Err(RelayError::WatchEnded),
    }
}

/// Begins to tell of a deleted freeze.
fn say_gone(desk: &Arc<Desk>, telling: &mut JoinSet<()>, (freeze, told): Gone) {
    let desk = desk.clone();
    let about = telemetry::about(&freeze);
    telling.spawn(async move { gone::tell(&desk, &freeze, &told).await }.instrument(about));
}
