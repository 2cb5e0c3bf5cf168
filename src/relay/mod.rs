//! The relay: tells in Slack how requests go. Touches the API server and Slack through its parts.
//!
//! Level-based: what is to be told follows from the object (`place`, `message`), what was told stands in its status, and
//! the difference is what there is to do (`plan`). So a relay that was away, or killed between any two of its steps, does
//! what is left, and nothing twice.

mod context;
mod elsewhere;
mod error;
mod freezes;
mod ledger;
mod means;
mod memory;
pub mod message;
mod metrics;
mod pass;
pub mod place;
pub mod plan;
mod post;
pub mod purpose;
mod search;
mod standing;
mod telling;
#[cfg(test)]
mod testing;
mod trouble;
mod unasked;
mod update;
mod whisper;
mod wording;

use std::{convert::Infallible, sync::Arc, time::Duration};

use futures::{FutureExt, StreamExt, stream};
use kube::{
    Client, Resource, ResourceExt,
    api::ObjectMeta,
    runtime::{
        applier,
        controller::{self, Action, Config},
        events::{Recorder, Reporter},
        reflector::ObjectRef,
    },
};
use tokio::{
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    task::JoinSet,
    time::interval,
};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

pub use self::error::RelayError;
use self::{
    context::{Context, Gone},
    means::Means,
    metrics::RelayMetrics,
    plan::Timing,
    standing::Standing,
    telling::Telling,
};
use crate::{
    api::{Application, DeployRequest, Environment, RELAY},
    runtime::{
        admin::Readiness,
        cache::{Cache, Guarded, Scope, reference},
        filling::Filling,
        lease::Claim,
        metrics::Metrics,
        telemetry,
    },
    slack::{
        blocks::{Block, Message},
        client::{Destination, Post, Priority, SlackClient},
        ids::ChannelId,
        sharing::SharedChannels,
        text::Mrkdwn,
    },
};

/// The deadline of one call to the API server.
pub(crate) const API_DEADLINE: Duration = Duration::from_secs(10);
/// Passes under way at once. Most of them wait for Slack's budget.
const CONCURRENCY: u16 = 2048;
/// How often is looked whether requests went while nobody watched.
const SWEEP: Duration = Duration::from_secs(30);

/// How the relay is to work.
#[derive(Debug, Clone, Default)]
pub struct RelaySettings {
    /// Namespaces to work in; all when empty.
    pub namespaces: Vec<String>,
    /// Foredeck's own namespace, whose freezes hold everywhere; none where it is left out and not among the others.
    pub home: Option<String>,
    /// A channel that is told when the relay starts.
    pub startup_channel: Option<ChannelId>,
    /// How long is how long.
    pub timing: Timing,
    /// How fast is how fast.
    pub pace: Pace,
}

/// How fast the relay works. The defaults are for Slack as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pace {
    /// How long after it was begun a message may still be on its way: longer than a call to the API server and one to
    /// Slack together.
    pub settle: Duration,
    /// How often is looked whether Slack accepts the app again.
    pub slowly: Duration,
    /// The shortest time between two updates of one message.
    pub shortest_update: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            settle: Duration::from_secs(30),
            slowly: Duration::from_mins(1),
            shortest_update: Duration::from_secs(2),
        }
    }
}

/// What a relay works with.
#[derive(Clone)]
pub struct RelayParts {
    /// The API server.
    pub client: Client,
    /// Slack.
    pub slack: SlackClient,
    /// The right to act, where a Lease keeps one relay.
    pub claim: Option<Claim>,
    /// Told when caches are filled, and whether Slack accepts us.
    pub readiness: Readiness,
    /// Where things are counted.
    pub metrics: Metrics,
}

/// Works until `shutdown`, then until every pass under way has ended.
///
/// # Errors
/// When a watch ends for good.
pub async fn run(
    settings: RelaySettings,
    parts: RelayParts,
    shutdown: CancellationToken,
) -> Result<(), RelayError> {
    let caches = parts.readiness.gate("relay-caches");
    let metrics = RelayMetrics::register(&parts.metrics);
    let standing = Standing::new(parts.readiness.gate("relay-slack"), metrics.clone());
    let scopes = Scope::of(&settings.namespaces);
    let frozen = freezes::scopes(&settings).into_iter().map(|scope| {
        let means = means(&settings, &parts, (&standing, &metrics), &shutdown);
        freezes::engine(scope, means, parts.metrics.clone())
    });
    let frozen: Vec<_> = frozen.collect();
    let filling = Filling::of(scopes.len());
    let engines = scopes.into_iter().enumerate().map(|scope| {
        let shared = (standing.clone(), metrics.clone());
        engine(
            scope,
            &settings,
            parts.clone(),
            shared,
            shutdown.clone(),
            filling.clone(),
        )
    });
    let opening = async {
        filling.enough().await;
        caches.ready();
        std::future::pending::<Infallible>().await
    };
    let ended = CancellationToken::new();
    let accepted = standing.keep(
        &parts.slack,
        settings.pace.slowly,
        ended.clone(),
        async || {
            if let Some(channel) = &settings.startup_channel {
                say_started(&parts.slack, channel, &shutdown).await;
            }
        },
    );
    let working = async {
        let outcome = tokio::select! {
            outcome = futures::future::try_join(
                futures::future::try_join_all(engines),
                futures::future::try_join_all(frozen),
            ) => outcome,
            never = opening => match never {},
        };
        ended.cancel();
        outcome
    };
    let (outcome, ()) = tokio::join!(working, accepted);
    outcome.map(|_| ())
}

/// One line where the platform's people look.
async fn say_started(slack: &SlackClient, channel: &ChannelId, shutdown: &CancellationToken) {
    let line = Mrkdwn::fixed("▶️ Foredeck ")
        + Mrkdwn::code(env!("CARGO_PKG_VERSION"))
        + " has started and tells here and elsewhere how deployments go";
    let message = Message::new(line.clone(), [Block::section(line)]);
    let to = Destination::Channel(channel.clone());
    let turn = slack.reserve_post(&to, Priority::Progress);
    let Some(permit) = shutdown.run_until_cancelled(turn).await else {
        return;
    };
    let post = Post {
        to: &to,
        thread: None,
        broadcast: false,
        message: &message,
    };
    if let Err(error) = slack.post_message(permit, post).await {
        tracing::warn!(reason = error.reason(), error = %error, "the line about the start could not be posted");
    }
}

/// One set of watches and passes.
async fn engine(
    (number, scope): (usize, Scope),
    settings: &RelaySettings,
    parts: RelayParts,
    (standing, metrics): (Standing, RelayMetrics),
    shutdown: CancellationToken,
    filling: Filling,
) -> Result<(), RelayError> {
    let means = means(settings, &parts, (&standing, &metrics), &shutdown);
    let (client, registry) = (parts.client, parts.metrics);
    let watches = &registry.watches().apart();
    let (requests, request_changes) =
        Cache::<DeployRequest>::start(client.clone(), &scope, watches, |_| {});
    let (environments, environment_changes) =
        Cache::<Environment>::start(client.clone(), &scope, watches, |_| {});
    let (applications, application_changes) =
        Cache::<Application>::start(client.clone(), &scope, watches, |application| {
            application.status = None;
        });
    let store = requests.0.clone();
    let (gone, went) = unbounded_channel();
    let (wake, woken) = unbounded_channel();
    let caches = (requests, environments, applications);
    let context = Arc::new(Context::new(means, caches, gone));
    let watching = stream::select_all([
        request_changes.map(Change::Request).boxed(),
        environment_changes.map(Change::Environment).boxed(),
        application_changes.map(Change::Application).boxed(),
    ])
    .for_each(|change| {
        changed(&context, &wake, &change);
        async {}
    });
    let filled = async {
        let all = tokio::try_join!(
            context.requests.0.wait_until_ready(),
            context.environments.0.wait_until_ready(),
            context.applications.0.wait_until_ready(),
        );
        all.map(|_| ()).map_err(|_| RelayError::WatchEnded)
    };
    let work = async {
        tokio::select! {
            filled = filling.scope(number, watches, filled) => filled?,
            () = shutdown.cancelled() => return Ok(()),
        }
        tracing::info!(?scope, "caches are filled; telling");
        let depth = registry.queue("DeployRequest");
        let (waiting, gone) = (depth.clone(), depth.clone());
        let queue = stream::unfold(woken, |mut woken| async {
            woken.recv().await.map(|item| (item, woken))
        })
        .inspect(move |object: &ObjectRef<Guarded<DeployRequest>>| {
            waiting.woken(
                object.namespace.as_deref().unwrap_or_default(),
                &object.name,
            );
        })
        .take_until(shutdown.clone().cancelled_owned())
        .map(Ok::<_, Infallible>);
        let passes = applier(
            // A task of its own: a panic in one pass ends that pass, not the relay.
            move |object: Arc<Guarded<DeployRequest>>, context: Arc<Context>| {
                let meta = object.meta();
                let uid = meta.uid.clone().unwrap_or_default();
                let underway = depth.begun(
                    meta.namespace.as_deref().unwrap_or_default(),
                    meta.name.as_deref().unwrap_or_default(),
                );
                let about = telemetry::about(&*object);
                tokio::spawn(pass::reconcile(object, context.clone()).instrument(about.clone()))
                    .map(move |outcome| {
                        drop(underway);
                        let outcome = outcome.unwrap_or_else(|broken| {
                            about.in_scope(|| tracing::error!(error = %broken, "a pass broke down"));
                            Ok(Action::requeue(Duration::from_mins(1)))
                        });
                        if outcome.is_ok() {
                            context.memories().pass_ended(&uid);
                        }
                        outcome
                    })
                    .boxed()
            },
            |object: Arc<Guarded<DeployRequest>>, error, context: Arc<Context>| {
                context.metrics.error(error.reason());
                telemetry::about(&*object).in_scope(|| {
                    tracing::warn!(reason = error.reason(), error = %telemetry::chain(error), "a pass failed and is made again");
                });
                let uid = object.meta().uid.as_deref().unwrap_or_default();
                Action::requeue(context.memories().pass_failed(uid))
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
        });
        // A pass that was under way at the signal may still find that its request went.
        let ended = CancellationToken::new();
        let farewells = tell_gone(&context, went, ended.clone());
        tokio::join!(passes.map(|()| ended.cancel()), farewells);
        Ok(())
    };
    tokio::select! {
        outcome = work => outcome,
        () = watching => Err(RelayError::WatchEnded),
    }
}

/// What whoever tells something works with.
fn means(
    settings: &RelaySettings,
    parts: &RelayParts,
    (standing, metrics): (&Standing, &RelayMetrics),
    shutdown: &CancellationToken,
) -> Means {
    let reporter = Reporter {
        controller: RELAY.to_owned(),
        instance: None,
    };
    Means {
        client: parts.client.clone(),
        shared: SharedChannels::new(parts.slack.clone()),
        slack: parts.slack.clone(),
        claim: parts.claim.clone(),
        standing: standing.clone(),
        settings: settings.clone(),
        metrics: metrics.clone(),
        recorder: Recorder::new(parts.client.clone(), reporter),
        shutdown: shutdown.clone(),
    }
}

/// What a watch brought.
enum Change {
    Request(Arc<Guarded<DeployRequest>>),
    Environment(Arc<Guarded<Environment>>),
    Application(Arc<Guarded<Application>>),
}

type Wake = UnboundedSender<ObjectRef<Guarded<DeployRequest>>>;

/// Wakes whom it concerns.
fn changed(context: &Context, wake: &Wake, change: &Change) {
    match change {
        Change::Request(object) => {
            context.went(object);
            drop(wake.send(reference(&**object)));
        }
        Change::Environment(environment) => {
            wake_those(context, wake, environment.meta(), |request| {
                &request.spec.environment
            });
        }
        Change::Application(application) => {
            wake_those(context, wake, application.meta(), |request| {
                &request.spec.application
            });
        }
    }
}

/// Wakes every request that goes on and names that object.
fn wake_those(
    context: &Context,
    wake: &Wake,
    meta: &ObjectMeta,
    named: impl Fn(&DeployRequest) -> &String,
) {
    let concerned = context.requests.filter(|request| {
        request.namespace() == meta.namespace
            && Some(named(request)) == meta.name.as_ref()
            && !message::phase(request).is_terminal()
    });
    for request in concerned {
        drop(wake.send(reference(&*request)));
    }
}

/// Tells of deleted requests, each on its own, until the passes have `ended`; then ends what is under way.
async fn tell_gone(
    context: &Arc<Context>,
    mut went: UnboundedReceiver<Gone>,
    ended: CancellationToken,
) {
    let mut telling = JoinSet::new();
    let mut sweeps = interval(SWEEP);
    loop {
        tokio::select! {
            Some(gone) = went.recv() => {
                let context = context.clone();
                let about = telemetry::about(&gone.request);
                telling.spawn(async move { update::tell_gone(&context, gone).await }.instrument(about));
            }
            _ = sweeps.tick() => context.sweep(),
            Some(_) = telling.join_next() => {}
            () = ended.cancelled() => break,
        }
    }
    // What went just before is told too, as far as there is time: no later relay knows of it. Slack's budget may be spent
    // for long; nobody waits for that.
    while let Ok(gone) = went.try_recv() {
        let context = context.clone();
        let about = telemetry::about(&gone.request);
        telling.spawn(async move { update::tell_gone(&context, gone).await }.instrument(about));
    }
    let all = async { while telling.join_next().await.is_some() {} };
    if tokio::time::timeout(API_DEADLINE, all).await.is_err() {
        for _ in 0..telling.len() {
            context.metrics.told("live", "gone-lost");
        }
    }
}
