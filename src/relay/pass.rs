//! One pass over one request: what is there to tell, one step after the other. Touches what its steps touch.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use kube::{ResourceExt, runtime::controller::Action};
use tokio::time::Instant;

use super::{
    context::{Address, Context, names},
    error::RelayError,
    ledger::{self, Ledger},
    message,
    plan::{self, Facts, Plan, Step},
    purpose::Purpose,
};
use crate::{
    api::{Application, DeployRequest, Environment},
    runtime::{
        cache::Guarded,
        traces::{self, Value},
    },
    slack::client::Priority,
};

/// Steps in one pass; a request with ten further channels takes fewer.
const STEPS: usize = 40;
/// How soon a pass is made again that found somebody else at work.
const AGAIN: Duration = Duration::from_millis(200);
/// The shortest time between two passes of which the first asked for the second.
const SHORTEST: Duration = Duration::from_millis(50);
/// How soon is looked whether it is our turn.
const NOT_OURS: Duration = Duration::from_secs(1);

/// What came of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Done {
    /// Look what is next.
    Next,
    /// Not before this much time.
    Later(Duration),
    /// Somebody else wrote first: look again soon.
    Overtaken,
    /// We may not act any more.
    NotOurs,
    /// Nothing, until the request changes.
    Idle,
}

/// A request as it is now, and what was told.
pub(super) struct Scene {
    pub(super) request: DeployRequest,
    pub(super) environment: Option<Environment>,
    pub(super) application: Option<Application>,
    pub(super) ledger: Ledger,
    unsent: Option<Purpose>,
    live_url: Address,
}

impl Scene {
    pub(super) fn uid(&self) -> String {
        self.request.uid().unwrap_or_default()
    }

    pub(super) fn facts<'a>(&'a self, context: &'a Context) -> Facts<'a> {
        Facts {
            request: &self.request,
            environment: self.environment.as_ref(),
            application: self.application.as_ref(),
            told: &self.ledger.told,
            unsent: self.unsent.as_ref(),
            live_url: match &self.live_url {
                Address::At(url) => Some(url),
                Address::NotAsked | Address::Unknown => None,
            },
            now: Timestamp::now(),
            timing: &context.settings.timing,
        }
    }

    pub(super) fn plan(&self, context: &Context) -> Plan {
        let mut plan = plan::plan(&self.facts(context));
        // What can't be done now must not hold up how it ended.
        plan.steps.sort_by_key(Step::priority);
        plan
    }
}

/// One pass over a request that a watch or a timer brought up.
pub(super) async fn reconcile(
    object: Arc<Guarded<DeployRequest>>,
    context: Arc<Context>,
) -> Result<Action, RelayError> {
    let Ok(request) = &object.0 else {
        return Ok(Action::await_change());
    };
    let uid = request.uid().unwrap_or_default();
    for _ in 0..STEPS {
        if !context.may_act() {
            return Ok(Action::requeue(NOT_OURS));
        }
        let Some(scene) = look(&context, request).await? else {
            context.delivered(&uid, true);
            return Ok(Action::await_change());
        };
        if let Some(unrecorded) = context
            .recall(&uid, |memory| memory.unrecorded.clone())
            .flatten()
        {
            if super::post::record(&context, &scene, unrecorded).await? {
                continue;
            }
            return Ok(Action::requeue(AGAIN));
        }
        let plan = scene.plan(&context);
        context.delivered(&uid, plan.steps.is_empty());
        if let Some(done) = super::trouble::unasked(&context, &scene, plan.unasked).await? {
            match done {
                // What isn't told is remembered only where it is written down, which wakes the next pass.
                Done::Next if scene.ledger.told.messages.is_empty() => {}
                Done::Next => continue,
                _ => return Ok(Action::requeue(AGAIN)),
            }
        }
        if plan.steps.is_empty() {
            return Ok(rest(&context, request, &scene, plan.look_again));
        }
        if let Some(reason) = context.standing.stopped() {
            super::trouble::stopped(&context, &scene, &reason).await?;
            return Ok(Action::requeue(context.settings.pace.slowly));
        }
        let mut wait = plan.look_again;
        let mut next = false;
        for step in plan.steps {
            let later = match traced(&context, &scene, step).await? {
                Done::Next => {
                    next = true;
                    break;
                }
                Done::NotOurs => return Ok(Action::requeue(NOT_OURS)),
                Done::Idle => continue,
                Done::Overtaken => AGAIN,
                Done::Later(later) => later,
            };
            wait = Some(wait.map_or(later, |wait| wait.min(later)));
            if context.standing.stopped().is_some() {
                break;
            }
        }
        if !next {
            let again = wait.map(|wait| Action::requeue(wait.max(SHORTEST)));
            return Ok(again.unwrap_or_else(Action::await_change));
        }
    }
    Ok(Action::requeue(AGAIN))
}

/// There is nothing to do now.
fn rest(
    context: &Context,
    request: &DeployRequest,
    scene: &Scene,
    look_again: Option<Duration>,
) -> Action {
    let uid = scene.uid();
    let ended = message::phase(&scene.request).is_terminal();
    let untold = scene.ledger.told.messages.is_empty();
    // A cache that is behind would have it told again.
    let (namespace, name, _) = names(request);
    let settled = context
        .cached(&namespace, &name, &uid)
        .is_none_or(|cached| Ledger::of(&cached).agrees_with(&scene.ledger));
    if (ended || untold) && settled {
        context.forget(&uid);
    }
    look_again.map_or_else(Action::await_change, Action::requeue)
}

/// The request as the cache has it, with what was told as whoever wrote last knows it. `None` when it is no more.
pub(super) async fn look(
    context: &Context,
    request: &DeployRequest,
) -> Result<Option<Scene>, RelayError> {
    let (namespace, name, uid) = names(request);
    let Some(request) = context.cached(&namespace, &name, &uid) else {
        return Ok(None);
    };
    let cached = Ledger::of(&request);
    let known = context
        .recall(&uid, |memory| memory.ledger.clone())
        .flatten();
    let ledger = match known {
        Some(known) if known.agrees_with(&cached) => cached,
        None => cached,
        Some(known) => match Ledger::read(&context.client, &request).await? {
            Some((request, fresh)) => fresh.restored(&context.client, &request, known).await?,
            None => return Ok(None),
        },
    };
    Ok(Some(scene(context, request, ledger)))
}

/// The same, as the API server has it now.
pub(super) async fn look_afresh(
    context: &Context,
    scene: &Scene,
) -> Result<Option<Scene>, RelayError> {
    let Some((request, ledger)) = Ledger::read(&context.client, &scene.request).await? else {
        return Ok(None);
    };
    Ok(Some(self::scene(context, request, ledger)))
}

fn scene(context: &Context, request: DeployRequest, ledger: Ledger) -> Scene {
    let (namespace, _, uid) = names(&request);
    let (environments, applications) = (&context.environments, &context.applications);
    let environment = environments.get(&namespace, &request.spec.environment);
    let application = applications.get(&namespace, &request.spec.application);
    let told = !ledger.told.messages.is_empty();
    let (unsent, live_url) = if told {
        context.begin(&uid, |memory| {
            memory.request = Some(request.clone());
            memory.ledger = Some(ledger.clone());
            (memory.unsent.clone(), memory.live_url.clone())
        })
    } else {
        (None, Address::NotAsked)
    };
    Scene {
        request,
        environment,
        application,
        ledger,
        unsent,
        live_url,
    }
}

/// Does a step; one that did something is in the request's trace.
async fn traced(context: &Context, scene: &Scene, step: Step) -> Result<Done, RelayError> {
    let name = match &step {
        Step::Post(_) => "message.post",
        Step::Settle(..) => "message.settle",
        Step::Whisper(..) => "message.whisper",
        Step::Update { .. } => "message.update",
    };
    let mut span = traces::step(name, &scene.request);
    if let Some(span) = &mut span {
        let purpose = Value::Word(step.purpose().word());
        span.say("foredeck.message.purpose", purpose);
        let phase = message::phase(&scene.request).word();
        span.say("foredeck.phase", Value::Word(phase));
    }
    let acting = Box::pin(act(context, scene, step));
    let done = traces::within(span.as_ref(), acting).await;
    match (span, &done) {
        (Some(span), Ok(Done::Next)) => span.ended(None),
        (Some(span), Err(error)) => span.ended(Some(error.reason())),
        // Nothing was done yet.
        (None, _) | (Some(_), Ok(_)) => {}
    }
    done
}

async fn act(context: &Context, scene: &Scene, step: Step) -> Result<Done, RelayError> {
    let purpose = step.purpose();
    if let Some(left) = waits(context, scene, purpose) {
        return Ok(Done::Later(left));
    }
    let begins = matches!(step, Step::Post(_) | Step::Whisper(..));
    if begins && !ledger::has_room(&scene.ledger.told, purpose) {
        return super::trouble::no_room(context, scene).await;
    }
    let pointing = matches!(
        purpose,
        Purpose::Link | Purpose::Overridden(_) | Purpose::Started(_) | Purpose::Ended(_)
    );
    if pointing && find_url(context, scene).await {
        return Ok(Done::Next);
    }
    if let Step::Post(posting) | Step::Settle(posting, _) = &step
        && let Some(done) = super::trouble::among_strangers(context, scene, posting).await?
    {
        return Ok(done);
    }
    match step {
        Step::Post(posting) => super::post::post(context, scene, posting).await,
        Step::Settle(posting, entry) => super::post::settle(context, scene, posting, &entry).await,
        Step::Whisper(posting, user) => super::post::whisper(context, scene, posting, &user).await,
        Step::Update {
            purpose, priority, ..
        } => Box::pin(super::update::update(context, scene, &purpose, priority)).await,
    }
}

/// How long a message still waits since Slack failed. That the request has ended is tried at once.
fn waits(context: &Context, scene: &Scene, purpose: &Purpose) -> Option<Duration> {
    let ended = message::phase(&scene.request).is_terminal();
    let not_before = context
        .recall(&scene.uid(), |memory| {
            memory.not_before.get(purpose).copied()
        })
        .flatten();
    let (until, _) = not_before.filter(|(_, had_ended)| *had_ended == ended)?;
    let left = until.saturating_duration_since(Instant::now());
    (!left.is_zero()).then_some(left)
}

/// Asks once where people see the live message; whether the answer is new.
async fn find_url(context: &Context, scene: &Scene) -> bool {
    let uid = scene.uid();
    let asked = context.recall(&uid, |memory| !matches!(memory.live_url, Address::NotAsked));
    let live = plan::entry(&scene.ledger.told, &Purpose::Live).and_then(plan::posted);
    let (Some(false), Some(live)) = (asked, live) else {
        return false;
    };
    let Some(url) = context.unless_ended(context.slack.permalink(&live)).await else {
        return true;
    };
    if let Err(error) = &url {
        tracing::debug!(reason = error.reason(), "Slack gives no link to a message");
    }
    context.remember(&uid, |memory| {
        memory.live_url = url.map_or(Address::Unknown, Address::At);
    });
    true
}

/// How urgent a step is by now: the request may have ended while it waits for its turn.
pub(super) fn urgency(context: &Context, scene: &Scene, planned: Priority) -> Priority {
    let (namespace, name, uid) = names(&scene.request);
    let had_ended = message::phase(&scene.request).is_terminal();
    let ended = !had_ended
        && context
            .cached(&namespace, &name, &uid)
            .is_some_and(|request| message::phase(&request).is_terminal());
    if ended { Priority::Final } else { planned }
}
