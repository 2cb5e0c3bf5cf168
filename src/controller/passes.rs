//! Runs passes: each in a task of its own, so many at once, and again where one failed. Touches what the reconciles touch.

use std::{borrow::Cow, convert::Infallible, sync::Arc, time::Duration};

use futures::{FutureExt, Stream, StreamExt, stream};
use kube::{
    Resource,
    runtime::{
        applier,
        controller::{self, Action, Config},
        reflector::{ObjectRef, Store},
    },
};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::{context::Context, error::ControllerError, objects, spread};
use crate::runtime::{cache::Guarded, telemetry};

/// Passes under way at once. Gate has its own, tighter limit per connection; a pass that waits for it costs little.
const CONCURRENCY: u16 = 512;

/// Runs a reconcile for whatever is woken, until shutdown; then lets those under way end.
pub(super) async fn drive<K, Work>(
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
pub(super) async fn drive_as<K, Work>(
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

pub(super) fn received<T: Send + 'static>(
    receiver: UnboundedReceiver<T>,
) -> impl Stream<Item = T> + Send {
    stream::unfold(receiver, |mut receiver| async {
        receiver.recv().await.map(|item| (item, receiver))
    })
}
