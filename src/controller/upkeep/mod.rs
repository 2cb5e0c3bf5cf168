//! Looks after what targets say of what runs on them: whether it does, and how far it is from its repository's default
//! branch. Touches the API server, Gate (reads) and the hosts of repositories (reads).
//!
//! Apart from the passes, which nothing here holds up: a Gate or a repository that is slow makes this late and nothing
//! else. Each target has a time of its own, and targets of one Gate that are due together are looked at together.

mod executions;
mod repositories;

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use kube::{Resource, ResourceExt, runtime::reflector::ObjectRef};
use tokio::{sync::mpsc::UnboundedReceiver, task::JoinSet, time::Instant};
use tracing::Instrument;

use self::{executions::Executions, repositories::Repositories};
use super::{context::Context, error::ControllerError, objects, spread};
use crate::{
    api::{DeployTarget, SpinnakerConnection, deploy_target::DeployTargetStatus},
    domain::{
        standing::{self, Heard, Shown},
        target,
    },
    runtime::{
        cache::{Guarded, named, reference},
        telemetry,
    },
};

/// How often each target is looked at, unless the settings say otherwise.
const INTERVAL: Duration = Duration::from_mins(5);
/// How soon after a change.
const SETTLE: Duration = Duration::from_secs(1);
/// How many targets one round looks at.
const ROUND: usize = 200;

/// A target.
type Key = ObjectRef<Guarded<DeployTarget>>;

/// What is remembered from one round to the next.
pub(super) struct Upkeep {
    interval: Duration,
    executions: Executions,
    repositories: Repositories,
}

impl Upkeep {
    /// Nothing is remembered yet.
    pub(super) fn new(interval: Option<Duration>) -> Self {
        let interval = interval.unwrap_or(INTERVAL);
        Self {
            interval,
            executions: Executions::default(),
            repositories: Repositories::new(interval),
        }
    }
}

/// When each target is looked at next, and on what it was looked at last.
#[derive(Default)]
struct Times {
    due: HashMap<Key, Instant>,
    seen: HashMap<Key, String>,
    /// Whether those are known that were there when we began.
    begun: bool,
}

/// Looks after all targets of one set of watches, until shutdown.
pub(super) async fn keep(context: Arc<Context>, mut changed: UnboundedReceiver<Key>) {
    let interval = context.upkeep.interval;
    let pace = (interval / 5).min(SETTLE);
    let mut times = Times::default();
    // One round of each connection at a time: while a Gate is slow its targets gather.
    let mut rounds: JoinSet<String> = JoinSet::new();
    let mut busy: HashSet<String> = HashSet::new();
    let mut names: HashMap<tokio::task::Id, String> = HashMap::new();
    let mut ticks = tokio::time::interval(pace);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = context.shutdown.cancelled() => return,
            _ = ticks.tick() => {}
        }
        while let Some(ended) = rounds.try_join_next_with_id() {
            let id = match ended {
                Ok((id, _)) => id,
                Err(broken) => {
                    tracing::error!(error = %broken, "looking after targets broke down, and is done again");
                    broken.id()
                }
            };
            if let Some(name) = names.remove(&id) {
                busy.remove(&name);
            }
        }
        while let Ok(key) = changed.try_recv() {
            times.changed(&context, key, pace);
        }
        if context.may_begin().is_err() {
            continue;
        }
        times.meet(&context, interval);
        for (name, targets) in times.due(&context, &busy, interval) {
            busy.insert(name.clone());
            let context = Arc::clone(&context);
            let round = round(context, targets).in_current_span();
            let back = name.clone();
            let handle = rounds.spawn(async move {
                round.await;
                back
            });
            names.insert(handle.id(), name);
        }
    }
}

impl Times {
    /// A target changed: it is looked at soon, if it is what the look depends on.
    fn changed(&mut self, context: &Context, key: Key, soon: Duration) {
        let stored = context.caches.targets.0.get(&key);
        let Some(target) = stored.as_ref().and_then(|stored| stored.0.as_ref().ok()) else {
            self.due.remove(&key);
            self.seen.remove(&key);
            return;
        };
        let depends = depends(target);
        if self.seen.get(&key) != Some(&depends) {
            // What was there when we began has a time of its own.
            if self.begun {
                self.due.insert(key.clone(), Instant::now() + soon);
            }
            self.seen.insert(key, depends);
        }
    }

    /// Targets that were not known have a time of their own within the interval, so that they don't ask together.
    fn meet(&mut self, context: &Context, interval: Duration) {
        let store = &context.caches.targets.0;
        self.begun = true;
        if store.len() == self.due.len() {
            return;
        }
        for object in store.state() {
            let key = reference(&*object);
            if let Ok(target) = &object.0 {
                let seen = self.seen.entry(key.clone());
                seen.or_insert_with(|| depends(target));
            }
            self.due.entry(key).or_insert_with(|| {
                Instant::now() + interval * spread(object.meta().uid.as_ref()) / 1_000_000
            });
        }
        self.due.retain(|key, _| store.get(key).is_some());
        self.seen.retain(|key, _| store.get(key).is_some());
    }

    /// What is due, by namespace and connection; each is due again an interval later, give or take.
    fn due(
        &mut self,
        context: &Context,
        busy: &HashSet<String>,
        interval: Duration,
    ) -> BTreeMap<String, Vec<DeployTarget>> {
        let now = Instant::now();
        let mut rounds: BTreeMap<String, Vec<DeployTarget>> = BTreeMap::new();
        for (key, due) in &mut self.due {
            if *due > now {
                continue;
            }
            let Some(stored) = context.caches.targets.0.get(key) else {
                continue;
            };
            let Ok(target) = &stored.0 else {
                *due = now + interval;
                continue;
            };
            let name = format!(
                "{}/{}",
                target.namespace().unwrap_or_default(),
                connection(target).unwrap_or_default()
            );
            let round = rounds.entry(name.clone()).or_default();
            if busy.contains(&name) || round.len() >= ROUND {
                continue;
            }
            let uid = target.uid().unwrap_or_default();
            let jitter = spread(Some(&format!("{uid} {}", Timestamp::now())));
            *due = now + interval + interval * jitter / 5_000_000;
            round.push(target.clone());
        }
        rounds.retain(|_, targets| !targets.is_empty());
        rounds
    }
}

/// What a look depends on: a status that only says something else of it is no reason for another.
fn depends(target: &DeployTarget) -> String {
    let status = target.status.as_ref();
    let uid = |run: Option<&crate::api::deploy_target::Run>| run.map(|run| run.uid.clone());
    let current = uid(status.and_then(|status| status.current.as_ref()));
    let last = uid(status.and_then(|status| status.history.first()));
    format!("{:?} {current:?} {last:?}", target.metadata.uid)
}

/// The connection that what runs there came through.
fn connection(target: &DeployTarget) -> Option<String> {
    let current = target.status.as_ref()?.current.as_ref()?;
    Some(current.connection.clone())
}

/// Looks at targets of one namespace and connection.
async fn round(context: Arc<Context>, targets: Vec<DeployTarget>) {
    let Some(first) = targets.first() else { return };
    let namespace = first.namespace().unwrap_or_default();
    let shown = match connection(first) {
        Some(name) => shown(&context, &namespace, &name, &targets).await,
        None => None,
    };
    let heard = context
        .upkeep
        .repositories
        .heard(&context, &namespace, &targets)
        .await;
    for (target, heard) in targets.iter().zip(heard) {
        let about = telemetry::about(target);
        let written = write(&context, target, shown.as_deref(), heard)
            .instrument(about.clone())
            .await;
        match written {
            // Whoever changed it has it looked at again, whoever works next too.
            Ok(())
            | Err(
                ControllerError::Conflict { .. }
                | ControllerError::Stopping
                | ControllerError::NotLeading,
            ) => {}
            Err(error) => {
                context.metrics.failed(error.reason());
                about.in_scope(|| {
                    tracing::warn!(reason = error.reason(), error = %telemetry::chain(&error), "what is known of a target could not be written");
                });
            }
        }
    }
}

/// What Spinnaker shows of the targets' pipelines; nothing where it doesn't answer.
async fn shown(
    context: &Context,
    namespace: &str,
    name: &str,
    targets: &[DeployTarget],
) -> Option<Vec<Shown>> {
    let connections = &context.caches.connections;
    let connection: SpinnakerConnection = connections.known(namespace, name).await.ok()??;
    let gate = context.connections.gate(&connection).await.ok()?;
    let asked = context.upkeep.executions.of(&gate, targets).await;
    match asked {
        Ok(shown) => Some(believed(context, namespace, shown).await),
        Err(error) => {
            tracing::info!(namespace, connection = name, %error, "what ran on targets is asked again later");
            None
        }
    }
}

/// What carries a mark, with whether the target that it names remembers that.
async fn believed(context: &Context, namespace: &str, mut all: Vec<Shown>) -> Vec<Shown> {
    let mut read: HashMap<(String, String), Option<DeployTarget>> = HashMap::new();
    for shown in &mut all {
        let Some(mark) = &shown.mark else { continue };
        let remembers = |target: &DeployTarget| {
            let status = target.status.as_ref();
            status.is_some_and(|status| standing::remembers(status, mark, &shown.id))
        };
        let of = mark.namespace.as_deref().unwrap_or(namespace);
        let stored = context.caches.targets.0.get(&named(of, &mark.target));
        let cached = stored.as_ref().and_then(|stored| stored.0.as_ref().ok());
        if cached.is_some_and(remembers) {
            shown.remembered = true;
            continue;
        }
        // The cache may be behind what was just started. What can't be read is no target that we know.
        let key = (of.to_owned(), mark.target.clone());
        if !read.contains_key(&key) {
            let target = objects::read(&context.client, of, &mark.target).await;
            read.insert(key.clone(), target.ok().flatten());
        }
        let fresh = read.get(&key).and_then(Option::as_ref);
        shown.remembered = fresh.is_some_and(remembers);
    }
    all
}

async fn write(
    context: &Context,
    seen: &DeployTarget,
    shown: Option<&[Shown]>,
    heard: Option<Heard>,
) -> Result<(), ControllerError> {
    if let Some(status) = &seen.status
        && said(seen, status, shown, heard.clone()) == *status
    {
        return Ok(());
    }
    // Read after Spinnaker was asked: what we started until then is known to it.
    let (namespace, name) = (seen.namespace().unwrap_or_default(), seen.name_any());
    let read: Option<DeployTarget> = objects::read(&context.client, &namespace, &name).await?;
    let Some(target) = read.filter(|read| read.uid() == seen.uid()) else {
        return Ok(());
    };
    let Some(status) = target
        .status
        .as_ref()
        .filter(|status| status.initialized.is_some())
    else {
        return Ok(());
    };
    // A start under way has its writes guarded by the version that it read.
    let starting = status
        .active
        .as_ref()
        .is_some_and(|active| active.execution.is_none());
    let ran = |status: &DeployTargetStatus| status.current.as_ref().map(|run| run.uid.clone());
    if starting || seen.status.as_ref().and_then(ran) != ran(status) {
        return Ok(());
    }
    let next = said(&target, status, shown, heard);
    context.may_begin()?;
    objects::write_status(
        &context.client,
        &target,
        &next,
        "write what is known of a DeployTarget",
    )
    .await?;
    Ok(())
}

/// What the status says then.
fn said(
    target: &DeployTarget,
    status: &DeployTargetStatus,
    shown: Option<&[Shown]>,
    heard: Option<Heard>,
) -> DeployTargetStatus {
    let now = Timestamp::now();
    let conditions = standing::known(target, shown, now);
    let drift = standing::drift(status, heard, now);
    target::looked_after(status, conditions, drift)
}

/// A target changed.
pub(super) fn target_changed(context: &Context, object: &Guarded<DeployTarget>) {
    let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
    drop(context.wake_upkeep.send(named(&namespace, &name)));
}
